"""Haiku: `hk.dynamic_unroll` over `hk.LSTM`, time-major; back in time, over flipped inputs. It has no lengths."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.speed.contenders.case import Case, Request
from experiments.speed.contenders.jax_case import JaxCell, JaxModel, generation_case, layer_case
from experiments.speed.problem import Parts, Problem, Weights, draw
from lstmjax.interop.layouts import LAYOUTS, write


def prepare(request: Request) -> Case:
    problem = draw(request.row)
    if request.row.kind == "generation":
        return generation_case(_one_cell(request, problem), request, problem)
    return layer_case(_model(request, problem), request, problem)


def _model(request: Request, problem: Problem) -> JaxModel:
    hk: Any = importlib.import_module("haiku")
    row = request.row

    def one_way(xs: Any, depth: int, way: int) -> Any:
        core = hk.LSTM(row.hidden, name=_name(depth, way))
        xs = jnp.flip(xs, 0) if way else xs
        ys, _ = hk.dynamic_unroll(core, xs, core.initial_state(row.batch))
        return jnp.flip(ys, 0) if way else ys

    def unroll(xs: Any) -> Any:
        for depth in range(row.layers):
            xs = jnp.concatenate([one_way(xs, depth, way) for way in range(row.ways)], axis=-1)
        return xs

    model = hk.without_apply_rng(hk.transform(unroll))
    return JaxModel(
        _params(problem.weights), lambda params, xs, _: model.apply(params, xs), lambda p: _weights(row.ways, p), True
    )


def _one_cell(request: Request, problem: Problem) -> JaxCell:
    hk: Any = importlib.import_module("haiku")

    def step(x: Any, state: Any) -> Any:
        return hk.LSTM(request.row.hidden, name=_name(0, 0))(x, state)

    model = hk.without_apply_rng(hk.transform(step))
    zeros = jnp.zeros((request.row.batch, request.row.hidden), request.dtype)

    def one(params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        y, state = model.apply(params, x, state)
        return state, y

    return JaxCell(_params(problem.weights), hk.LSTMState(zeros, zeros), one)


def _name(depth: int, way: int) -> str:
    return f"layer{depth}_way{way}"


def _params(weights: Weights) -> Any:
    params = {}
    for depth, both in enumerate(weights):
        for way, parts in enumerate(both):
            entries = write(LAYOUTS["haiku"]["LSTM"], parts._asdict())
            params[f"{_name(depth, way)}/linear"] = {"w": entries["linear.w"], "b": entries["linear.b"]}
    return jax.tree.map(jnp.asarray, params)


def _weights(ways: int, params: Any) -> Weights:
    """Gradients in our layout: gates i, g, f, o are put in order, and w is cut into what x and what h meet."""
    cells = [_parts(params[f"{_name(at // ways, at % ways)}/linear"]) for at in range(len(params))]
    return [cells[at : at + ways] for at in range(0, len(cells), ways)]


def _parts(entries: Any) -> Parts:
    def reorder(array: np.ndarray) -> np.ndarray:
        i, g, f, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, f, g, o], axis=-1)

    w, hidden = reorder(entries["w"]), entries["w"].shape[-1] // 4
    return Parts(w[:-hidden], w[-hidden:], reorder(entries["b"]))
