"""Forward and backward over a whole run, chunk after chunk."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstmjax import chunks
from lstmjax.kernels.arguments import Arguments
from lstmjax.kernels.fused.chunk import (
    Chunk,
    Keep,
    PerRow,
    Recorded,
    RowGradients,
    Trace,
    keep_gates,
    keep_outputs,
    keep_states,
    widen,
)
from lstmjax.kernels.fused.equations import Equations
from lstmjax.masking import add_trees, zeros
from lstmjax.types import Array, Float


class Residuals(NamedTuple):
    """What the backward pass needs of the forward pass."""

    arguments: Arguments
    trace: Trace


class Gradients(NamedTuple):
    """What backward hands from chunk to chunk, in the accumulation dtype."""

    rows: RowGradients
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
    """Forward, forward that saves residuals, and backward."""

    equations: Equations
    plan: Plan

    def forward(self, arguments: Arguments) -> tuple[Any, Float[Array, "T B H"]]:
        return self._forward(arguments, keep_outputs)[0]

    def forward_saving(self, arguments: Arguments) -> tuple[tuple[Any, Float[Array, "T B H"]], Residuals]:
        results, trace = self._forward(arguments, keep_gates if self.plan.keeps_gates else keep_states)
        return results, Residuals(arguments, trace)

    def _forward(self, arguments: Arguments, keep: Keep) -> tuple[tuple[Any, Array], Trace]:
        params, mask, steps, state, initial = arguments
        chunk = Chunk(self.equations, params, self.plan.reverse)

        def run(state: Any, inputs: Any) -> tuple[Any, tuple[Array, Trace]]:
            return chunk.forward(keep, state, PerRow(mask, initial, None), inputs[0])

        end, (ys, trace) = chunks.in_chunks(run, state, steps, self.plan.size, self.plan.reverse)
        return (end, ys), trace

    def backward(self, residuals: Residuals, cotangents: tuple[Any, Array]) -> tuple[Arguments]:
        arguments, trace = residuals
        params, mask, steps, state, initial = arguments
        d_end, d_ys = cotangents
        chunk = Chunk(self.equations, params, self.plan.reverse)

        def run(carry: Gradients, inputs: Any) -> tuple[Gradients, Array]:
            recorded, start = inputs
            rows, d_xs, d_params = chunk.backward(carry.rows, PerRow(mask, initial, start), recorded)
            return Gradients(rows, add_trees(carry.params, d_params)), d_xs

        carry = Gradients(RowGradients(widen(d_end), widen(zeros(initial))), widen(zeros(params)))
        recorded = Recorded(steps, trace, d_ys)
        starts = chunks.entries(state, trace.states, self.plan.size, self.plan.reverse)
        carry, d_xs = chunks.in_chunks(run, carry, recorded, self.plan.size, not self.plan.reverse, starts)
        d_mask = None if mask is None else jnp.zeros_like(mask)  # it is drawn from a key, where gradients end
        gradients = Arguments(carry.params, d_mask, steps._replace(xs=d_xs), carry.rows.state, carry.rows.initial)
        return (jax.tree.map(lambda gradient, leaf: gradient.astype(leaf.dtype), gradients, arguments),)
