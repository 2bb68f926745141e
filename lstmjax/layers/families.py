"""Whole stacks from one kind of cell, and the stacks people ask for by name."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import cells, checks, initializers
from lstmjax.layers.bidirectional import Bidirectional, Merge
from lstmjax.layers.keywords import refuses_other_keywords
from lstmjax.layers.recurrent import Layer, Recurrent, check_rngs
from lstmjax.layers.stacked import Residual, Stacked
from lstmjax.regularizers import Dropout, RecurrentDropout, WeightDrop
from lstmjax.types import Array, Cell, DTypeLike, Initializer

MakeCell = Callable[[int, int], Cell[Any, Any]]
MakeCellOver = Callable[[tuple[int, ...], int], Cell[Any, Any]]
Function = Callable[[Array], Array]
Start = Literal["zeros", "learned"]


class Stacking(NamedTuple):
    """How layers are put together, as `stack` explains."""

    num_layers: int | None
    bidirectional: bool
    merge: Merge
    dropout: float
    residual: bool
    initial_state: Start

    def assemble(
        self,
        make_cell: MakeCellOver,
        in_shape: tuple[int, ...],
        hidden_features: int | Sequence[int],
        rngs: nnx.Rngs,
    ) -> tuple[list[Layer], Dropout]:
        """The arguments of `Stacked`; `make_cell` takes the shape of a layer's input and its hidden_features."""
        check_rngs("rngs", rngs)
        widths = _widths(hidden_features, self.num_layers)
        checks.boolean("bidirectional", self.bidirectional)
        checks.boolean("residual", self.residual)
        checks.rate("dropout", self.dropout)
        if self.merge != "concat" and not self.bidirectional:
            raise ValueError(f"merge needs bidirectional=True, got merge {self.merge!r}")
        for name, value in (("dropout", self.dropout), ("residual", self.residual)):
            if value and len(widths) == 1:
                raise ValueError(
                    f"{name} acts between layers, so it needs num_layers of at least 2, got {name} {value}"
                )
        layers: list[Layer] = []
        for width in widths:
            cell = make_cell(layers[-1].out_shape if layers else in_shape, width)
            layer: Layer = Recurrent(cell, initial_state=self.initial_state, rngs=rngs)
            if self.bidirectional:
                backward = Recurrent(cell, initial_state=self.initial_state, rngs=rngs)
                layer = Bidirectional(layer, backward, self.merge)
            layers.append(Residual(layer) if self.residual and layers else layer)
        return layers, Dropout(self.dropout)


@refuses_other_keywords
def stack(
    make_cell: MakeCell,
    in_features: int,
    hidden_features: int | Sequence[int],
    *,
    rngs: nnx.Rngs,
    num_layers: int | None = None,
    bidirectional: bool = False,
    merge: Merge = "concat",
    dropout: float = 0.0,
    residual: bool = False,
    initial_state: Start = "zeros",
) -> Stacked:
    """Layers of one kind of cell.

    Args:
      make_cell: from a layer's in_features and hidden_features to its cell.
      in_features: I, of the lowest layer.
      hidden_features: H, of every layer, or a width for each, bottom first.
      rngs: draws the initial parameters (stream "params").
      num_layers: L; None means one, or as many as there are widths.
      bidirectional: whether each layer is two, one in each direction, with parameters of their own.
      merge: of the two directions' outputs [B, T, H]: "concat" [B, T, 2H], "sum", "mul", "ave" or "none" (a pair).
      dropout: rate in [0, 1), on the outputs of each layer but the last; active when a call is given a key.
      residual: whether every layer but the lowest adds its input to its output.
      initial_state: "zeros", or "learned": one trained state for each layer, from which every sequence starts.

    Returns:
      The stack; its state is a tuple, one a layer.

    Raises:
      ValueError: a size below 1, a count of widths other than `num_layers`, a rate outside [0, 1), `merge` without
        `bidirectional`, dropout or residual with a single layer, where they would do nothing.
      TypeError: a keyword that is not known, or a value of another kind.

    >>> cell = lambda i, h: lx.regularizers.WeightDrop(lx.cells.LSTM(i, h), 0.5)
    >>> layer = lx.stack(cell, 3, [8, 6], bidirectional=True, dropout=0.1, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 7, 3)))[0].shape
    (2, 7, 12)
    """
    checks.function("make_cell", make_cell)
    stacking = Stacking(num_layers, bidirectional, merge, dropout, residual, initial_state)

    def make_over(shape: tuple[int, ...], width: int) -> Cell[Any, Any]:
        return make_cell(shape[-1], width)

    return Stacked(*stacking.assemble(make_over, (in_features,), hidden_features, rngs))


