"""How a chunk of steps, its states known, changes with everything it depends on: linearly.

    direct[t] = change of state[t] by  dx[t] W_x + x[t] dW_x + db  and  h[t-1] dW_h       all steps at once
    dstate[t] = direct[t]  +  change of state[t] by  dh[t-1] W_h  and  dstate[t-1]        one step after another

Everything here is in the accumulation dtype.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstmjax.cells.precision import accumulation_dtype
from lstmjax.kernels.fused.equations import Equations
from lstmjax.masking import where_rows
from lstmjax.types import Array, Bool, Float, PyTree


class KnownStep(NamedTuple):
    """What is known of a step before anything changes: its coefficients, whether it is valid, whether it is reset."""

    coefficients: Any
    valid: Bool[Array, "B"] | None
    resets: Bool[Array, "B"] | None


@dataclasses.dataclass(frozen=True)
class Tangents:
    """Both lines, at the run's parameters, already in the accumulation dtype, and its mask of recurrent dropout."""

    equations: Equations
    params: Any
    h_mask: Float[Array, "B H"] | None

    def direct(
        self, coefficients: Any, xs: Float[Array, "T B I"], h: Float[Array, "T B H"], d_params: Any, d_xs: Array
    ) -> Any:
        """The first line, from inputs and from the h that each step began with."""
        d_x_w_x = product(widen(d_xs), self.params.w_x) + product(widen(xs), d_params.w_x)
        d_h_w_h = product(mask_state(widen(h), self.h_mask), d_params.w_h)
        return self.equations.direct_tangents(coefficients, d_params, d_x_w_x, d_h_w_h)

    def step(self, known: KnownStep, d_state: Any, d_initial: Any, direct: Any) -> Any:
        """The second line, for one step; `d_initial` is that of the state that a reset goes back to."""
        d_before = d_state if known.resets is None else where_rows(known.resets, d_initial, d_state)
        d_h_w_h = jnp.matmul(mask_state(d_before.h, self.h_mask), self.params.w_h)
        d_after = self.equations.step_tangents(known.coefficients, d_before, d_h_w_h, direct)
        return d_after if known.valid is None else where_rows(known.valid, d_after, d_state)


def product(x: Float[Array, "T B N"], w: Float[Array, "N M"]) -> Float[Array, "T B M"]:
    """`x @ w` with one axis for steps and sequences: over two, its transpose is slow on CPUs."""
    return jnp.matmul(x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], -1)


def mask_state(h: Float[Array, "... B H"], h_mask: Float[Array, "B H"] | None) -> Float[Array, "... B H"]:
    """The state as recurrent dropout lets W_h see it."""
    return h if h_mask is None else h * jnp.broadcast_to(h_mask.astype(h.dtype), h.shape)


def widen(tree: PyTree) -> PyTree:
    """`tree` in its accumulation dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(accumulation_dtype(leaf.dtype)), tree)
