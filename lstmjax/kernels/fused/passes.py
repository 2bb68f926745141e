"""Forward and backward over a whole run: chunk after chunk, and, on request, on the rows that have not ended."""

import dataclasses
import functools
from collections.abc import Callable
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
    repeat,
    widen,
)
from lstmjax.kernels.fused.equations import Equations
from lstmjax.kernels.fused.packing import Order, longest_first, on_first_rows, sort_rows, unsort_rows
from lstmjax.steps import add_trees, choose, zeros
from lstmjax.types import Array, Bool, Float


class Residuals(NamedTuple):
    """What the backward pass needs of the forward pass, its trace in sorted rows."""

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
      counts: numbers of rows to run chunks on, see `packing`; a single one is the whole batch.
    """

    size: int
    keeps_gates: bool
    reverse: bool
    counts: tuple[int, ...]


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
        order, live = self._order(arguments.steps.valid)
        params, mask, steps, state, initial = _sort(arguments, order)
        forward = functools.partial(Chunk(self.equations, params, self.plan.reverse).forward, keep)

        def run(state: Any, inputs: Any) -> tuple[Any, tuple[Array, Trace]]:
            (live, steps), _ = inputs
            state, outputs, _ = self._on_live_rows(forward, live, state, PerRow(mask, initial, None), steps)
            return state, outputs

        end, (ys, trace) = chunks.in_chunks(run, state, (live, steps), self.plan.size, self.plan.reverse)
        return (unsort_rows(end, order, axis=0), unsort_rows(ys, order, axis=1)), trace

    def backward(self, residuals: Residuals, cotangents: tuple[Any, Array]) -> tuple[Arguments]:
        arguments, trace = residuals
        order, live = self._order(arguments.steps.valid)
        params, mask, steps, state, initial = _sort(arguments, order)
        d_end, d_ys = sort_rows(cotangents[0], order, axis=0), sort_rows(cotangents[1], order, axis=1)
        backward = Chunk(self.equations, params, self.plan.reverse).backward

        def run(carry: Gradients, inputs: Any) -> tuple[Gradients, Array]:
            (live, recorded), start = inputs
            per_row = PerRow(mask, initial, start)
            rows, d_xs, d_params = self._on_live_rows(backward, live, carry.rows, per_row, recorded)
            return Gradients(rows, add_trees(carry.params, d_params)), d_xs

        carry = Gradients(RowGradients(widen(d_end), widen(zeros(initial))), widen(zeros(params)))
        recorded, starts = Recorded(steps, trace, d_ys), self._chunk_starts(state, trace.states, live)
        carry, d_xs = chunks.in_chunks(run, carry, (live, recorded), self.plan.size, not self.plan.reverse, starts)
        d_rows = unsort_rows(carry.rows, order, axis=0)
        d_steps = steps._replace(xs=unsort_rows(d_xs, order, axis=1))
        d_mask = None if mask is None else jnp.zeros_like(mask)  # it is drawn from a key, where gradients end
        gradients = Arguments(carry.params, d_mask, d_steps, d_rows.state, d_rows.initial)
        return (jax.tree.map(lambda gradient, leaf: gradient.astype(leaf.dtype), gradients, arguments),)

    def _chunk_starts(self, state: Any, states: Any, live: Bool[Array, "T B"] | None) -> Any:
        starts, size = chunks.entries(state, states, self.plan.size, self.plan.reverse), self.plan.size
        if live is None or not self.plan.reverse:
            return starts
        # Running in reverse, nothing was saved of a row before its first chunk.
        begun = jnp.concatenate([live[size::size], jnp.zeros_like(live[:1])])
        return choose(begun, starts, repeat(state, len(begun)))

    def _order(self, valid: Bool[Array, "T B"] | None) -> tuple[Order | None, Bool[Array, "T B"] | None]:
        """The order of rows, and which of them, so ordered, have a valid step now or later; None without packing."""
        if valid is None or len(self.plan.counts) == 1:
            return None, None
        order = longest_first(valid)
        return order, jnp.arange(len(valid), dtype=jnp.int32)[:, None] < order.ends[None, :]

    def _on_live_rows(
        self,
        run: Callable[[Any, PerRow, Any], tuple[Any, Any, Any]],
        live: Bool[Array, "T B"] | None,
        carry: Any,
        rows: PerRow,
        timed: Any,
    ) -> tuple[Any, Any, Any]:
        """`run` on the rows that are live when the chunk begins."""
        if live is None:
            return run(carry, rows, timed)
        return on_first_rows(run, self.plan.counts, jnp.sum(live[0], dtype=jnp.int32), carry, rows, timed)


def _sort(arguments: Arguments, order: Order | None) -> Arguments:
    params, mask, steps, *states = arguments
    return Arguments(params, sort_rows(mask, order, 0), sort_rows(steps, order, 1), *sort_rows(states, order, 0))
