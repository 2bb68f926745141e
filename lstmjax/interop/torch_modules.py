"""Weights from and to `torch.nn.LSTM`, `GRU` and `RNN`, and from their cells. Only `to_torch` needs torch itself."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.interop.layouts import LAYOUTS, Arrays, Layout
from lstmjax.interop.reading import class_of, guess, recurrent, settle, stacked
from lstmjax.interop.writing import directions_of, entries_of, imported, layers_of
from lstmjax.layers import Recurrent, Stacked

Nonlinearity = Literal["tanh", "relu"]

_NONLINEARITIES = {"tanh": jnp.tanh, "relu": jax.nn.relu}
_NAME = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(0|[1-9][0-9]*)(_reverse)?)?")
_CLASSES = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")


def from_torch(
    source: Any, *, nonlinearity: Nonlinearity | None = None, dropout: float | None = None, prefix: str = ""
) -> Stacked:
    """A stack that computes what an LSTM, GRU or RNN of PyTorch does, or one of its cells over time.

    PyTorch has two biases for each gate. The sum is kept, rounded to the weights' dtype; only the two of a GRU's
    candidate stay apart, where the reset gate comes between them. `batch_first` is not kept: ours
    are batch-major by default, and time-major where called with `time_major=True`.

    Args:
      source: the module (`LSTM`, `GRU`, `RNN`, or one of their cells), its state dict, or a dict of arrays of any kind
        under the same names, such as `read_torch` or `read_safetensors` gives.
      nonlinearity: of an RNN, "tanh" (also None) or "relu"; a module knows its own, arrays don't.
      dropout: between layers, in [0, 1); a module knows its own, arrays don't, and None means 0.
      prefix: what stands before the names, such as "encoder.rnn."; entries that start otherwise are left out.

    Returns:
      `lx.Stacked` of `lx.Recurrent` or `lx.Bidirectional` layers over `lx.cells.LSTM`, `ProjectedLSTM` (with
      `proj_size`), `GRU` or `ElmanRNN`.

    Raises:
      TypeError: another kind of source or module, an entry that is no floating array, entries of several dtypes,
        float64 while jax_enable_x64 is off.
      ValueError: an entry that is missing, not known or of another shape; an argument the module contradicts.

    >>> arrays = {"weight_ih_l0": np.ones((20, 3)), "weight_hh_l0": np.ones((20, 5))}
    >>> layer = from_torch({name: array.astype("float32") for name, array in arrays.items()})
    >>> layer.layers[0].cell.hidden_features, layer(jnp.ones((2, 7, 3)))[0].shape
    (5, (2, 7, 5))
    """
    kind = class_of(source, "torch", _CLASSES)
    if kind is None and not isinstance(source, Mapping):
        raise TypeError(f"source must be a torch LSTM, GRU or RNN or a dict of arrays, got {type(source).__name__}")
    entries = source if kind is None else source.state_dict()
    groups = _grouped(entries, prefix)
    if kind is None:
        layout = guess(["torch"], groups[0][0])
    else:
        layout = LAYOUTS["torch"][
            "LSTM with proj_size" if getattr(source, "proj_size", 0) else kind.removesuffix("Cell")
        ]
    options = _options(layout, nonlinearity, getattr(source, "nonlinearity", None))
    directions = [
        [recurrent(layout, one, _naming(prefix, depth, back), options) for back, one in enumerate(both)]
        for depth, both in enumerate(groups)
    ]
    _check_same_parts(groups, prefix)
    return stacked(directions, dropout=settle("dropout", dropout, getattr(source, "dropout", None), 0.0))


def to_torch_arrays(layer: Any) -> Arrays:
    """The state dict of the PyTorch module that computes what `layer` does, as NumPy arrays; torch is not needed.

    Each of our biases goes to `bias_ih`; `bias_hh` is zero but for a GRU's candidate, whose second bias it holds. The
    module must be made with the layer's sizes, `bidirectional`, `proj_size`, `nonlinearity` and, if wanted,
    `dropout`; these are no weights.

    Args:
      layer: a stack or one layer of LSTM, ProjectedLSTM, GRU (reset_after) or ElmanRNN (tanh or relu) cells, all of
        one kind and width, bidirectional layers merged by "concat".

    Returns:
      Arrays by PyTorch's names.

    Raises:
      TypeError: layers or cells that PyTorch has not.
      ValueError: functions, merging, or a mixture of layers that PyTorch has not, or a learned initial state.

    >>> arrays = to_torch_arrays(lx.GRU(3, 5, rngs=nnx.Rngs(0)))
    >>> {name: array.shape for name, array in arrays.items()}
    {'weight_ih_l0': (15, 3), 'weight_hh_l0': (15, 5), 'bias_ih_l0': (15,), 'bias_hh_l0': (15,)}
    """
    layers = layers_of(layer)
    directions = [directions_of(one) for one in layers]
    for one in layers:
        if getattr(one, "merge", "concat") != "concat":
            raise ValueError(f"layer's merge must be 'concat' to go to torch, got {one.merge!r}")
    _check_alike(directions)
    table: Arrays = {}
    for depth, both in enumerate(directions):
        for back, one in enumerate(both):
            called = _naming("", depth, back)
            table |= {called(name): array for name, array in entries_of("torch", one).items()}
    return table


def to_torch(layer: Any) -> dict[str, Any]:
    """What `to_torch_arrays` gives, as torch tensors ready for `module.load_state_dict`.

    Args, raises: see `to_torch_arrays`, and
      ImportError: torch is not installed.

    >>> module.load_state_dict(to_torch(layer))  # doctest: +SKIP
    <All keys matched successfully>
    """
    torch = imported("torch", "to_torch", "to_torch_arrays")

    def tensor(array: np.ndarray) -> Any:
        if array.dtype == jnp.bfloat16:  # which torch can't take from NumPy
            return torch.tensor(array.astype(np.float32)).to(torch.bfloat16)
        return torch.tensor(array)

    return {name: tensor(array) for name, array in to_torch_arrays(layer).items()}


def _grouped(every: Mapping[str, Any], prefix: str) -> list[list[dict[str, Any]]]:
    """Entries that start with `prefix`, without it and the ends of their names, by layer and direction."""
    entries = {name: value for name, value in every.items() if name.startswith(prefix)}
    groups: dict[tuple[int, int], dict[str, Any]] = {}
    for name, value in entries.items():
        parsed = _NAME.fullmatch(name.removeprefix(prefix))
        if parsed is None:
            raise ValueError(
                f"source must hold nothing but {prefix}weight_ih_l0 and its like, got {name}{_hint(entries, prefix)}"
            )
        part, depth, back = parsed.groups()
        group = groups.setdefault((int(depth or 0), int(back is not None)), {})
        if part in group:
            raise ValueError(f"source must hold a cell's {prefix}{part} or a layer's {prefix}{part}_l0, got both")
        group[part] = value
    if not groups:
        raise ValueError(f"source must hold {prefix}weight_ih_l0 and its like, got none{_hint(every, prefix)}")
    depths, ways = (max(numbers) + 1 for numbers in zip(*groups, strict=True))
    return [[groups.get((depth, back), {}) for back in range(ways)] for depth in range(depths)]


def _hint(entries: Mapping[str, Any], prefix: str) -> str:
    """What to write where the weights stand in a whole model's state dict."""
    end = "weight_ih_l0"
    found = [name.removesuffix(end) for name in entries if name.endswith(end)]
    others = [one for one in found if one != prefix]
    return f"; prefix={' or prefix='.join(map(repr, others))} takes those of one module" if others else ""


