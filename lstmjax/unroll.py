"""Run any cell over time: compiled with `lax.scan`, and, as the meaning of it, one step at a time in plain Python.

Inside, time comes first: arrays are [T, B, ...].
"""

import functools
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstmjax import checks
from lstmjax.types import Array, Bool, Cell, Float, Int, PyTree

Params = TypeVar("Params")
State = TypeVar("State")

BACKENDS = ("auto", "scan")


def unroll(
    cell: Cell[Params, State],
    params: Params,
    xs: Float[Array, "B T I"],
    state: State | None = None,
    *,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    resets: Bool[Array, "B T"] | None = None,
    reverse: bool = False,
    time_major: bool = False,
    backend: str = "auto",
) -> tuple[Float[Array, "B T H"], State]:
    """Run `cell` over the steps of each sequence.

        state[t], y[t] = step(state[t-1], x[t])     where step t is valid: t < lengths[b] and mask[b, t]
        state[t], y[t] = state[t-1], 0              elsewhere

    An invalid step is as good as absent: what stands in `xs` there, even NaN, reaches no output, state or gradient.

    Args:
      cell: any `lstmjax.types.Cell`.
      params: what `cell.init` gave.
      xs: inputs [B, T, I]; with `time_major`, [T, B, I], and then `mask`, `resets` and the outputs are [T, B] too.
      state: the state before the first step; None means `cell.initial_state((B,))`.
      lengths: integers [B] in 0..T; sequence b is its first `lengths[b]` steps.
      mask: booleans [B, T], True at valid steps; any pattern: left padding, holes.
      resets: booleans [B, T]; where True, the state goes back to `cell.initial_state` before that (valid) step.
      reverse: run from the last step to the first. Outputs stay aligned with inputs: y[t] has seen x[t] and after.
      backend: "auto" or "scan".

    Returns:
      outputs [B, T, H] and the state after the last valid step; for a sequence with none, the initial state.

    Raises:
      TypeError: `xs` is not floating, `lengths` not integer, `mask` or `resets` not boolean, `params` or `state` not
        the cell's tree.
      ValueError: a shape that does not fit the cell or `xs`, lengths outside 0..T, or a mask that is True past
        `lengths` (the values can be checked outside `jit` only).

    >>> cell = lx.cells.LSTM(in_features=3, hidden_features=5)
    >>> params = cell.init(jax.random.key(0))
    >>> ys, state = lx.unroll(cell, params, jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4]))
    >>> ys.shape, bool(jnp.all(ys[1, 4:] == 0)), bool(jnp.all(state.h[1] == ys[1, 3]))
    ((2, 7, 5), True, True)
    """
    checks.one_of("backend", backend, BACKENDS)
    xs, state, valid, resets = _prepare(cell, params, xs, state, lengths, mask, resets, time_major)
    state, ys = _scan(cell, params, xs, state, valid, resets, reverse)
    return _swap(ys, time_major), state


def unroll_loop(
    cell: Cell[Params, State],
    params: Params,
    xs: Float[Array, "B T I"],
    state: State | None = None,
    *,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    resets: Bool[Array, "B T"] | None = None,
    reverse: bool = False,
    time_major: bool = False,
) -> tuple[Float[Array, "B T H"], State]:
    """The reference for `unroll`: the same arguments and results, one sequence and one valid step at a time.

    Slow on purpose; `lengths`, `mask` and `resets` must be known values, not traced ones, and B at least 1.

    >>> cell = lx.cells.LSTM(in_features=3, hidden_features=5)
    >>> params = cell.init(jax.random.key(0))
    >>> lx.unroll_loop(cell, params, jnp.ones((2, 4, 3)), lengths=np.array([1, 4]))[0].shape
    (2, 4, 5)
    """
    xs, state, valid, resets = _prepare(cell, params, xs, state, lengths, mask, resets, time_major)
    steps, batch = xs.shape[:2]
    is_valid = np.ones((steps, batch), bool) if valid is None else np.asarray(valid)
    is_reset = np.zeros((steps, batch), bool) if resets is None else np.asarray(resets)
    rows = []
    for b in range(batch):
        row_state = jax.tree.map(lambda leaf, b=b: leaf[b], state)
        rows.append(_loop_one(cell, params, xs[:, b], row_state, is_valid[:, b], is_reset[:, b], reverse))
    ys = jnp.stack([ys for ys, _ in rows], axis=1)
    return _swap(ys, time_major), jax.tree.map(lambda *leaves: jnp.stack(leaves), *[end for _, end in rows])


