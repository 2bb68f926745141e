"""Forward and backward over a whole run, a chunk of steps at a time, from a cell's `Equations`."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax import chunks
from lstmjax.cells.precision import accumulation_dtype, matmul
from lstmjax.kernels.derivative import add_trees
from lstmjax.kernels.fused.equations import Equations
from lstmjax.kernels.fused.packing import Order, longest_first, on_first_rows
from lstmjax.steps import Steps, choose, where_steps
from lstmjax.types import Array, Bool, Float, PyTree


class Problem(NamedTuple):
    """A run's arguments; `mask` [B, H] thins the state before W_h, as recurrent dropout does.

    `initial` is None where nothing is reset: JAX differentiates no linear system with an argument that is not used.
    """

    params: Any
    mask: Any
    steps: Steps
    state: Any
    initial: Any


class Saved(NamedTuple):
    """What the forward pass leaves for the way back, time first; the gates are None where they are computed again."""

    states: Any
    gates: Any


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a run goes through time.

    Args:
      size: steps a chunk.
      keeps_gates: whether the forward pass keeps them, or the way back computes them again.
      reverse: the direction.
      counts: numbers of rows to run chunks on, see `packing`; a single one is the whole batch.
    """

    size: int
    keeps_gates: bool
    reverse: bool
    counts: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Passes:
    """Forward, forward that saves, and backward; sums and gradients are in the accumulation dtype."""

    equations: Equations
    plan: Plan

    def forward(self, problem: Problem) -> tuple[Any, Float[Array, "T B H"]]:
        end, (ys, _) = self._forward(problem, keep_states=False, keep_gates=False)
        return end, ys

    def saving(self, problem: Problem) -> tuple[tuple[Any, Float[Array, "T B H"]], tuple[Problem, Saved]]:
        end, (ys, saved) = self._forward(problem, keep_states=True, keep_gates=self.plan.keeps_gates)
        return (end, ys), (problem, saved)

    def _forward(self, problem: Problem, keep_states: bool, keep_gates: bool) -> tuple[Any, tuple[Array, Any]]:
        order, alive = self._order(problem.steps.valid)
        params, mask, steps, state, initial = _placed(problem, order)

        def run(state: Any, others: Any, steps: Steps) -> tuple[Any, Any, tuple[()]]:
            initial, mask = others
            state, saved = self._steps(params, mask, initial, state, steps, keep_states, keep_gates)
            hs = saved.states.h if keep_states else saved.states
            return state, (where_steps(steps.valid, hs, time_major=True), saved if keep_states else None), ()

        def chunk(state: Any, inputs: Any) -> tuple[Any, Any]:
            (alive, steps), _ = inputs
            state, outputs, _ = self._on_rows(run, alive, state, (initial, mask), steps)
            return state, outputs

        end, (ys, saved) = chunks.in_chunks(chunk, state, (alive, steps), self.plan.size, self.plan.reverse)
        return _back(end, order, 0), (_back(ys, order, 1), saved)

    def _steps(
        self, params: Any, mask: Any, initial: Any, state: Any, steps: Steps, keep_states: bool, keep_gates: bool
    ) -> tuple[Any, Any]:
        def step(state: Any, inputs: Any) -> tuple[Any, Any]:
            x_share, is_valid, is_reset = inputs
            before = state if is_reset is None else choose(is_reset, initial, state)
            after, gates = self.equations.step(params, before, x_share, self._h_share(params, mask, before.h))
            after = after if is_valid is None else choose(is_valid, after, state)
            return after, Saved(after if keep_states else after.h, gates if keep_gates else None)

        x_shares = self._matmul(where_steps(steps.valid, steps.xs, time_major=True), params.w_x)
        return lax.scan(step, state, (x_shares, steps.valid, steps.resets), reverse=self.plan.reverse)

    def backward(self, saved: tuple[Problem, Saved], cotangents: tuple[Any, Array]) -> tuple[Problem]:
        problem, (states, gates) = saved
        order, alive = self._order(problem.steps.valid)
        params, mask, steps, state, initial = _placed(problem, order)
        d_end, d_ys = _place(cotangents[0], order, 0), _place(cotangents[1], order, 1)
        entries = chunks.entries(state, states, self.plan.size, self.plan.reverse)
        if alive is not None and self.plan.reverse:  # no state was saved for a row before it came to life
            begun = jnp.concatenate([alive[self.plan.size :: self.plan.size], jnp.zeros_like(alive[:1])])
            entries = choose(begun, entries, _repeat(state, len(begun)))

        def run(carry: Any, others: Any, timed: Any) -> tuple[Any, Array, Any]:
            (d_state, d_initial), (initial, mask, entry) = carry, others
            before, d_new, d_params, d_xs = self._chunk_back(params, mask, initial, entry, d_state, *timed)
            return (before, add_trees(d_initial, d_new)), d_xs, d_params

        def chunk(carry: Any, inputs: Any) -> tuple[Any, Array]:
            (rows, d_params), ((alive, *timed), entry) = carry, inputs
            rows, d_xs, d_here = self._on_rows(run, alive, rows, (initial, mask, entry), tuple(timed))
            return (rows, add_trees(d_params, d_here)), d_xs

        carry = ((_widen(d_end), _wide_zeros(initial)), _wide_zeros(params))
        timed = (alive, steps, states, gates, d_ys)
        carry, d_xs = chunks.in_chunks(chunk, carry, timed, self.plan.size, not self.plan.reverse, entries)
        ((d_state, d_initial), d_params), d_steps = carry, steps._replace(xs=_back(d_xs, order, 1))
        of_mask = None if mask is None else jnp.zeros_like(mask)  # it is drawn from a key, where gradients end
        d_rows = _back((d_state, d_initial), order, 0)
        return (_like(Problem(d_params, of_mask, d_steps, *d_rows), problem),)

    def _chunk_back(
        self,
        params: Any,
        mask: Any,
        initial: Any,
        entry: Any,
        d_state: Any,
        steps: Steps,
        states: Any,
        gates: Any,
        d_ys: Array,
    ) -> tuple[Any, Any, Any, Array]:
        """Back through a chunk: the gradients of the state before it, of new sequences, of parameters and inputs."""
        valid, resets = steps.valid, steps.resets
        xs, d_ys = where_steps(valid, steps.xs, time_major=True), where_steps(valid, d_ys, time_major=True)
        before = chunks.before(entry, states, self.plan.reverse)
        if resets is not None:
            resets = resets if valid is None else resets & valid
            before = choose(resets, _repeat(initial, len(xs)), before)
        if gates is None:
            h_shares = self._h_share(params, mask, before.h)
            _, gates = self.equations.step(params, before, self._matmul(xs, params.w_x), h_shares)
        if valid is not None:  # a NaN that no valid step reads
            before = choose(valid, before, _zeros(before))
        known = self.equations.coefficients(params, before, states, gates)
        d_state, d_initial, d_x, d_h = self._steps_back(params, mask, initial, d_state, known, d_ys, valid, resets)
        d_w_x, d_w_h = self._outer(xs, d_x), self._outer(_thin(before.h, mask), d_h)
        d_xs = self._matmul(d_x, params.w_x.T).astype(xs.dtype)
        return d_state, d_initial, self.equations.gradient(params, d_w_x, d_w_h, d_x, d_h), d_xs

    def _steps_back(
        self, params: Any, mask: Any, initial: Any, d_state: Any, known: Any, d_ys: Array, valid: Any, resets: Any
    ) -> tuple[Any, Any, Array, Array]:
        """The sequential part: gradients of the state before, of new sequences' states, and of both shares."""
        turned = params.w_h.T

        def step(carry: Any, inputs: Any) -> tuple[Any, Any]:
            d_state, d_initial = carry
            known, d_y, is_valid, is_reset = inputs
            d_after = d_state._replace(h=d_state.h + d_y.astype(d_state.h.dtype))
            d_shares, d_before = self.equations.back(known, d_after)
            if is_valid is not None:
                d_shares = choose(is_valid, d_shares, _zeros(d_shares))
            d_h = _thin(self._matmul(d_shares[0], turned), mask)
            d_before = d_before._replace(h=d_before.h + d_h)
            if is_valid is not None:
                d_before = choose(is_valid, d_before, d_after)
            if is_reset is not None:
                d_initial = add_trees(d_initial, choose(is_reset, d_before, _zeros(d_before)))
                d_before = choose(is_reset, _zeros(d_before), d_before)
            return (d_before, d_initial), d_shares

        carry, inputs = (d_state, _wide_zeros(initial)), (known, d_ys, valid, resets)
        (d_state, d_initial), d_shares = lax.scan(step, carry, inputs, reverse=not self.plan.reverse)
        return d_state, d_initial, self.equations.of_input(*d_shares), d_shares[0]

    def _order(self, valid: Bool[Array, "T B"] | None) -> tuple[Order | None, Bool[Array, "T B"] | None]:
        """The order of rows, and which of them, so ordered, have a valid step now or later; None without packing."""
        if valid is None or len(self.plan.counts) == 1:
            return None, None
        order = longest_first(valid)
        return order, jnp.arange(len(valid), dtype=jnp.int32)[:, None] < order.ends[None, :]

    def _on_rows(self, run: Any, alive: Any, carry: Any, others: Any, timed: Any) -> tuple[Any, Any, Any]:
        """`run` on the rows that are alive when the chunk begins."""
        if alive is None:
            result: tuple[Any, Any, Any] = run(carry, others, timed)
            return result
        return on_first_rows(run, self.plan.counts, jnp.sum(alive[0], dtype=jnp.int32), carry, others, timed)

    def _h_share(self, params: Any, mask: Any, h: Float[Array, "... H"]) -> Float[Array, "... G*H"]:
        return self._matmul(_thin(h, mask), params.w_h)

    def _outer(self, values: Float[Array, "K B N"], d_shares: Float[Array, "K B M"]) -> Float[Array, "N M"]:
        """A weight's gradient: the sum over steps and rows of `values^T d_shares`."""
        # Turned in memory first, which the barrier sees to: that product is faster on a CPU than one that turns it.
        turned: Array = lax.optimization_barrier(values.reshape(-1, values.shape[-1]).T)  # type: ignore[no-untyped-call]
        return self._matmul(turned, d_shares.reshape(-1, d_shares.shape[-1]))

    def _matmul(self, x: Float[Array, "... N"], w: Float[Array, "N M"]) -> Float[Array, "... M"]:
        return matmul(x, w, self.equations.cell.compute_dtype)


