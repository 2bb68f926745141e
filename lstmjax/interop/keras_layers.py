"""Weights from and to Keras 3: `LSTM`, `GRU`, `SimpleRNN`, `ConvLSTM2D` and its like, `Bidirectional` of these.

Keras itself is not needed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lstmjax import cells, checks
from lstmjax.interop.layouts import KERAS_FUNCTIONS, LAYOUTS, Layout
from lstmjax.interop.reading import class_of, common_dtype, copied, filled, guess, kinds, recurrent, settle, stacked
from lstmjax.interop.writing import directions_of, entries_of, layers_of
from lstmjax.layers import Recurrent, Stacked
from lstmjax.layers.bidirectional import Merge

_NAMES = ("kernel", "recurrent_kernel", "bias")
_CELLS = {"LSTM": "LSTMCell", "GRU": "GRUCell", "SimpleRNN": "SimpleRNNCell"}
_GRID_CELLS = dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), "ConvLSTMCell")
_NONE_GIVEN = dict.fromkeys(("activation", "recurrent_activation", "reset_after"))
KERAS_LAYERS = (*_CELLS, *_GRID_CELLS, "Bidirectional")


def from_keras(
    source: Any,
    *,
    activation: str | None = None,
    recurrent_activation: str | None = None,
    reset_after: bool | None = None,
    bidirectional: bool | None = None,
    merge: Merge | None = None,
) -> Stacked:
    """A stack that computes what Keras layers do, one on another.

    Ours always gives outputs at all steps and final states, so `return_sequences` and `return_state` are not kept, nor
    is what acts in training or at construction only: regularizers, constraints, initializers. Of a GRU's two biases for
    r and z the sum is kept, rounded to the weights' dtype; `to_keras` writes it into the first, and zeros into the
    second. At a masked step ours gives zeros, as Keras does with `zero_output_for_mask`.

    Args:
      source: a built layer; or its weights, as a list in the order of `get_weights()` or as a dict of "kernel",
        "recurrent_kernel" and, unless without, "bias"; or a list of layers, bottom first; or the weights of several,
        one list, as `Sequential.get_weights()` gives them. A `ConvLSTM1D`, `2D` or `3D` must be a layer.
      activation, recurrent_activation: their names in Keras; a layer knows its own, weights don't, and None means
        "tanh" and "sigmoid".
      reset_after: of a GRU: where its reset gate acts. None: as the shape of its bias says, and True without a bias.
      bidirectional: whether weights in a list belong to `Bidirectional` layers; None means they don't.
      merge: what becomes of two directions' outputs; a layer knows its own, None means "concat".

    Returns:
      `lx.Stacked` of `lx.Recurrent` or `lx.Bidirectional` layers over `lx.cells.LSTM`, `GRU`, `ElmanRNN` or
      `ConvLSTM`.

    Raises:
      TypeError: another kind of source or layer, an entry that is no floating array, entries of several dtypes,
        float64 while jax_enable_x64 is off.
      ValueError: an entry that is missing, not known or of another shape; an activation that is not known; a layer with
        go_backwards, dropout or a state of its own, or not built; an argument that the layer contradicts.

    >>> weights = [np.ones((3, 20)), np.ones((5, 20)), np.zeros(20)]
    >>> layer = from_keras([array.astype("float32") for array in weights], recurrent_activation="hard_sigmoid")
    >>> layer(jnp.ones((2, 7, 3)))[0].shape
    (2, 7, 5)
    """
    given = {"activation": activation, "recurrent_activation": recurrent_activation, "reset_after": reset_after}
    if _is_layers(source):
        for name, value in (("bidirectional", bidirectional), ("merge", merge)):
            if value is not None:
                raise ValueError(f"{name} is for weights, and layers know their own, got {name} {value!r}")
        every = source if isinstance(source, Sequence) else [source]
        for layer in every:
            _check_off(layer)
        return from_layers(every, given)
    if merge is not None and not bidirectional:
        raise ValueError(f"merge needs bidirectional=True, got merge {merge!r}")
    every = [_from_arrays(entries, given) for entries in _named(source)]
    if not bidirectional:
        return stacked([one] for one in every)
    if len(every) % 2:
        raise ValueError(f"source must hold two directions' weights a layer, got {len(every)} directions")
    directions = list(zip(every[::2], every[1::2], strict=True))
    return stacked(directions, [merge] * len(directions))


def to_keras(layer: Any) -> list[np.ndarray]:
    """What `set_weights` of the Keras layer takes, or of a `Sequential` where `layer` is a stack of several.

    The Keras layers must be made with our sizes, biases and functions, `merge_mode`, `reset_after`, and a `dtype` that
    computes in ours ("mixed_bfloat16" for bfloat16 over float32 parameters); these are no weights. Dropout between
    layers is none either.

    Args:
      layer: a stack or one layer of LSTM, GRU (both forms), ElmanRNN or ConvLSTM cells, in one direction or both.

    Returns:
      Kernel, recurrent kernel and bias (if there is one) of each cell: bottom layer first, forward before backward.

    Raises:
      TypeError: layers or cells that Keras has not.
      ValueError: functions that Keras has not, or a learned initial state.

    >>> [array.shape for array in to_keras(lx.GRU(3, 5, bidirectional=True, rngs=nnx.Rngs(0)))]
    [(3, 15), (5, 15), (2, 15), (3, 15), (5, 15), (2, 15)]
    """
    weights: list[np.ndarray] = []
    for one in [one for below in layers_of(layer) for one in directions_of(below)]:
        entries = entries_of("keras", one)
        weights += [entries[name] for name in _NAMES if name in entries]
    return weights


def _is_layers(source: Any) -> bool:
    one = source[0] if isinstance(source, Sequence) and source else source
    if not isinstance(one, Mapping | Sequence) and "Layer" in kinds(one, "keras"):
        return True
    if isinstance(source, Mapping) or (isinstance(source, Sequence) and source and not isinstance(source, str)):
        return False
    raise TypeError(f"source must be keras layers, a list of arrays or a dict of them, got {type(source).__name__}")


def from_layers(layers: Sequence[Any], given: Mapping[str, Any] = _NONE_GIVEN) -> Stacked:
    """Layers as a stack; dropout and a state of their own are not looked at.

    Args:
      layers: Keras layers, built.
      given: settings to be found in them too.
    """
    pairs = [_from_layer(layer, given) for layer in layers]
    return stacked((both for both, _ in pairs), (mode for _, mode in pairs))


def _from_layer(layer: Any, given: Mapping[str, Any]) -> tuple[list[Recurrent], Merge | None]:
    if class_of(layer, "keras", ("Bidirectional",)) is None:
        return [_from_cell(layer, given, backward=False)], None
    ways = [_from_cell(layer.forward_layer, given, False), _from_cell(layer.backward_layer, given, True)]
    return ways, "none" if layer.merge_mode is None else layer.merge_mode


def _from_cell(layer: Any, given: Mapping[str, Any], backward: bool) -> Recurrent:
    kind = class_of(layer, "keras", KERAS_LAYERS[:-1])
    if kind is None:
        wanted = ", ".join(KERAS_LAYERS[:-1])
        raise TypeError(f"source must be a keras {wanted} or Bidirectional, got {type(layer).__name__}")
    _check_plain(layer, backward)
    cell = layer.cell
    if class_of(cell, "keras", ((_CELLS | _GRID_CELLS)[kind],)) is None:
        raise TypeError(f"source must have a keras {(_CELLS | _GRID_CELLS)[kind]}, got {type(cell).__name__}")
    own = {name: settle(name, value, _own(cell, name), None) for name, value in given.items()}
    layout = _in_form(LAYOUTS["keras"]["ConvLSTM" if kind in _GRID_CELLS else kind], own["reset_after"])
    entries = {name: getattr(cell, name) for name in _NAMES if getattr(cell, name) is not None}
    options = _functions(layout, own) | {"dtype": getattr(jnp, cell.compute_dtype)}
    return _from_grid_cell(cell, entries, options) if kind in _GRID_CELLS else recurrent(layout, entries, str, options)


def _from_grid_cell(cell: Any, entries: Mapping[str, Any], options: Mapping[str, Any]) -> Recurrent:
    """Of a ConvLSTM, whose kernels and gates lie as ours do."""
    if cell.data_format != "channels_last":
        raise ValueError(f"source must have its channels last, got data_format {cell.data_format!r}")
    arrays = {name: copied(name, value) for name, value in entries.items()}
    ours = cells.ConvLSTM(
        cell.input_dim,
        cell.filters,
        spatial_shape=tuple(cell.spatial_dims),
        kernel_size=tuple(cell.kernel_size),
        strides=tuple(cell.strides),
        dilation=tuple(cell.dilation_rate),
        padding=cell.padding.upper(),
        use_bias="bias" in arrays,
        param_dtype=common_dtype(arrays, str),
        **options,
    )
    return filled(ours, dict(zip(("w_x", "w_h", "b"), arrays.values(), strict=False)))


def _from_arrays(entries: Mapping[str, Any], given: Mapping[str, Any]) -> Recurrent:
    layout = _in_form(guess(["keras"], entries), given["reset_after"])
    return recurrent(layout, entries, str, _functions(layout, given))


def _check_plain(layer: Any, backward: bool) -> None:
    """What ours can't be made to do, or does elsewhere, is refused."""
    way = "a backward layer with go_backwards=True" if backward else "a layer without go_backwards"
    if layer.go_backwards != backward:
        raise ValueError(f"source must be {way}, got {layer.name} with go_backwards={layer.go_backwards}")
    if not layer.cell.built:
        raise ValueError(f"source must be built, so that it has weights, got {layer.name}, which is not")


