"""What all contenders on JAX share: compiling, timing the compiler, the loss, and the loop of generation."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.speed.contenders.case import Answers, Case, Request, gradients
from experiments.speed.problem import Problem, Weights


@dataclasses.dataclass(frozen=True)
class JaxModel:
    """A library's layers.

    Args:
      params: its weights.
      apply: `(params, xs, lengths) -> ys`.
      weights_of: its weights, or their gradients, in our layout.
      time_major: whether xs and ys are [T, B, ...]; else [B, T, ...].
    """

    params: Any
    apply: Callable[[Any, Any, Any], Any]
    weights_of: Callable[[Any], Weights]
    time_major: bool = False


@dataclasses.dataclass(frozen=True)
class JaxCell:
    """A library's cell: `step(params, state, x [B, I]) -> (state, y)`, and the state before the first step."""

    params: Any
    state: Any
    step: Callable[[Any, Any, Any], tuple[Any, Any]]


def layer_case(model: JaxModel, request: Request, problem: Problem) -> Case:
    """Outputs, or gradients of all weights and of the inputs; compiled only where the row is not run."""

    def order(array: Any) -> Any:
        return array if model.time_major else np.swapaxes(array, 0, 1)

    def place(array: np.ndarray) -> Any:
        if not request.row.runs:
            return jax.ShapeDtypeStruct(array.shape, request.dtype)  # type: ignore[no-untyped-call]
        return jnp.asarray(array, request.dtype)

    def loss(params: Any, xs: Any, lengths: Any, loss_weights: Any) -> Any:
        return jnp.sum(model.apply(params, xs, lengths) * loss_weights)

    def outputs(ys: Any) -> Answers:
        return {"outputs": np.where(problem.valid, order(_numpy(ys)), 0)}

    def slopes(result: Any) -> Answers:
        d_weights, d_inputs = result[1]
        return gradients(problem, order(_numpy(d_inputs)), model.weights_of(jax.tree.map(_numpy, d_weights)))

    lengths = None if problem.lengths is None else jnp.asarray(problem.lengths)
    arguments = (model.params, place(order(problem.xs)), lengths)
    if request.mode == "forward":
        return compiled_case(model.apply, arguments, outputs)
    loss_weights = place(order(problem.loss_weights))
    return compiled_case(jax.value_and_grad(loss, (0, 1)), (*arguments, loss_weights), slopes)


def generation_case(cell: JaxCell, request: Request, problem: Problem) -> Case:
    """The likeliest symbol fed back, the whole loop compiled."""

    def generate(params: Any, state: Any, first: Any) -> Any:
        def choose(loop: Any, _: None) -> Any:
            state, symbols = loop
            state, y = cell.step(params["cell"], state, params["embedding"][symbols])
            symbols = likeliest(y, *params["head"])
            return (state, symbols), symbols

        return lax.scan(choose, (state, first), length=request.row.steps)[1]

    arguments = ({"cell": cell.params, **ends(request, problem)}, cell.state, first_symbols(request))
    return compiled_case(generate, arguments, lambda symbols: {"symbols": np.asarray(symbols).T})


def ends(request: Request, problem: Problem) -> Any:
    """Embedding and head, as arrays of the request's dtype."""
    both = {"embedding": problem.embedding, "head": problem.head}
    return jax.tree.map(lambda array: jnp.asarray(array, request.dtype), both)


def likeliest(y: Any, kernel: Any, bias: Any) -> Any:
    return jnp.argmax(y @ kernel + jnp.broadcast_to(bias, (y.shape[0], bias.size)), axis=-1).astype(jnp.int32)


def first_symbols(request: Request) -> Any:
    return jnp.arange(request.row.batch, dtype=jnp.int32) % request.row.symbols


def compiled_case(function: Callable[..., Any], arguments: tuple[Any, ...], answers: Callable[[Any], Answers]) -> Case:
    """A function of arrays, compiled; and how long that took, tracing included."""
    begin = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    analysis: Any = program.memory_analysis()
    size = None if analysis is None else int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)
    return Case(lambda: wait(program(*arguments)), answers, seconds, size)


def wait(result: Any) -> Any:
    """The result, once it is there."""
    return jax.block_until_ready(result)  # type: ignore[no-untyped-call]


def warm_up() -> None:
    """Start JAX and its compiler, so that no first program pays for it."""
    wait(jax.jit(lambda x: x @ x + 1)(jnp.ones((8, 8), jnp.float32)))


def _numpy(array: Any) -> np.ndarray:
    """NumPy has no bfloat16 of its own."""
    return np.asarray(array.astype(jnp.float32) if array.dtype == jnp.bfloat16 else array)
