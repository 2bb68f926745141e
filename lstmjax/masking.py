"""What each step of a run takes: its input, whether it is valid, whether the state is reset before it."""

import dataclasses
from typing import Any, TypedDict, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstmjax import checks
from lstmjax.cells.full_cell import input_shape
from lstmjax.cells.shapes import expected_params
from lstmjax.types import Array, Bool, Cell, Int, PyTree

Params = TypeVar("Params")
Tree = TypeVar("Tree")


class RunOptions(TypedDict, total=False):
    """The keywords of `unroll` that say how to go through time; layers hand them on to it as they are."""

    lengths: Int[Array, "B"] | None
    mask: Bool[Array, "B T"] | None
    resets: Bool[Array, "B T"] | None
    reverse: bool
    time_major: bool
    remat: int | None
    backend: str


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Steps:
    """What each step takes, time first: input, whether it is valid, whether the state is reset before it.

    Args:
      xs: inputs, [T, B, ...].
      valid: None means that all are.
      resets: None means that none are.
      batch_first: whether the caller's arrays were [B, T, ...], for a backend that reads them in place.
    """

    xs: PyTree
    valid: Bool[Array, "T B"] | None
    resets: Bool[Array, "T B"] | None
    batch_first: bool = dataclasses.field(default=False, metadata={"static": True})


def prepare(
    cell: Cell[Params, Any],
    params: Params,
    xs: Array,
    state: Any,
    lengths: Array | None,
    mask: Array | None,
    resets: Array | None,
    initial_state: Any,
    time_major: bool,
) -> tuple[Steps, Any, Any]:
    """Check every argument; return what each step takes, the state before the first, and that of a new sequence."""
    checks.boolean("time_major", time_major)
    xs = jnp.asarray(xs)
    checks.kind("xs", xs, jnp.floating)
    checks.shape("xs", xs, ("T", "B", *input_shape(cell)) if time_major else ("B", "T", *input_shape(cell)))
    xs = xs if time_major else jnp.swapaxes(xs, 0, 1)
    steps, batch = xs.shape[:2]
    checks.size("the number of steps in xs", steps, 1)
    checks.like("params", params, expected_params(cell, jnp.result_type(float)))
    zeros = cell.initial_state((batch,))
    initial = zeros if initial_state is None else initial_state
    checks.like("initial_state", initial, zeros)
    state = initial if state is None else state
    checks.like("state", state, zeros)
    resets = _per_step("resets", resets, steps, batch, time_major)
    valid = valid_steps(lengths, mask, steps, batch, time_major)
    return Steps(xs, valid, resets, batch_first=not time_major), state, initial


def valid_steps(
    lengths: Int[Array, "B"] | None, mask: Bool[Array, "B T"] | None, steps: int, batch: int, time_major: bool = False
) -> Bool[Array, "T B"] | None:
    """Which steps `lengths` and `mask` leave valid, time first; None where neither is given and all are.

    Args and raises: see `unroll`.

    >>> lx.valid_steps(jnp.array([2, 0]), None, steps=3, batch=2).T.tolist()
    [[True, True, False], [False, False, False]]
    """
    mask = _per_step("mask", mask, steps, batch, time_major)
    if lengths is None:
        return mask
    if not isinstance(lengths, jax.Array):
        lengths = np.asarray(lengths)  # JAX would first cut 64 bits to 32
    checks.kind("lengths", lengths, jnp.integer)
    checks.shape("lengths", lengths, (batch,))
    checks.within("lengths", lengths, 0, steps)
    inside = jnp.arange(steps, dtype=jnp.int32)[:, None] < jnp.asarray(lengths, jnp.int32)[None, :]
    if mask is None:
        return inside
    beyond = jnp.sum(mask & ~inside)
    if not isinstance(beyond, jax.core.Tracer) and int(beyond) > 0:
        raise ValueError(f"mask must be False past lengths, got {int(beyond)} steps that are True there")
    return mask & inside


def _per_step(name: str, flags: Array | None, steps: int, batch: int, time_major: bool) -> Array | None:
    """A boolean for each step of each sequence, with time first."""
    if flags is None:
        return None
    flags = jnp.asarray(flags)
    checks.kind(name, flags, jnp.bool_)
    checks.shape(name, flags, (steps, batch) if time_major else (batch, steps))
    return flags if time_major else flags.T


def reversed_options(options: RunOptions, leading: tuple[int, ...]) -> RunOptions:
    """The same run in the other direction, over inputs whose shape begins with `leading`.

    A reset marks the first step of a sequence. The other direction meets that boundary from the other side, so the
    reset moves to the last valid step of the sequence before.
    """
    reverse, time_major = options.get("reverse", False), options.get("time_major", False)
    other: RunOptions = {**options, "reverse": not reverse}
    batch, steps = leading[1::-1] if time_major else leading[:2]
    valid = valid_steps(options.get("lengths"), options.get("mask"), steps, batch, time_major)
    resets = _per_step("resets", options.get("resets"), steps, batch, time_major)
    if resets is None:
        return other
    moved = reversed_resets(resets, valid, reverse)
    return {**other, "resets": moved if time_major else moved.T}


def reversed_resets(resets: Bool[Array, "T B"], valid: Bool[Array, "T B"] | None, reverse: bool) -> Bool[Array, "T B"]:
    """True at each valid step after which the next valid one is reset, so belongs to another sequence.

    Next is in the direction of the run; for one that goes forward:

        resets      0 1 0 0 1
        valid       1 1 0 1 1
        sequence    0 1 - 1 2
        result      1 0 0 1 0
    """
    resets = resets if valid is None else resets & valid
    sequence = lax.cumsum(resets.astype(jnp.int32), reverse=reverse)  # the number of each step's, growing as it runs
    none = jnp.asarray(resets.shape[0] + 1, jnp.int32)
    sequence = sequence if valid is None else jnp.where(valid, sequence, none)
    nearest = lax.cummin(sequence, reverse=not reverse)
    end = jnp.broadcast_to(none, nearest[:1].shape)
    following = jnp.concatenate([end, nearest[:-1]] if reverse else [nearest[1:], end])
    return (sequence < following) & (following < none)


def where_rows(flags: Bool[Array, "*lead"], yes: Tree, no: Tree) -> Tree:
    """One of two trees, row by row; `flags` has the leading axes of every leaf."""

    def one(a: Array, b: Array) -> Array:
        return jnp.where(flags.reshape(flags.shape + (1,) * (a.ndim - flags.ndim)), a, b)

    chosen: Tree = jax.tree.map(one, yes, no)
    return chosen


def zero_invalid(valid: Bool[Array, "*lead"] | None, values: Tree, values_time_major: bool = True) -> Tree:
    """Zeros where steps are invalid.

    Args:
      valid: with time first; None means all.
      values: a tree of arrays with the same leading axes or, unless `values_time_major`, with these two exchanged.
    """
    if valid is None:
        return values
    zeros: Tree = jax.tree.map(jnp.zeros_like, values)
    return where_rows(valid if values_time_major else valid.T, values, zeros)