def _check_off(layer: Any) -> None:
    """What a stack made from nothing but the layer would not do is off."""
    for one in (getattr(layer, "forward_layer", layer), getattr(layer, "backward_layer", layer)):
        for name in ("stateful", "dropout", "recurrent_dropout"):
            if getattr(one, name, False):
                raise ValueError(
                    f"source must have {name} off (its get_weights() can be given instead), got {getattr(one, name)}"
                )


def _own(cell: Any, name: str) -> Any:
    """A setting of a cell; of an activation, its name, if Keras or we say what that is."""
    value = getattr(cell, name, None)
    if not callable(value):
        return value
    if getattr(value, "__module__", "").startswith("keras."):
        return getattr(value, "__name__", repr(value))
    return next((known for known, function in KERAS_FUNCTIONS.items() if function is value), repr(value))


def _functions(layout: Layout, names: Mapping[str, Any]) -> dict[str, Any]:
    """The cell's functions, by what they are called in Keras."""
    activation, gate = names["activation"] or "tanh", names["recurrent_activation"]
    checks.one_of("activation", activation, tuple(KERAS_FUNCTIONS))
    functions = {"activation_fn": KERAS_FUNCTIONS[activation]}
    if len(layout.gates) == 1:
        if gate is not None:
            raise ValueError(f"recurrent_activation is for gates, of which source has none, got {gate!r}")
        return functions
    checks.one_of("recurrent_activation", gate or "sigmoid", tuple(KERAS_FUNCTIONS))
    return functions | {"gate_fn": KERAS_FUNCTIONS[gate or "sigmoid"]}


