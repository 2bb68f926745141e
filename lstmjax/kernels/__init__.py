"""Backends of `unroll`: the same maths and the same results, at different speeds.

"scan" runs any cell; "fused" is a faster way through LSTM and GRU on any platform; "native", a library in C++ for CPUs,
is faster still; "cudnn" is NVIDIA's LSTM, without vmap. What one can't serve the next one does, in the order cudnn,
native, fused, scan. `explain` says who serves and why.

- `backend.py`: what a backend is, and which one serves a call
- `arguments.py`: a run's arguments as trees of arrays, and the run that all derivatives can be taken of
- `scan.py`: any cell
- `fused/`: LSTM and GRU, faster
- `native/`: LSTM and GRU on CPUs, a library in C++
- `cudnn.py`: NVIDIA's LSTM
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Unpack

import jax
from jax import lax
from jax.sharding import AxisType

from lstmjax import checks
from lstmjax.cells.full_cell import draw_noise
from lstmjax.kernels import cudnn, fused, native, scan
from lstmjax.kernels.backend import Backend, Explanation, Request, select
from lstmjax.masking import RunOptions, Steps, prepare
from lstmjax.types import Array, Cell, Float, Key, PyTree

__all__ = ["BACKENDS", "Backend", "Explanation", "PreparedRun", "Request", "explain", "prepare_run", "run"]

BACKENDS = (cudnn.BACKEND, native.BACKEND, fused.BACKEND, scan.BACKEND)
"""In the order of falling back."""


class PreparedRun(NamedTuple):
    """A call of `lstmjax.unroll`, checked: the cell with its noise drawn, its arrays with time first, its backend."""

    cell: Cell[Any, Any]
    params: Any
    steps: Steps
    state: Any
    initial: Any
    remat: int | None
    explanation: Explanation


def explain(
    cell: Cell[Any, Any],
    params: Any,
    xs: Float[Array, "B T *in"],
    state: Any = None,
    *,
    initial_state: Any = None,
    key: Key[Array, ""] | None = None,
    **options: Unpack[RunOptions],
) -> Explanation:
    """Which backend `lstmjax.unroll` would run these arguments with, and why not the others.

    Args and raises: see `lstmjax.unroll`. Nothing is run.

    >>> cell = lx.cells.PeepholeLSTM(3, 5)
    >>> chosen = lx.kernels.explain(cell, cell.init(jax.random.key(0)), jnp.ones((2, 7, 3)), backend="fused")
    >>> chosen.backend, chosen.reasons["fused"]
    ('scan', 'it knows cells.LSTM and cells.GRU, got PeepholeLSTM')
    """
    return prepare_run(cell, params, xs, state, initial_state=initial_state, key=key, **options).explanation


def prepare_run(
    cell: Cell[Any, Any],
    params: Any,
    xs: Array,
    state: Any = None,
    lengths: Array | None = None,
    mask: Array | None = None,
    resets: Array | None = None,
    initial_state: Any = None,
    reverse: bool = False,
    time_major: bool = False,
    remat: int | None = None,
    backend: str = "auto",
    key: Array | None = None,
) -> PreparedRun:
    """Check the arguments of `lstmjax.unroll`, in its order; draw the noise; choose the backend."""
    checks.boolean("reverse", reverse)
    if key is not None:
        checks.random_key("key", key)
    remat = None if remat is None else checks.positive_int("remat", remat)
    steps, state, initial = prepare(cell, params, xs, state, lengths, mask, resets, initial_state, time_major)
    time, batch = steps.xs.shape[:2]
    if key is not None:
        cell, params, inputs = draw_noise(cell, params, steps.xs, key)
        steps = dataclasses.replace(steps, xs=inputs)
    request = Request(
        cell,
        params,
        num_steps=time,
        batch=batch,
        right_padded=mask is None,
        has_resets=resets is not None,
        explicitly_sharded=AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types,
    )
    return PreparedRun(cell, params, steps, state, initial, remat, select(backend, request, BACKENDS))


def run(
    backends: Sequence[str], cell: Any, params: Any, steps: Steps, state: Any, initial: Any, reverse: bool
) -> tuple[Any, PyTree]:
    """The state after the last step and the outputs, time first, by the first of these that the platform allows."""
    jax.eval_shape(cell.project, params, steps.xs)  # raises for inputs that do not fit, as the plain path would
    first = next(each for each in BACKENDS if each.name == backends[0])

    def here(params: Any, steps: Steps, state: Any, initial: Any) -> tuple[Any, PyTree]:
        return first.run(cell, params, steps, state, initial, reverse)

    def elsewhere(params: Any, steps: Steps, state: Any, initial: Any) -> tuple[Any, PyTree]:
        return run(backends[1:], cell, params, steps, state, initial, reverse)

    if len(backends) == 1:
        return here(params, steps, state, initial)
    branches: Any = {first.platform: here}
    result: tuple[Any, PyTree] = lax.platform_dependent(params, steps, state, initial, **branches, default=elsewhere)
    return result
