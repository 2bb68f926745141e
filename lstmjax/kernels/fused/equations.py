"""A cell's equations and their derivatives, in the parts that `fused` runs apart.

With x W_x and h W_h given, a step is elementwise; so is its derivative, once the products are taken out of it. Here are
these elementwise parts, for one step or for a whole chunk of steps at once. Everything is in the accumulation dtype.
"""

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np

from lstmjax.cells.base import BaseCell, HiddenState, add_bias
from lstmjax.cells.gru import GRU, GRUParams
from lstmjax.cells.lstm import LSTM, LSTMParams, LSTMState
from lstmjax.types import Array, DTypeLike, Float


class Equations(Protocol):
    """What the fused path knows of a cell. Parameters have `w_x` and `w_h`, states have `h`."""

    @property
    def cell(self) -> BaseCell: ...

    def step(self, params: Any, state: Any, x_share: Array, h_share: Array) -> tuple[Any, Any]:
        """The next state, and what backward needs of the gates, from `x W_x` and `h W_h` (no biases in them)."""

    def coefficients(self, params: Any, before: Any, after: Any, gates: Any) -> Any:
        """All of the backward step that does not depend on what comes back."""

    def backward(self, known: Any, d_after: Any) -> tuple[tuple[Array, ...], Any]:
        """The gradient of `h W_h` with what else that of `x W_x` is made of, and that of the state but through W_h."""

    def input_gradient(self, d_h_share: Array, *others: Array) -> Array:
        """The gradient of `x W_x`."""

    def param_gradients(self, params: Any, d_w_x: Array, d_w_h: Array, d_x_share: Array, d_h_share: Array) -> Any:
        """All parameters' gradients; the shares' are [T, B, G*H]."""


def gates_at_once(a: Float[Array, "... G*H"], sigmoids: str, features: int) -> Float[Array, "... G*H"]:
    """Sigmoid or tanh of each gate through a single tanh: sigmoid(a) = tanh(a / 2) / 2 + 1/2.

    One vectorised pass over the fused row is several times faster on a CPU than one for each slice. Gates are exact to
    a rounding of 1: one nearly closed has fewer digits than `jax.nn.sigmoid` would give it.

    Args:
      a: fused pre-activations.
      sigmoids: a letter for each gate, "s" for sigmoid or "t" for tanh.
      features: H.
    """
    slope = _slopes(sigmoids, features, a.dtype)
    slope = jnp.broadcast_to(slope, a.shape)
    return jnp.tanh(a * slope) * slope + (1 - slope)


def slopes_of_gates(gates: Float[Array, "... G*H"], sigmoids: str, features: int) -> Float[Array, "... G*H"]:
    """The gates' derivatives by their pre-activations: s (1 - s) of a sigmoid, (1 + t) (1 - t) of a tanh."""
    lowest = jnp.broadcast_to(1 - 2 * _slopes(sigmoids, features, gates.dtype), gates.shape)
    return (gates - lowest) * (1 - gates)


def _slopes(sigmoids: str, features: int, dtype: DTypeLike) -> Array:
    # NumPy's, so that the compiler sees constants: what it computed itself it would compute again at every step.
    return jnp.asarray(np.repeat([0.5 if letter == "s" else 1.0 for letter in sigmoids], features), dtype)


class LSTMCoefficients(NamedTuple):
    """`d_a = factors * [d_c, d_c, d_c, d_h]`, `d_c += leak * d_h`, `d_c_before = keep * d_c`."""

    factors: Float[Array, "... 4*H"]
    leak: Float[Array, "... H"]
    keep: Float[Array, "... H"]


