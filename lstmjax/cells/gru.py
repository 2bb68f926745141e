"""The gated recurrent unit in both its forms, and with layer normalisation."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lstmjax import checks
from lstmjax.cells.base import BaseCell, HiddenState, add_bias
from lstmjax.cells.masked import masked
from lstmjax.cells.precision import matmul
from lstmjax.types import Array, Float, Key


class GRUParams(NamedTuple):
    """Fused weights, gate order r, z, n; `b_h [H]` is the candidate's second bias, which `reset_after` asks for."""

    w_x: Float[Array, "I 3*H"]
    w_h: Float[Array, "H 3*H"]
    b: Float[Array, "3*H"] | None
    b_h: Float[Array, "H"] | None


class GRUGates(NamedTuple):
    """What the gates let through at a step, each [*batch, H]: reset, update (keeps the old state), candidate n."""

    r: Float[Array, "*batch H"]
    z: Float[Array, "*batch H"]
    n: Float[Array, "*batch H"]


@dataclasses.dataclass(frozen=True)
class InterpolatingCell(BaseCell):
    """Fields and equations of cells that move between old state and candidate; not a cell itself.

    Args:
      gate_fn: of r and z; `jax.nn.hard_sigmoid` is a cheaper choice.
      activation_fn: of the candidate n.
    """

    gate_fn: Callable[[Array], Array] = dataclasses.field(default=jax.nn.sigmoid, kw_only=True)
    activation_fn: Callable[[Array], Array] = dataclasses.field(default=jnp.tanh, kw_only=True)

    gate_order: ClassVar[str] = "rzn"

    @abc.abstractmethod
    def gates(self, params: Any, state: HiddenState, z: Float[Array, "*batch 3*H"]) -> GRUGates:
        """What the gates let through at the step from `state` with projected input `z`."""

    def step(
        self, params: Any, state: HiddenState, z: Float[Array, "*batch 3*H"]
    ) -> tuple[HiddenState, Float[Array, "*batch H"]]:
        """One step from a projected input `z`; the output is the new hidden state."""
        gates = self.gates(params, state, z)
        h = gates.z * state.h.astype(gates.z.dtype) + (1 - gates.z) * gates.n
        h = h.astype(self.compute_dtype)
        return HiddenState(h), h

    def activate(self, z_x: Array, z_h: Array, b_h: Array | None) -> GRUGates:
        """Gates from the input's and the state's shares [*batch, 3H], the reset gate acting on the state's share."""
        x_r, x_z, x_n = jnp.split(z_x, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(z_h, 3, axis=-1)
        r = self.gate_fn(x_r + h_r)
        return GRUGates(r, self.gate_fn(x_z + h_z), self.activation_fn(x_n + r * add_bias(h_n, b_h)))


@dataclasses.dataclass(frozen=True)
class GRU(InterpolatingCell):
    """Gated recurrent unit.

        r = sigmoid(x W_xr + b_r + h W_hr)
        z = sigmoid(x W_xz + b_z + h W_hz)
        n = tanh(x W_xn + b_n + r * (h W_hn + b_h))         reset_after=True: PyTorch, cuDNN, Keras' default
        n = tanh(x W_xn + b_n + (r * h) W_hn)               reset_after=False: the original
        h' = z * h + (1 - z) * n

    Args:
      reset_after: where the reset gate acts; other fields are those of `InterpolatingCell` and `BaseCell`.

    Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder".

    >>> cell = GRU(3, 5)
    >>> ys, state = lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((2, 4, 3)))
    >>> ys.shape, bool(jnp.all(state.h == ys[:, -1]))
    ((2, 4, 5), True)
    """

    reset_after: bool = dataclasses.field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.boolean("reset_after", self.reset_after)

    def init(self, key: Key[Array, ""]) -> GRUParams:
        fused = self._init_weights(key, (self.in_features,), (self.hidden_features,))
        has_second = self.use_bias and self.reset_after
        return GRUParams(*fused, jnp.zeros(self.hidden_features, self.param_dtype) if has_second else None)

    def gates(self, params: GRUParams, state: HiddenState, z: Float[Array, "*batch 3*H"]) -> GRUGates:
        if self.reset_after:
            return self.activate(z, self.recur(params, state.h), params.b_h)
        h, w_h = masked(state.h, params.w_h)
        x_rz, x_n = jnp.split(z, [2 * self.hidden_features], axis=-1)
        w_rz, w_n = jnp.split(w_h, [2 * self.hidden_features], axis=-1)
        r, keep = jnp.split(self.gate_fn(x_rz + matmul(h, w_rz, self.compute_dtype)), 2, axis=-1)
        reset = (r * h.astype(r.dtype)).astype(self.compute_dtype)
        return GRUGates(r, keep, self.activation_fn(x_n + matmul(reset, w_n, self.compute_dtype)))
