"""Contenders on JAX: layers, and generation in one program, compiled ahead; how long compiling takes is part of it.

Training as each library's users write it: ours a compiled step on each batch, Keras's `fit`.
"""

import importlib
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import lstmjax as lx
from experiments.peers.common import JaxLayers, States, Weights, entries_of
from experiments.peers.keras_layers import keras_on_jax
from experiments.speed.problem import LEARNING_RATE, Problem, Request, draw, prepare_epoch
from experiments.speed.turns import Prepared
from lstmjax.interop.layouts import LAYOUTS


def prepare_ours(request: Request, backend: str) -> Prepared:
    """`lx.unroll` for each layer and direction."""
    problem, layers = _begin(request), _our_layers(request, backend)
    if request.mode == "generate":
        return _generation(layers, problem.weights, request, problem)
    prepared = (_training if request.mode == "epoch" else _layers)(layers, problem.weights, request, problem)
    return prepared._replace(about={**prepared.about, "backend": _served_by(request, problem, backend)})


def prepare_reference(request: Request) -> Prepared:
    """What should come out: ours in float64, in plain JAX."""
    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
    return prepare_ours(request._replace(dtype="float64"), "scan")


def prepare_peer(request: Request, build: Callable[..., JaxLayers], library: str, kind: str) -> Prepared:
    """Another library's layers, of a kind of cell; jobs are Keras's."""
    problem = _begin(request)
    if request.mode == "epoch":
        return _keras_training(request, problem)
    weights = [[entries_of(LAYOUTS[library][kind], parts) for parts in both] for both in problem.weights]
    layers = build(kind, request.row.hidden, weights)
    return (_generation if request.mode == "generate" else _layers)(layers, weights, request, problem)


def _begin(request: Request) -> Problem:
    """The problem, with JAX and its compiler started, so that no first program pays for it."""
    jax.config.update("jax_platforms", request.device)  # type: ignore[no-untyped-call]
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # there are several processes on one device
    _wait(jax.jit(lambda x: x @ x + 1)(jnp.ones((8, 8), jnp.float32)))
    return draw(request.row)


def _our_cell(request: Request, depth: int) -> lx.cells.LSTM:
    return lx.cells.LSTM(request.row.features_into(depth), request.row.hidden, param_dtype=jnp.dtype(request.dtype))


def _our_layers(request: Request, backend: str) -> JaxLayers:
    cells = [_our_cell(request, depth) for depth in range(request.row.layers)]

    def apply(weights: Weights, xs: Any, states: States, lengths: Any) -> tuple[Any, States]:
        ends: States = []
        for cell, both, begin in zip(cells, weights, states, strict=True):
            runs = []
            for parts, state, reverse in zip(both, begin, (False, True), strict=False):
                options = {"lengths": lengths, "reverse": reverse, "time_major": True, "backend": backend}
                runs.append(lx.unroll(cell, lx.LSTMParams(**parts), xs, lx.LSTMState(*state), **options))
            xs = jnp.concatenate([ys for ys, _ in runs], axis=-1)
            ends.append([tuple(end) for _, end in runs])
        return xs, ends

    def step(weights: Weights, state: Any, x: Any) -> tuple[Any, Any]:
        params = lx.LSTMParams(**weights[0][0])
        return cells[0].step(params, lx.LSTMState(*state), cells[0].project(params, x))

    return JaxLayers(apply, None, time_major=True, step=step)


def _served_by(request: Request, problem: Problem, backend: str) -> str:
    """What runs the first layer, from shapes alone; of "native" with the processor's instructions that it uses."""
    cell, found = _our_cell(request, 0), []

    def explain(params: Any, xs: Any) -> None:
        options: dict[str, Any] = {"lengths": problem.lengths, "time_major": True, "backend": backend}
        found.append(lx.kernels.explain(cell, lx.LSTMParams(**params), xs, **options).backend)

    jax.eval_shape(explain, *_place(request, (problem.weights[0][0], problem.xs[:, : request.row.batch])))
    if found[0] != "native":
        return found[0]
    library: Any = importlib.import_module("lstmjax.kernels.native.library")
    return f"native ({library.isa()})"


def _layers(layers: JaxLayers, weights: Weights, request: Request, problem: Problem) -> Prepared:
    """Outputs, or gradients of all weights and of the inputs."""
    row = request.row

    def in_order(array: Any) -> Any:
        return array if layers.time_major else array.swapaxes(0, 1)

    def forward(weights: Weights, xs: Any, lengths: Any) -> Any:
        states = [[_zeros(request, row.batch)] * row.ways] * row.layers
        return layers.apply(weights, xs, states, lengths)[0]

    def loss(weights: Weights, xs: Any, lengths: Any, loss_weights: Any) -> Any:
        return jnp.sum(forward(weights, xs, lengths) * loss_weights)

    def outputs(ys: Any) -> Any:
        return {"outputs": np.where(problem.valid, in_order(_numpy(ys)), 0)}

    def gradients(result: Any) -> Any:
        d_weights, d_inputs = jax.tree.map(_numpy, result[1])
        return {"d_inputs": np.where(problem.valid, in_order(d_inputs), 0), "d_weights": d_weights}

    arrays = weights, in_order(problem.xs), in_order(problem.loss_weights)
    weights, xs, loss_weights = _place(request, arrays)
    lengths = None if problem.lengths is None else jnp.asarray(problem.lengths)
    if request.mode == "forward":
        return _compiled(forward, (weights, xs, lengths), outputs, "forward")
    slopes = jax.value_and_grad(loss, (0, 1))
    return _compiled(slopes, (weights, xs, lengths, loss_weights), gradients, "forward+backward")


