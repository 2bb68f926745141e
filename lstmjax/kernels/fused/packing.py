"""Fewer rows where sequences have ended: what a packed sequence is elsewhere, with shapes the compiler knows.

Sequences are put in order, longest first. A chunk of steps then concerns the first rows only, and is run on as many of
them as the smallest of a few fixed numbers that is enough.

(Under vmap over lengths all of them are run, as JAX does with branches.)
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax.types import Array, Bool, Int, PyTree


class Order(NamedTuple):
    """Which sequence stands in which row, the inverse of that, and the step after the last valid one of each row."""

    rows: Int[Array, "B"]
    inverse: Int[Array, "B"]
    ends: Int[Array, "B"]


def row_counts(batch: int) -> tuple[int, ...]:
    """The numbers of rows that chunks are run on: thirds of the batch, in whole eights.

    >>> row_counts(64), row_counts(32), row_counts(8)
    ((24, 48, 64), (16, 24, 32), (8,))
    """
    thirds = (-(-batch * part // 24) * 8 for part in (1, 2))
    return (*sorted({count for count in thirds if count < batch}), batch)


def longest_first(valid: Bool[Array, "T B"]) -> Order:
    """The order of rows by their last valid step, the latest first."""
    steps = jnp.arange(1, len(valid) + 1, dtype=jnp.int32)[:, None]
    ends = jnp.max(jnp.where(valid, steps, 0), axis=0)
    rows = jnp.argsort(-ends, stable=True)
    return Order(rows, jnp.argsort(rows), ends[rows])


def on_first_rows(
    run: Callable[[Any, Any, PyTree], tuple[Any, PyTree, Any]],
    counts: Sequence[int],
    live: Int[Array, ""],
    carry: PyTree,
    per_row: PyTree,
    timed: PyTree,
) -> tuple[Any, PyTree, Any]:
    """`run(carry, per_row, timed)` on as many rows as are `live`, or a few more.

    Args:
      run: gives a new carry, results over time, and anything that has no rows.
      counts: see `row_counts`.
      live: how many rows anything happens to; the rest keep their carry, and their results are 0.
      carry, per_row: trees of [B, ...].
      timed: a tree of [T, B, ...].
    """

    def on(count: int, carry: PyTree, per_row: PyTree, timed: PyTree) -> tuple[Any, PyTree, Any]:
        first, beside = (jax.tree.map(lambda leaf: leaf[:count], tree) for tree in (carry, per_row))
        after, ys, whole = run(first, beside, jax.tree.map(lambda leaf: leaf[:, :count], timed))
        after = jax.tree.map(lambda new, old: jnp.concatenate([new, old[count:]]), after, carry)
        return after, jax.tree.map(lambda y: _pad_rows(y, counts[-1] - count), ys), whole

    which = jnp.sum(live > jnp.array(counts[:-1], jnp.int32))
    branches = [functools.partial(on, count) for count in counts]
    result: tuple[Any, PyTree, Any] = lax.switch(which, branches, carry, per_row, timed)
    return result


def _pad_rows(values: Array, more: int) -> Array:
    return jnp.pad(values, [(0, 0), (0, more), *[(0, 0)] * (values.ndim - 2)])


def sort_rows(tree: PyTree, order: Order | None, axis: int) -> PyTree:
    """Every leaf with its rows along `axis` in this order; None leaves them."""
    return tree if order is None else jax.tree.map(lambda leaf: _take(leaf, order.rows, axis), tree)


def unsort_rows(tree: PyTree, order: Order | None, axis: int) -> PyTree:
    """What `sort_rows` changed, as it was."""
    return tree if order is None else jax.tree.map(lambda leaf: _take(leaf, order.inverse, axis), tree)


def _take(values: Array, rows: Array, axis: int) -> Array:
    return jnp.take(values, rows, axis=axis, unique_indices=True, mode="clip")
