"""A layer's weights by name: as plain arrays, and in a safetensors file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax import checks
from lstmjax.errors import InputError
from lstmjax.files import replace_bytes
from lstmjax.interop.layouts import Arrays
from lstmjax.interop.reading import copied
from lstmjax.interop.writing import imported
from lstmjax.trees import from_table, to_table
from lstmjax.types import PyTree

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def state_dict(layer: nnx.Module) -> Arrays:
    """A copy of every parameter of a layer or model, by its dotted name; and of what it holds besides.

    That is what is not trained, such as the running statistics of a batch normalisation; a module's random state is
    left out.

    Args:
      layer: any module of lstmjax.

    Returns:
      NumPy arrays, names as in "layers.0.weights.w_x".

    >>> list(state_dict(lx.LSTM(3, 5, rngs=nnx.Rngs(0))))
    ['layers.0.weights.b', 'layers.0.weights.w_h', 'layers.0.weights.w_x']
    """
    _check_module(layer)
    return to_table(_variables(layer))


def load_state_dict(layer: nnx.Module, arrays: Mapping[str, Any]) -> None:
    """Put arrays in place of all that `state_dict` names, or, if one is refused, of none.

    Args:
      layer: the module to fill, changed in place.
      arrays: what `state_dict` of an equal module gave, in any library's arrays.

    Raises:
      TypeError: an entry of another dtype, or that is no array.
      ValueError: an entry that is missing, not known, or of another shape.

    >>> layer, other = lx.GRU(3, 5, rngs=nnx.Rngs(0)), lx.GRU(3, 5, rngs=nnx.Rngs(1))
    >>> load_state_dict(layer, state_dict(other))
    >>> bool(jnp.all(layer.layers[0].params.w_x == other.layers[0].params.w_x))
    True
    """
    _check_module(layer)
    if not isinstance(arrays, Mapping):
        raise TypeError(f"arrays must be a dict of arrays, got {type(arrays).__name__}")
    template = _variables(layer)
    expected = to_table(template)
    for name in sorted(expected.keys() - arrays.keys()):
        raise ValueError(f"arrays must hold {name} {list(expected[name].shape)}, got none")
    for name in sorted(arrays.keys() - expected.keys()):
        raise ValueError(f"arrays must hold nothing but the layer's {len(expected)} entries, got {name} too")
    table = {name: copied(name, arrays[name]) for name in expected}
    array: Any
    for name, array in table.items():
        checks.shape(name, array, expected[name].shape)
        checks.dtype_among(name, array, [expected[name].dtype])
    nnx.update(layer, from_table(template, table))


def save_safetensors(layer: nnx.Module, path: str | Path) -> None:
    """Write `state_dict(layer)` into a safetensors file; an older file is replaced by all of the new one or not at all.

    Raises:
      ImportError: safetensors is not installed.
      InputError: the file can't be written.
    """
    written = imported("safetensors.numpy", "save_safetensors", "state_dict").save(state_dict(layer))
    try:
        replace_bytes(path, written)
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror}") from error


def load_safetensors(layer: nnx.Module, path: str | Path) -> None:
    """Fill a layer, in place, from a file that `save_safetensors` wrote for an equal one.

    Raises:
      ImportError: safetensors is not installed.
      InputError: the file is missing or damaged.
      TypeError, ValueError: it does not fit the layer, see `load_state_dict`.
    """
    load_state_dict(layer, read_safetensors(path))


def read_safetensors(path: str | Path) -> Arrays:
    """The arrays in a safetensors file, bfloat16 included; under PyTorch's names, `from_torch` takes them.

    Raises:
      ImportError: safetensors is not installed.
      InputError: the file is missing or damaged.
    """
    library = imported("safetensors", "read_safetensors", "state_dict")
    try:
        tensors = library.deserialize(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except library.SafetensorError as error:
        raise InputError(f"{path} is no sound safetensors file: {error}") from error
    return {name: _array(path, name, tensor) for name, tensor in tensors}


def _variables(layer: nnx.Module) -> PyTree:
    return nnx.to_pure_dict(nnx.state(layer, nnx.Not(nnx.RngState)))


def _check_module(layer: object) -> None:
    if not isinstance(layer, nnx.Module):
        raise TypeError(f"layer must be an nnx module, got {type(layer).__name__}")


def _array(path: str | Path, name: str, tensor: Mapping[str, Any]) -> np.ndarray:
    if tensor["dtype"] not in _DTYPES:
        raise InputError(f"{path} must hold dtypes among {', '.join(_DTYPES)}, got {tensor['dtype']} in {name}")
    return np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
