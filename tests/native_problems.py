"""Random problems for the native backend, and how far its results are from those in NumPy and float64."""

import dataclasses
import functools
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import lstmjax as lx
from lstmjax.cells.masked import MaskedWeight
from lstmjax.kernels import native
from lstmjax.kernels.native.calls import Plan
from lstmjax.masking import Steps
from tests.reference_gradients import Case, run

VALID = ("all", "lengths", "any", "none")


class Problem(NamedTuple):
    """What a random problem is like; `chunk` and `keeps_gates` are the backward pass's plan."""

    kind: str
    hidden: int
    inputs: int
    batch: int
    time: int
    seed: int = 0
    dtype: str = "float32"
    use_bias: bool = True
    batch_major: bool = True
    reverse: bool = False
    valid: str = "all"
    has_resets: bool = False
    has_dropout: bool = False
    keeps_gates: bool = False
    chunk: int = 60


def cell_of(problem):
    options = {"use_bias": problem.use_bias, "param_dtype": jnp.dtype(problem.dtype)}
    if problem.kind == "lstm":
        return lx.cells.LSTM(problem.inputs, problem.hidden, **options)
    return lx.cells.GRU(problem.inputs, problem.hidden, reset_after=problem.kind == "gru", **options)


def case_of(problem):
    """Its numbers, each a float of the problem's dtype; NaN at inputs of steps that are not valid comes later."""
    rng, p = np.random.default_rng(problem.seed), problem
    width = (4 if p.kind == "lstm" else 3) * p.hidden

    def normal(*shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(p.dtype).astype(np.float64)

    def state():
        c = np.zeros((p.batch, p.hidden)) if p.kind != "lstm" else normal(p.batch, p.hidden)
        return {"h": normal(p.batch, p.hidden), "c": c}

    params = {
        "w_x": normal(p.inputs, width, scale=p.inputs**-0.5),
        "w_h": normal(p.hidden, width, scale=p.hidden**-0.5),
        "b": normal(width) * p.use_bias,
    }
    if p.kind == "gru":
        params["b_h"] = normal(p.hidden) * p.use_bias
    shape = (p.time, p.batch)
    valid = {
        "all": np.ones(shape, bool),
        "lengths": np.arange(p.time)[:, None] < rng.integers(0, p.time + 1, p.batch)[None],
        "any": rng.random(shape) < 0.6,
        "none": np.zeros(shape, bool),
    }[p.valid]
    resets = rng.random(shape) < 0.3 if p.has_resets else np.zeros(shape, bool)
    keep = 2.0 * (rng.random((p.batch, p.hidden)) < 0.6) if p.has_dropout else np.ones((p.batch, p.hidden))
    xs = normal(*shape, p.inputs)
    return Case(p.kind, params, xs, state(), state(), valid, resets, keep, p.reverse, normal(*shape, p.hidden), state())


@functools.partial(jax.jit, static_argnames=("problem",))
def by_native(problem, params, keep, steps, states, cotangents):
    """The results, and the gradients of parameters, inputs, first and initial state."""
    cell = cell_of(problem)

    def function(params, xs, start, initial):
        if problem.has_dropout:
            params = params._replace(w_h=MaskedWeight(params.w_h, keep))
        xs = jnp.swapaxes(xs, 0, 1) if problem.batch_major else xs
        ordered = dataclasses.replace(steps, xs=xs, batch_first=problem.batch_major)
        return native.run(cell, params, ordered, start, initial, problem.reverse)

    plan = Plan(cell, problem.batch_major, problem.reverse, min(problem.chunk, problem.time), problem.keeps_gates)
    with mock.patch.object(native, "plan_of", return_value=plan):
        results, pull = jax.vjp(function, params, steps.xs, *states)
        return results, pull(cotangents)


def is_served(problem):
    """Whether the native backend knows its cell."""
    cell = cell_of(problem)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    return lx.kernels.explain(cell, params, jnp.ones((1, 1, problem.inputs))).backend == "native"


def results(problem):
    """Those of `by_native`, in NumPy."""
    case, cell, dtype = case_of(problem), cell_of(problem), jnp.dtype(problem.dtype)

    def like(tree, values):
        return type(tree)(*[values.get(k) if leaf is not None else None for k, leaf in tree._asdict().items()])

    def arrays(tree):
        return jax.tree.map(lambda leaf: jnp.asarray(leaf.astype(dtype)), tree)

    state = jax.eval_shape(lambda: cell.initial_state((problem.batch,)))
    shape = jax.eval_shape(cell.init, jax.random.key(0))
    xs = np.where(case.valid[..., None], case.xs, np.nan)
    major = np.swapaxes(xs, 0, 1) if problem.batch_major else xs
    steps = Steps(
        arrays(major),
        None if problem.valid == "all" else jnp.asarray(case.valid),
        jnp.asarray(case.resets) if problem.has_resets else None,
    )
    states = tuple(arrays(like(state, each)) for each in (case.start, case.initial))
    cotangents = arrays(like(state, case.d_end)), arrays(case.d_ys)
    return jax.device_get(
        by_native(problem, arrays(like(shape, case.params)), arrays(case.keep), steps, states, cotangents)
    )


def errors(problem, got=None):
    """For each array, the largest error over the reference's largest entry; a NaN is an infinite error."""
    (end, ys), (d_params, d_xs, d_start, d_initial) = got or results(problem)
    (ref_ys, ref_end), (ref_params, ref_xs, ref_start, ref_initial) = run(case_of(problem))
    pairs = {"ys": (ys, ref_ys), "d_xs": (np.swapaxes(d_xs, 0, 1) if problem.batch_major else d_xs, ref_xs)}
    trees = {"end": (end, ref_end), "d": (d_params, ref_params), "d_start": (d_start, ref_start)}
    if problem.has_resets:
        trees["d_initial"] = (d_initial, ref_initial)
    for name, (tree, reference) in trees.items():
        pairs |= {f"{name}.{k}": (v, reference[k]) for k, v in tree._asdict().items() if v is not None}
    return {name: error(*pair) for name, pair in pairs.items()}


def error(got, expected):
    assert got.shape == expected.shape
    difference = np.abs(got.astype(np.float64) - expected).max(initial=0.0)
    largest = np.abs(expected).max(initial=0.0)
    if np.isnan(difference):
        return np.inf
    return difference / largest if largest > 0 else difference
