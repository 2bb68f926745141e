"""A cell's equations and their derivatives, in the parts that `fused` runs apart.

With the products x W_x and h W_h given, a step is elementwise, and so are its tangents: here are both, for one step or
for a whole chunk of steps at once. Everything is in the accumulation dtype.
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

    def step(self, params: Any, state: Any, x_w_x: Array, h_w_h: Array) -> tuple[Any, Any]:
        """The next state, and the gates as `coefficients` takes them, from `x W_x` and `h W_h` without biases."""

    def coefficients(self, before: Any, gates: Any) -> Any:
        """The derivatives of a step, from the state before it and its gates."""

    def direct_tangents(self, coefficients: Any, d_params: Any, d_x_w_x: Array, d_h_w_h: Array) -> Any:
        """The new state's direct change, by this step's input and by the parameters, not by the state before it.

        `d_h_w_h` is here `h dW_h`, of the weights' change alone; for `step_tangents` it is `dh W_h`, of the state's.
        """

    def step_tangents(self, coefficients: Any, d_before: Any, d_h_w_h: Array, direct: Any) -> Any:
        """The new state's change by `direct` and by changes of the state before and of its product with W_h."""


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
    """The derivatives of a step, with da = d(x W_x + b + h W_h).

    dc' = f * dc + gates_i * da_i + gates_f * da_f + gates_g * da_g
    dh' = out * dc' + gates_o * da_o                                    out = o * (1 - tanh(c')^2)
    """

    gates: Float[Array, "... 4*H"]  # each gate's own slope times what it is multiplied by
    f: Float[Array, "... H"]
    out: Float[Array, "... H"]


@dataclasses.dataclass(frozen=True)
class LSTMEquations:
    """Those of `cells.LSTM` with sigmoid gates and tanh."""

    cell: LSTM

    def step(
        self, params: LSTMParams, state: LSTMState, x_w_x: Array, h_w_h: Array
    ) -> tuple[LSTMState, Float[Array, "... 4*H"]]:
        gates = gates_at_once(add_bias(x_w_x + h_w_h, params.b), "ssts", self.cell.hidden_features)
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = f * state.c + i * g
        return LSTMState((o * jnp.tanh(c)).astype(self.cell.compute_dtype), c), gates

    def coefficients(self, before: LSTMState, gates: Array) -> LSTMCoefficients:
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        tanh_c = jnp.tanh(f * before.c + i * g)
        factors = jnp.concatenate([g, before.c, i, tanh_c], axis=-1)
        slopes = slopes_of_gates(gates, "ssts", self.cell.hidden_features)
        return LSTMCoefficients(factors * slopes, f, o * (1 - tanh_c * tanh_c))

    def direct_tangents(
        self, coefficients: LSTMCoefficients, d_params: LSTMParams, d_x_w_x: Array, d_h_w_h: Array
    ) -> LSTMState:
        d_a = add_bias(d_x_w_x + d_h_w_h, d_params.b)
        d_i, d_f, d_g, d_o = jnp.split(coefficients.gates * d_a, 4, axis=-1)
        return LSTMState(d_o, d_i + d_f + d_g)

    def step_tangents(
        self, coefficients: LSTMCoefficients, d_before: LSTMState, d_h_w_h: Array, direct: LSTMState
    ) -> LSTMState:
        d_i, d_f, d_g, d_o = jnp.split(coefficients.gates * d_h_w_h, 4, axis=-1)
        d_c = coefficients.f * d_before.c + d_i + d_f + d_g + direct.c
        return LSTMState(coefficients.out * d_c + d_o + direct.h, d_c)


class GRUGatesSaved(NamedTuple):
    """The gates r, z [..., 2H] and n [..., H], and what r is multiplied with in the candidate, `h W_hn + b_h`."""

    rz: Float[Array, "... 2*H"]
    n: Float[Array, "... H"]
    h_n: Float[Array, "... H"]


class GRUCoefficients(NamedTuple):
    """The derivatives of a step, with da = d(x W_x + b) and du = d(h W_h + b_h).

    dh' = z * dh + sum over the gates r, z, n of x_gates * da + h_gates * du
    """

    x_gates: Float[Array, "... 3*H"]
    h_gates: Float[Array, "... 3*H"]
    z: Float[Array, "... H"]


@dataclasses.dataclass(frozen=True)
class GRUEquations:
    """Those of `cells.GRU` with `reset_after`, sigmoid gates and tanh."""

    cell: GRU

    def step(
        self, params: GRUParams, state: HiddenState, x_w_x: Array, h_w_h: Array
    ) -> tuple[HiddenState, GRUGatesSaved]:
        features = self.cell.hidden_features
        x_w_x = add_bias(x_w_x, params.b)
        rz = gates_at_once(x_w_x[..., : 2 * features] + h_w_h[..., : 2 * features], "ss", features)
        r, z = jnp.split(rz, 2, axis=-1)
        h_n = add_bias(h_w_h[..., 2 * features :], params.b_h)
        n = jnp.tanh(x_w_x[..., 2 * features :] + r * h_n)
        h = z * state.h.astype(z.dtype) + (1 - z) * n
        return HiddenState(h.astype(self.cell.compute_dtype)), GRUGatesSaved(rz, n, h_n)

    def coefficients(self, before: HiddenState, gates: GRUGatesSaved) -> GRUCoefficients:
        r, z = jnp.split(gates.rz, 2, axis=-1)
        of_n = (1 - z) * (1 - gates.n * gates.n)
        of_r = of_n * gates.h_n * r * (1 - r)
        of_z = (before.h.astype(z.dtype) - gates.n) * z * (1 - z)
        x_gates, h_gates = (jnp.concatenate([of_r, of_z, each], axis=-1) for each in (of_n, of_n * r))
        return GRUCoefficients(x_gates, h_gates, z)

    def direct_tangents(
        self, coefficients: GRUCoefficients, d_params: GRUParams, d_x_w_x: Array, d_h_w_h: Array
    ) -> HiddenState:
        d_x_w_x = add_bias(d_x_w_x, d_params.b)
        if d_params.b_h is not None:
            d_h_w_h = add_bias(d_h_w_h, jnp.pad(d_params.b_h, (2 * self.cell.hidden_features, 0)))
        d_r, d_z, d_n = jnp.split(coefficients.x_gates * d_x_w_x + coefficients.h_gates * d_h_w_h, 3, axis=-1)
        return HiddenState(d_r + d_z + d_n)

    def step_tangents(
        self, coefficients: GRUCoefficients, d_before: HiddenState, d_h_w_h: Array, direct: HiddenState
    ) -> HiddenState:
        d_r, d_z, d_n = jnp.split(coefficients.h_gates * d_h_w_h, 3, axis=-1)
        return HiddenState(coefficients.z * d_before.h + d_r + d_z + d_n + direct.h)
