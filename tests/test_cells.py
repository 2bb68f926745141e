"""Cells: one step against the equations, its dtypes, its first parameters, and its complaints."""

import copy
import dataclasses
import inspect
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from lstmjax.cells.layer_norm import standardize
from tests.cases import (
    CELLS,
    HIDDEN,
    IN,
    cells,
    every_cell,
    every_reference,
    random_inputs,
    random_params,
    random_state,
    tolerance,
)
from tests.reference import convolve, norm


def by_name(tree):
    """Named tuples as dicts, so that a reference need not know our types."""
    if hasattr(tree, "_asdict"):
        return {name: by_name(leaf) for name, leaf in tree._asdict().items()}
    if isinstance(tree, tuple):
        return tuple(map(by_name, tree))
    if isinstance(tree, dict):
        return {name: by_name(leaf) for name, leaf in tree.items()}
    return tree if tree is None else np.asarray(tree, np.float64)


def test_every_cell_is_enrolled():
    exported = {getattr(lx.cells, name) for name in lx.cells.__all__}
    classes = {each for each in exported if hasattr(each, "step") and each is not lx.cells.Recording}
    assert classes == {type(enrolled.make(jnp.float32)) for enrolled in CELLS.values()} & exported


@every_reference
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_step_is_the_equations(x64, make_cell, reference, dtype):
    cell = make_cell(dtype)
    params = random_params(cell, jax.random.key(0))
    state = random_state(cell, (5,), jax.random.key(1))
    x = random_inputs(cell, (5,), jax.random.key(2), dtype)
    new, y = jax.jit(lambda params, state, x: cell.step(params, state, cell.project(params, x)))(params, state, x)
    expected = reference(by_name(params), by_name(state), np.asarray(x, np.float64))
    chex.assert_trees_all_close(by_name(new), expected, atol=tolerance(dtype, roundings=20), rtol=0)
    assert y.shape[1:] == lx.cells.output_shape(cell)
    if hasattr(new, "h"):  # the output is the new hidden state
        np.testing.assert_array_equal(y, new.h)


def with_field(name):
    """The enrolled cells that have a field of this name."""
    return cells(*(key for key, one in CELLS.items() if hasattr(one.make(jnp.float32), name)))


def whole_step(cell):
    """From parameters, state and input to the new state and the output."""
    return lambda params, state, x: cell.step(params, state, cell.project(params, x))


def step_arguments(cell):
    x = random_inputs(cell, (5,), jax.random.key(2))
    return random_params(cell, jax.random.key(0)), random_state(cell, (5,), jax.random.key(1)), x


@with_field("use_bias")
def test_a_cell_without_biases_is_one_with_zeros(make_cell):
    cell = dataclasses.replace(make_cell(jnp.float32), use_bias=True)
    bare = dataclasses.replace(cell, use_bias=False)
    params, state, x = step_arguments(cell)
    biases = [name for name, leaf in bare.init(jax.random.key(0))._asdict().items() if leaf is None]
    zeros = {name: jax.tree.map(jnp.zeros_like, getattr(params, name)) for name in biases}
    assert "b" in biases
    found = whole_step(bare)(params._replace(**dict.fromkeys(biases)), state, x)
    expected = whole_step(cell)(params._replace(**zeros), state, x)
    chex.assert_trees_all_close(found, expected, atol=tolerance(jnp.float32, roundings=20))


@with_field("activation_fn")
def test_a_cell_has_no_functions_but_those_it_was_given(make_cell):
    cell = make_cell(jnp.float32)
    given = {name: f for name, f in {"gate_fn": jnp.cos, "activation_fn": jnp.sin}.items() if hasattr(cell, name)}
    cell = dataclasses.replace(cell, **given)
    program = str(jax.make_jaxpr(whole_step(cell))(*step_arguments(cell)))
    assert {word for word in re.findall(r"\w+", program) if word in ("cos", "sin")} == {
        f.__name__ for f in given.values()
    }
    assert not re.search("tanh|logistic|max", program)