def _placed(problem: Problem, order: Order | None) -> Problem:
    params, mask, steps, *states = problem
    return Problem(params, _place(mask, order, 0), _place(steps, order, 1), *_place(states, order, 0))


def _place(tree: PyTree, order: Order | None, axis: int) -> PyTree:
    return tree if order is None else jax.tree.map(lambda leaf: _take(leaf, order.rows, axis), tree)


def _back(tree: PyTree, order: Order | None, axis: int) -> PyTree:
    return tree if order is None else jax.tree.map(lambda leaf: _take(leaf, order.back, axis), tree)


def _take(values: Array, rows: Array, axis: int) -> Array:
    return jnp.take(values, rows, axis=axis, unique_indices=True, mode="clip")


def _thin(h: Array, mask: Array | None) -> Array:
    return h if mask is None else h * jnp.broadcast_to(mask.astype(h.dtype), h.shape)


def _repeat(tree: PyTree, times: int) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (times, *leaf.shape)), tree)


def _zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, tree)


def _widen(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.astype(accumulation_dtype(leaf.dtype)), tree)


def _wide_zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.zeros_like(leaf, accumulation_dtype(leaf.dtype)), tree)


def _like(gradients: PyTree, tree: PyTree) -> PyTree:
    """`gradients` in the dtypes of `tree`."""
    return jax.tree.map(lambda gradient, leaf: gradient.astype(leaf.dtype), gradients, tree)
