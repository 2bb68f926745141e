"""Time a chunk at a time: a scan over chunks of steps, with what is left over as a shorter chunk of its own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax.types import PyTree


def in_chunks(
    run: Callable[[Any, PyTree], tuple[Any, PyTree]], carry: Any, steps: PyTree, size: int, reverse: bool
) -> tuple[Any, PyTree]:
    """Scan `run(carry, steps)` over chunks of `size` steps; the remainder, last in time, is one shorter chunk.

    `steps` and the outputs have time first. With `reverse`, chunks are visited last to first; outputs stay in time
    order.
    """
    time = jax.tree.leaves(steps)[0].shape[0]
    whole = time - time % size
    if whole == 0:
        return run(carry, steps)
    if whole == time:
        return _scan(run, carry, steps, size, reverse)
    head = jax.tree.map(lambda leaf: leaf[:whole], steps)
    tail = jax.tree.map(lambda leaf: leaf[whole:], steps)
    if reverse:
        carry, tail_ys = run(carry, tail)
        carry, head_ys = _scan(run, carry, head, size, reverse)
    else:
        carry, head_ys = _scan(run, carry, head, size, reverse)
        carry, tail_ys = run(carry, tail)
    return carry, jax.tree.map(lambda *ys: jnp.concatenate(ys), head_ys, tail_ys)


def _scan(
    run: Callable[[Any, PyTree], tuple[Any, PyTree]], carry: Any, steps: PyTree, size: int, reverse: bool
) -> tuple[Any, PyTree]:
    time = jax.tree.leaves(steps)[0].shape[0]
    chunks = jax.tree.map(lambda leaf: leaf.reshape(time // size, size, *leaf.shape[1:]), steps)
    carry, ys = lax.scan(run, carry, chunks, reverse=reverse)
    return carry, jax.tree.map(lambda y: y.reshape(time, *y.shape[2:]), ys)


def even_size(steps: int, aim: int, most: int) -> int:
    """About `aim` steps a chunk, at most `most`: a divisor of `steps` if one is near, so that nothing is left over.

    >>> even_size(1000, 39, 64), even_size(35, 32, 64), even_size(997, 40, 64), even_size(997, 90, 64)
    (40, 35, 40, 64)
    """
    aim = min(aim, most, steps)
    near = [size for size in range(max(1, 2 * aim // 3), min(most, 3 * aim // 2) + 1) if steps % size == 0]
    return min(near, key=lambda size: abs(size - aim), default=aim)
