"""Cells: one step against the equations, its derivatives, its dtypes, its first parameters, and its complaints."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import lstmjax as lx
from tests.cases import HIDDEN, IN, every_cell, every_reference, random_inputs, random_params, random_state, tolerance


def by_name(tree):
    """Named tuples as dicts, so that a reference need not know our types."""
    if hasattr(tree, "_asdict"):
        return {name: by_name(leaf) for name, leaf in tree._asdict().items()}
    if isinstance(tree, tuple):
        return tuple(map(by_name, tree))
    if isinstance(tree, dict):
        return {name: by_name(leaf) for name, leaf in tree.items()}
    return tree if tree is None else np.asarray(tree, np.float64)


@every_reference
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_step_is_the_equations(x64, make_cell, reference, dtype):
    cell = make_cell(dtype)
    params = random_params(cell, jax.random.key(0))
    state = random_state(cell, (5,), jax.random.key(1))
    x = random_inputs(cell, (5,), jax.random.key(2), dtype)
    new, _ = cell.step(params, state, cell.project(params, x))
    expected = reference(by_name(params), by_name(state), np.asarray(x, np.float64))
    chex.assert_trees_all_close(by_name(new), expected, atol=tolerance(dtype), rtol=0)


@every_cell
def test_the_output_is_the_hidden_state(make_cell):
    cell = make_cell(jnp.float32)
    params, state = random_params(cell, jax.random.key(0)), random_state(cell, (5,), jax.random.key(1))
    new, y = cell.step(params, state, cell.project(params, random_inputs(cell, (5,), jax.random.key(2))))
    if hasattr(new, "h"):
        np.testing.assert_array_equal(y, new.h)
    assert y.shape[1:] == lx.cells.output_shape(cell)


@every_cell
def test_step_has_exact_derivatives_to_second_order(x64, make_cell):
    cell = make_cell(jnp.float64)
    params = random_params(cell, jax.random.key(0))
    state = random_state(cell, (2,), jax.random.key(1))
    x = random_inputs(cell, (2,), jax.random.key(2), jnp.float64)
    check_grads(lambda p, s, x: cell.step(p, s, cell.project(p, x)), (params, state, x), order=2)


def test_each_gate_starts_orthogonal_and_the_forget_gate_open():
    params = lx.cells.LSTM(IN, HIDDEN, forget_bias=2.0).init(jax.random.key(0))
    for gate in jnp.split(params.w_h, 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(HIDDEN), atol=1e-6)
    np.testing.assert_array_equal(params.b, np.repeat([0.0, 2.0, 0.0, 0.0], HIDDEN))


def test_each_gate_starts_with_glorot_scale():
    w_x = lx.cells.LSTM(100, 60).init(jax.random.key(0)).w_x
    for gate in jnp.split(w_x, 4, axis=1):
        limit = np.sqrt(6 / (100 + 60))
        assert 0.98 * limit < float(jnp.abs(gate).max()) <= limit


def test_half_precision_keeps_cell_state_and_sums_in_float32():
    cell = lx.cells.LSTM(IN, HIDDEN, dtype=jnp.bfloat16)
    params, state = cell.init(jax.random.key(0)), cell.initial_state((2,))
    z = cell.project(params, jnp.ones((2, IN), jnp.bfloat16))
    new, y = cell.step(params, state, z)
    dtypes = [leaf.dtype.name for leaf in (*params, z, new.h, new.c, y)]
    assert dtypes == ["float32", "float32", "float32", "float32", "bfloat16", "float32", "bfloat16"]


def test_half_precision_is_close_to_float32():
    exact, half = lx.cells.LSTM(IN, HIDDEN), lx.cells.LSTM(IN, HIDDEN, dtype=jnp.bfloat16)
    params, xs = exact.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (2, 20, IN))
    ys, _ = lx.unroll(exact, params, xs)
    halved, _ = lx.unroll(half, params, xs)
    np.testing.assert_allclose(halved.astype(jnp.float32), ys, atol=20 * float(jnp.finfo(jnp.bfloat16).eps))


def test_cells_are_static():
    assert hash(lx.cells.LSTM(3, 4)) == hash(lx.cells.LSTM(3, 4))
    assert lx.cells.LSTM(3, 4) != lx.cells.LSTM(3, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"in_features": 0}, ValueError, "in_features must be at least 1, got 0"),
        ({"hidden_features": 2.5}, TypeError, "hidden_features must be a whole number, got 2.5"),
        ({"hidden_features": True}, TypeError, "hidden_features must be a whole number, got True"),
        ({"dtype": "foo"}, TypeError, "dtype must be a floating dtype, got foo"),
        ({"dtype": jnp.int32}, TypeError, "dtype must be a floating dtype, got int32"),
    ],
)
def test_a_cell_that_cannot_be(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        lx.cells.LSTM(**{"in_features": IN, "hidden_features": HIDDEN} | arguments)


@pytest.mark.parametrize(
    ("x", "error", "sentence"),
    [
        (jnp.ones((2, IN + 1)), ValueError, r"x must have shape \[\.\.\., in_features=3\], got \[2, 4\]"),
        (jnp.ones((2, IN), jnp.float16), TypeError, "x must have dtype float32, got float16"),
    ],
)
def test_an_input_that_does_not_fit(x, error, sentence):
    cell = lx.cells.LSTM(IN, HIDDEN)
    with pytest.raises(error, match=sentence):
        cell.project(cell.init(jax.random.key(0)), x)


def test_a_fused_weight_that_does_not_divide_into_gates():
    with pytest.raises(ValueError, match=r"multiple of 4 \(one block a gate\), got \[3, 10\]"):
        lx.initializers.per_gate(lx.initializers.orthogonal, 4)(jax.random.key(0), (3, 10), jnp.float32)