# Compiled here too, so that calls outside jit compile once and not each time.
@functools.partial(jax.jit, static_argnames=("cell", "reverse"))
def _scan(
    cell: Cell[Params, State],
    params: Params,
    xs: Float[Array, "T B I"],
    state: State,
    valid: Bool[Array, "T B"] | None,
    resets: Bool[Array, "T B"] | None,
    reverse: bool,
) -> tuple[State, Float[Array, "T B H"]]:
    initial = cell.initial_state(xs.shape[1:2])
    if valid is not None:  # a NaN in the padding would otherwise come back through the gradient of `where`
        xs = _where(valid, xs, jnp.zeros_like(xs))

    def step(state: State, inputs: PyTree) -> tuple[State, Array]:
        z, is_valid, is_reset = inputs
        before = state if is_reset is None else _where(is_reset, initial, state)
        after, y = cell.step(params, before, z)
        if is_valid is None:
            return after, y
        return _where(is_valid, after, state), _where(is_valid, y, jnp.zeros_like(y))

    return lax.scan(step, state, (cell.project(params, xs), valid, resets), reverse=reverse)


def _loop_one(
    cell: Cell[Params, State],
    params: Params,
    xs: Float[Array, "T I"],
    state: State,
    valid: np.ndarray,
    resets: np.ndarray,
    reverse: bool,
) -> tuple[Float[Array, "T H"], State]:
    ys: dict[int, Array] = {}
    order = range(len(xs))
    for t in reversed(order) if reverse else order:
        if valid[t]:
            before = cell.initial_state(()) if resets[t] else state
            state, ys[t] = cell.step(params, before, cell.project(params, xs[t]))
    y_shape = jax.eval_shape(lambda: cell.step(params, state, cell.project(params, jnp.zeros_like(xs[0])))[1])
    silence = jnp.zeros(y_shape.shape, y_shape.dtype)
    return jnp.stack([ys.get(t, silence) for t in order]), state


def _prepare(
    cell: Cell[Params, Any],
    params: Params,
    xs: Array,
    state: Any,
    lengths: Array | None,
    mask: Array | None,
    resets: Array | None,
    time_major: bool,
) -> tuple[Array, Any, Array | None, Array | None]:
    """Check every argument; return inputs, state, valid steps and resets with time first."""
    xs = jnp.asarray(xs)
    checks.kind("xs", xs, jnp.floating)
    checks.shape("xs", xs, ("T", "B", cell.in_features) if time_major else ("B", "T", cell.in_features))
    xs = _swap(xs, time_major)
    steps, batch = xs.shape[:2]
    checks.positive_int("the number of steps in xs", steps)
    checks.like("params", params, _expected_params(cell, jnp.result_type(float)))
    initial = cell.initial_state((batch,))
    if state is None:
        state = initial
    checks.like("state", state, initial)
    mask = _per_step("mask", mask, steps, batch, time_major)
    resets = _per_step("resets", resets, steps, batch, time_major)
    return xs, state, _valid_steps(lengths, mask, steps, batch), resets


@functools.cache  # tracing `init` costs milliseconds, most of a small call outside jit
def _expected_params(cell: Cell[Params, Any], default_float: jnp.dtype) -> PyTree:
    """Shapes and dtypes of the cell's parameters; the default float (float64 or not) is there for the cache alone."""
    return jax.eval_shape(cell.init, jax.random.key(0))


def _per_step(name: str, flags: Array | None, steps: int, batch: int, time_major: bool) -> Array | None:
    """A boolean for each step of each sequence, with time first."""
    if flags is None:
        return None
    flags = jnp.asarray(flags)
    checks.kind(name, flags, jnp.bool_)
    checks.shape(name, flags, (steps, batch) if time_major else (batch, steps))
    return _swap(flags, time_major)


def _valid_steps(lengths: Array | None, mask: Array | None, steps: int, batch: int) -> Bool[Array, "T B"] | None:
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


def _where(flags: Bool[Array, "*lead"], yes: PyTree, no: PyTree) -> PyTree:
    """Choose between two trees row by row; `flags` has the leading axes of every leaf."""

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(flags.reshape(flags.shape + (1,) * (a.ndim - flags.ndim)), a, b)

    return jax.tree.map(choose, yes, no)


def _swap(array: Array, time_major: bool) -> Array:
    """Exchange batch and time unless time is already, or should stay, first."""
    return array if time_major else jnp.swapaxes(array, 0, 1)
