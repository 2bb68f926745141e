"""The laws of the native backend: values and gradients are those of the equations, whatever stood in memory before."""

import functools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
from tests.cases import random_params
from tests.native_problems import Problem
from tests.test_unroll import assert_close

pytestmark = pytest.mark.skipif(library.why_not() is not None, reason=f"no native library: {library.why_not()}")

BARS = {"float32": 1e-5, "float64": 1e-12}
PROBLEMS = st.builds(
    Problem,
    kind=st.sampled_from(["lstm", "gru", "gru-original"]),
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
    hypothesis.assume(native_problems.is_served(problem))
    errors = native_problems.errors(problem)
    assert max(errors.values()) < BARS[problem.dtype], errors


@functools.partial(jax.jit, static_argnames=("cell", "backend"))
def gradients(cell, params, xs, backend, **flags):
    def loss(params, xs):
        ys, end = lx.unroll(cell, params, xs, backend=backend, **flags)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((ys, end))), (ys, end)

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, xs)


@both_cells
@pytest.mark.parametrize("inner", ["params", "xs"])
def test_vmap_of_vmap_of_gradients(cell, inner):
    models = jax.tree.map(lambda *leaves: np.stack(leaves), *(random_params(cell, jax.random.key(k)) for k in (0, 1)))
    xs = jax.random.normal(jax.random.key(2), (4, 2, 6, 1))
    axes = [(0, None), (None, 0)] if inner == "params" else [(None, 0), (0, None)]

    def run(backend):
        one = jax.vmap(lambda params, xs: gradients(cell, params, xs, backend), axes[0])
        return jax.jit(jax.vmap(one, axes[1]))(models, xs)

    assert_close(run("native"), run("scan"))


@both_cells
@pytest.mark.parametrize("hidden", [1, 5, 16])
def test_what_stood_in_memory_before_reaches_no_gradient(cell, hidden):
    """Memory is used again: here, after a call that was all NaN."""
    cell, wide = type(cell)(1, hidden), lx.cells.LSTM(1, 32)
    params, xs = random_params(cell, jax.random.key(0)), jax.random.normal(jax.random.key(1), (2, 3, 1))
    gradients(cell, params, xs, "native")
    gradients(wide, random_params(wide, jax.random.key(0)), jnp.full((2, 8, 1), jnp.nan), "native")
    chex.assert_tree_all_finite(gradients(cell, params, xs, "native"))


WHERE_RESET = {"never": (False, False, False), "after": (False, False, True), "there": (False, True, False)}


@both_cells
@pytest.mark.parametrize("where", WHERE_RESET.values(), ids=WHERE_RESET.keys())
def test_large_inputs_and_what_is_not_finite_go_where_they_go_in_scan(cell, where):
    """One input of many: into the steps after it, the gradients before it, up to a reset. Gates that are shut are."""
    params, resets = cell.init(jax.random.key(0)), jnp.array([where, (False, False, False)])
    for value in (1e2, 1e6, -1e16, 1e30, 3e38, jnp.nan, jnp.inf, -jnp.inf):
        xs = jnp.ones((2, 3, 1)).at[0, 1].set(value)
        got, expected = (gradients(cell, params, xs, name, resets=resets) for name in ("native", "scan"))
        assert_close(got, expected)  # takes NaN for NaN alone
        chex.assert_tree_all_finite(jax.tree.map(lambda leaf: leaf[1], (got[1], got[0][1])))


@both_cells
@pytest.mark.parametrize("backend", ["auto", "native"])
def test_one_step_and_no_rows(cell, backend):
    params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (3, 1, 1))
    assert lx.kernels.explain(cell, params, xs, backend=backend).backend == "native"
    assert_close(gradients(cell, params, xs, backend), gradients(cell, params, xs, "scan"))
    nobody = jnp.ones((0, 4, 1))
    chosen = lx.kernels.explain(cell, params, nobody, backend=backend)
    assert chosen.reasons["native"] == "an empty batch leaves it nothing to do"
    (d_params, _), (ys, _) = gradients(cell, params, nobody, backend)
    chex.assert_trees_all_equal(d_params, jax.tree.map(jnp.zeros_like, params))
    assert ys.shape == (0, 4, 5)


def test_float16_goes_on_to_fused():
    cell = lx.cells.LSTM(3, 5, dtype=jnp.float16)
    chosen = lx.kernels.explain(cell, cell.init(jax.random.key(0)), jnp.ones((2, 4, 3)), backend="native")
    assert chosen.backend == "fused"
    assert chosen.reasons["native"] == "it knows float32, float64 and bfloat16, got float16"


def test_the_same_bits_at_every_call_and_in_every_thread():
    """Of problems that are large enough for several threads, which share units in one and rows in the other."""
    problems = [(lx.cells.LSTM(9, 80), (4, 12, 9)), (lx.cells.GRU(9, 24), (40, 12, 9))]
    calls = []
    for cell, shape in problems:
        params, xs = random_params(cell, jax.random.key(0)), jax.random.normal(jax.random.key(1), shape)
        calls.append((cell, params, xs, jax.device_get(gradients(cell, params, xs, "native"))))

    def check(number):
        cell, params, xs, expected = calls[number % 2]
        got = jax.device_get(gradients(cell, params, xs, "native"))
        return all(map(np.array_equal, jax.tree.leaves(got), jax.tree.leaves(expected)))

    assert all(map(check, range(40)))
    with ThreadPoolExecutor(4) as several:
        assert all(several.map(check, range(80)))


POOLS = {"baseline": ("4", "1"), "avx2": ("2",), "avx512": ("1", "2", "4")}


@pytest.mark.parametrize(("isa", "pools"), POOLS.items(), ids=POOLS.keys())
def test_every_instruction_set_on_pools_of_several_sizes(isa, pools):
    """Results do not depend on how many threads there are; only sums over rows are cut by them.

    Nor is a thread left in another floating-point mode, neither by loading nor by calls.
    """
    command = [sys.executable, "-m", "tests.native_bits", *pools]
    environment = os.environ | {"LSTMJAX_NATIVE_ISA": isa}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    if report["isa"] != isa:
        pytest.skip(f"this machine has no {isa}")
    assert all(report["keeps_subnormals"])
    got = report["pools"].values()
    assert max(each["error"] for each in got) < BARS["float32"]
    assert len({each["forward"] for each in got}) == 1
    assert len({each["gradients"] for each in got}) == len(pools)  # so there were threads
