"""Time a chunk at a time: a scan over chunks of steps, with what is left over as a chunk of its own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax.types import PyTree


def in_chunks(
    run: Callable[[Any, PyTree], tuple[Any, PyTree]],
    carry: Any,
    steps: PyTree,
    size: int,
    reverse: bool,
    entries: PyTree = (),
) -> tuple[Any, PyTree]:
    """What `run(carry, (steps, entries))` gives when it goes through `size` steps at a time.

    `steps` and the results have time first. `entries` has one row for each chunk, which goes with it; with `reverse`
    the chunks, too, are taken from the last to the first.
    """
    time = jax.tree.leaves(steps)[0].shape[0]
    chunks, cut = time // size, time - time % size
    head = jax.tree.map(lambda leaf: leaf[:cut].reshape(chunks, size, *leaf.shape[1:]), steps)
    tail = jax.tree.map(lambda leaf: leaf[cut:], steps)
    head_entries, tail_entry = (jax.tree.map(lambda leaf, i=i: leaf[i], entries) for i in (slice(chunks), -1))

    def run_head(carry: Any) -> tuple[Any, PyTree]:
        carry, ys = lax.scan(run, carry, (head, head_entries), reverse=reverse)
        return carry, jax.tree.map(lambda y: y.reshape(cut, *y.shape[2:]), ys)

    def run_tail(carry: Any) -> tuple[Any, PyTree]:
        return run(carry, (tail, tail_entry))

    parts = [run_head] * (cut > 0) + [run_tail] * (cut < time)
    outputs = []
    for part in reversed(parts) if reverse else parts:
        carry, ys = part(carry)
        outputs.append(ys)
    in_order = outputs[::-1] if reverse else outputs
    return carry, in_order[0] if len(outputs) == 1 else jax.tree.map(lambda *ys: jnp.concatenate(ys), *in_order)


def entries(start: PyTree, states: PyTree, size: int, reverse: bool) -> PyTree:
    """The state each chunk begins from, when the run began at `start` and `states` [T, ...] came after the steps."""

    def edges(first: Any, after: Any) -> Any:
        if reverse:
            return jnp.concatenate([after[size::size], first[None]])
        return jnp.concatenate([first[None], after[size - 1 : -1 : size]])

    return jax.tree.map(edges, start, states)


def before(entry: PyTree, states: PyTree, reverse: bool) -> PyTree:
    """The state before each step of a chunk that begins from `entry` and has `states` after its steps."""

    def shift(first: Any, after: Any) -> Any:
        if reverse:
            return jnp.concatenate([after[1:], first[None]])
        return jnp.concatenate([first[None], after[:-1]])

    return jax.tree.map(shift, entry, states)


def even_size(steps: int, aim: int, most: int) -> int:
    """About `aim` steps a chunk, at most `most`: a divisor of `steps` if one is near, so that nothing is left over.

    >>> even_size(1000, 39, 64), even_size(35, 32, 64), even_size(997, 40, 64), even_size(997, 90, 64)
    (40, 35, 40, 64)
    """
    aim = min(aim, most, steps)
    near = [size for size in range(max(1, 2 * aim // 3), min(most, 3 * aim // 2) + 1) if steps % size == 0]
    return min(near, key=lambda size: abs(size - aim), default=aim)
