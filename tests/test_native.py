"""The laws of the native backend: values and gradients are those of the equations, whatever stood in memory before."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import lstmjax as lx
from lstmjax.kernels import scan
from lstmjax.kernels.native import library
from tests import native_problems
from tests.native_problems import Problem
from tests.test_unroll import assert_close

pytestmark = pytest.mark.skipif(library.why_not() is not None, reason=f"no native library: {library.why_not()}")

BARS = {"float32": 1e-5, "float64": 1e-12}
PROBLEMS = st.builds(
    Problem,
    kind=st.sampled_from(["lstm", "gru"]),
    hidden=st.one_of(st.integers(1, 20), st.integers(1, 130)),
    inputs=st.integers(1, 70),
    batch=st.integers(1, 40),
    time=st.integers(1, 60),
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from(list(BARS)),
    use_bias=st.booleans(),
    batch_major=st.booleans(),
    reverse=st.booleans(),
    valid=st.sampled_from(native_problems.VALID),
    has_resets=st.booleans(),
    has_dropout=st.booleans(),
    keeps_gates=st.booleans(),
    chunk=st.sampled_from([1, 2, 3, 7, 60]),
)
LSTM, GRU = (make(1, 5) for make in (lx.cells.LSTM, lx.cells.GRU))
both_cells = pytest.mark.parametrize("cell", [LSTM, GRU], ids=["lstm", "gru"])


@pytest.mark.parametrize("kind", ["lstm", "gru", "gru-original"])
def test_the_numpy_reference(x64, monkeypatch, kind):
    """By the same comparison, with scan in the place of the library."""
    monkeypatch.setattr(native_problems.native, "run", scan.run)
    options = {"valid": "any", "has_resets": True, "has_dropout": True, "reverse": kind == "gru"}
    problem = Problem(kind, 5, 3, 4, 7, dtype="float64", batch_major=False, **options)
    assert max(native_problems.errors(problem).values()) < BARS["float64"]


@hypothesis.settings(max_examples=15, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(problem=PROBLEMS)
def test_values_and_gradients_are_those_of_the_equations(x64, problem):
    errors = native_problems.errors(problem)
    assert max(errors.values()) < BARS[problem.dtype], errors


def gradients(cell, params, xs, backend, **flags):
    def loss(params, xs):
        return jnp.sum(jnp.sin(lx.unroll(cell, params, xs, backend=backend, **flags)[0]))

    return jax.grad(loss, argnums=(0, 1))(params, xs)


@both_cells
@pytest.mark.parametrize("inner", ["params", "xs"])
def test_vmap_of_vmap_of_gradients(cell, inner):
    models = jax.vmap(cell.init)(jax.random.split(jax.random.key(0), 2))
    xs = jax.random.normal(jax.random.key(1), (4, 2, 6, 1))
    axes = [(0, None), (None, 0)] if inner == "params" else [(None, 0), (0, None)]

    def run(backend):
        one = jax.vmap(lambda params, xs: gradients(cell, params, xs, backend), axes[0])
        return jax.jit(jax.vmap(one, axes[1]))(models, xs)

    assert_close(run("native"), run("scan"))


@both_cells
@pytest.mark.parametrize("hidden", [1, 5, 16])
def test_what_stood_in_memory_before_reaches_no_gradient(cell, hidden):
    """Memory is used again: here, after a call that was all NaN."""
    cell = type(cell)(1, hidden)
    params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (2, 3, 1))
    gradients(cell, params, xs, "native")
    wide = lx.cells.LSTM(1, 32)
    gradients(wide, wide.init(jax.random.key(0)), jnp.full((2, 8, 1), jnp.nan), "native")
    chex.assert_tree_all_finite(gradients(cell, params, xs, "native"))


@both_cells
def test_nan_does_not_pass_a_reset(cell):
    xs = jnp.array([1.0, jnp.nan, 1.0]).reshape(1, 3, 1)
    resets = jnp.array([[False, True, False]])
    params = cell.init(jax.random.key(0))
    got, expected = (gradients(cell, params, xs, name, resets=resets)[1] for name in ("native", "scan"))
    np.testing.assert_array_equal(jnp.isnan(got), jnp.isnan(expected))
    assert jnp.isfinite(got[0, 0, 0])


@both_cells
@pytest.mark.parametrize("value", [jnp.inf, -jnp.inf, 1e30])
def test_infinite_inputs_leave_other_gradients_finite(cell, value):
    xs = jnp.array([1.0, value, 1.0]).reshape(1, 3, 1)
    params = cell.init(jax.random.key(0))
    got, expected = (gradients(cell, params, xs, name) for name in ("native", "scan"))
    finite = [jax.tree.map(jnp.isfinite, tree) for tree in (got, expected)]
    chex.assert_trees_all_equal(finite[0][1], finite[1][1])
    chex.assert_trees_all_equal(finite[0][0].w_h, finite[1][0].w_h)
