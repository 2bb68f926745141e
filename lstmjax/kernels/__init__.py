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

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax.sharding import AxisType

from lstmjax.cells.optional import draw_noise
from lstmjax.kernels import cudnn, fused, native, scan
from lstmjax.kernels.backend import Backend, Explanation, Request, select
from lstmjax.masking import Steps, check_options, prepare
from lstmjax.types import Array, Bool, Cell, Float, Int, Key, PyTree

__all__ = ["BACKENDS", "Backend", "Explanation", "Request", "backend_for", "explain", "run"]

BACKENDS = (cudnn.BACKEND, native.BACKEND, fused.BACKEND, scan.BACKEND)
"""In the order of falling back."""


def explain(
    cell: Cell[Any, Any],
    params: Any,
    xs: Float[Array, "B T *in"],
    state: Any = None,
    *,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    resets: Bool[Array, "B T"] | None = None,
    initial_state: Any = None,
    reverse: bool = False,
    time_major: bool = False,
    remat: int | None = None,
    backend: str = "auto",
    key: Key[Array, ""] | None = None,
) -> Explanation:
    """Which backend `lstmjax.unroll` would run these arguments with, and why not the others.

    Args and raises: see `lstmjax.unroll`. Nothing is run.

    >>> cell = lx.cells.PeepholeLSTM(3, 5)
    >>> chosen = lx.kernels.explain(cell, cell.init(jax.random.key(0)), jnp.ones((2, 7, 3)), backend="fused")
    >>> chosen.backend, chosen.reasons["fused"]
    ('scan', 'it knows cells.LSTM and cells.GRU, got PeepholeLSTM')
    """
    check_options(reverse, remat, key)
    steps, _, _ = prepare(cell, params, xs, state, lengths, mask, resets, initial_state, time_major)
    if key is not None:
        cell, params, _ = draw_noise(cell, params, steps.xs, key)
    return backend_for(backend, cell, params, steps, mask is None)


def backend_for(backend: str, cell: Cell[Any, Any], params: Any, steps: Steps, right_padded: bool) -> Explanation:
    """Which backend runs `cell`, its noise drawn, over `steps`."""
    axis_types = jax.sharding.get_abstract_mesh().axis_types
    request = Request(
        cell,
        params,
        num_steps=steps.xs.shape[0],
        batch=steps.xs.shape[1],
        right_padded=right_padded,
        has_resets=steps.resets is not None,
        explicitly_sharded=AxisType.Explicit in axis_types,
    )
    return select(backend, request, BACKENDS)


def run(
    backends: Sequence[str], cell: Any, params: Any, steps: Steps, state: Any, initial: Any, reverse: bool
) -> tuple[Any, PyTree]:
    """The state after the last step and the outputs, time first, by the first of these that the platform allows."""
    jax.eval_shape(cell.project, params, steps.xs)  # raises for inputs that do not fit, as the plain path would
    first, *others = (each for name in backends for each in BACKENDS if each.name == name)

    if not others:
        return first.run(cell, params, steps, state, initial, reverse)

    def here(params: Any, steps: Steps, state: Any, initial: Any) -> tuple[Any, PyTree]:
        return first.run(cell, params, steps, state, initial, reverse)

    def elsewhere(params: Any, steps: Steps, state: Any, initial: Any) -> tuple[Any, PyTree]:
        return run(backends[1:], cell, params, steps, state, initial, reverse)

    branches: Any = {first.platform: here}
    result: tuple[Any, PyTree] = lax.platform_dependent(params, steps, state, initial, **branches, default=elsewhere)
    return result
