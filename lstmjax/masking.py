"""What each step of a run takes: its input, whether it is valid, whether the state is reset before it."""

import dataclasses
from typing import Any, NamedTuple, TypedDict, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType

from lstmjax import checks
from lstmjax.cells.optional import input_shape
from lstmjax.cells.shapes import expected_params
from lstmjax.types import Array, Bool, Cell, Int, Key, PyTree

Params = TypeVar("Params")


class RunOptions(TypedDict, total=False):
    """The keywords of `unroll` that say how to go through time; layers hand them on to it as they are."""

    lengths: Int[Array, "B"] | None
    mask: Bool[Array, "B T"] | None
    resets: Bool[Array, "B T"] | None
    reverse: bool
    time_major: bool
    remat: int | None
    backend: str


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class InMemory:
    """Which axis arrays come with first, batch or time: one that reads them in place asks."""

    batch_first: bool


class Steps(NamedTuple):
    """What each step takes, time first: input, whether it is valid, whether the state is reset before it."""

    xs: PyTree
    valid: Bool[Array, "T B"] | None
    resets: Bool[Array, "T B"] | None
    in_memory: InMemory = InMemory(batch_first=False)


def check_options(reverse: bool, remat: int | None, key: Key[Array, ""] | None) -> int | None:
    """The direction is a boolean, `key` a key, `remat` a number of steps: given back as a Python int."""
    checks.boolean("reverse", reverse)
    if key is not None:
        checks.random_key("key", key)
    return None if remat is None else checks.positive_int("remat", remat)


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
    checks.positive_int("the number of steps in xs", steps)
    checks.like("params", params, expected_params(cell, jnp.result_type(float)))
    zeros = cell.initial_state((batch,))
    initial = zeros if initial_state is None else initial_state
    checks.like("initial_state", initial, zeros)
    state = initial if state is None else state
    checks.like("state", state, zeros)
    resets = _per_step("resets", resets, steps, batch, time_major)
    valid = valid_steps(lengths, mask, steps, batch, time_major)
    return Steps(xs, valid, resets, InMemory(batch_first=not time_major)), state, initial


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

    Resets stand where sequences part, so they move to the step that the other direction meets first.
    """
    reverse, time_major = options.get("reverse", False), options.get("time_major", False)
    turned: RunOptions = {**options, "reverse": not reverse}
    batch, steps = leading[1::-1] if time_major else leading[:2]
    valid = valid_steps(options.get("lengths"), options.get("mask"), steps, batch, time_major)
    flags = _per_step("resets", options.get("resets"), steps, batch, time_major)
    if flags is None:
        return turned
    moved = reversed_resets(flags, valid, reverse)
    return {**turned, "resets": moved if time_major else moved.T}


def reversed_resets(flags: Array, valid: Array | None, reverse: bool) -> Bool[Array, "T B"]:
    """True at the last valid step before each reset, in running order: where a run coming back enters a sequence."""
    if reverse:
        turned = None if valid is None else jnp.flip(valid, axis=0)
        return jnp.flip(reversed_resets(jnp.flip(flags, axis=0), turned, False), axis=0)
    steps = flags.shape[0]
    times = jnp.broadcast_to(jnp.arange(steps, dtype=jnp.int32)[:, None], flags.shape)
    here = times if valid is None else jnp.where(valid, times, steps)
    none_left = jnp.full_like(here[:1], steps)
    next_valid = lax.cummin(jnp.concatenate([here[1:], none_left]), axis=0, reverse=True)
    return jnp.take_along_axis(jnp.concatenate([flags, jnp.zeros_like(flags[:1])]), next_valid, axis=0)


def where_rows(flags: Bool[Array, "*lead"], yes: PyTree, no: PyTree) -> PyTree:
    """One of two trees, row by row; `flags` has the leading axes of every leaf."""

    def one(a: Array, b: Array) -> Array:
        return jnp.where(flags.reshape(flags.shape + (1,) * (a.ndim - flags.ndim)), a, b)

    return jax.tree.map(one, yes, no)


def zeros(tree: PyTree) -> PyTree:
    """Zeros in the shapes and dtypes of a tree."""
    return jax.tree.map(jnp.zeros_like, tree)


def add_trees(a: PyTree, b: PyTree) -> PyTree:
    """The sum, leaf by leaf."""
    return jax.tree.map(jnp.add, a, b)


def vary_alike(tree: PyTree) -> PyTree:
    """`tree`; inside `jax.shard_map`, what differs between shards in one leaf is taken to differ in all.

    A loop's carry has one type from beginning to end, and zeros made on the spot differ nowhere.
    """
    if AxisType.Manual not in jax.sharding.get_abstract_mesh().axis_types:
        return tree
    nowhere = jnp.array(False)
    for leaf in jax.tree.leaves(tree):
        nowhere = nowhere | jnp.any((leaf != leaf) & jnp.array(False))
    return jax.tree.map(lambda leaf: jnp.where(nowhere, jnp.zeros_like(leaf), leaf), tree)


def zero_invalid(valid: Bool[Array, "T B"] | None, values: Array, time_major: bool) -> Array:
    """`values` [B, T, ...] (or [T, B, ...]) with zeros at invalid steps; `valid` has time first, None means all."""
    if valid is None:
        return values
    flags = valid if time_major else valid.T
    return jnp.where(flags.reshape(flags.shape + (1,) * (values.ndim - 2)), values, jnp.zeros_like(values))
