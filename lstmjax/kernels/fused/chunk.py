"""Forward and backward through one chunk of steps, from a cell's `Equations`."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax import chunks
from lstmjax.cells.precision import accumulation_dtype, matmul
from lstmjax.kernels.fused.equations import Equations
from lstmjax.masking import Steps, add_trees, where_rows, zero_invalid, zeros
from lstmjax.types import Array, Bool, Float, PyTree


class PerRow(NamedTuple):
    """What a chunk has once for each sequence.

    `mask` [B, H] thins the state before W_h, as recurrent dropout does; `initial` is the state that a reset goes back
    to, None where nothing is reset; `start` is the state before the chunk, for the backward pass.
    """

    mask: Float[Array, "B H"] | None
    initial: Any
    start: Any


class Trace(NamedTuple):
    """What the forward pass leaves of each step: the state after it, and its gates; None where they are not kept."""

    states: Any
    gates: Any


class Recorded(NamedTuple):
    """What the backward pass takes of each step: the step, what the forward pass left, and its output's gradient."""

    steps: Steps
    trace: Trace
    d_ys: Float[Array, "T B H"]


class RowGradients(NamedTuple):
    """The gradients that backward hands from step to step: of the state, and, summed, of a new sequence's state."""

    state: Any
    initial: Any


Keep = Callable[[Any, Any], Trace]


def keep_outputs(state: Any, gates: Any) -> Trace:
    """For a forward pass that nothing comes back through: of the states, h alone."""
    return Trace(state._replace(**{name: None for name in state._fields if name != "h"}), None)


def keep_states(state: Any, gates: Any) -> Trace:
    """Each new state whole, for a backward pass that computes the gates again."""
    return Trace(state, None)