@with_field("gate_fn")
def test_gates_have_their_own_names(make_cell):
    """A gate with a large bias is wide open, under the name that `gate_order` gives its block."""
    cell = dataclasses.replace(make_cell(jnp.float32), use_bias=True, gate_fn=jax.nn.sigmoid, activation_fn=jnp.tanh)
    params, state, x = step_arguments(cell)

    def gate(name, params):
        return np.asarray(getattr(cell.gates(params, state, cell.project(params, x)), name))

    for block, name in zip(jnp.eye(cell.num_gates), cell.gate_order, strict=True):
        opened = params._replace(b=params.b + 100 * jnp.repeat(block, cell.hidden_features))
        assert np.any(gate(name, params) < 0.9)
        assert np.all(gate(name, opened) > 0.999)


def test_half_precision_keeps_cell_state_and_sums_in_float32():
    cell = lx.cells.LSTM(IN, HIDDEN, dtype=jnp.bfloat16)
    params, state = cell.init(jax.random.key(0)), cell.initial_state((2,))
    z = cell.project(params, jnp.ones((2, IN), jnp.bfloat16))
    new, y = cell.step(params, state, z)
    dtypes = [leaf.dtype.name for leaf in (*params, z, new.h, new.c, y)]
    assert dtypes == ["float32", "float32", "float32", "float32", "bfloat16", "float32", "bfloat16"]


@every_cell
def test_a_copied_layer_runs_the_same_program_with_weights_of_its_own(make_cell):
    """Else a copied model would compile anew and could go to no other library."""
    layer = lx.Recurrent(make_cell(jnp.float32), rngs=nnx.Rngs(0))
    copied = copy.deepcopy(layer)
    assert nnx.graphdef(copied) == nnx.graphdef(layer)
    assert hash(copied.cell) == hash(layer.cell)
    layer.set_params(jax.tree.map(jnp.zeros_like, layer.params))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(copied.params))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_normalisation_keeps_its_digits_where_the_mean_is_large(x64, dtype):
    a = 100.0 + 0.01 * jax.random.normal(jax.random.key(0), (3, 64), dtype)
    gain = jnp.ones(64, dtype)
    expected = norm(np.asarray(a, np.float64))
    rounding = 100 * float(jnp.finfo(dtype).eps)  # of a sum near 100, magnified a hundredfold
    np.testing.assert_allclose(standardize(a, gain, 1e-5), expected, atol=100 * rounding)


def test_cells_are_static():
    for dtype in (jnp.float32, "float32", np.dtype("float32"), jnp.ones(()).dtype):
        assert lx.cells.LSTM(3, 4, param_dtype=dtype) == lx.cells.LSTM(3, 4)
        assert hash(lx.cells.LSTM(3, 4, param_dtype=dtype)) == hash(lx.cells.LSTM(3, 4))
    assert lx.cells.LSTM(3, 4) != lx.cells.LSTM(3, 5)


@pytest.mark.parametrize("build", [lx.cells.LSTM, lx.cells.GRU, lx.LSTM, lx.GRU, lx.stack])
def test_help_explains_every_argument(build):
    arguments = inspect.signature(build.__init__ if isinstance(build, type) else build).parameters.values()
    required = {"self", "make_cell", "in_features", "hidden_features", "rngs"}
    assert {each.name for each in arguments if each.default is each.empty} <= required
    assert {each.name for each in arguments} - {"self"} <= set(re.findall(r"^ +(\w+): ", build.__doc__, re.MULTILINE))


