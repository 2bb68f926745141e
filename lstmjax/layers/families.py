"""Whole stacks from one kind of cell, and the stacks people ask for by name."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from flax import nnx

from lstmjax import cells, checks
from lstmjax.layers.bidirectional import Bidirectional, Merge
from lstmjax.layers.keywords import IN_CONSTRUCTION, refuse_unknown
from lstmjax.layers.recurrent import Layer, Recurrent, check_rngs
from lstmjax.layers.stacked import Residual, Stacked
from lstmjax.regularizers import Dropout
from lstmjax.types import Array, Cell, DTypeLike, Initializer

MakeCell = Callable[[int, int], Cell[Any, Any]]
Function = Callable[[Array], Array]


class Stacking(TypedDict, total=False):
    """How the layers of a stack are put together: keywords of `stack` and of every family.

    Keys:
      num_layers: L; None means one, or as many as there are widths.
      bidirectional: two cells a layer, one in each direction.
      merge: of the two directions' outputs, see `Bidirectional`.
      dropout: rate in [0, 1), on what each layer but the last hands up; active when a call is given a key.
      residual: every layer but the lowest adds its input to its output.
      initial_state: "zeros" or "learned", see `Recurrent`.
    """

    num_layers: int | None
    bidirectional: bool
    merge: Merge
    dropout: float
    residual: bool
    initial_state: Literal["zeros", "learned"]


class CellOptions(TypedDict, total=False):
    """Fields that the cells of every family have."""

    use_bias: bool
    kernel_init: Initializer
    recurrent_init: Initializer
    bias_init: Initializer
    dtype: DTypeLike | None
    param_dtype: DTypeLike


class MemoryOptions(CellOptions, total=False):
    """Fields of cells with a gated memory."""

    forget_bias: float
    gate_fn: Function
    activation_fn: Function


class LSTMOptions(MemoryOptions, Stacking, total=False):
    """Keywords of `LSTM`."""


class GRUOptions(CellOptions, Stacking, total=False):
    """Keywords of `GRU`."""

    reset_after: bool
    gate_fn: Function
    activation_fn: Function


class ElmanOptions(CellOptions, Stacking, total=False):
    """Keywords of `ElmanRNN`."""

    activation_fn: Function


def stack(
    make_cell: MakeCell,
    in_features: int,
    hidden_features: int | Sequence[int],
    *,
    rngs: nnx.Rngs,
    **stacking: Unpack[Stacking],
) -> Stacked:
    """Layers of one kind of cell, each as wide as it is told to be.

    Args:
      make_cell: from a layer's in_features and hidden_features to its cell.
      in_features: I, of the lowest layer.
      hidden_features: H, of every layer, or a width for each, bottom first.
      rngs: draws the initial parameters (stream "params").
      stacking: num_layers, bidirectional, merge, dropout, residual, initial_state; see `Stacking`.

    Returns:
      The stack; its state is a tuple, one a layer.

    Raises:
      ValueError: a size below 1, a count of widths other than `num_layers`, a rate outside [0, 1), `merge` without
        `bidirectional`, dropout or residual with a single layer, where they would do nothing.

    >>> cell = lambda i, h: lx.regularizers.WeightDrop(lx.cells.LSTM(i, h), 0.5)
    >>> layer = lx.stack(cell, 3, [8, 6], bidirectional=True, dropout=0.1, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 7, 3)))[0].shape
    (2, 7, 12)
    """
    checks.function("make_cell", make_cell)
    refuse_unknown("stack", stacking, Stacking.__annotations__, IN_CONSTRUCTION)
    return Stacked(*_assemble(make_cell, in_features, hidden_features, rngs, **stacking))


class LSTM(Stacked):
    """Long short-term memory over whole sequences: one layer or several, in one direction or both.

        i, f, g, o = split(x W_x + b + h W_h)
        c' = gate_fn(f) * c + gate_fn(i) * activation_fn(g)
        h' = gate_fn(o) * activation_fn(c')

    Args:
      in_features: I.
      hidden_features: H, of every layer, or a width for each, bottom first.
      rngs: draws the initial parameters (stream "params").
      use_bias: whether the cells have a bias.
      kernel_init: draws each gate's block [I, H] of `w_x`; Glorot unless told otherwise.
      recurrent_init: draws each gate's block [H, H] of `w_h`; orthogonal unless told otherwise.
      bias_init: draws the biases; zeros unless told otherwise.
      forget_bias: added to the forget gate's part of the initial `b`, finite; 1.0 unless told otherwise.
      gate_fn: of i, f, o; `jax.nn.sigmoid` unless told otherwise.
      activation_fn: of g and of the memory on its way out; `jnp.tanh` unless told otherwise.
      dtype: what to compute in; None means `param_dtype`. In half precision memories and sums stay float32.
      param_dtype: what parameters are stored in, float32 unless told otherwise.
      num_layers: L; None means one, or as many as there are widths.
      bidirectional: two cells a layer, one in each direction.
      merge: of the two directions' outputs: "concat" (unless told otherwise), "sum", "mul", "ave" or "none".
      dropout: rate in [0, 1), on what each layer but the last hands up; active when a call is given a key.
      residual: every layer but the lowest adds its input to its output.
      initial_state: "zeros" or "learned", see `Recurrent`.

    Raises:
      ValueError: a size below 1, a count of widths other than `num_layers`, a rate outside [0, 1), `merge` without
        `bidirectional`, dropout or residual with a single layer, where they would do nothing.
      TypeError: a keyword that is not known, or a value of another kind.

    Source: Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000. `stack` makes stacks of every other cell.

    >>> layer = lx.LSTM(3, 5, num_layers=2, rngs=nnx.Rngs(0))
    >>> ys, state = layer(jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4]))
    >>> ys.shape, len(state), state[-1].h.shape
    ((2, 7, 5), 2, (2, 5))
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        *,
        rngs: nnx.Rngs,
        **options: Unpack[LSTMOptions],
    ) -> None:
        super().__init__(*_family(cells.LSTM, in_features, hidden_features, rngs, options))