class LSTM(Stacked):
    """Long short-term memory over whole sequences: one layer or several, in one direction or both.

        i, f, g, o = split(x W_x + b + h W_h)
        i, f, o = gate_fn(i), gate_fn(f), gate_fn(o)
        g = activation_fn(g)
        c' = f * c + i * g
        h' = o * activation_fn(c')

    Args:
      in_features: I.
      hidden_features: H, of every layer, or a width for each, bottom first.
      rngs: draws the initial parameters (stream "params").
      num_layers: L; None means one, or as many as there are widths.
      bidirectional: whether each layer is two, one in each direction, with parameters of their own.
      merge: of the two directions' outputs [B, T, H]: "concat" [B, T, 2H], "sum", "mul", "ave" or "none" (a pair).
      dropout: rate in [0, 1), on the outputs of each layer but the last; active when a call is given a key.
      residual: whether every layer but the lowest adds its input to its output.
      initial_state: "zeros", or "learned": one trained state for each layer, from which every sequence starts.
      recurrent_dropout: rate in [0, 1), on h where it enters `h W_h`, one mask a sequence; active when a call is given
        a key. See `regularizers.RecurrentDropout`.
      weight_drop: rate in [0, 1), on `W_h` itself, one mask a call; active when a call is given a key. See
        `regularizers.WeightDrop`.
      proj_features: P, of a projection of h, which makes outputs [B, T, P]; at most H. None means none. See
        `cells.ProjectedLSTM`.
      forget_bias: added to the forget gate's part of the initial `b`; finite.
      gate_fn: of i, f and o; by default the sigmoid.
      activation_fn: of g and c'; by default tanh.
      use_bias: whether the cells have biases.
      kernel_init: draws each gate's block [I, H] of `w_x`; by default Glorot's uniform.
      recurrent_init: draws each gate's block [H, H] of `w_h`; by default orthogonal.
      bias_init: draws the biases; by default zeros.
      dtype: what to compute in; None means `param_dtype`. With bfloat16 or float16, c and all sums stay float32.
      param_dtype: what parameters are stored in.

    Raises:
      ValueError: a size below 1, a count of widths other than `num_layers`, a rate outside [0, 1), `merge` without
        `bidirectional`, dropout or residual with a single layer, where they would do nothing.
      TypeError: a keyword that is not known, or a value of another kind.

    Source: Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000. `stack` makes such layers of any cell.

    >>> layer = lx.LSTM(3, 5, num_layers=2, rngs=nnx.Rngs(0))
    >>> ys, state = layer(jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4]))
    >>> ys.shape, len(state), state[-1].h.shape
    ((2, 7, 5), 2, (2, 5))
    """

    @refuses_other_keywords
    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        *,
        rngs: nnx.Rngs,
        num_layers: int | None = None,
        bidirectional: bool = False,
        merge: Merge = "concat",
        dropout: float = 0.0,
        residual: bool = False,
        initial_state: Start = "zeros",
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        proj_features: int | None = None,
        forget_bias: float = 1.0,
        gate_fn: Function = jax.nn.sigmoid,
        activation_fn: Function = jnp.tanh,
        use_bias: bool = True,
        kernel_init: Initializer = initializers.glorot_uniform,
        recurrent_init: Initializer = initializers.orthogonal,
        bias_init: Initializer = initializers.zeros,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ) -> None:
        make_cell: functools.partial[Any] = functools.partial(
            cells.LSTM,
            forget_bias=forget_bias,
            gate_fn=gate_fn,
            activation_fn=activation_fn,
            use_bias=use_bias,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            dtype=dtype,
            param_dtype=param_dtype,
        )
        if proj_features is not None:
            make_cell = functools.partial(cells.ProjectedLSTM, **make_cell.keywords, proj_features=proj_features)
        stacking = Stacking(num_layers, bidirectional, merge, dropout, residual, initial_state)
        make_noisy = _with_noise(make_cell, recurrent_dropout, weight_drop)
        super().__init__(*stacking.assemble(make_noisy, (in_features,), hidden_features, rngs))


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
      num_layers: L; None means one, or as many as there are widths.
      bidirectional: whether each layer is two, one in each direction, with parameters of their own.
      merge: of the two directions' outputs [B, T, H]: "concat" [B, T, 2H], "sum", "mul", "ave" or "none" (a pair).
      dropout: rate in [0, 1), on the outputs of each layer but the last; active when a call is given a key.
      residual: whether every layer but the lowest adds its input to its output.
      initial_state: "zeros", or "learned": one trained state for each layer, from which every sequence starts.
      recurrent_dropout: rate in [0, 1), on h where it enters `h W_h`, one mask a sequence; active when a call is given
        a key. See `regularizers.RecurrentDropout`.
      weight_drop: rate in [0, 1), on `W_h` itself, one mask a call; active when a call is given a key. See
        `regularizers.WeightDrop`.
      reset_after: whether the reset gate acts after the recurrent product or before.
      gate_fn: of r and z; by default the sigmoid.
      activation_fn: of n; by default tanh.
      use_bias: whether the cells have biases.
      kernel_init: draws each gate's block [I, H] of `w_x`; by default Glorot's uniform.
      recurrent_init: draws each gate's block [H, H] of `w_h`; by default orthogonal.
      bias_init: draws the biases; by default zeros.
      dtype: what to compute in; None means `param_dtype`. With bfloat16 or float16, all sums stay float32.
      param_dtype: what parameters are stored in.

    Raises:
      ValueError: a size below 1, a count of widths other than `num_layers`, a rate outside [0, 1), `merge` without
        `bidirectional`, dropout or residual with a single layer, where they would do nothing.
      TypeError: a keyword that is not known, or a value of another kind.

    Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder".

    >>> ys, state = lx.GRU(3, 5, bidirectional=True, rngs=nnx.Rngs(0))(jnp.ones((2, 7, 3)))
    >>> ys.shape, state[0].forward.h.shape
    ((2, 7, 10), (2, 5))
    """

    @refuses_other_keywords
    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        *,
        rngs: nnx.Rngs,
        num_layers: int | None = None,
        bidirectional: bool = False,
        merge: Merge = "concat",
        dropout: float = 0.0,
        residual: bool = False,
        initial_state: Start = "zeros",
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        reset_after: bool = True,
        gate_fn: Function = jax.nn.sigmoid,
        activation_fn: Function = jnp.tanh,
        use_bias: bool = True,
        kernel_init: Initializer = initializers.glorot_uniform,
        recurrent_init: Initializer = initializers.orthogonal,
        bias_init: Initializer = initializers.zeros,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ) -> None:
        make_cell = functools.partial(
            cells.GRU,
            reset_after=reset_after,
            gate_fn=gate_fn,
            activation_fn=activation_fn,
            use_bias=use_bias,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            dtype=dtype,
            param_dtype=param_dtype,
        )
        stacking = Stacking(num_layers, bidirectional, merge, dropout, residual, initial_state)
        make_noisy = _with_noise(make_cell, recurrent_dropout, weight_drop)
        super().__init__(*stacking.assemble(make_noisy, (in_features,), hidden_features, rngs))


class ElmanRNN(Stacked):
    """The plain recurrent network over whole sequences: one layer or several, in one direction or both.

        h' = activation_fn(x W_x + b + h W_h)

    Args:
      activation_fn: by default tanh. Other arguments: those of `LSTM` but for gate_fn, forget_bias and
        proj_features.

    Raises:
      ValueError, TypeError: as `LSTM`.

    Source: Elman 1990, "Finding Structure in Time".

    >>> lx.ElmanRNN(3, 5, activation_fn=jax.nn.relu, rngs=nnx.Rngs(0))(jnp.ones((2, 7, 3)))[0].shape
    (2, 7, 5)
    """

    @refuses_other_keywords
    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        *,
        rngs: nnx.Rngs,
        num_layers: int | None = None,
        bidirectional: bool = False,
        merge: Merge = "concat",
        dropout: float = 0.0,
        residual: bool = False,
        initial_state: Start = "zeros",
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        activation_fn: Function = jnp.tanh,
        use_bias: bool = True,
        kernel_init: Initializer = initializers.glorot_uniform,
        recurrent_init: Initializer = initializers.orthogonal,
        bias_init: Initializer = initializers.zeros,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ) -> None:
        make_cell = functools.partial(
            cells.ElmanRNN,
            activation_fn=activation_fn,
            use_bias=use_bias,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            dtype=dtype,
            param_dtype=param_dtype,
        )
        stacking = Stacking(num_layers, bidirectional, merge, dropout, residual, initial_state)
        make_noisy = _with_noise(make_cell, recurrent_dropout, weight_drop)
        super().__init__(*stacking.assemble(make_noisy, (in_features,), hidden_features, rngs))


class ConvLSTM(Stacked):
    """Convolutional LSTM over sequences of grids, such as frames [B, T, height, width, I]: one layer or several.

    Args:
      in_features: I, the input's channels.
      hidden_features: H, the channels of every layer's output, or a number for each, bottom first.
      spatial_shape: sizes of the input's grid, one to three of them: (height, width) of frames.
      kernel_size: of the input's and the state's convolution: a number, or one a dimension.
      strides, dilation: of the input's convolution, in every layer: a number, or one a dimension.
      padding: "SAME" or "VALID", of the input's convolution. The state's always keeps its grid.

    Other arguments: those of `LSTM` but for proj_features.

    Raises:
      ValueError: see `lstmjax.cells.ConvLSTM`.
      TypeError: a keyword that is not known, or a value of another kind.

    >>> layer = lx.ConvLSTM(3, 8, num_layers=2, spatial_shape=(16, 12), kernel_size=3, rngs=nnx.Rngs(0))
    >>> ys, state = layer(jnp.ones((2, 4, 16, 12, 3)))
    >>> ys.shape, state[-1].c.shape
    ((2, 4, 16, 12, 8), (2, 16, 12, 8))
    """

    @refuses_other_keywords
    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        *,
        spatial_shape: tuple[int, ...],
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        dilation: int | tuple[int, ...] = 1,
        padding: Literal["SAME", "VALID"] = "SAME",
        rngs: nnx.Rngs,
        num_layers: int | None = None,
        bidirectional: bool = False,
        merge: Merge = "concat",
        dropout: float = 0.0,
        residual: bool = False,
        initial_state: Start = "zeros",
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        forget_bias: float = 1.0,
        gate_fn: Function = jax.nn.sigmoid,
        activation_fn: Function = jnp.tanh,
        use_bias: bool = True,
        kernel_init: Initializer = initializers.glorot_uniform,
        recurrent_init: Initializer = initializers.orthogonal,
        bias_init: Initializer = initializers.zeros,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ) -> None:
        checks.sizes("spatial_shape", spatial_shape, range(1, 4))
        make_cell = functools.partial(
            cells.ConvLSTM,
            kernel_size=kernel_size,
            strides=strides,
            dilation=dilation,
            padding=padding,
            forget_bias=forget_bias,
            gate_fn=gate_fn,
            activation_fn=activation_fn,
            use_bias=use_bias,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            dtype=dtype,
            param_dtype=param_dtype,
        )
        stacking = Stacking(num_layers, bidirectional, merge, dropout, residual, initial_state)
        make_noisy = _with_noise(make_cell, recurrent_dropout, weight_drop)
        super().__init__(*stacking.assemble(make_noisy, (*spatial_shape, in_features), hidden_features, rngs))


def _with_noise(make_cell: Callable[..., Cell[Any, Any]], recurrent_dropout: float, weight_drop: float) -> MakeCellOver:
    """`make_cell` for inputs of any shape, each cell with the noise of these rates."""
    checks.rate("recurrent_dropout", recurrent_dropout)
    checks.rate("weight_drop", weight_drop)

    def make(shape: tuple[int, ...], width: int) -> Cell[Any, Any]:
        *grid, in_features = shape
        cell = make_cell(in_features, width, spatial_shape=tuple(grid)) if grid else make_cell(in_features, width)
        if recurrent_dropout > 0:
            cell = RecurrentDropout(cell, recurrent_dropout)
        return WeightDrop(cell, weight_drop) if weight_drop > 0 else cell

    return make


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