def test_a_look_inside_a_cell_without_gates():
    cell = CELLS["integrator"].make(jnp.float32)
    params, xs = random_params(cell, jax.random.key(0)), random_inputs(cell, (2, 3), jax.random.key(1))
    record, end = lx.unroll(lx.cells.Recording(cell), params, xs)
    chex.assert_trees_all_close((record.output, end), lx.unroll(cell, params, xs), atol=tolerance(jnp.float32))
    assert record.gates == ()


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"in_features": 0}, ValueError, "in_features must be at least 1, got 0"),
        ({"hidden_features": 2.5}, TypeError, "hidden_features must be a whole number, got 2.5"),
        ({"hidden_features": True}, TypeError, "hidden_features must be a whole number, got True"),
        ({"dtype": "foo"}, TypeError, "dtype must be a floating dtype of 16, 32 or 64 bits, got foo"),
        ({"dtype": jnp.int32}, TypeError, "dtype must be a floating dtype of 16, 32 or 64 bits, got int32"),
        (
            {"dtype": jnp.bfloat16, "param_dtype": jnp.float16},
            TypeError,
            "dtype bfloat16 does not go with param_dtype float16",
        ),
        ({"dtype": jnp.float8_e4m3fn}, TypeError, "dtype must be a floating dtype of 16, 32 or 64 bits, got float8"),
        (
            {"param_dtype": jnp.float64},
            TypeError,
            "dtype must be float32, .* unless jax_enable_x64 is set, got float64",
        ),
        ({"use_bias": "no"}, TypeError, "use_bias must be True or False, got 'no'"),
        ({"hidden_features": np.array([4, 5])}, TypeError, "hidden_features must be a whole number, got array"),
        ({"forget_bias": "1"}, TypeError, "forget_bias must be a number, got '1'"),
    ],
)
def test_a_cell_that_cannot_be(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        lx.cells.LSTM(**{"in_features": IN, "hidden_features": HIDDEN} | arguments)


@pytest.mark.parametrize(
    ("x", "error", "sentence"),
    [
        (jnp.ones((2, IN + 1)), ValueError, r"x must have shape \[\.\.\., in_features=3\], got \[2, 4\]"),
        (jnp.ones((2, IN), jnp.float16), TypeError, "xs must have dtype float32, got float16"),
    ],
)
def test_an_input_that_does_not_fit(x, error, sentence):
    cell = lx.cells.LSTM(IN, HIDDEN)
    with pytest.raises(error, match=sentence):
        cell.project(cell.init(jax.random.key(0)), x)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: lx.cells.ProjectedLSTM(IN, 4, proj_features=5), "proj_features must be at most 4, got 5"),
        (lambda: lx.cells.LayerNormLSTM(IN, 4, epsilon=0.0), "epsilon must be above 0 and finite, got 0.0"),
        (lambda: conv(spatial_shape=()), r"spatial_shape must be a tuple of 1, 2 or 3 whole numbers, got \(\)"),
        (lambda: conv(kernel_size=(3,)), r"kernel_size must be a tuple of 2 whole numbers, got \(3,\)"),
        (lambda: conv(strides=(1, 0)), "strides must be at least 1, got 0"),
        (lambda: conv(dilation=(2,)), r"dilation must be a tuple of 2 whole numbers, got \(2,\)"),
        (lambda: conv(kernel_size=0), "kernel_size must be at least 1, got 0"),
        (lambda: conv(padding="FULL"), "padding must be one of 'SAME', 'VALID', got 'FULL'"),
        (lambda: conv(padding="VALID", kernel_size=(7, 1)), r"spatial_shape must leave something to a kernel"),
        (lambda: lx.StackedCells(()), "cells must hold at least one cell, got none"),
        (
            lambda: lx.StackedCells((lx.cells.LSTM(3, 4), lx.cells.LSTM(3, 4))),
            r"cells\[1\] must take what cells\[0\] gives, \[4\], got a cell that takes \[3\]",
        ),
    ],
)
def test_variants_that_cannot_be(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()


def conv(**changes):
    return lx.cells.ConvLSTM(IN, HIDDEN, **{"spatial_shape": (5, 6), "kernel_size": (3, 3)} | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strides": (2, 3)},
        {"dilation": (2, 1)},
        {"padding": "VALID"},
        {"padding": "VALID", "dilation": (1, 2), "strides": (2, 1), "kernel_size": (2, 3)},
    ],
)
def test_a_grid_is_convolved_by_the_definition(x64, changes):
    cell = dataclasses.replace(conv(**changes), param_dtype=jnp.float64)
    params = random_params(cell, jax.random.key(0))
    x = random_inputs(cell, (2,), jax.random.key(1), jnp.float64)
    strides, dilation = changes.get("strides", (1, 1)), changes.get("dilation", (1, 1))
    expected = convolve(np.asarray(x), np.asarray(params.w_x), strides, dilation, cell.padding == "SAME")
    np.testing.assert_allclose(cell.project(params, x), expected + np.asarray(params.b), atol=1e-12)
    assert expected.shape[1:-1] == cell.grid