def _in_form(layout: Layout, reset_after: bool | None) -> Layout:
    """The layout itself, or that of the GRU with `reset_after` as given."""
    if reset_after is None or reset_after == layout.reset_after:
        return layout
    if layout.reset_after is None:
        raise ValueError(f"reset_after is a GRU's, and source holds another kind, got reset_after {reset_after}")
    return LAYOUTS["keras"]["GRU" if reset_after else "GRU(reset_after=False)"]


def _named(source: Mapping[str, Any] | Sequence[Any]) -> list[Mapping[str, Any]]:
    """The arrays of each direction of each layer, under their names."""
    if isinstance(source, Mapping):
        return [source]
    shapes = [np.shape(array) for array in source]
    has_bias = len(shapes) > 2 and (len(shapes[2]) == 1 or (len(shapes) % 3 == 0 and shapes[2] == (2, shapes[1][-1])))
    if has_bias and len(shapes) % 2 == 0 and shapes[1] == shapes[2]:  # a GRU with H = 2 and two biases, or none
        raise ValueError("source must be layers or dicts where a bias looks like a kernel, got a list of arrays")
    size = 3 if has_bias else 2
    if len(shapes) % size:
        raise ValueError(f"source must hold {' and '.join(_NAMES[:size])} of each cell, got {len(shapes)} arrays")
    return [dict(zip(_NAMES, source[at : at + size], strict=False)) for at in range(0, len(shapes), size)]