class GRU(Stacked):
    """Gated recurrent unit over whole sequences: one layer or several, in one direction or both.

        r = gate_fn(x W_xr + b_r + h W_hr)
        z = gate_fn(x W_xz + b_z + h W_hz)
        n = activation_fn(x W_xn + b_n + r * (h W_hn + b_h))        reset_after=True: PyTorch, cuDNN, Keras' default
        n = activation_fn(x W_xn + b_n + (r * h) W_hn)              reset_after=False: the original
        h' = z * h + (1 - z) * n

    Args:
      in_features: I.
      hidden_features: H, of every layer, or a width for each, bottom first.
      rngs: draws the initial parameters (stream "params").
      reset_after: where the reset gate acts; True unless told otherwise.
      use_bias: whether the cells have a bias.
      kernel_init: draws each gate's block [I, H] of `w_x`; Glorot unless told otherwise.
      recurrent_init: draws each gate's block [H, H] of `w_h`; orthogonal unless told otherwise.
      bias_init: draws the biases; zeros unless told otherwise.
      gate_fn: of r and z; `jax.nn.sigmoid` unless told otherwise.
      activation_fn: of the candidate n; `jnp.tanh` unless told otherwise.
      dtype: what to compute in; None means `param_dtype`. In half precision memories and sums stay float32.
      param_dtype: what parameters are stored in, float32 unless told otherwise.
      num_layers: L; None means one, or as many as there are widths.
      bidirectional: two cells a layer, one in each direction.
      merge: of the two directions' outputs: "concat" (unless told otherwise), "sum", "mul", "ave" or "none".
      dropout: rate in [0, 1), on what each layer but the last hands up; active when a call is given a key.
      residual: every layer but the lowest adds its input to its output.
      initial_state: "zeros" or "learned", see `Recurrent`.

    Raises:
      ValueError: a size below 1, a count of widths other than `num_layers`, a rate outside [0, 1), `merge` without
        `bidirectional`, dropout or residual with a single layer, where they would do nothing.
      TypeError: a keyword that is not known, or a value of another kind.

    Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder".

    >>> ys, state = lx.GRU(3, 5, bidirectional=True, rngs=nnx.Rngs(0))(jnp.ones((2, 7, 3)))
    >>> ys.shape, state[0].forward.h.shape
    ((2, 7, 10), (2, 5))
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        *,
        rngs: nnx.Rngs,
        **options: Unpack[GRUOptions],
    ) -> None:
        super().__init__(*_family(cells.GRU, in_features, hidden_features, rngs, options))


class ElmanRNN(Stacked):
    """The plain recurrent network over whole sequences: one layer or several, in one direction or both.

        h' = activation_fn(x W_x + b + h W_h)

    Args:
      in_features: I.
      hidden_features: H, of every layer, or a width for each, bottom first.
      rngs: draws the initial parameters (stream "params").
      activation_fn: `jnp.tanh` unless told otherwise, `jax.nn.relu` or any other.
      use_bias: whether the cells have a bias.
      kernel_init: draws each gate's block [I, H] of `w_x`; Glorot unless told otherwise.
      recurrent_init: draws each gate's block [H, H] of `w_h`; orthogonal unless told otherwise.
      bias_init: draws the biases; zeros unless told otherwise.
      dtype: what to compute in; None means `param_dtype`. In half precision memories and sums stay float32.
      param_dtype: what parameters are stored in, float32 unless told otherwise.
      num_layers: L; None means one, or as many as there are widths.
      bidirectional: two cells a layer, one in each direction.
      merge: of the two directions' outputs: "concat" (unless told otherwise), "sum", "mul", "ave" or "none".
      dropout: rate in [0, 1), on what each layer but the last hands up; active when a call is given a key.
      residual: every layer but the lowest adds its input to its output.
      initial_state: "zeros" or "learned", see `Recurrent`.

    Raises:
      ValueError: a size below 1, a count of widths other than `num_layers`, a rate outside [0, 1), `merge` without
        `bidirectional`, dropout or residual with a single layer, where they would do nothing.
      TypeError: a keyword that is not known, or a value of another kind.

    Source: Elman 1990, "Finding Structure in Time".

    >>> lx.ElmanRNN(3, 5, activation_fn=jax.nn.relu, rngs=nnx.Rngs(0))(jnp.ones((2, 7, 3)))[0].shape
    (2, 7, 5)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        *,
        rngs: nnx.Rngs,
        **options: Unpack[ElmanOptions],
    ) -> None:
        super().__init__(*_family(cells.ElmanRNN, in_features, hidden_features, rngs, options))


