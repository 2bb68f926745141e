"""Relatives of the LSTM, each told by the one thing it does differently."""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lstmjax import checks, initializers
from lstmjax.cells.lstm import LSTMGates, LSTMParams, LSTMState, MemoryCell, remember
from lstmjax.cells.precision import matmul, scale
from lstmjax.types import Array, Float, Initializer, Key


class PeepholeParams(NamedTuple):
    """Fused weights, gate order i, f, g, o, and `w_c [3, H]`, through which i, f and o see the memory."""

    w_x: Float[Array, "I 4*H"]
    w_h: Float[Array, "H 4*H"]
    b: Float[Array, "4*H"] | None
    w_c: Float[Array, "3 H"]


@dataclasses.dataclass(frozen=True)
class PeepholeLSTM(MemoryCell):
    """LSTM whose gates look at the memory.

        i, f, g, o = split(x W_x + b + h W_h)
        c' = sigmoid(f + w_f * c) * c + sigmoid(i + w_i * c) * tanh(g)
        h' = sigmoid(o + w_o * c') * tanh(c')

    Args:
      peephole_init: draws each row [H] of `w_c`; other fields are those of `MemoryCell` and `BaseCell`.

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

    def gates(self, params: PeepholeParams, state: LSTMState, z: Float[Array, "*batch 4*H"]) -> LSTMGates:
        a_i, a_f, a_g, a_o = jnp.split(z + self.recur(params, state.h), 4, axis=-1)
        w_i, w_f, w_o = params.w_c
        peek = functools.partial(scale, dtype=state.c.dtype)
        i, f = self.gate_fn(a_i + peek(state.c, w_i)), self.gate_fn(a_f + peek(state.c, w_f))
        before_o = LSTMGates(i, f, self.activation_fn(a_g), a_o)
        return before_o._replace(o=self.gate_fn(a_o + peek(remember(before_o, state.c), w_o)))


@dataclasses.dataclass(frozen=True)
class CoupledLSTM(MemoryCell):
    """LSTM that lets in exactly as much as it forgets (CIFG): three gates' weights instead of four.

        f, g, o = split(x W_x + b + h W_h)
        c' = sigmoid(f) * c + (1 - sigmoid(f)) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    Parameters are `LSTMParams` with fused width 3H, gate order f, g, o. Fields: those of `MemoryCell` and `BaseCell`.

    Source: Greff et al. 2017, "LSTM: A Search Space Odyssey".

    >>> CoupledLSTM(3, 5).init(jax.random.key(0)).w_h.shape
    (5, 15)
    """

    gate_order: ClassVar[str] = "fgo"

    def init(self, key: Key[Array, ""]) -> LSTMParams:
        return LSTMParams(*self._init_weights(key, (self.in_features,), (self.hidden_features,)))

    def gates(self, params: LSTMParams, state: LSTMState, z: Float[Array, "*batch 3*H"]) -> LSTMGates:
        f, g, o = jnp.split(z + self.recur(params, state.h), 3, axis=-1)
        keep = self.gate_fn(f)
        return LSTMGates(1 - keep, keep, self.activation_fn(g), self.gate_fn(o))


class ProjectedParams(NamedTuple):
    """Fused weights, gate order i, f, g, o, with `w_h [P, 4H]`, and the projection `w_p [H, P]`."""

    w_x: Float[Array, "I 4*H"]
    w_h: Float[Array, "P 4*H"]
    b: Float[Array, "4*H"] | None
    w_p: Float[Array, "H P"]


@dataclasses.dataclass(frozen=True)
class ProjectedLSTM(MemoryCell):
    """LSTM that hands on a linear projection of its hidden state (LSTMP): a large memory, a small recurrent product.

        c', m = LSTM(x, h, c)
        h' = m W_p

    The state is `h [*batch, P]` and `c [*batch, H]`; outputs are [*batch, P].

    Args:
      proj_features: P, at most H; other fields are those of `MemoryCell` and `BaseCell`.

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

    def step(
        self, params: ProjectedParams, state: LSTMState, z: Float[Array, "*batch 4*H"]
    ) -> tuple[LSTMState, Float[Array, "*batch P"]]:
        inner, m = super().step(params, state, z)
        h = matmul(m, params.w_p, self.compute_dtype).astype(self.compute_dtype)
        return LSTMState(h, inner.c), h
