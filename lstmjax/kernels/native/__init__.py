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

import jax
import jax.numpy as jnp

from lstmjax.cells.gru import GRU, GRUParams
from lstmjax.cells.lstm import LSTM, LSTMParams
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.derivative import with_backward
from lstmjax.kernels import fused
from lstmjax.kernels.arguments import Arguments, arguments_of, by_scan
from lstmjax.kernels.backend import Backend, Request, never
from lstmjax.kernels.native import calls, library
from lstmjax.kernels.native.calls import Cotangents, Operands, Outputs, Way, nothing
from lstmjax.masking import Steps
from lstmjax.types import Array, Float

# Measured on two CPU cores with experiments.speed; see experiments/LOG.md.
CHUNK_ROWS = 384
"""Rows, B times steps, that the backward pass takes at a time: enough for its products, few enough for a cache."""
WIDE = 128
"""Hidden features from which on computing the gates again costs more than keeping them."""
MOST_KEPT_BYTES = 2**29
"""Of kept gates: above it memory goes before speed."""
FEW_STEPS = 4
"""Up to so many steps a call may be one of many in a loop, whose weights are packed before the loop."""


def run(
    cell: LSTM | GRU, params: Any, steps: Steps, state: Any, initial: Any, reverse: bool
) -> tuple[Any, Float[Array, "T B H"]]:
    """As `scan.run`."""
    way = way_of(cell, steps, reverse)

    def forward(arguments: Arguments) -> tuple[Any, Array]:
        operands = _operands(way, arguments)
        packed = calls.pack(way, operands) if len(arguments.steps.xs) <= FEW_STEPS else nothing(way.sums)
        return _results(way, calls.forward(way, operands, packed, saving=False))

    def saving(arguments: Arguments) -> tuple[Any, Any]:
        outputs = calls.forward(way, _operands(way, arguments), nothing(way.sums), saving=True)
        return _results(way, outputs), (arguments, outputs)

    def backward(saved: tuple[Arguments, Outputs], cotangents: tuple[Any, Array]) -> tuple[Arguments]:
        return (_gradients(way, *saved, *cotangents),)

    native = with_backward(forward, saving, backward, by_scan(cell, reverse))
    result: tuple[Any, Array] = native(arguments_of(params, steps, state, initial))
    return result


def way_of(cell: LSTM | GRU, steps: Steps, reverse: bool) -> Way:
    """Chunks that fill the products' rows; gates kept where that is cheaper."""
    time, batch = steps.xs.shape[:2]
    kept_bytes = time * batch * 4 * cell.hidden_features * accumulation_dtype(cell.compute_dtype).itemsize
    chunk = min(time, max(1, -(-CHUNK_ROWS // max(1, batch))))
    keeps = cell.hidden_features >= WIDE and kept_bytes <= MOST_KEPT_BYTES
    return Way(cell, steps.in_memory.batch_first, reverse, chunk, keeps)


def refuses(request: Request) -> str | None:
    """Why this backend cannot serve a request."""
    reason = library.why_not()
    if reason is not None:
        return reason
    if request.batch == 0:
        return "an empty batch leaves it nothing to do"
    cell: Any = request.cell
    if type(cell) in (LSTM, GRU) and cell.compute_dtype == jnp.float16:
        return "it knows float32, float64 and bfloat16, got float16"
    return fused.foreign(request)


def _operands(way: Way, arguments: Arguments) -> Operands:
    """One layer's arrays as calls take them."""
    params, mask, steps, state, initial = arguments
    element, sums = way.cell.compute_dtype, way.sums

    def states(tree: Any, name: str) -> Array:
        return getattr(tree, name)[None] if name in tree._fields else nothing(sums)

    def or_nothing(array: Array | None) -> Array:
        return nothing(jnp.bool_) if array is None else array[None]

    return Operands(
        *_weights(way, params),
        _turn(way, steps.xs.astype(element))[None],
        states(state, "h"),
        states(state, "c"),
        nothing(element) if initial is None else states(initial, "h"),
        nothing(sums) if initial is None else states(initial, "c"),
        nothing(element) if mask is None else mask.astype(element)[None],
        or_nothing(steps.valid),
        or_nothing(steps.resets),
    )


def _weights(way: Way, params: Any) -> tuple[Array, Array, Array, Array]:
    """`w_x`, `w_h` in the compute dtype, the biases of their products in the dtype of sums."""
    element, sums = way.cell.compute_dtype, way.sums
    b = nothing(sums) if params.b is None else params.b.astype(sums)[None]
    b_h = nothing(sums)
    if isinstance(params, GRUParams) and params.b_h is not None:
        hidden = way.cell.hidden_features
        b_h = jnp.concatenate([jnp.zeros(2 * hidden, sums), params.b_h.astype(sums)])[None]
    return params.w_x.astype(element)[None], params.w_h.astype(element)[None], b, b_h


def _turn(way: Way, sequences: Array) -> Array:
    """Time first to batch first where arrays come so: XLA cancels this with the turn that brought them here."""
    return jnp.swapaxes(sequences, 0, 1) if way.batch_major else sequences


def _results(way: Way, outputs: Outputs) -> tuple[Any, Array]:
    h, memory = outputs.h[0], outputs.memory
    state = way.cell.initial_state((0,))
    after = state._replace(h=h, c=memory[0]) if isinstance(way.cell, LSTM) else state._replace(h=h)
    return after, _turn(way, outputs.ys[0])


def _gradients(way: Way, arguments: Arguments, outputs: Outputs, d_state: Any, d_ys: Array) -> Arguments:
    params, mask, steps, state, initial = arguments
    has_memory = isinstance(way.cell, LSTM)
    cotangents = Cotangents(
        outputs.ys,
        outputs.chunk_memory,
        outputs.gates,
        _turn(way, d_ys)[None],
        d_state.h[None],
        d_state.c[None] if has_memory else nothing(way.sums),
    )
    got = calls.backward(way, _operands(way, arguments), cotangents)
    hidden = way.cell.hidden_features
    d_params: Any
    if isinstance(params, LSTMParams):
        d_params = LSTMParams(got.w_x[0], got.w_h[0], None if params.b is None else got.b[0])
    else:
        b_h = None if params.b_h is None else got.b_h[0, 2 * hidden :]
        d_params = GRUParams(got.w_x[0], got.w_h[0], None if params.b is None else got.b[0], b_h)
    d_before = state._replace(h=got.h[0], c=got.memory[0]) if has_memory else state._replace(h=got.h[0])
    d_initial = initial
    if initial is not None:
        d_initial = initial._replace(h=got.h_initial[0])
        d_initial = d_initial._replace(c=got.memory_initial[0]) if has_memory else d_initial
    d_mask = None if mask is None else jnp.zeros_like(mask)  # it is drawn from a key, where gradients end
    gradients = Arguments(d_params, d_mask, steps._replace(xs=_turn(way, got.xs[0])), d_before, d_initial)
    cast: Arguments = jax.tree.map(lambda gradient, leaf: gradient.astype(leaf.dtype), gradients, arguments)
    return cast


BACKEND = Backend("native", refuses, never, run, platform="cpu")