@pytest.mark.parametrize("dims", [1, 3])
def test_grids_of_one_and_three_dimensions(x64, dims):
    """A grid with one wide axis among narrow ones, or alone, is the same signal."""
    flat = lx.cells.ConvLSTM(IN, HIDDEN, spatial_shape=(5, 1), kernel_size=(3, 1), param_dtype=jnp.float64)
    ones = (1,) * (dims - 1)
    cell = dataclasses.replace(flat, spatial_shape=(5, *ones), kernel_size=(3, *ones))
    params = random_params(flat, jax.random.key(0))
    xs = random_inputs(flat, (2, 4), jax.random.key(1), jnp.float64)
    expected, _ = lx.unroll(flat, params, xs)

    def regrid(leaf):
        return leaf.reshape(3, *ones, *leaf.shape[2:])

    moved = params._replace(w_x=regrid(params.w_x), w_h=regrid(params.w_h))
    ys, _ = lx.unroll(cell, moved, xs.reshape(2, 4, 5, *ones, IN))
    np.testing.assert_allclose(ys.reshape(expected.shape), expected, atol=1e-12)


def in_half_precision(make_cell):
    cell = make_cell(jnp.float32)
    if not hasattr(cell, "dtype"):
        pytest.skip("has no dtype of its own")
    return cell, dataclasses.replace(cell, dtype=jnp.bfloat16)


@every_reference
def test_a_step_in_half_precision_rounds_its_factors_and_its_output_alone(make_cell, reference):
    """From weights that are bfloat16 already: h is right to a unit of its last place, c to float32's digits."""
    cell, half = in_half_precision(make_cell)
    params = random_params(cell, jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(jnp.float32), params)
    state = random_state(half, (5,), jax.random.key(1))
    x = random_inputs(cell, (5,), jax.random.key(2), jnp.bfloat16)
    new = by_name(half.step(params, state, half.project(params, x))[0])
    expected = reference(by_name(params), by_name(state), np.asarray(x, np.float64))
    np.testing.assert_allclose(new["h"], expected["h"], atol=tolerance(jnp.bfloat16, roundings=1), rtol=0)
    for name in expected.keys() - {"h"}:
        np.testing.assert_allclose(new[name], expected[name], atol=tolerance(jnp.float32, roundings=20), rtol=0)


@every_cell
def test_half_precision_over_time(make_cell):
    """bfloat16 in and out, a float32 memory, finite gradients, and numbers near those of float32."""
    cell, half = in_half_precision(make_cell)
    params = random_params(cell, jax.random.key(0))
    xs = random_inputs(cell, (2, 12), jax.random.key(1))
    ys, end = lx.unroll(half, params, xs.astype(jnp.bfloat16))
    assert {leaf.dtype.name for leaf in (ys, end.h)} == {"bfloat16"}
    assert getattr(end, "c", jnp.zeros((), jnp.float32)).dtype == jnp.float32
    near = tolerance(jnp.bfloat16, roundings=2)
    np.testing.assert_allclose(ys.astype(jnp.float32), lx.unroll(cell, params, xs)[0], atol=near, rtol=0)
    grads = jax.jit(jax.grad(lambda p: lx.unroll(half, p, xs)[0].astype(jnp.float32).sum()))(params)
    assert all(leaf.dtype == jnp.float32 and np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
