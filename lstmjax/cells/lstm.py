"""The long short-term memory cell."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstmjax import checks, initializers
from lstmjax.cells.precision import accumulation_dtype, matmul
from lstmjax.types import Array, DTypeLike, Float, Key


class LSTMParams(NamedTuple):
    """Fused weights, gate order i, f, g, o: `w_x [I, 4H]`, `w_h [H, 4H]`, `b [4H]`."""

    w_x: Float[Array, "I 4*H"]
    w_h: Float[Array, "H 4*H"]
    b: Float[Array, "4*H"]


class LSTMState(NamedTuple):
    """What a step hands to the next: hidden state `h [*batch, H]` and cell state `c [*batch, H]`."""

    h: Float[Array, "*batch H"]
    c: Float[Array, "*batch H"]


@dataclasses.dataclass(frozen=True)
class LSTM:
    """Long short-term memory.

        i, f, g, o = split(x W_x + b + h W_h)
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    Args:
      in_features: I, size of a step's input.
      hidden_features: H, size of the hidden and the cell state.
      forget_bias: initial bias of the forget gate; stored in `b`, so it is not added again at run time.
      dtype: what to compute in; None means `param_dtype`. With bfloat16 or float16 the cell state and all sums stay
        float32.
      param_dtype: what parameters are stored in.

    Raises:
      ValueError: a size below 1.
      TypeError: a size that is no whole number, a dtype that is not floating.

    Source: Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000.

    >>> cell = LSTM(in_features=3, hidden_features=5)
    >>> params = cell.init(jax.random.key(0))
    >>> z = cell.project(params, jnp.ones((2, 3)))
    >>> state, y = cell.step(params, cell.initial_state((2,)), z)
    >>> y.shape, state.c.shape
    ((2, 5), (2, 5))
    """

    in_features: int
    hidden_features: int
    forget_bias: float = 1.0
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        checks.positive_int("in_features", self.in_features)
        checks.positive_int("hidden_features", self.hidden_features)
        checks.floating_dtype("dtype", self.compute_dtype)
        checks.floating_dtype("param_dtype", self.param_dtype)

    @property
    def compute_dtype(self) -> DTypeLike:
        return self.param_dtype if self.dtype is None else self.dtype

    def init(self, key: Key[Array, ""]) -> LSTMParams:
        """Fresh parameters: `w_x` Glorot and `w_h` orthogonal in each gate, `b` zero but for the forget gate."""
        key_x, key_h = jax.random.split(key)
        width = 4 * self.hidden_features
        return LSTMParams(
            w_x=initializers.glorot_per_gate(key_x, (self.in_features, width), self.param_dtype),
            w_h=initializers.orthogonal_per_gate(key_h, (self.hidden_features, width), self.param_dtype),
            b=initializers.lstm_bias(self.hidden_features, self.forget_bias, self.param_dtype),
        )

    def initial_state(self, batch_shape: tuple[int, ...]) -> LSTMState:
        """Zeros: `h` in the compute dtype, `c` in its accumulation dtype."""
        shape = (*batch_shape, self.hidden_features)
        return LSTMState(jnp.zeros(shape, self.compute_dtype), jnp.zeros(shape, accumulation_dtype(self.compute_dtype)))

    def project(self, params: LSTMParams, x: Float[Array, "*batch I"]) -> Float[Array, "*batch 4*H"]:
        """The input's share of the gates, `x W_x + b`: needs no state, so one call serves all steps.

        Raises:
          TypeError: `x` is in neither the compute dtype nor the parameters' dtype.
          ValueError: `x` does not end in `in_features`.
        """
        checks.dtype_among("x", x, [self.param_dtype, self.compute_dtype])
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(f"x must have shape [..., in_features={self.in_features}], got {list(x.shape)}")
        z = matmul(x, params.w_x, self.compute_dtype)
        return z + jnp.broadcast_to(params.b.astype(z.dtype), z.shape)

    def step(
        self, params: LSTMParams, state: LSTMState, z: Float[Array, "*batch 4*H"]
    ) -> tuple[LSTMState, Float[Array, "*batch H"]]:
        """One step from a projected input `z`; the output is the new hidden state."""
        i, f, g, o = jnp.split(z + matmul(state.h, params.w_h, self.compute_dtype), 4, axis=-1)
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = (jax.nn.sigmoid(o) * jnp.tanh(c)).astype(self.compute_dtype)
        return LSTMState(h, c), h
