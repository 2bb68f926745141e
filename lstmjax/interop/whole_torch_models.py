"""Whole models of PyTorch: modules, state dicts, and files of these. torch itself is not needed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from lstmjax.cells import ElmanRNN
from lstmjax.interop.dotted import Names, below, owned
from lstmjax.interop.files import read_safetensors
from lstmjax.interop.reading import kinds
from lstmjax.interop.settings import Settings, conv_settings, settings_of
from lstmjax.interop.torch_files import read_torch
from lstmjax.interop.torch_modules import from_torch
from lstmjax.interop.whole_models import RECURRENT, Filling, Kind, Report
from lstmjax.layers import Stacked

_WEIGHT = {"kernel": "weight", "bias": "bias"}
_NORM = {"scale": "weight", "bias": "bias"}
_RECURRENT = Kind(("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"))
_KINDS: dict[Any, Kind] = {
    nnx.Embed: Kind(("Embedding",), {"embedding": "weight"}),
    nnx.Linear: Kind(("Linear",), _WEIGHT),
    nnx.Conv: Kind(("Conv1d", "Conv2d", "Conv3d"), _WEIGHT),
    nnx.LayerNorm: Kind(("LayerNorm",), _NORM),
    nnx.GroupNorm: Kind(("GroupNorm",), _NORM),
    nnx.RMSNorm: Kind(("RMSNorm",), {"scale": "weight"}),
    nnx.BatchNorm: Kind(
        ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"),
        _NORM | {"mean": "running_mean", "var": "running_var"},
        unused=("num_batches_tracked",),
    ),
} | dict.fromkeys(RECURRENT, _RECURRENT)


def load_torch(model: nnx.Module, source: Any, names: Names, *, keep: Iterable[str] = ()) -> Report:
    """Fill a model with the weights of a PyTorch one, by a table of names: with all of them, or with none.

    Each layer keeps its own settings and code. Where the source is a module, settings that change what is computed are
    compared, and refused where they differ; where it is arrays alone, the report's notes name those to look at.

    Args:
      model: any module of Flax nnx, filled in place. Its layers may be `nnx.Embed`, `Linear`, `Conv`, `LayerNorm`,
        `RMSNorm`, `GroupNorm`, `BatchNorm`, and recurrent layers of lstmjax.
      source: a module of PyTorch; a state dict, of tensors or arrays; or the path of a file that holds one, from
        `torch.save` or, ending in ".safetensors", from safetensors.
      names: from modules of the source to layers of the model, both by dotted names such as "encoder.rnn" or
        "layers.1"; None leaves a module out, "" is the whole. A bare parameter goes to a variable likewise.
      keep: layers and variables of the model to leave as they are.

    Returns:
      What went where, what was left out, what was kept, and notes on what the arrays don't say.

    Raises:
      TypeError: a source of another kind, a layer that is of another class than the source's, another dtype.
      ValueError: a name that leads nowhere, an array that has no place or a place that has no array, another shape or
        setting.
      InputError: a file that can't be used, see `read_torch`.

    >>> arrays = {"fc.weight": np.ones((5, 3), "float32"), "fc.bias": np.zeros(5, "float32")}
    >>> model = nnx.Sequential(nnx.Linear(3, 5, rngs=nnx.Rngs(0)), jax.nn.relu)
    >>> print(load_torch(model, arrays, {"fc": "layers.0"}))
    fc.weight -> layers.0.kernel
    fc.bias -> layers.0.bias
    """
    filling = Filling(model, "torch", _KINDS, keep)
    entries = _entries(source)
    layers = dict.fromkeys(entry.rpartition(".")[0] or entry for entry in entries)
    for name, arrays in owned(names, entries, layers).items():
        module = source.get_submodule(name) if _is_module(source) and name not in entries else None
        path = names[name]
        target = filling.target(name, path, arrays, module)
        if path is None or target is None:
            continue
        if isinstance(target, RECURRENT):
            filling.put_recurrent(name, path, _stack(filling, name, path, arrays, module), arrays)
        else:
            filling.compare(name, path, settings_of(target), None if module is None else _settings(module))
            filling.put_layer(name, path, arrays, turned=True)
        filling.report.notes.extend(f"{name or 'source'} has {note}" for note in _notes(module))
    return filling.finish()


def _entries(source: Any) -> Mapping[str, Any]:
    """All arrays of a source by their names."""
    if isinstance(source, str | Path):
        entries = read_safetensors(source) if str(source).endswith(".safetensors") else read_torch(source)
        what = str(source)
    else:
        entries, what = source.state_dict() if _is_module(source) else source, "source"
    if not isinstance(entries, Mapping):
        raise TypeError(
            f"{what} must be a torch module, a dict of arrays or a file of one, got {type(entries).__name__}"
        )
    for name, value in entries.items():
        if not hasattr(value, "shape"):
            hint = f"; its {name!r} may be what to give" if isinstance(value, Mapping) else ""
            raise TypeError(f"{what} must be a dict of arrays, got {type(value).__name__} in {name!r}{hint}")
    return entries


def _is_module(source: Any) -> bool:
    return "Module" in kinds(source, "torch")


def _stack(filling: Filling, name: str, path: str, arrays: Mapping[str, Any], module: Any) -> Stacked:
    """A recurrent layer of the source as a stack of ours; where arrays don't tell tanh from relu, the model's."""
    if module is not None:
        return from_torch(module)
    layer: Any = filling.modules[path]
    ours = settings_of(layer.cells[0])
    if ours["cell"] is ElmanRNN:
        filling.compare(name, path, {"activation_fn": ours["activation_fn"]}, None)
    is_relu = ours["cell"] is ElmanRNN and ours["activation_fn"] is jax.nn.relu
    entries = {below(name, end): array for end, array in arrays.items()}
    return from_torch(entries, prefix=f"{name}." if name else "", nonlinearity="relu" if is_relu else None)


def _settings(module: Any) -> Settings:
    """What a module has besides its weights, under Flax's names."""
    if hasattr(module, "kernel_size"):
        return conv_settings(module.kernel_size, module.stride, module.dilation, _padding(module), module.groups)
    settings = {}
    if hasattr(module, "eps"):  # None, of an RMSNorm, is the smallest that makes a difference to 1
        settings["epsilon"] = float(np.finfo(np.float32).eps) if module.eps is None else module.eps
    if hasattr(module, "num_groups"):
        settings["num_groups"] = module.num_groups
    if getattr(module, "momentum", None) is not None:
        settings["momentum"] = 1 - module.momentum
    return settings


def _padding(module: Any) -> Any:
    """A convolution's, in Flax's words, which other modes than zeros have only where the size is kept."""
    if module.padding_mode == "zeros":
        return module.padding
    half = tuple((size - 1) * step / 2 for size, step in zip(module.kernel_size, module.dilation, strict=True))
    return module.padding_mode if module.padding in ("same", half) else f"{module.padding_mode} {module.padding}"


def _notes(module: Any) -> list[str]:
    """What a module does besides, that ours has elsewhere or not at all."""
    notes = []
    if getattr(module, "padding_idx", None) is not None:
        notes.append(f"padding_idx {module.padding_idx}: in training that row gets no gradient there")
    if getattr(module, "max_norm", None) is not None:
        notes.append(f"max_norm {module.max_norm}: rows used are scaled down to that length there, at each call")
    if getattr(module, "dropout", 0.0):
        notes.append(f"dropout {module.dropout} between its layers in training")
    return notes
