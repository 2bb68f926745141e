"""LSTM and GRU over time as one call of a library in C++, on CPUs.

Where the library is missing, `fused` serves, or `scan` what `fused` does not know, and `explain` says why. Reverse mode
has a call of its own; forward mode and second derivatives are those of `scan`.

`jax.export` does not take custom calls unless it is told to trust them: export with `backend="fused"`, or with
`disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(name)]` for each name in `library.TARGETS`, for machines
that have the library and the same vectors.

- `calls.py`: the library's functions as functions of arrays
- `batching.py`: what they do under vmap: more rows, or more layers
- `library.py`: finding the library and loading it, or the reason why not
- `compile.py`: building it from `source/`
"""

from typing import Any

import jax.numpy as jnp

from lstmjax.cells.gru import GRU
from lstmjax.cells.lstm import LSTM
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.derivative import with_backward
from lstmjax.kernels import fused
from lstmjax.kernels.arguments import Arguments, arguments_of, by_scan
from lstmjax.kernels.backend import Backend, Request, never
from lstmjax.kernels.native import calls, library
from lstmjax.kernels.native.calls import Cotangents, Operands, Outputs, Plan, nothing
from lstmjax.masking import Steps
from lstmjax.types import Array, DTypeLike, Float

# Measured on two CPU cores with experiments.speed; see experiments/LOG.md.
CHUNK_ROWS = 384
"""Rows, B times steps, that the backward pass takes at a time: enough for its products, few enough for a cache."""
KEEP_GATES_FROM = 128
"""Hidden features from which on computing the gates again costs more than keeping them."""
MOST_KEPT_BYTES = 2**29
"""The most bytes of gates that are kept: above it memory goes before speed."""
FEW_STEPS = 4
"""Up to so many steps a call may be one of many in a loop, whose weights are packed before the loop."""


def run(
    cell: LSTM | GRU, params: Any, steps: Steps, state: Any, initial: Any, reverse: bool
) -> tuple[Any, Float[Array, "T B H"]]:
    """As `scan.run`."""
    plan = plan_of(cell, steps, reverse)

    def forward(arguments: Arguments) -> tuple[Any, Array]:
        operands = _operands(plan, arguments)
        packed = calls.pack(plan, operands) if len(arguments.steps.xs) <= FEW_STEPS else nothing(plan.sums)
        return _results(plan, arguments, calls.forward(plan, operands, packed, saving=False))

    def saving(arguments: Arguments) -> tuple[Any, Any]:
        outputs = calls.forward(plan, _operands(plan, arguments), nothing(plan.sums), saving=True)
        return _results(plan, arguments, outputs), (arguments, outputs)

    def backward(saved: tuple[Arguments, Outputs], cotangents: tuple[Any, Array]) -> tuple[Arguments]:
        return (_gradients(plan, *saved, *cotangents),)

    native = with_backward(forward, saving, backward, by_scan(cell, reverse))
    result: tuple[Any, Array] = native(arguments_of(params, steps, state, initial))
    return result


def plan_of(cell: LSTM | GRU, steps: Steps, reverse: bool) -> Plan:
    """Chunks that fill the products' rows; gates kept where that is cheaper."""
    time, batch = steps.xs.shape[:2]
    kept_bytes = time * batch * 4 * cell.hidden_features * accumulation_dtype(cell.compute_dtype).itemsize
    chunk = min(time, max(1, -(-CHUNK_ROWS // max(1, batch))))
    keeps = cell.hidden_features >= KEEP_GATES_FROM and kept_bytes <= MOST_KEPT_BYTES
    return Plan(cell, steps.batch_first, reverse, chunk, keeps)


def refuses(request: Request) -> str | None:
    """Why this backend cannot serve a request."""
    reason = library.why_not()
    if reason is not None:
        return reason
    cell: Any = request.cell
    if type(cell) in (LSTM, GRU) and cell.compute_dtype == jnp.float16:
        return "it knows float32, float64 and bfloat16, got float16"
    return fused.refuses_cell(request)


def _operands(plan: Plan, arguments: Arguments) -> Operands:
    """One layer's arrays as calls take them."""
    params, h_mask, steps, state, initial = arguments
    element, sums = plan.cell.compute_dtype, plan.sums
    b_h = getattr(params, "b_h", None)
    return Operands(
        w_x=_layer(params.w_x, element),
        w_h=_layer(params.w_h, element),
        b=_layer(params.b, sums),
        b_h=_layer(None if b_h is None else jnp.pad(b_h, (2 * plan.cell.hidden_features, 0)), sums),
        xs=_layer(_as_in_memory(plan, steps.xs), element),
        h=_layer(state.h, element),
        memory=_layer(getattr(state, "c", None), sums),
        h_initial=_layer(getattr(initial, "h", None), element),
        memory_initial=_layer(getattr(initial, "c", None), sums),
        h_mask=_layer(h_mask, element),
        valid=_layer(steps.valid, jnp.bool_),
        resets=_layer(steps.resets, jnp.bool_),
    )


def _layer(array: Array | None, dtype: DTypeLike) -> Array:
    """The array of one layer, or what stands for none."""
    return nothing(dtype) if array is None else array.astype(dtype)[None]


def _as_in_memory(plan: Plan, sequences: Array) -> Array:
    """Time first to batch first, or back, where the caller's arrays are so: XLA cancels this with the caller's swap."""
    return jnp.swapaxes(sequences, 0, 1) if plan.batch_major else sequences


def _state(like: Any, h: Array, memory: Array) -> Any:
    """One layer's state; an LSTM's has the memory c."""
    return like._replace(h=h[0], c=memory[0]) if "c" in like._fields else like._replace(h=h[0])


def _results(plan: Plan, arguments: Arguments, outputs: Outputs) -> tuple[Any, Array]:
    return _state(arguments.state, outputs.h, outputs.memory), _as_in_memory(plan, outputs.ys[0])


def _gradients(plan: Plan, arguments: Arguments, outputs: Outputs, d_state: Any, d_ys: Array) -> Arguments:
    cotangents = Cotangents(
        outputs.ys,
        outputs.chunk_memory,
        outputs.gates,
        _as_in_memory(plan, d_ys)[None],
        d_state.h[None],
        _layer(getattr(d_state, "c", None), plan.sums),
    )
    found = calls.backward(plan, _operands(plan, arguments), cotangents)
    params, initial = arguments.params, arguments.initial
    d_params = params._replace(w_x=found.w_x[0], w_h=found.w_h[0], b=None if params.b is None else found.b[0])
    if getattr(params, "b_h", None) is not None:
        d_params = d_params._replace(b_h=found.b_h[0, 2 * plan.cell.hidden_features :])
    d_start = _state(arguments.state, found.h, found.memory)
    d_initial = None if initial is None else _state(initial, found.h_initial, found.memory_initial)
    return arguments.gradients(d_params, _as_in_memory(plan, found.xs[0]), d_start, d_initial)


BACKEND = Backend("native", refuses, never, run, platform="cpu")
