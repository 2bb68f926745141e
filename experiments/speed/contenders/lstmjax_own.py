"""Ours: `lx.unroll` for one layer, `lx.LSTM` for several; the option is the backend. In float64 it is the reference."""

import dataclasses
import importlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import lstmjax as lx
from experiments.speed import jobs
from experiments.speed.contenders.case import Case, Request
from experiments.speed.contenders.jax_case import JaxCell, JaxModel, generation_case, layer_case
from experiments.speed.problem import Parts, Problem, draw
from lstmjax.interop.writing import directions_of, layers_of
from lstmjax.trees import split_model


def prepare(request: Request) -> Case:
    problem = draw(request.row)
    if request.row.kind == "generation":
        return generation_case(_one_cell(request, problem), request, problem)
    is_single = request.row.layers == request.row.ways == 1
    if request.row.kind == "job":
        case = jobs.prepare_lstmjax(request, problem)
    else:
        case = layer_case((_single if is_single else _stack)(request, problem), request, problem)
    backends = dict.fromkeys(_backend(request, depth, problem.lengths) for depth in range(request.row.layers))
    return dataclasses.replace(case, backend=" and ".join(backends))


def _backend(request: Request, depth: int, lengths: Any) -> str:
    """What runs a layer, from shapes alone; of "native" with the processor's instructions that it uses."""
    row, cell, found = request.row, _cell(request, depth), []

    def explain(key: Any, xs: Any) -> None:
        params, option = cell.init(key), request.option
        found.append(lx.kernels.explain(cell, params, xs, lengths=lengths, time_major=True, backend=option).backend)

    shape = (row.steps, row.batch, row.features_into(depth))
    jax.eval_shape(lambda key: explain(key, jnp.zeros(shape, request.dtype)), jax.random.key(0))
    if found[0] != "native":
        return found[0]
    library: Any = importlib.import_module("lstmjax.kernels.native.library")
    return f"native ({library.isa()})"


def _single(request: Request, problem: Problem) -> JaxModel:
    cell = _cell(request)

    def apply(params: Any, xs: Any, lengths: Any) -> Any:
        return lx.unroll(cell, params, xs, lengths=lengths, time_major=True, backend=request.option)[0]

    return JaxModel(_params(problem.weights[0][0], request), apply, lambda params: [[Parts(*params)]], True)


def _stack(request: Request, problem: Problem) -> JaxModel:
    row = request.row
    layer = lx.LSTM(
        row.in_features,
        row.hidden,
        num_layers=row.layers,
        bidirectional=row.bidirectional,
        param_dtype=jnp.dtype(request.dtype),
        rngs=nnx.Rngs(0),
    )
    for below, both in zip(layers_of(layer), problem.weights, strict=True):
        for one, parts in zip(directions_of(below), both, strict=True):
            one.set_params(_params(parts, request))
    graphdef, params, _ = split_model(layer)

    def apply(params: Any, xs: Any, lengths: Any) -> Any:
        layer = nnx.merge(graphdef, params)
        return layer(xs, lengths=lengths, time_major=True, backend=request.option)[0]

    def weights_of(params: Any) -> Any:
        layer = nnx.merge(graphdef, params)
        return [[Parts(*one.params) for one in directions_of(below)] for below in layers_of(layer)]

    return JaxModel(params, apply, weights_of, True)


def _one_cell(request: Request, problem: Problem) -> JaxCell:
    cell = _cell(request)

    def step(params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        return cell.step(params, state, cell.project(params, x))

    return JaxCell(_params(problem.weights[0][0], request), cell.initial_state((request.row.batch,)), step)


def _cell(request: Request, depth: int = 0) -> lx.cells.LSTM:
    return lx.cells.LSTM(request.row.features_into(depth), request.row.hidden, param_dtype=jnp.dtype(request.dtype))


def _params(parts: Parts, request: Request) -> lx.LSTMParams:
    return lx.LSTMParams(*(jnp.asarray(array, request.dtype) for array in parts))
