"""Flax `nnx.RNN` over a cell (the option), split and merged under `jax.jit`, batch-major as it is by default.

Its `seq_lengths` choose the final carry and turn reversed sequences; every step of the padding is computed.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.speed.contenders.case import Case, Request
from experiments.speed.contenders.jax_case import JaxCell, JaxModel, generation_case, layer_case
from experiments.speed.problem import Parts, Problem, Weights, draw
from lstmjax.interop.layouts import LAYOUTS, read, write
from lstmjax.interop.reading import flat
from lstmjax.interop.writing import nested
from lstmjax.trees import split_model


def prepare(request: Request) -> Case:
    problem = draw(request.row)
    if request.row.kind == "generation":
        return generation_case(_one_cell(request, problem), request, problem)
    return layer_case(_model(request, problem), request, problem)


def _model(request: Request, problem: Problem) -> JaxModel:
    graphdef, params, _ = split_model(nnx.List([_layer(request, both) for both in problem.weights]))

    def apply(params: Any, xs: Any, lengths: Any) -> Any:
        layers: Any = nnx.merge(graphdef, params)
        for layer in layers:
            xs = layer(xs, seq_lengths=lengths, rngs=nnx.Rngs(0))  # asked for, though the first carry is zeros
        return xs

    def weights_of(params: Any) -> Weights:
        ways = ("forward_rnn", "backward_rnn") if request.row.bidirectional else ()
        both = [[params[depth][way] for way in ways] or [params[depth]] for depth in range(request.row.layers)]
        return [[_parts(request, one["cell"]) for one in layer] for layer in both]

    return JaxModel(params, apply, weights_of)


def _layer(request: Request, both: list[Parts]) -> nnx.RNN | nnx.Bidirectional:
    rnns = [nnx.RNN(_cell(request, parts), rngs=False) for parts in both]
    return nnx.Bidirectional(*rnns, rngs=False) if request.row.bidirectional else rnns[0]


def _one_cell(request: Request, problem: Problem) -> JaxCell:
    graphdef, params, _ = split_model(_cell(request, problem.weights[0][0]))
    zeros = jnp.zeros((request.row.batch, request.row.hidden), request.dtype)

    def step(params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        cell: Any = nnx.merge(graphdef, params)
        state, y = cell(state, x)
        return state, y

    return JaxCell(params, (zeros, zeros), step)


def _cell(request: Request, parts: Parts) -> Any:
    features, hidden = parts.w_x.shape[0], parts.w_h.shape[0]
    cell = getattr(nnx, request.option)(features, hidden, rngs=nnx.Rngs(0))
    entries = nested(write(LAYOUTS["nnx"][request.option], parts._asdict()))
    nnx.update(cell, jax.tree.map(jnp.asarray, entries))
    return cell


def _parts(request: Request, entries: Any) -> Parts:
    return Parts(**read(LAYOUTS["nnx"][request.option], flat(entries)))
