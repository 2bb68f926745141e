"""What each step of a run takes: its input, whether it is valid, whether the state is reset before it."""

from typing import Any, NamedTuple, TypedDict, TypeVar

import jax
import jax.numpy as jnp

from lstmjax import checks
from lstmjax.cells.shapes import expected_params, input_shape
from lstmjax.types import Array, Bool, Cell, Int, PyTree

Params = TypeVar("Params")


class Running(TypedDict, total=False):
    """The keywords of `unroll` that say how to go through time; layers hand them on to it as they are."""

    lengths: Int[Array, "B"] | None
    mask: Bool[Array, "B T"] | None
    resets: Bool[Array, "B T"] | None
    reverse: bool
    time_major: bool
    remat: int | None
    backend: str


class Steps(NamedTuple):
    """What each step takes, time first: input, whether it is valid, whether the state is reset before it."""

    xs: PyTree
    valid: Bool[Array, "T B"] | None
    resets: Bool[Array, "T B"] | None


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
    xs = jnp.asarray(xs)
    checks.kind("xs", xs, jnp.floating)
    checks.shape("xs", xs, ("T", "B", *input_shape(cell)) if time_major else ("B", "T", *input_shape(cell)))
    xs = xs if time_major else jnp.swapaxes(xs, 0, 1)
    steps, batch = xs.shape[:2]
    checks.positive_int("the number of steps in xs", steps)
    checks.like("params", params, expected_params(cell, jnp.result_type(float)))
    zeros = cell.initial_state((batch,))
    initial = zeros if initial_state is None else initial_state
    checks.like("initial_state", initial, zeros)
    state = initial if state is None else state
    checks.like("state", state, zeros)
    resets = _per_step("resets", resets, steps, batch, time_major)
    return Steps(xs, valid_steps(lengths, mask, steps, batch, time_major), resets), state, initial


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
    lengths = jnp.asarray(lengths)
    checks.kind("lengths", lengths, jnp.integer)
    checks.shape("lengths", lengths, (batch,))
    checks.within("lengths", lengths, 0, steps)
    inside = jnp.arange(steps, dtype=jnp.int32)[:, None] < lengths.astype(jnp.int32)[None, :]
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


def where_steps(valid: Bool[Array, "T B"] | None, values: Array, time_major: bool) -> Array:
    """`values` [B, T, ...] (or [T, B, ...]) with zeros at invalid steps; `valid` has time first, None means all."""
    if valid is None:
        return values
    flags = valid if time_major else valid.T
    return jnp.where(flags.reshape(flags.shape + (1,) * (values.ndim - 2)), values, jnp.zeros_like(values))
