"""Flax's cells under `nnx.RNN` and `nnx.Bidirectional`, and their linen namesakes."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.parity.measuring import (
    BATCH,
    HIDDEN,
    STEPS,
    Form,
    Peer,
    Problem,
    Result,
    States,
    foreign,
    random_like,
    run_jax,
)
from lstmjax.interop import from_flax
from lstmjax.interop.layouts import LAYOUTS
from lstmjax.interop.reading import flat, stacked
from lstmjax.layers import Recurrent

CELLS = ("LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell")


def make_nnx(cell: str, form: Form, dtype: Any) -> Peer:
    def fresh(depth: int) -> Any:
        sizes = form.in_features(depth), HIDDEN
        return getattr(nnx, cell)(*sizes, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0))

    with foreign():
        bones = [nnx.split(nnx.eval_shape(functools.partial(fresh, depth))) for depth in range(form.layers)]
    weights = [_random(form, nnx.to_pure_dict(state), dtype, depth) for depth, (_, state) in enumerate(bones)]

    def apply(weights: list[list[Any]], xs: Any, states: States) -> tuple[Any, States]:
        ends: States = []
        for (graphdef, _), own, state in zip(bones, weights, states, strict=True):
            rnns: list[Any] = [nnx.RNN(nnx.merge(graphdef, one), return_carry=True, rngs=False) for one in own]
            rnn: Any = rnns[0]
            if form.bidirectional:
                rnn = nnx.Bidirectional(rnns[0], rnns[1], return_carry=True, rngs=False)
            end, xs = rnn(xs, initial_carry=_carry(form, state), seq_lengths=_lengths(form))
            ends.append(_state(form, end))
        return xs, ends

    cells = [[nnx.merge(graphdef, one) for one in both] for (graphdef, _), both in zip(bones, weights, strict=True)]
    return _peer("nnx", cell, form, weights, cells, apply)


def make_linen(cell: str, form: Form, dtype: Any) -> Peer:
    def rnn() -> Any:
        rnns = [nn.RNN(getattr(nn, cell)(HIDDEN, param_dtype=dtype), return_carry=True) for _ in range(form.ways)]
        return nn.Bidirectional(rnns[0], rnns[1], return_carry=True) if form.bidirectional else rnns[0]

    def shapes(depth: int) -> Any:
        xs = jnp.zeros((BATCH, STEPS, form.in_features(depth)), dtype)
        single = nn.RNN(getattr(nn, cell)(HIDDEN, param_dtype=dtype))
        return jax.eval_shape(single.init, jax.random.key(0), xs)["params"]["cell"]

    with foreign():
        weights = [_random(form, shapes(depth), dtype, depth) for depth in range(form.layers)]

    def apply(weights: list[list[Any]], xs: Any, states: States) -> tuple[Any, States]:
        ends: States = []
        for own, state in zip(weights, states, strict=True):
            params = {f"{way}_rnn": {"cell": one} for way, one in zip(("forward", "backward"), own, strict=False)}
            params = params if form.bidirectional else {"cell": own[0]}
            running = {"initial_carry": _carry(form, state), "seq_lengths": _lengths(form)}
            end, xs = rnn().apply({"params": params}, xs, **running)
            ends.append(_state(form, end))
        return xs, ends

    return _peer("linen", cell, form, weights, weights, apply)


def _peer(library: str, cell: str, form: Form, weights: Any, sources: list[list[Any]], apply: Any) -> Peer:
    directions: list[list[Any]] = [[from_flax(one).layers[0] for one in both] for both in sources]
    assert all(isinstance(one, Recurrent) for both in directions for one in both)

    def run(problem: Problem) -> Result:
        result = run_jax(apply, weights, form, problem)
        return result._replace(d_weights=[[flat(one) for one in both] for both in result.d_weights])

    return Peer(stacked(directions), LAYOUTS[library][cell], run)


def _random(form: Form, tree: Any, dtype: Any, depth: int) -> list[Any]:
    rng = np.random.default_rng(depth)
    return [jax.tree.map(jnp.array, random_like(tree, rng, dtype)) for _ in range(form.ways)]


def _lengths(form: Form) -> Any:
    return None if form.lengths is None else jnp.array(form.lengths)


def _carry(form: Form, state: list[tuple[Any, ...]]) -> Any:
    """Flax hands on (c, h), or h alone."""
    carries = [one[::-1] if len(one) == 2 else one[0] for one in state]
    return tuple(carries) if form.bidirectional else carries[0]


def _state(form: Form, carry: Any) -> list[tuple[Any, ...]]:
    carries = carry if form.bidirectional else [carry]
    return [one[::-1] if isinstance(one, tuple) else (one,) for one in carries]