def keep_gates(state: Any, gates: Any) -> Trace:
    """Each new state and its gates, for a backward pass that computes nothing again."""
    return Trace(state, gates)


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The two passes; products are in the compute dtype, sums and gradients in its accumulation dtype."""

    equations: Equations
    params: Any
    reverse: bool

    def forward(self, keep: Keep, state: Any, rows: PerRow, steps: Steps) -> tuple[Any, tuple[Array, Trace]]:
        """The state after the chunk; over time, its outputs and what is kept."""

        def step(state: Any, inputs: Steps) -> tuple[Any, Trace]:
            x_share, is_valid, is_reset, _ = inputs
            before = state if is_reset is None else where_rows(is_reset, rows.initial, state)
            after, gates = self.equations.step(self.params, before, x_share, self._h_share(before.h, rows.mask))
            after = after if is_valid is None else where_rows(is_valid, after, state)
            return after, keep(after, gates)

        x_shares = self._x_share(zero_invalid(steps.valid, steps.xs, time_major=True))
        state, trace = lax.scan(step, state, steps._replace(xs=x_shares), reverse=self.reverse)
        return state, (zero_invalid(steps.valid, trace.states.h, time_major=True), trace)

    def backward(
        self, carry: RowGradients, rows: PerRow, recorded: Recorded
    ) -> tuple[RowGradients, Float[Array, "T B I"], Any]:
        """The gradients before the chunk; over time, those of the inputs; and what it adds to the parameters'."""
        steps, trace, d_ys = _ignoring_invalid_steps(recorded)
        before = self._states_before(rows, steps, trace.states)
        gates = self._gates(rows, before, steps.xs) if trace.gates is None else trace.gates
        coefficients = self.equations.coefficients(self.params, before, trace.states, gates)
        carry, (d_x_shares, d_h_shares) = self._backward_steps(carry, rows.mask, coefficients, d_ys, steps)
        d_w_x = self._outer(steps.xs, d_x_shares)
        d_w_h = self._outer(_thin(before.h, rows.mask), d_h_shares)
        d_params = self.equations.param_gradients(self.params, d_w_x, d_w_h, d_x_shares, d_h_shares)
        return carry, self._matmul(d_x_shares, self.params.w_x.T).astype(steps.xs.dtype), d_params

    def _backward_steps(
        self, carry: RowGradients, mask: Array | None, coefficients: Any, d_ys: Array, steps: Steps
    ) -> tuple[RowGradients, tuple[Array, Array]]:
        """The sequential part; over time, the gradients of `x W_x` and `h W_h`."""
        w_h_turned = self.params.w_h.T

        def step(carry: RowGradients, inputs: Any) -> tuple[RowGradients, tuple[Array, ...]]:
            known, d_y, is_valid, is_reset = inputs
            d_after = carry.state._replace(h=carry.state.h + d_y.astype(carry.state.h.dtype))
            d_shares, d_before = self.equations.backward(known, d_after)
            if is_valid is not None:
                d_shares = where_rows(is_valid, d_shares, zeros(d_shares))
            d_h = _thin(self._matmul(d_shares[0], w_h_turned), mask)
            d_before = d_before._replace(h=d_before.h + d_h)
            if is_valid is not None:
                d_before = where_rows(is_valid, d_before, d_after)
            if is_reset is None:
                return RowGradients(d_before, carry.initial), d_shares
            d_initial = add_trees(carry.initial, where_rows(is_reset, d_before, zeros(d_before)))
            return RowGradients(where_rows(is_reset, zeros(d_before), d_before), d_initial), d_shares

        inputs = coefficients, d_ys, steps.valid, steps.resets
        carry, d_shares = lax.scan(step, carry, inputs, reverse=not self.reverse)
        return carry, (self.equations.input_gradient(*d_shares), d_shares[0])

    def _states_before(self, rows: PerRow, steps: Steps, states: Any) -> Any:
        """The state each step began from; zeros where it is not valid, for a NaN that no valid step reads."""
        before = chunks.before(rows.start, states, self.reverse)
        if steps.resets is not None:
            before = where_rows(steps.resets, repeat(rows.initial, len(steps.resets)), before)
        return before if steps.valid is None else where_rows(steps.valid, before, zeros(before))

    def _gates(self, rows: PerRow, before: Any, xs: Array) -> Any:
        return self.equations.step(self.params, before, self._x_share(xs), self._h_share(before.h, rows.mask))[1]

    def _x_share(self, xs: Float[Array, "... I"]) -> Float[Array, "... G*H"]:
        return self._matmul(xs, self.params.w_x)

    def _h_share(self, h: Float[Array, "... H"], mask: Array | None) -> Float[Array, "... G*H"]:
        return self._matmul(_thin(h, mask), self.params.w_h)

    def _outer(self, values: Float[Array, "K B N"], d_shares: Float[Array, "K B M"]) -> Float[Array, "N M"]:
        """A weight's gradient: the sum over steps and rows of `values^T d_shares`."""
        return self._matmul(values.reshape(-1, values.shape[-1]).T, d_shares.reshape(-1, d_shares.shape[-1]))

    def _matmul(self, x: Float[Array, "... N"], w: Float[Array, "N M"]) -> Float[Array, "... M"]:
        return matmul(x, w, self.equations.cell.compute_dtype)


def _ignoring_invalid_steps(recorded: Recorded) -> Recorded:
    """With zeros for inputs and gradients at invalid steps, and no resets there."""
    steps, trace, d_ys = recorded
    if steps.valid is None:
        return recorded
    resets: Bool[Array, "T B"] | None = None if steps.resets is None else steps.resets & steps.valid
    xs, d_ys = (zero_invalid(steps.valid, values, time_major=True) for values in (steps.xs, d_ys))
    return Recorded(steps._replace(xs=xs, resets=resets), trace, d_ys)


def _thin(h: Array, mask: Array | None) -> Array:
    return h if mask is None else h * jnp.broadcast_to(mask.astype(h.dtype), h.shape)


def repeat(tree: PyTree, times: int) -> PyTree:
    """Every leaf so many times, along a new leading axis."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (times, *leaf.shape)), tree)


def widen(tree: PyTree) -> PyTree:
    """`tree` in its accumulation dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(accumulation_dtype(leaf.dtype)), tree)
