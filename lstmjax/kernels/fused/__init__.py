"""The fast path in plain JAX, for any platform: LSTM and GRU with little left in the loops over time.

What is sequential is the product with W_h and elementwise work; all else is taken out of the loops:

- the inputs' products are formed a chunk of steps at once;
- the backward pass takes a chunk's gates as they were kept, or computes them again from the states, and from them, for
  the whole chunk, the coefficients of each step's derivative: a step of it is one product and a few multiplications;
- the weights' gradients are one product a chunk, where differentiating a scan adds one to them at every step.

Appleyard et al. 2016, "Optimizing Performance of Recurrent Neural Networks on GPUs", do much the same in CUDA.

- `equations.py`: a step of each cell, and its derivative
- `tangents.py`: a chunk of steps, its states known, as a linear function
- `passes.py`: a whole run, forward and backward, chunk by chunk
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from lstmjax import chunks
from lstmjax.cells.gru import GRU
from lstmjax.cells.lstm import LSTM
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.derivative import with_backward
from lstmjax.kernels.arguments import arguments_of, by_scan
from lstmjax.kernels.backend import Backend, Request
from lstmjax.kernels.fused.equations import GRUEquations, LSTMEquations
from lstmjax.kernels.fused.passes import Passes, Plan
from lstmjax.masking import Steps
from lstmjax.types import Array, Float

State = TypeVar("State")

# Measured on two CPU cores with experiments.speed; see experiments/LOG.md.
MIN_ROWS = 640
"""Rows of a chunk's products, B times its steps, from which on they run at the machine's rate."""
MOST_STEPS = 128
"""The most steps of a chunk."""
KEEP_GATES_FROM = 192
"""Hidden features from which on computing the gates again costs more than keeping them."""
MOST_KEPT_BYTES = 2**29
"""The most bytes of gates that are kept: above it memory goes before speed."""


def run(
    cell: LSTM | GRU, params: Any, steps: Steps, state: State, initial: State, reverse: bool
) -> tuple[State, Float[Array, "T B H"]]:
    """As `scan.run`."""
    equations = LSTMEquations(cell) if isinstance(cell, LSTM) else GRUEquations(cell)
    passes = Passes(equations, plan(cell, steps, reverse))
    layer = with_backward(passes.forward, passes.forward_saving, passes.backward, by_scan(cell, reverse))
    result: tuple[Any, Array] = layer(arguments_of(params, steps, state, initial))
    return result


def plan(cell: LSTM | GRU, steps: Steps, reverse: bool) -> Plan:
    """Chunks that fill the products' rows; gates kept where that is cheaper than to compute them again."""
    time, batch = steps.xs.shape[:2]
    row_bytes = batch * cell.num_gates * cell.hidden_features * accumulation_dtype(cell.compute_dtype).itemsize
    size = chunks.even_size(time, -(-MIN_ROWS // batch), MOST_STEPS)
    keeps_gates = cell.hidden_features >= KEEP_GATES_FROM and time * row_bytes <= MOST_KEPT_BYTES
    return Plan(size, keeps_gates, reverse)


def refuses(request: Request) -> str | None:
    """Why this backend cannot serve a request."""
    reason = refuses_cell(request)
    if reason is None and isinstance(request.cell, GRU) and not request.cell.reset_after:
        return "it knows the GRU with reset_after=True"
    return reason


def refuses_cell(request: Request) -> str | None:
    """Why a backend that is made for LSTM and GRU cannot serve a request."""
    cell: Any = request.cell
    if request.explicitly_sharded:
        return "it puts steps and sequences in one axis, which explicit sharding does not allow"
    if type(cell) not in (LSTM, GRU):
        return f"it knows cells.LSTM and cells.GRU, got {type(cell).__name__}"
    if any(map(jax.export.is_symbolic_dim, (request.batch, request.num_steps))):
        return "the sizes of its chunks follow from the batch and the steps, which jax.export leaves open here"
    if request.batch == 0:
        return "an empty batch leaves it nothing to do"
    if cell.gate_fn is jax.nn.sigmoid and cell.activation_fn is jnp.tanh:
        return None
    return "it knows sigmoid gates and tanh, got another gate_fn or activation_fn"


def declines(request: Request) -> str | None:
    """Why "auto" passes it over."""
    return "a single step has nothing to gain" if request.num_steps == 1 else None


BACKEND = Backend("fused", refuses, declines, run)
