"""The long short-term memory cell, and what its relatives share with it."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

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
    """What a step hands to the next: hidden state `h [*batch, H]` and cell state `c [*batch, H]`."""

    h: Float[Array, "*batch H"]
    c: Float[Array, "*batch H"]


class LSTMGates(NamedTuple):
    """What the gates let through at a step, each [*batch, H]: input, forget and output gate, and the candidate g."""

    i: Float[Array, "*batch H"]
    f: Float[Array, "*batch H"]
    g: Float[Array, "*batch H"]
    o: Float[Array, "*batch H"]


@dataclasses.dataclass(frozen=True)
class MemoryCell(BaseCell):
    """Fields and equations of cells with a gated memory c; not a cell itself.

    The equations are the LSTM's; each relative puts its own in the place of one of them.

    Args:
      forget_bias: added to the forget gate's part of the initial `b`, and stored there: never added at run time.
      gate_fn: of i, f, o; `jax.nn.hard_sigmoid` is a cheaper choice.
      activation_fn: of the candidate g and of the memory on its way out.

    Source of the forget bias: Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent Network Architectures".
    """

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

    def gates(self, params: Any, state: LSTMState, z: Float[Array, "*batch 4*H"]) -> LSTMGates:
        """What the gates let through at the step from `state` with projected input `z`."""
        return self.activate(z + self.recur(params, state.h))

    def step(
        self, params: Any, state: LSTMState, z: Float[Array, "*batch 4*H"]
    ) -> tuple[LSTMState, Float[Array, "*batch H"]]:
        """One step from a projected input `z`; the output is the new hidden state."""
        gates = self.gates(params, state, z)
        c = remember(gates, state.c)
        return self.emit(gates, c, c)

    def activate(self, a: Float[Array, "*batch 4*H"]) -> LSTMGates:
        i, f, g, o = jnp.split(a, 4, axis=-1)
        return LSTMGates(self.gate_fn(i), self.gate_fn(f), self.activation_fn(g), self.gate_fn(o))

    def emit(self, gates: LSTMGates, c: Array, seen: Array) -> tuple[LSTMState, Float[Array, "*batch H"]]:
        """The new state with memory c, and the output: what the output gate lets out of the memory as it is `seen`."""
        h = (gates.o * self.activation_fn(seen)).astype(self.compute_dtype)
        return LSTMState(h, c), h

    def _init_weights(
        self, key: Key[Array, ""], fan_in: tuple[int, ...], fan_h: tuple[int, ...]
    ) -> tuple[Array, Array, Array | None]:
        w_x, w_h, b = super()._init_weights(key, fan_in, fan_h)
        start = self.gate_order.index("f") * self.hidden_features
        return w_x, w_h, None if b is None else b.at[start : start + self.hidden_features].add(self.forget_bias)


def remember(gates: LSTMGates, c: Array) -> Array:
    """The new memory: what is kept of the old, and what is let in of the candidate."""
    return gates.f * c + gates.i * gates.g


@dataclasses.dataclass(frozen=True)
class LSTM(MemoryCell):
    """Long short-term memory.

        i, f, g, o = split(x W_x + b + h W_h)
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    Fields: those of `MemoryCell` and `BaseCell`.

    Source: Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000.

    >>> cell = LSTM(in_features=3, hidden_features=5)
    >>> params = cell.init(jax.random.key(0))
    >>> z = cell.project(params, jnp.ones((2, 3)))
    >>> state, y = cell.step(params, cell.initial_state((2,)), z)
    >>> y.shape, state.c.shape
    ((2, 5), (2, 5))
    """

    def init(self, key: Key[Array, ""]) -> LSTMParams:
        """Fresh parameters: `w_x` Glorot and `w_h` orthogonal in each gate, `b` zero but for the forget gate."""
        return LSTMParams(*self._init_weights(key, (self.in_features,), (self.hidden_features,)))
