"""Relatives of the LSTM, each with one equation of its own."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lstmjax import checks, initializers
from lstmjax.cells.lstm import LSTMGates, LSTMParams, LSTMState, MemoryCell
from lstmjax.cells.precision import matmul, scale
from lstmjax.types import Array, Float, Initializer, Key


class PeepholeParams(NamedTuple):
    """Fused weights, gate order i, f, g, o, and `w_c [3, H]`, the weights of c in i, f and o."""

    w_x: Float[Array, "I 4*H"]
    w_h: Float[Array, "H 4*H"]
    b: Float[Array, "4*H"] | None
    w_c: Float[Array, "3 H"]


@dataclasses.dataclass(frozen=True)
class PeepholeLSTM(MemoryCell):
    """LSTM whose gates see the cell state.

        i, f, g, o = split(x W_x + b + h W_h)
        i, f = gate_fn(i + w_i * c), gate_fn(f + w_f * c)
        g = activation_fn(g)
        c' = f * c + i * g
        o = gate_fn(o + w_o * c')
        h' = o * activation_fn(c')

    Args:
      peephole_init: draws each row [H] of `w_c`; by default zeros. Other arguments: those of `LSTM`.

    Source: Gers and Schmidhuber 2000, "Recurrent Nets that Time and Count".

    >>> cell = PeepholeLSTM(3, 5)
    >>> cell.init(jax.random.key(0)).w_c.shape
    (3, 5)
    """

    peephole_init: Initializer = dataclasses.field(default=initializers.zeros, kw_only=True)

    def init(self, key: Key[Array, ""]) -> PeepholeParams:
        key, *keys = jax.random.split(key, 4)
        rows = [self.peephole_init(k, (self.hidden_features,), self.param_dtype) for k in keys]
        return PeepholeParams(*self._init_weights(key, (self.in_features,), (self.hidden_features,)), jnp.stack(rows))

    def step_with_gates(
        self, params: PeepholeParams, state: LSTMState, projected: Float[Array, "*batch 4*H"]
    ) -> tuple[LSTMState, Float[Array, "*batch H"], LSTMGates]:
        w_i, w_f, w_o = params.w_c
        wide = state.c.dtype
        i, f, g, o = jnp.split(projected + self.recur(params, state.h), 4, axis=-1)
        i, f = self.gate_fn(i + scale(state.c, w_i, wide)), self.gate_fn(f + scale(state.c, w_f, wide))
        g = self.activation_fn(g)
        c = f * state.c + i * g
        o = self.gate_fn(o + scale(c, w_o, wide))
        h = (o * self.activation_fn(c)).astype(self.compute_dtype)
        return LSTMState(h, c), h, LSTMGates(i, f, g, o)


@dataclasses.dataclass(frozen=True)
class CoupledLSTM(MemoryCell):
    """LSTM whose input gate is 1 - f (CIFG): three gates' weights instead of four.

        f, g, o = split(x W_x + b + h W_h)
        f, o = gate_fn(f), gate_fn(o)
        g = activation_fn(g)
        c' = f * c + (1 - f) * g
        h' = o * activation_fn(c')

    Parameters are `LSTMParams` with fused width 3H, gate order f, g, o. Arguments: those of `LSTM`.

    Source: Greff et al. 2017, "LSTM: A Search Space Odyssey".

    >>> CoupledLSTM(3, 5).init(jax.random.key(0)).w_h.shape
    (5, 15)
    """

    gate_order: ClassVar[str] = "fgo"

    def init(self, key: Key[Array, ""]) -> LSTMParams:
        return LSTMParams(*self._init_weights(key, (self.in_features,), (self.hidden_features,)))

    def step_with_gates(
        self, params: LSTMParams, state: LSTMState, projected: Float[Array, "*batch 3*H"]
    ) -> tuple[LSTMState, Float[Array, "*batch H"], LSTMGates]:
        f, g, o = jnp.split(projected + self.recur(params, state.h), 3, axis=-1)
        f, o = self.gate_fn(f), self.gate_fn(o)
        g = self.activation_fn(g)
        c = f * state.c + (1 - f) * g
        h = (o * self.activation_fn(c)).astype(self.compute_dtype)
        return LSTMState(h, c), h, LSTMGates(1 - f, f, g, o)


class ProjectedParams(NamedTuple):
    """Fused weights, gate order i, f, g, o, with `w_h [P, 4H]`, and the projection `w_p [H, P]`."""

    w_x: Float[Array, "I 4*H"]
    w_h: Float[Array, "P 4*H"]
    b: Float[Array, "4*H"] | None
    w_p: Float[Array, "H P"]


@dataclasses.dataclass(frozen=True)
class ProjectedLSTM(MemoryCell):
    """LSTM with a linear projection of its hidden state (LSTMP): a large cell state, a small recurrent product.

        i, f, g, o = split(x W_x + b + h W_h)
        i, f, o = gate_fn(i), gate_fn(f), gate_fn(o)
        g = activation_fn(g)
        c' = f * c + i * g
        h' = (o * activation_fn(c')) W_p

    The state is `h [*batch, P]` and `c [*batch, H]`; outputs are [*batch, P].

    Args:
      proj_features: P, at most H. Other arguments: those of `LSTM`.

    Raises:
      ValueError: P below 1 or above H.

    Source: Sak, Senior and Beaufays 2014; `proj_size` of `torch.nn.LSTM`.

    >>> cell = ProjectedLSTM(3, 5, proj_features=2)
    >>> ys, state = lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((1, 4, 3)))
    >>> ys.shape, state.c.shape
    ((1, 4, 2), (1, 5))
    """

    proj_features: int = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.index("proj_features", self.proj_features, 1, self.hidden_features)

    def init(self, key: Key[Array, ""]) -> ProjectedParams:
        key, key_p = jax.random.split(key)
        w_p = self.kernel_init(key_p, (self.hidden_features, self.proj_features), self.param_dtype)
        return ProjectedParams(*self._init_weights(key, (self.in_features,), (self.proj_features,)), w_p)

    def initial_state(self, batch_shape: tuple[int, ...]) -> LSTMState:
        h = jnp.zeros((*batch_shape, self.proj_features), self.compute_dtype)
        return LSTMState(h, super().initial_state(batch_shape).c)

    def step_with_gates(
        self, params: ProjectedParams, state: LSTMState, projected: Float[Array, "*batch 4*H"]
    ) -> tuple[LSTMState, Float[Array, "*batch P"], LSTMGates]:
        i, f, g, o = jnp.split(projected + self.recur(params, state.h), 4, axis=-1)
        i, f, o = self.gate_fn(i), self.gate_fn(f), self.gate_fn(o)
        g = self.activation_fn(g)
        c = f * state.c + i * g
        h = matmul(o * self.activation_fn(c), params.w_p, self.compute_dtype).astype(self.compute_dtype)
        return LSTMState(h, c), h, LSTMGates(i, f, g, o)
