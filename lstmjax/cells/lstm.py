"""The long short-term memory cell, and the fields of its relatives."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.cells.base import BaseCell
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.types import Array, Float, Key


class LSTMParams(NamedTuple):
    """Fused weights, gate order i, f, g, o: `w_x [I, 4H]`, `w_h [H, 4H]`, `b [4H]` (None without biases)."""

    w_x: Float[Array, "I 4*H"]
    w_h: Float[Array, "H 4*H"]
    b: Float[Array, "4*H"] | None


class LSTMState(NamedTuple):
    """Hidden state `h [*batch, H]`, which is the output too, and cell state `c [*batch, H]`."""

    h: Float[Array, "*batch H"]
    c: Float[Array, "*batch H"]


class LSTMGates(NamedTuple):
    """Input, forget and output gate and the candidate g at a step, after their functions, each [*batch, H]."""

    i: Float[Array, "*batch H"]
    f: Float[Array, "*batch H"]
    g: Float[Array, "*batch H"]
    o: Float[Array, "*batch H"]


@dataclasses.dataclass(frozen=True)
class MemoryCell(BaseCell):
    """Fields of cells with a cell state c, explained in `LSTM`; not a cell itself."""

    forget_bias: float = dataclasses.field(default=1.0, kw_only=True)
    gate_fn: Callable[[Array], Array] = dataclasses.field(default=jax.nn.sigmoid, kw_only=True)
    activation_fn: Callable[[Array], Array] = dataclasses.field(default=jnp.tanh, kw_only=True)

    gate_order: ClassVar[str] = "ifgo"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.finite("forget_bias", self.forget_bias)

    def initial_state(self, batch_shape: tuple[int, ...]) -> LSTMState:
        """Zeros: `h` in the compute dtype, `c` in its accumulation dtype."""
        shape = (*batch_shape, self.hidden_features)
        return LSTMState(jnp.zeros(shape, self.compute_dtype), jnp.zeros(shape, accumulation_dtype(self.compute_dtype)))

    def _init_weights(
        self, key: Key[Array, ""], fan_in: tuple[int, ...], fan_h: tuple[int, ...]
    ) -> tuple[Array, Array, Array | None]:
        w_x, w_h, b = super()._init_weights(key, fan_in, fan_h)
        extra = np.repeat([self.forget_bias if gate == "f" else 0.0 for gate in self.gate_order], self.hidden_features)
        return w_x, w_h, None if b is None else b + jnp.asarray(extra, b.dtype)


@dataclasses.dataclass(frozen=True)
class LSTM(MemoryCell):
    """Long short-term memory.

        i, f, g, o = split(x W_x + b + h W_h)
        i, f, o = gate_fn(i), gate_fn(f), gate_fn(o)
        g = activation_fn(g)
        c' = f * c + i * g
        h' = o * activation_fn(c')

    Args:
      in_features: I, size of a step's input.
      hidden_features: H, size of the hidden and of the cell state.
      use_bias: whether there is a `b`; without it `params.b` is None.
      kernel_init: draws each gate's block [I, H] of `w_x`; by default Glorot's uniform.
      recurrent_init: draws each gate's block [H, H] of `w_h`; by default orthogonal.
      bias_init: draws the fused `b`; by default zeros.
      dtype: what to compute in; None means `param_dtype`. With bfloat16 or float16, c and all sums stay float32.
      param_dtype: what parameters are stored in.
      forget_bias: added to the forget gate's part of the initial `b`, and stored there: never added at run time.
      gate_fn: of i, f and o; by default the sigmoid. `jax.nn.hard_sigmoid` is cheaper.
      activation_fn: of g and c'; by default tanh.

    Raises:
      ValueError: a size below 1, a `forget_bias` that is not finite.
      TypeError: a value of another kind, a dtype that is not floating or that JAX would not keep.

    Source: Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000; its bias: Jozefowicz et al. 2015.

    >>> cell = LSTM(in_features=3, hidden_features=5)
    >>> params = cell.init(jax.random.key(0))
    >>> state, y = cell.step(params, cell.initial_state((2,)), cell.project(params, jnp.ones((2, 3))))
    >>> y.shape, state.c.shape
    ((2, 5), (2, 5))
    """

    def init(self, key: Key[Array, ""]) -> LSTMParams:
        return LSTMParams(*self._init_weights(key, (self.in_features,), (self.hidden_features,)))

    def step_with_gates(
        self, params: LSTMParams, state: LSTMState, projected: Float[Array, "*batch 4*H"]
    ) -> tuple[LSTMState, Float[Array, "*batch H"], LSTMGates]:
        i, f, g, o = jnp.split(projected + self.recur(params, state.h), 4, axis=-1)
        i, f, o = self.gate_fn(i), self.gate_fn(f), self.gate_fn(o)
        g = self.activation_fn(g)
        c = f * state.c + i * g
        h = (o * self.activation_fn(c)).astype(self.compute_dtype)
        return LSTMState(h, c), h, LSTMGates(i, f, g, o)
