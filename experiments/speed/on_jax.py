"""Contenders on JAX: layers, and generation in one program, compiled ahead; how long compiling takes is part of it.

Training as each library's users write it: ours a compiled step on each batch, Keras's `fit`.
"""

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
from experiments.speed.rows import SYMBOLS
from experiments.speed.turns import Prepared
from lstmjax.interop.layouts import LAYOUTS


def prepare_ours(request: Request, backend: str) -> Prepared:
    """`lx.unroll` for each layer and direction."""
    problem, layers = _begin(request), _our_layers(request, backend)
    prepare = _training if request.mode == "epoch" else _compiled
    prepared = prepare(layers, problem.weights, request, problem)
    if request.mode == "generate":  # one step has no backend
        return prepared
    return prepared._replace(about={**prepared.about, "backend": _backend(request, problem, backend)})


def prepare_reference(request: Request) -> Prepared:
    """What should come out: ours in float64, in plain JAX."""
    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
    return prepare_ours(request._replace(dtype="float64"), "scan")


def prepare_peer(request: Request, build: Callable[..., JaxLayers], library: str, kind: str) -> Prepared:
    """Another library's layers, of a kind of cell; who trains in its own way is Keras."""
    problem = _begin(request)
    if request.mode == "epoch":
        return _keras_training(request, problem)
    weights = [[entries_of(LAYOUTS[library][kind], parts) for parts in both] for both in problem.weights]
    layers = build(kind, request.row.hidden, weights)
    return _compiled(layers, weights, request, problem)


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


def _backend(request: Request, problem: Problem, asked: str) -> str:
    """What runs the first layer."""
    params, xs = _place(request, (problem.weights[0][0], problem.xs))
    options: dict[str, Any] = {"lengths": problem.lengths, "time_major": True, "backend": asked}
    return lx.kernels.explain(_our_cell(request, 0), lx.LSTMParams(**params), xs, **options).backend


def _compiled(layers: JaxLayers, weights: Weights, request: Request, problem: Problem) -> Prepared:
    """Forward, forward+backward or generation; how long compiling took, tracing included, and what memory it plans."""
    kinds = {"forward": _forward, "forward+backward": _backward, "generate": _generation}
    function, arguments, answers = kinds[request.mode](layers, request, problem)
    arguments = _place(request, (weights, *arguments))
    begin = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    analysis: Any = program.memory_analysis()
    size = None if analysis is None else int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)

    def run() -> Any:
        return _wait(program(*arguments))

    about = {"compile_seconds": seconds, "planned_bytes": size}
    return Prepared({request.mode: run}, lambda: answers(jax.tree.map(_numpy, run())), about)


Program = tuple[Callable[..., Any], tuple[Any, ...], Callable[[Any], Any]]
"""A function of weights and other arrays; these; and what is compared, made from what it returns."""


def _forward(layers: JaxLayers, request: Request, problem: Problem) -> Program:
    row, in_order = request.row, layers.in_order

    def forward(weights: Weights, xs: Any, lengths: Any) -> Any:
        states = [[_zeros(request, row.batch)] * row.ways] * row.layers
        return layers.apply(weights, xs, states, lengths)[0]

    def answers(ys: Any) -> Any:
        return {"outputs": np.where(problem.valid, in_order(ys), 0)}

    return forward, (in_order(problem.xs), problem.lengths), answers


def _backward(layers: JaxLayers, request: Request, problem: Problem) -> Program:
    """Gradients of all weights and of the inputs."""
    forward, arguments, _ = _forward(layers, request, problem)

    def loss(weights: Weights, xs: Any, lengths: Any, loss_weights: Any) -> Any:
        return jnp.sum(forward(weights, xs, lengths) * loss_weights)

    def answers(result: Any) -> Any:
        _, (d_weights, d_inputs) = result
        return {"d_inputs": np.where(problem.valid, layers.in_order(d_inputs), 0), "d_weights": d_weights}

    return jax.value_and_grad(loss, (0, 1)), (*arguments, layers.in_order(problem.loss_weights)), answers


def _generation(layers: JaxLayers, request: Request, problem: Problem) -> Program:
    """The likeliest symbol fed back, the whole loop compiled."""
    batch, steps = request.row.batch, request.row.steps

    def generate(weights: Weights, embedding: Any, kernel: Any, bias: Any) -> Any:
        def choose(loop: Any, _: None) -> Any:
            state, symbols = loop
            state, y = layers.step(weights, state, embedding[symbols])
            scores = y @ kernel + jnp.broadcast_to(bias, (batch, SYMBOLS))
            symbols = jnp.argmax(scores, axis=-1).astype(jnp.int32)
            return (tuple(state), symbols), symbols

        first = jnp.arange(batch, dtype=jnp.int32) % SYMBOLS
        return lax.scan(choose, (_zeros(request, batch), first), length=steps)[1]

    return generate, (problem.embedding, *problem.head), lambda symbols: {"symbols": symbols.T}


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

    return prepare_epoch(step, _place(request, problem.batches))


def _keras_training(request: Request, problem: Problem) -> Prepared:
    keras, row = keras_on_jax(), request.row
    layers = [keras.layers.Input((row.steps, row.in_features)), keras.layers.LSTM(row.hidden), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.set_weights([*problem.weights[0][0].values(), *problem.head])
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="mse")

    def fit(xs: Any, targets: Any) -> Any:
        history = model.fit(xs, targets, batch_size=row.batch, epochs=1, shuffle=False, verbose=0).history
        return history["loss"][0]

    xs, targets = zip(*problem.batches, strict=True)
    return prepare_epoch(fit, [(np.concatenate(xs, axis=1).swapaxes(0, 1), np.concatenate(targets))])


def _zeros(request: Request, batch: int) -> tuple[Any, ...]:
    """(h, c) before the first step; ours, the only ones here in bfloat16, keep c in float32 then."""
    return tuple(_our_cell(request, 0).initial_state((batch,)))


def _place(request: Request, arrays: Any) -> Any:
    """Floats in the request's dtype, and lengths as they are."""

    def place(array: np.ndarray) -> Any:
        return jnp.asarray(array, request.dtype if array.dtype == np.float32 else array.dtype)

    return jax.tree.map(place, arrays)


def _wait(result: Any) -> Any:
    """The result, once it is there."""
    return jax.block_until_ready(result)  # type: ignore[no-untyped-call]


def _numpy(array: Any) -> np.ndarray:
    """NumPy has no bfloat16 of its own."""
    return np.asarray(array.astype(jnp.float32) if array.dtype == jnp.bfloat16 else array)
