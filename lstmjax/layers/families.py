"""Whole stacks from one kind of cell, and the stacks people ask for by name."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, Unpack

import jax.numpy as jnp
from flax import nnx

from lstmjax import cells, checks
from lstmjax.layers.bidirectional import Bidirectional, Merge
from lstmjax.layers.recurrent import Layer, Recurrent
from lstmjax.layers.stacked import Residual, Stacked
from lstmjax.regularizers import Dropout
from lstmjax.types import Array, Cell, DTypeLike

MakeCell = Callable[[int, int], Cell[Any, Any]]


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
    return Stacked(*_assemble(make_cell, in_features, hidden_features, rngs, **stacking))


class LSTM(Stacked):
    """Long short-term memory over whole sequences: one layer or several, in one direction or both.

    Args:
      in_features: I.
      hidden_features: H, of every layer, or a width for each, bottom first.
      use_bias: whether the cells have a bias.
      dtype: what to compute in; None means `param_dtype`.
      param_dtype: what parameters are stored in.
      rngs: draws the initial parameters (stream "params").
      stacking: num_layers, bidirectional, merge, dropout, residual, initial_state; see `Stacking`.

    Raises:
      ValueError: see `stack`, which also makes stacks of every other cell.

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
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
        **stacking: Unpack[Stacking],
    ) -> None:
        make_cell = functools.partial(cells.LSTM, use_bias=use_bias, dtype=dtype, param_dtype=param_dtype)
        super().__init__(*_assemble(make_cell, in_features, hidden_features, rngs, **stacking))


class GRU(Stacked):
    """Gated recurrent unit over whole sequences: one layer or several, in one direction or both.

    Args:
      reset_after: where the reset gate acts, see `lstmjax.cells.GRU`; all else is as for `LSTM`.

    >>> ys, state = lx.GRU(3, 5, bidirectional=True, rngs=nnx.Rngs(0))(jnp.ones((2, 7, 3)))
    >>> ys.shape, state[0].forward.h.shape
    ((2, 7, 10), (2, 5))
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        *,
        reset_after: bool = True,
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
        **stacking: Unpack[Stacking],
    ) -> None:
        make_cell = functools.partial(
            cells.GRU, reset_after=reset_after, use_bias=use_bias, dtype=dtype, param_dtype=param_dtype
        )
        super().__init__(*_assemble(make_cell, in_features, hidden_features, rngs, **stacking))


class ElmanRNN(Stacked):
    """The plain recurrent network over whole sequences: one layer or several, in one direction or both.

    Args:
      activation_fn: `jnp.tanh`, `jax.nn.relu` or any other; all else is as for `LSTM`.

    >>> lx.ElmanRNN(3, 5, activation_fn=jax.nn.relu, rngs=nnx.Rngs(0))(jnp.ones((2, 7, 3)))[0].shape
    (2, 7, 5)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        *,
        activation_fn: Callable[[Array], Array] = jnp.tanh,
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
        **stacking: Unpack[Stacking],
    ) -> None:
        make_cell = functools.partial(
            cells.ElmanRNN, activation_fn=activation_fn, use_bias=use_bias, dtype=dtype, param_dtype=param_dtype
        )
        super().__init__(*_assemble(make_cell, in_features, hidden_features, rngs, **stacking))


class ConvLSTM(Recurrent):
    """Convolutional LSTM over sequences of grids of 1, 2 or 3 dimensions, channels last.

    Args:
      in_features: I, the input's channels.
      hidden_features: H, the output's channels.
      spatial_shape: sizes of the input's grid.
      kernel_size: of the input's and the state's convolution, one number a dimension.
      strides, dilation, padding: of the input's convolution; see `lstmjax.cells.ConvLSTM`.
      use_bias: whether the cell has a bias.
      dtype: what to compute in; None means `param_dtype`.
      param_dtype: what parameters are stored in.
      initial_state: "zeros" or "learned", see `Recurrent`.
      rngs: draws the initial parameters (stream "params").

    Raises:
      ValueError: see `lstmjax.cells.ConvLSTM`.

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
        use_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        initial_state: Literal["zeros", "learned"] = "zeros",
        rngs: nnx.Rngs,
    ) -> None:
        cell = cells.ConvLSTM(
            in_features,
            hidden_features,
            spatial_shape=spatial_shape,
            kernel_size=kernel_size,
            strides=strides,
            dilation=dilation,
            padding=padding,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
        )
        super().__init__(cell, initial_state=initial_state, rngs=rngs)


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
    widths = _widths(hidden_features, num_layers)
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
    if not isinstance(hidden_features, Sequence):
        return [hidden_features] * (num_layers or 1)
    if not hidden_features:
        raise ValueError("hidden_features must be a width or at least one width a layer, got none")
    if num_layers not in (None, len(hidden_features)):
        raise ValueError(f"hidden_features must be {num_layers} widths, one a layer, got {len(hidden_features)}")
    return list(hidden_features)
