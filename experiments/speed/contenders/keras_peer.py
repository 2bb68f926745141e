"""Keras 3 `LSTM` on JAX with its default settings, through `stateless_call` under `jax.jit`; ragged by a mask."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.speed import jobs
from experiments.speed.contenders.case import Answers, Case, Request
from experiments.speed.contenders.jax_case import (
    JaxModel,
    compiled_case,
    ends,
    first_symbols,
    layer_case,
    likeliest,
    wait,
)
from experiments.speed.problem import Parts, Problem, Weights, draw


def prepare(request: Request) -> Case:
    problem = draw(request.row)
    if request.row.kind == "job":
        return jobs.prepare_keras(request, problem)
    if request.row.kind == "generation":
        return _generation(request, problem)
    return layer_case(_model(request, problem), request, problem)


def _model(request: Request, problem: Problem) -> JaxModel:
    layers = [_layer(request, depth, both) for depth, both in enumerate(problem.weights)]

    def apply(params: Any, xs: Any, lengths: Any) -> Any:
        mask = None if lengths is None else jnp.arange(request.row.steps) < lengths[:, None]
        for layer, arrays in zip(layers, params, strict=True):
            xs, _ = layer.stateless_call(arrays, _seeds(layer), xs, mask=mask)
        return xs

    def weights_of(params: Any) -> Weights:
        return [[Parts(*arrays[at : at + 3]) for at in range(0, len(arrays), 3)] for arrays in params]

    return JaxModel([[one.value for one in layer.trainable_variables] for layer in layers], apply, weights_of)


def _generation(request: Request, problem: Problem) -> Case:
    """A Python loop over a compiled step, which keeps its state on the device."""
    layer = _layer(request, 0, problem.weights[0], return_sequences=False, return_state=True)
    params = {"cell": [one.value for one in layer.trainable_variables], **ends(request, problem)}
    zeros = jnp.zeros((request.row.batch, request.row.hidden), request.dtype)

    def step(params: Any, state: Any, symbols: Any) -> Any:
        x = params["embedding"][symbols][:, None]
        (y, *state), _ = layer.stateless_call(params["cell"], _seeds(layer), x, initial_state=state)
        return state, likeliest(y, *params["head"])

    once = jax.jit(step)

    def run() -> Any:
        state, symbols, chosen = [zeros, zeros], first_symbols(request), []
        for _ in range(request.row.steps):
            state, symbols = once(params, state, symbols)
            chosen.append(symbols)
        return wait(chosen)

    def answers(chosen: Any) -> Answers:
        return {"symbols": np.stack(chosen, axis=1)}

    arguments = (params, [zeros, zeros], first_symbols(request))
    seconds = compiled_case(step, arguments, answers).compile_seconds
    return Case(run, answers, seconds, note="a Python loop over a compiled step")


def _layer(request: Request, depth: int, both: list[Parts], **options: Any) -> Any:
    keras: Any = importlib.import_module("keras")
    layer = keras.layers.LSTM(request.row.hidden, **{"return_sequences": True, **options})
    layer = keras.layers.Bidirectional(layer) if request.row.bidirectional else layer
    layer.build((None, None, request.row.features_into(depth)))
    layer.set_weights([array for parts in both for array in parts])
    return layer


def _seeds(layer: Any) -> list[Any]:
    return [one.value for one in layer.non_trainable_variables]
