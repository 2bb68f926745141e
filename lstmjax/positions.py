"""Which positions of a batch count, and how much: what losses and metrics share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.masking import valid_steps
from lstmjax.types import Array, ArrayLike


def counted(
    shape: tuple[int, ...], lengths: ArrayLike | None, mask: ArrayLike | None, weights: ArrayLike | None
) -> Array | None:
    """How much each position of a `shape` [B, T, ...] or [B] counts, over its leading axes; None where all are alike.

    >>> counted((2, 3), np.array([1, 3]), None, np.array([1.0, 0.5])).tolist()
    [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
    """
    valid = None
    if lengths is not None or mask is not None:
        if len(shape) < 2:
            raise ValueError(f"lengths and mask need positions [B, T, ...], got {list(shape)}")
        by_step: Any = valid_steps(lengths, mask, shape[1], shape[0])  # type: ignore[arg-type]
        valid = by_step.T
    if weights is None:
        return valid
    each = jnp.asarray(weights)
    checks.shape("weights", each, shape[: each.ndim])
    if valid is None:
        return each
    rank = max(each.ndim, 2)
    return jnp.where(_to_rank(valid, rank), _to_rank(each, rank), jnp.zeros((), each.dtype))


def of_classes(logits: ArrayLike) -> tuple[tuple[int, ...], int]:
    """The shape of the positions, and the number of classes, of logits [B, ..., C]."""
    if np.ndim(logits) < 2:
        raise ValueError(f"logits must have shape [B, ..., C], got {list(np.shape(logits))}")
    return np.shape(logits)[:-1], np.shape(logits)[-1]


def keep_counted(x: Array, each: Array | None) -> Array:
    """`x`, with 0 at every position that doesn't count: what stands there reaches neither value nor gradient."""
    return x if each is None else jnp.where(_to_rank(each, x.ndim).astype(bool), x, 0)


def classes(name: str, ids: ArrayLike, shape: tuple[int, ...], num_classes: int, each: Array | None) -> Array:
    """Integers in [0, num_classes), of a shape, as JAX's; 0 where nothing counts, whatever stood there.

    The range is checked outside `jit`, before JAX cuts 64 bits to 32.
    """
    whole: Any = ids if isinstance(ids, jax.Array) else np.asarray(ids)
    checks.kind(name, whole, jnp.integer)
    checks.shape(name, whole, shape)
    if not isinstance(each, jax.core.Tracer) and not isinstance(whole, jax.core.Tracer):
        chosen = np.asarray(whole)
        if each is not None:
            chosen = chosen[np.asarray(spread(each, shape)).astype(bool)]
        checks.within(name, chosen, 0, num_classes - 1)
    return keep_counted(jnp.asarray(whole), each)


def spread(each: Array, shape: tuple[int, ...]) -> Array:
    """What belongs to the leading axes of a shape, at every position of it."""
    return jnp.broadcast_to(_to_rank(each, len(shape)), shape)


def _to_rank(x: Any, rank: int) -> Any:
    return x.reshape(x.shape + (1,) * (rank - x.ndim))