class ConvLSTM(Recurrent):
    """Convolutional LSTM over sequences of grids of 1, 2 or 3 dimensions, channels last.

    Args:
      in_features: I, the input's channels.
      hidden_features: H, the output's channels.
      spatial_shape: sizes of the input's grid.
      kernel_size: of the input's and the state's convolution, one number a dimension.
      strides, dilation, padding: of the input's convolution; see `lstmjax.cells.ConvLSTM`.
      initial_state: "zeros" or "learned", see `Recurrent`.
      rngs: draws the initial parameters (stream "params").
      cell: use_bias, kernel_init, recurrent_init, bias_init, dtype, param_dtype, forget_bias, gate_fn, activation_fn;
        see `LSTM`.

    Raises:
      ValueError: see `lstmjax.cells.ConvLSTM`.
      TypeError: a keyword that is not known, or a value of another kind.

    >>> layer = lx.ConvLSTM(3, 8, spatial_shape=(16, 12), kernel_size=(3, 3), rngs=nnx.Rngs(0))
    >>> ys, state = layer(jnp.ones((2, 4, 16, 12, 3)))
    >>> ys.shape, state.c.shape
    ((2, 4, 16, 12, 8), (2, 16, 12, 8))
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        spatial_shape: tuple[int, ...],
        kernel_size: tuple[int, ...],
        strides: tuple[int, ...] | None = None,
        dilation: tuple[int, ...] | None = None,
        padding: Literal["SAME", "VALID"] = "SAME",
        initial_state: Literal["zeros", "learned"] = "zeros",
        rngs: nnx.Rngs,
        **cell: Unpack[MemoryOptions],
    ) -> None:
        refuse_unknown("ConvLSTM", cell, MemoryOptions.__annotations__, IN_CONSTRUCTION)
        config = cells.ConvLSTM(
            in_features,
            hidden_features,
            spatial_shape=spatial_shape,
            kernel_size=kernel_size,
            strides=strides,
            dilation=dilation,
            padding=padding,
            **cell,
        )
        super().__init__(config, initial_state=initial_state, rngs=rngs)


def _family(
    kind: Callable[..., Cell[Any, Any]],
    in_features: int,
    hidden_features: int | Sequence[int],
    rngs: nnx.Rngs,
    options: Mapping[str, Any],
) -> tuple[list[Layer], Dropout]:
    """The arguments of `Stacked`, from keywords of which some are the cells' and some the stack's."""
    fields = inspect.signature(kind).parameters.keys() - {"in_features", "hidden_features"}
    refuse_unknown(kind.__name__, options, fields | Stacking.__annotations__.keys(), IN_CONSTRUCTION)
    own = {name: value for name, value in options.items() if name in fields}
    stacking = {name: value for name, value in options.items() if name not in fields}
    return _assemble(functools.partial(kind, **own), in_features, hidden_features, rngs, **stacking)


def _assemble(
    make_cell: MakeCell,
    in_features: int,
    hidden_features: int | Sequence[int],
    rngs: nnx.Rngs,
    *,
    num_layers: int | None = None,
    bidirectional: bool = False,
    merge: Merge = "concat",
    dropout: float = 0.0,
    residual: bool = False,
    initial_state: Literal["zeros", "learned"] = "zeros",
) -> tuple[list[Layer], Dropout]:
    """The arguments of `Stacked`."""
    check_rngs("rngs", rngs)
    widths = _widths(hidden_features, num_layers)
    checks.boolean("bidirectional", bidirectional)
    checks.boolean("residual", residual)
    checks.rate("dropout", dropout)
    if merge != "concat" and not bidirectional:
        raise ValueError(f"merge needs bidirectional=True, got merge {merge!r}")
    for name, value in (("dropout", dropout), ("residual", residual)):
        if value and len(widths) == 1:
            raise ValueError(f"{name} acts between layers, so it needs num_layers of at least 2, got {name} {value}")

    def one_layer(features: int, width: int) -> Layer:
        cell = make_cell(features, width)
        forward = Recurrent(cell, initial_state=initial_state, rngs=rngs)
        if not bidirectional:
            return forward
        return Bidirectional(forward, Recurrent(cell, initial_state=initial_state, rngs=rngs), merge)

    layers: list[Layer] = []
    for width in widths:
        layer = one_layer(layers[-1].out_shape[-1] if layers else in_features, width)
        layers.append(Residual(layer) if residual and layers else layer)
    return layers, Dropout(dropout)


def _widths(hidden_features: int | Sequence[int], num_layers: int | None) -> list[int]:
    if num_layers is not None:
        checks.positive_int("num_layers", num_layers)
    if not isinstance(hidden_features, Sequence) or isinstance(hidden_features, str):
        return [checks.positive_int("hidden_features", hidden_features)] * (num_layers or 1)
    if not hidden_features:
        raise ValueError("hidden_features must be a width or at least one width a layer, got none")
    if num_layers not in (None, len(hidden_features)):
        raise ValueError(f"hidden_features must be {num_layers} widths, one a layer, got {len(hidden_features)}")
    return list(hidden_features)
