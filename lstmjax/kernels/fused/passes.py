"""Forward and backward over a whole run, chunk after chunk.

The forward pass keeps the state before each step. With these known, a chunk is linear in small changes of its inputs,
weights and states; `tangents.py` says how. The backward pass is the transpose of that, which JAX takes: a loop over the
steps from the last to the first, then one product for the gradient of each weight and of the inputs.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax.cells.precision import matmul
from lstmjax.chunks import in_chunks
from lstmjax.derivative import add_trees
from lstmjax.kernels.arguments import Arguments
from lstmjax.kernels.fused.equations import Equations
from lstmjax.kernels.fused.tangents import KnownStep, Tangents, mask_state, widen
from lstmjax.masking import Steps, where_rows, zero_invalid
from lstmjax.types import Array, Float


class Trace(NamedTuple):
    """What the forward pass leaves of each step: the state it began from, and its gates or None."""

    before: Any
    gates: Any


class StateCotangents(NamedTuple):
    """What goes from step to step: of the state, and, summed up, of what a reset goes back to."""

    state: Any
    initial: Any


class Cotangents(NamedTuple):
    """What goes from chunk to chunk; the parameters' are summed up."""

    states: StateCotangents
    params: Any


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a run goes through time.

    Args:
      size: steps a chunk.
      keeps_gates: whether the forward pass keeps them, or the backward pass computes them again.
      reverse: the direction.
    """

    size: int
    keeps_gates: bool
    reverse: bool


@dataclasses.dataclass(frozen=True)
class Passes:
    """The forward products are in the compute dtype; sums and the backward pass are in its accumulation dtype."""

    equations: Equations
    plan: Plan

    def forward(self, arguments: Arguments) -> tuple[Any, Float[Array, "T B H"]]:
        return self.forward_saving(arguments)[0]  # the compiler drops the rest

    def forward_saving(self, arguments: Arguments) -> tuple[tuple[Any, Float[Array, "T B H"]], tuple[Arguments, Trace]]:
        """The results, and what the backward pass needs."""
        params, h_mask, steps, state, initial = arguments

        def forward_step(state: Any, inputs: Steps) -> tuple[Any, tuple[Array, Trace]]:
            before = state if inputs.resets is None else where_rows(inputs.resets, initial, state)
            before = zero_invalid(inputs.valid, before)
            after, gates = self._step(params, h_mask, before, inputs.xs)
            after = after if inputs.valid is None else where_rows(inputs.valid, after, state)
            return after, (after.h, Trace(before, gates if self.plan.keeps_gates else None))

        def chunk(state: Any, steps: Steps) -> tuple[Any, tuple[Array, Trace]]:
            x_w_x = self._matmul(zero_invalid(steps.valid, steps.xs), params.w_x)
            return lax.scan(forward_step, state, dataclasses.replace(steps, xs=x_w_x), reverse=self.plan.reverse)

        end, (ys, trace) = in_chunks(chunk, state, steps, self.plan.size, self.plan.reverse)
        return (end, zero_invalid(steps.valid, ys)), (arguments, trace)

    def backward(
        self, residuals: tuple[Arguments, Trace], cotangents: tuple[Any, Float[Array, "T B H"]]
    ) -> tuple[Arguments]:
        arguments, trace = residuals
        params, h_mask, steps, _, initial = arguments
        d_end, d_ys = cotangents
        chunk = functools.partial(self._backward_chunk, params, h_mask)
        d_initial, d_params = jax.tree.map(jnp.zeros_like, (initial, params))
        start = widen(Cotangents(StateCotangents(d_end, d_initial), d_params))
        d, d_xs = in_chunks(chunk, start, (steps, trace, d_ys), self.plan.size, not self.plan.reverse)
        return (arguments.gradients(d.params, d_xs, *d.states),)

    def _backward_chunk(
        self, params: Any, h_mask: Array | None, carry: Cotangents, inputs: tuple[Steps, Trace, Array]
    ) -> tuple[Cotangents, Float[Array, "T B I"]]:
        """The cotangents before the chunk, and those of its inputs."""
        steps, trace, d_ys = inputs
        xs, d_ys = zero_invalid(steps.valid, (steps.xs, d_ys))
        coefficients = self.equations.coefficients(trace.before, self._gates(params, h_mask, xs, trace))
        as_computed = jax.tree.map(lambda leaf: leaf.astype(self.equations.cell.compute_dtype), params)
        tangents = Tangents(self.equations, widen(as_computed), h_mask)
        known = KnownStep(coefficients, steps.valid, steps.resets)
        states, d_direct = self._backward_steps(tangents, known, carry.states, d_ys)
        direct = functools.partial(tangents.direct, coefficients, xs, trace.before.h)
        d_params, d_xs = jax.linear_transpose(direct, carry.params, xs)(d_direct)
        return Cotangents(states, add_trees(carry.params, d_params)), d_xs

    def _backward_steps(
        self, tangents: Tangents, known: KnownStep, states: StateCotangents, d_ys: Float[Array, "T B H"]
    ) -> tuple[StateCotangents, Any]:
        """The cotangents of the state before the first of these steps, and of each step's direct change."""

        def backward_step(carry: StateCotangents, inputs: tuple[KnownStep, Array]) -> tuple[StateCotangents, Any]:
            known, d_y = inputs
            d_after = carry.state._replace(h=carry.state.h + widen(d_y))
            step = functools.partial(tangents.step, known)
            # Of what the step takes only shapes are read; a direct change has those of the state.
            transpose = jax.linear_transpose(step, carry.state, carry.initial, d_after)
            d_before, d_initial, d_direct = transpose(d_after)
            return StateCotangents(d_before, add_trees(carry.initial, d_initial)), d_direct

        # Each step is transposed, not their loop: JAX 0.8 transposes only loops that it has linearised itself.
        return lax.scan(backward_step, states, (known, d_ys), reverse=not self.plan.reverse)

    def _gates(self, params: Any, h_mask: Array | None, xs: Float[Array, "T B I"], trace: Trace) -> Any:
        """As the forward pass kept them, or computed again, those of all steps at once."""
        if trace.gates is not None:
            return trace.gates
        return self._step(params, h_mask, trace.before, self._matmul(xs, params.w_x))[1]

    def _step(self, params: Any, h_mask: Array | None, before: Any, x_w_x: Array) -> tuple[Any, Any]:
        h_w_h = self._matmul(mask_state(before.h, h_mask), params.w_h)
        return self.equations.step(params, before, x_w_x, h_w_h)

    def _matmul(self, x: Float[Array, "... N"], w: Float[Array, "N M"]) -> Float[Array, "... M"]:
        return matmul(x, w, self.equations.cell.compute_dtype)