@dataclasses.dataclass(frozen=True)
class LSTMEquations:
    """Those of `cells.LSTM` with sigmoid gates and tanh."""

    cell: LSTM

    def step(
        self, params: LSTMParams, state: LSTMState, x_share: Array, h_share: Array
    ) -> tuple[LSTMState, Float[Array, "... 4*H"]]:
        gates = gates_at_once(add_bias(x_share + h_share, params.b), "ssts", self.cell.hidden_features)
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = f * state.c + i * g
        return LSTMState((o * jnp.tanh(c)).astype(self.cell.compute_dtype), c), gates

    def coefficients(self, params: LSTMParams, before: LSTMState, after: LSTMState, gates: Array) -> LSTMCoefficients:
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        seen = jnp.tanh(after.c)
        partners = jnp.concatenate([g, before.c, i, seen], axis=-1)
        factors = partners * slopes_of_gates(gates, "ssts", self.cell.hidden_features)
        return LSTMCoefficients(factors, o * (1 - seen * seen), f)

    def backward(self, known: LSTMCoefficients, d_after: LSTMState) -> tuple[tuple[Array], LSTMState]:
        d_h = d_after.h
        d_c = d_after.c + known.leak * d_h
        d_a = known.factors * jnp.concatenate([d_c, d_c, d_c, d_h], axis=-1)
        return (d_a,), LSTMState(jnp.zeros_like(d_h), known.keep * d_c)

    def input_gradient(self, d_h_share: Array, *others: Array) -> Array:
        return d_h_share

    def param_gradients(
        self, params: LSTMParams, d_w_x: Array, d_w_h: Array, d_x_share: Array, d_h_share: Array
    ) -> LSTMParams:
        return LSTMParams(d_w_x, d_w_h, None if params.b is None else jnp.sum(d_x_share, axis=(0, 1)))


class GRUGatesSaved(NamedTuple):
    """The gates r, z [..., 2H] and n [..., H], and the state's share of the candidate before r is applied."""

    rz: Float[Array, "... 2*H"]
    n: Float[Array, "... H"]
    h_n: Float[Array, "... H"]


class GRUCoefficients(NamedTuple):
    """`d_h_share = factors * [d_h, d_h, d_h]`, the candidate's pre-activation `n * d_h`, `d_h_before = keep * d_h`."""

    factors: Float[Array, "... 3*H"]
    n: Float[Array, "... H"]
    keep: Float[Array, "... H"]


@dataclasses.dataclass(frozen=True)
class GRUEquations:
    """Those of `cells.GRU` with `reset_after`, sigmoid gates and tanh."""

    cell: GRU

    def step(
        self, params: GRUParams, state: HiddenState, x_share: Array, h_share: Array
    ) -> tuple[HiddenState, GRUGatesSaved]:
        features = self.cell.hidden_features
        x_share = add_bias(x_share, params.b)
        rz = gates_at_once(x_share[..., : 2 * features] + h_share[..., : 2 * features], "ss", features)
        r, z = jnp.split(rz, 2, axis=-1)
        h_n = add_bias(h_share[..., 2 * features :], params.b_h)
        n = jnp.tanh(x_share[..., 2 * features :] + r * h_n)
        h = z * state.h.astype(z.dtype) + (1 - z) * n
        return HiddenState(h.astype(self.cell.compute_dtype)), GRUGatesSaved(rz, n, h_n)

    def coefficients(
        self, params: GRUParams, before: HiddenState, after: HiddenState, gates: GRUGatesSaved
    ) -> GRUCoefficients:
        r, z = jnp.split(gates.rz, 2, axis=-1)
        n = (1 - z) * (1 - gates.n * gates.n)
        of_r = n * gates.h_n * r * (1 - r)
        of_z = (before.h.astype(z.dtype) - gates.n) * z * (1 - z)
        return GRUCoefficients(jnp.concatenate([of_r, of_z, n * r], axis=-1), n, z)

    def backward(self, known: GRUCoefficients, d_after: HiddenState) -> tuple[tuple[Array, Array], HiddenState]:
        d_h = d_after.h
        shares = known.factors * jnp.concatenate([d_h] * 3, axis=-1), known.n * d_h
        return shares, HiddenState(known.keep * d_h)

    def input_gradient(self, d_h_share: Array, *others: Array) -> Array:
        return jnp.concatenate([d_h_share[..., : 2 * self.cell.hidden_features], *others], axis=-1)

    def param_gradients(
        self, params: GRUParams, d_w_x: Array, d_w_h: Array, d_x_share: Array, d_h_share: Array
    ) -> GRUParams:
        b = None if params.b is None else jnp.sum(d_x_share, axis=(0, 1))
        second = d_h_share[..., 2 * self.cell.hidden_features :]
        return GRUParams(d_w_x, d_w_h, b, None if params.b_h is None else jnp.sum(second, axis=(0, 1)))