def _check_same_parts(groups: list[list[dict[str, Any]]], prefix: str) -> None:
    """What one layer and direction has, all have."""
    every = {part: None for both in groups for one in both for part in one}
    for depth, both in enumerate(groups):
        for back, one in enumerate(both):
            for part in every:
                if part not in one:
                    name = _naming(prefix, depth, back)(part)
                    raise ValueError(f"source must hold {name}, as other layers have it, got none")


def _options(layout: Layout, given: str | None, own: str | None) -> dict[str, Any]:
    if layout is not LAYOUTS["torch"]["RNN"]:
        if given is not None:
            raise ValueError(f"nonlinearity is an RNN's, and source holds another kind, got {given!r}")
        return {}
    nonlinearity = settle("nonlinearity", given, own, "tanh")
    checks.one_of("nonlinearity", nonlinearity, tuple(_NONLINEARITIES))
    return {"activation_fn": _NONLINEARITIES[nonlinearity]}


def _naming(prefix: str, depth: int, back: int) -> Any:
    return lambda part: f"{prefix}{part}_l{depth}{'_reverse' if back else ''}"


def _check_alike(directions: list[list[Recurrent]]) -> None:
    """One torch module has one kind, one width and one number of directions."""

    def traits(both: list[Recurrent]) -> list[Any]:
        cells: list[Any] = [one.cell for one in both]
        fields = ("hidden_features", "use_bias", "proj_features", "activation_fn", "param_dtype")
        return [(type(cell), *(getattr(cell, field, None) for field in fields)) for cell in cells]

    if any(traits(both) != traits(directions[0]) for both in directions) or len(set(traits(directions[0]))) != 1:
        raise ValueError("layer must have cells of one kind, width and dtype in all its layers to be one torch module")
