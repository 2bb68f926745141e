"""Run any cell over time: compiled with `lax.scan`, and, as the meaning of it, one step at a time in plain Python.

Inside, time comes first: arrays are [T, B, ...].
"""

import functools
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import kernels
from lstmjax.chunks import in_chunks
from lstmjax.masking import Steps, prepare
from lstmjax.sharding import vary_alike
from lstmjax.types import Array, Bool, Cell, Float, Int, Key, PyTree

Params = TypeVar("Params")
State = TypeVar("State")


def unroll(
    cell: Cell[Params, State],
    params: Params,
    xs: Float[Array, "B T *in"],
    state: State | None = None,
    *,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    resets: Bool[Array, "B T"] | None = None,
    initial_state: State | None = None,
    reverse: bool = False,
    time_major: bool = False,
    remat: int | None = None,
    backend: str = "auto",
    key: Key[Array, ""] | None = None,
) -> tuple[Float[Array, "B T *out"], State]:
    """Run `cell` over the steps of each sequence.

        state[t], y[t] = step(state[t-1], x[t])     where step t is valid: t < lengths[b] and mask[b, t]
        state[t], y[t] = state[t-1], 0              elsewhere

    An invalid step is as good as absent: what stands in `xs` there, even NaN, reaches no output, state or gradient.

    Args:
      cell: any `lstmjax.types.Cell`; wrapped in `lstmjax.cells.Recording`, it gives all states and gates too.
      params: what `cell.init` gave.
      xs: inputs [B, T, I]; with `time_major`, [T, B, I], and then `mask`, `resets` and the outputs are [T, B] too.
        Of a cell over a grid, [B, T, *spatial_shape, I].
      state: the state before the first step; None means `initial_state`.
      lengths: integers [B] in 0..T; sequence b is its first `lengths[b]` steps.
      mask: booleans [B, T], True at valid steps; any pattern: left padding, holes.
      resets: booleans [B, T]; where True, the state goes back to `initial_state` before that (valid) step.
      initial_state: what a new sequence starts from; None means `cell.initial_state((B,))`.
      reverse: run from the last step to the first. Outputs stay aligned with inputs: y[t] has seen x[t] and after.
      remat: a number of steps, at least 1. The backward pass then keeps the state once in so many steps and computes
        the rest again, a chunk at a time: one more forward pass for much less memory; near sqrt(T) is least.
      backend: "auto", or the one to try first: "scan", "fused", "native" or "cudnn". One that can't serve the call
        gives way to the next; `lstmjax.kernels.explain` says which and why. Results are the same.
      key: switches the noise of a regularised cell on (see `lstmjax.regularizers`) and draws it; None, as at
        evaluation, means no noise.

    Returns:
      outputs [B, T, H] and the state after the last valid step; for a sequence with none, the state before the first.
      Outputs are zero at invalid steps, so `ys[:, -1]` is no last output of a shorter sequence: `layers.last_step` is.

    Raises:
      TypeError: `xs` is not floating, `lengths` not integer, `mask` or `resets` not boolean, `params` or a state not
        the cell's tree, `reverse` or `time_major` not True or False, `key` no key.
      ValueError: no such `backend`, a shape that does not fit the cell or `xs`, lengths outside 0..T, or a mask that
        is True past `lengths` (the values can be checked outside `jit` only).

    >>> cell = lx.cells.LSTM(in_features=3, hidden_features=5)
    >>> params = cell.init(jax.random.key(0))
    >>> ys, state = lx.unroll(cell, params, jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4]))
    >>> ys.shape, bool(jnp.all(ys[1, 4:] == 0)), bool(jnp.all(state.h[1] == ys[1, 3]))
    ((2, 7, 5), True, True)
    """
    ready = kernels.prepare_run(
        cell,
        params,
        xs,
        state,
        lengths=lengths,
        mask=mask,
        resets=resets,
        initial_state=initial_state,
        reverse=reverse,
        time_major=time_major,
        remat=remat,
        backend=backend,
        key=key,
    )
    backends = ready.explanation.backends
    end, ys = _run(ready.cell, ready.params, ready.steps, ready.state, ready.initial, reverse, ready.remat, backends)
    return ys if time_major else _swap_axes(ys), end


def unroll_loop(
    cell: Cell[Params, State],
    params: Params,
    xs: Float[Array, "B T *in"],
    state: State | None = None,
    *,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    resets: Bool[Array, "B T"] | None = None,
    initial_state: State | None = None,
    reverse: bool = False,
    time_major: bool = False,
) -> tuple[Float[Array, "B T *out"], State]:
    """The reference for `unroll`: the same arguments and results, one sequence and one valid step at a time.

    Slow on purpose; `lengths`, `mask` and `resets` must be known values, not traced ones, and B at least 1.

    >>> cell = lx.cells.LSTM(in_features=3, hidden_features=5)
    >>> params = cell.init(jax.random.key(0))
    >>> lx.unroll_loop(cell, params, jnp.ones((2, 4, 3)), lengths=np.array([1, 4]))[0].shape
    (2, 4, 5)
    """
    steps, state, initial = prepare(cell, params, xs, state, lengths, mask, resets, initial_state, time_major)
    time, batch = steps.xs.shape[:2]
    is_valid = np.ones((time, batch), bool) if steps.valid is None else np.asarray(steps.valid)
    is_reset = np.zeros((time, batch), bool) if steps.resets is None else np.asarray(steps.resets)

    def one(b: int) -> tuple[PyTree, State]:
        row, ys = jax.tree.map(lambda leaf: leaf[b], state), {}
        for t in reversed(range(time)) if reverse else range(time):
            if is_valid[t, b]:
                before = jax.tree.map(lambda leaf: leaf[b], initial) if is_reset[t, b] else row
                row, ys[t] = cell.step(params, before, cell.project(params, steps.xs[t, b]))
        like = jax.eval_shape(lambda: cell.step(params, row, cell.project(params, jnp.zeros_like(steps.xs[0, b])))[1])
        zeros = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), like)
        return jax.tree.map(lambda *each: jnp.stack(each), *[ys.get(t, zeros) for t in range(time)]), row

    ys, ends = jax.tree.map(lambda *rows: jnp.stack(rows), *[one(b) for b in range(batch)])
    return _swap_axes(ys) if time_major else ys, ends


# Compiled here too, so that calls outside jit compile once and not each time.
@functools.partial(jax.jit, static_argnames=("cell", "reverse", "remat", "backends"))
def _run(
    cell: Cell[Params, State],
    params: Params,
    steps: Steps,
    state: State,
    initial: State,
    reverse: bool,
    remat: int | None,
    backends: tuple[str, ...],
) -> tuple[State, PyTree]:
    params, steps, state, initial = vary_alike((params, steps, state, initial))

    def run(state: State, steps: Steps) -> tuple[State, PyTree]:
        return kernels.run(backends, cell, params, steps, state, initial, reverse)

    if remat is None:
        return run(state, steps)
    return in_chunks(jax.checkpoint(run, prevent_cse=False), state, steps, remat, reverse)


def _swap_axes(tree: PyTree) -> PyTree:
    """Exchange the first two axes, batch and time, of every leaf."""
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), tree)
