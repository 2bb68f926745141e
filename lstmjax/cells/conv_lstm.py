"""The LSTM over grids: signals, images and volumes."""

import dataclasses
import math
from typing import Literal

import jax.numpy as jnp

from lstmjax import checks
from lstmjax.cells.base import add_bias
from lstmjax.cells.convolution import convolve
from lstmjax.cells.lstm import LSTMGates, LSTMParams, LSTMState, MemoryCell
from lstmjax.cells.masked import recurrent_factors
from lstmjax.types import Array, Float, Key


@dataclasses.dataclass(frozen=True)
class ConvLSTM(MemoryCell):
    """LSTM whose products are convolutions, over grids of 1, 2 or 3 dimensions, channels last.

        i, f, g, o = split(x conv W_x + b + h conv W_h)
        i, f, o = gate_fn(i), gate_fn(f), gate_fn(o)
        g = activation_fn(g)
        c' = f * c + i * g
        h' = o * activation_fn(c')

    A step's input is [*batch, *spatial_shape, I], its output [*batch, *grid, H], with `grid` what the input's
    convolution leaves of `spatial_shape`. Kernels are `w_x [*kernel, I, 4H]` and `w_h [*kernel, H, 4H]`.

    Args:
      in_features: I, the input's channels.
      hidden_features: H, the state's channels.
      spatial_shape: sizes of the input's grid, one to three of them.
      kernel_size: of both convolutions: a number, or one a dimension.
      strides: of the input's convolution: a number, or one a dimension.
      dilation: of the input's convolution: a number, or one a dimension.
      padding: "SAME" or "VALID", of the input's convolution. The state's always keeps its grid.

    Other arguments: those of `LSTM`.

    Raises:
      ValueError: a grid of no or more than three dimensions, another count of kernel sizes, strides or dilations,
        a size below 1, or a grid of which nothing is left.

    Source: Shi et al. 2015, "Convolutional LSTM Network" (without peepholes, as in Keras).

    >>> cell = ConvLSTM(3, 8, spatial_shape=(16, 12), kernel_size=(3, 3), strides=(2, 2))
    >>> lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((1, 4, 16, 12, 3)))[0].shape
    (1, 4, 8, 6, 8)
    """

    spatial_shape: tuple[int, ...] = dataclasses.field(kw_only=True)
    kernel_size: int | tuple[int, ...] = dataclasses.field(kw_only=True)
    strides: int | tuple[int, ...] = dataclasses.field(default=1, kw_only=True)
    dilation: int | tuple[int, ...] = dataclasses.field(default=1, kw_only=True)
    padding: Literal["SAME", "VALID"] = dataclasses.field(default="SAME", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.sizes("spatial_shape", self.spatial_shape, range(1, 4))
        for name in ("kernel_size", "strides", "dilation"):
            checks.sizes(name, self._each_dimension(getattr(self, name)), [len(self.spatial_shape)])
        checks.one_of("padding", self.padding, ("SAME", "VALID"))
        if min(self.grid) < 1:
            raise ValueError(f"spatial_shape must leave something to a kernel that wide, got {self.spatial_shape}")

    @property
    def grid(self) -> tuple[int, ...]:
        """Sizes of the state's grid."""
        kernel = self._each_dimension(self.kernel_size)
        return tuple(map(self._grid_size, self.spatial_shape, kernel, *self._steps))

    @property
    def _steps(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self._each_dimension(self.strides), self._each_dimension(self.dilation)

    def _each_dimension(self, size: int | tuple[int, ...]) -> tuple[int, ...]:
        return (size,) * len(self.spatial_shape) if isinstance(size, int) else size

    def _grid_size(self, size: int, kernel: int, stride: int, dilation: int) -> int:
        reach = 0 if self.padding == "SAME" else dilation * (kernel - 1)
        return math.ceil((size - reach) / stride)

    def init(self, key: Key[Array, ""]) -> LSTMParams:
        kernel = self._each_dimension(self.kernel_size)
        return LSTMParams(*self._init_weights(key, (*kernel, self.in_features), (*kernel, self.hidden_features)))

    def initial_state(self, batch_shape: tuple[int, ...]) -> LSTMState:
        """Zeros [*batch, *grid, H]."""
        return super().initial_state((*batch_shape, *self.grid))

    def project(self, params: LSTMParams, x: Float[Array, "*batch_grid I"]) -> Float[Array, "*batch_grid 4*H"]:
        self._check_input(x, (*self.spatial_shape, self.in_features))
        z = convolve(x, params.w_x, self.compute_dtype, *self._steps, self.padding)
        return add_bias(z, params.b)

    def step_with_gates(
        self, params: LSTMParams, state: LSTMState, projected: Float[Array, "*batch_grid 4*H"]
    ) -> tuple[LSTMState, Float[Array, "*batch_grid H"], LSTMGates]:
        h, w_h = recurrent_factors(state.h, params.w_h)
        ones = (1,) * len(self.grid)
        i, f, g, o = jnp.split(projected + convolve(h, w_h, self.compute_dtype, ones, ones, "SAME"), 4, axis=-1)
        i, f, o = self.gate_fn(i), self.gate_fn(f), self.gate_fn(o)
        g = self.activation_fn(g)
        c = f * state.c + i * g
        h = (o * self.activation_fn(c)).astype(self.compute_dtype)
        return LSTMState(h, c), h, LSTMGates(i, f, g, o)