def _generation(layers: JaxLayers, weights: Weights, request: Request, problem: Problem) -> Prepared:
    """The likeliest symbol fed back, the whole loop compiled."""
    row = request.row

    def generate(weights: Weights, embedding: Any, kernel: Any, bias: Any) -> Any:
        def choose(loop: Any, _: None) -> Any:
            state, symbols = loop
            state, y = layers.step(weights, state, embedding[symbols])
            scores = y @ kernel + jnp.broadcast_to(bias, (row.batch, row.symbols))
            symbols = jnp.argmax(scores, axis=-1).astype(jnp.int32)
            return (tuple(state), symbols), symbols

        first = jnp.arange(row.batch, dtype=jnp.int32) % row.symbols
        return lax.scan(choose, (_zeros(request, row.batch), first), length=row.steps)[1]

    arguments = _place(request, (weights, problem.embedding, *problem.head))
    return _compiled(generate, arguments, lambda symbols: {"symbols": np.asarray(symbols).T}, "generate")


def _training(layers: JaxLayers, weights: Weights, request: Request, problem: Problem) -> Prepared:
    optimizer = optax.adam(LEARNING_RATE)

    def loss(params: Any, xs: Any, targets: Any) -> Any:
        weights, (kernel, bias) = params
        _, [[(h, _)]] = layers.apply(weights, xs, [[_zeros(request, len(targets))]], None)
        return jnp.mean(jnp.square(h @ kernel + jnp.broadcast_to(bias, targets.shape) - targets))

    @jax.jit
    def learn(params: Any, opt_state: Any, xs: Any, targets: Any) -> Any:
        value, slopes = jax.value_and_grad(loss)(params, xs, targets)
        updates, opt_state = optimizer.update(slopes, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    params = _place(request, (weights, problem.head))
    now = [params, optimizer.init(params)]

    def step(xs: Any, targets: Any) -> Any:
        *now[:], value = learn(*now, xs, targets)
        return value

    return prepare_epoch(step, _place(request, problem.batches(request.row.batch)))


def _keras_training(request: Request, problem: Problem) -> Prepared:
    keras, row = keras_on_jax(), request.row
    layers = [keras.layers.Input((row.steps, row.in_features)), keras.layers.LSTM(row.hidden), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.set_weights([*problem.weights[0][0].values(), *problem.head])
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="mse")

    def fit(xs: Any, targets: Any) -> Any:
        history = model.fit(xs, targets, batch_size=row.batch, epochs=1, shuffle=False, verbose=0).history
        return history["loss"][0]

    return prepare_epoch(fit, [(problem.xs.swapaxes(0, 1), problem.targets)])


def _zeros(request: Request, batch: int) -> tuple[Any, ...]:
    """(h, c) before the first step; ours, the only ones here in bfloat16, keep c in float32 then."""
    return tuple(_our_cell(request, 0).initial_state((batch,)))


def _compiled(
    function: Callable[..., Any], arguments: tuple[Any, ...], answers: Callable[[Any], Any], mode: str
) -> Prepared:
    """A function of arrays, or of shapes; how long compiling took, tracing included, and what memory it plans."""
    begin = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    analysis: Any = program.memory_analysis()
    size = None if analysis is None else int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)

    def run() -> Any:
        return _wait(program(*arguments))

    return Prepared({mode: run}, lambda: answers(run()), {"compile_seconds": seconds, "program_bytes": size})


def _place(request: Request, arrays: Any) -> Any:
    """Arrays of the request's dtype, or their shapes where nothing is run."""

    def place(array: np.ndarray) -> Any:
        if not request.row.runs:
            return jax.ShapeDtypeStruct(array.shape, request.dtype)  # type: ignore[no-untyped-call]
        return jnp.asarray(array, request.dtype)

    return jax.tree.map(place, arrays)


def _wait(result: Any) -> Any:
    """The result, once it is there."""
    return jax.block_until_ready(result)  # type: ignore[no-untyped-call]


def _numpy(array: Any) -> np.ndarray:
    """NumPy has no bfloat16 of its own."""
    return np.asarray(array.astype(jnp.float32) if array.dtype == jnp.bfloat16 else array)
