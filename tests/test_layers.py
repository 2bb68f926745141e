"""Layers: stacks against the core they call, dropout, states in and out, and what nnx asks of a module."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from tests.cases import HIDDEN, IN
from tests.test_unroll import assert_close

BATCH, STEPS = 2, 5


@pytest.fixture
def layer():
    return lx.LSTM(IN, HIDDEN, num_layers=2, dropout=0.5, rngs=nnx.Rngs(0))


@pytest.fixture
def xs():
    return jax.random.normal(jax.random.key(1), (BATCH, STEPS, IN))


def test_a_stack_is_unroll_after_unroll(layer, xs):
    lengths = jnp.array([5, 3])
    ys, states = layer(xs, lengths=lengths)
    hidden, first = lx.unroll(lx.cells.LSTM(IN, HIDDEN), layer.layers[0].params, xs, lengths=lengths)
    expected, second = lx.unroll(lx.cells.LSTM(HIDDEN, HIDDEN), layer.layers[1].params, hidden, lengths=lengths)
    chex.assert_trees_all_equal((ys, states), (expected, (first, second)))


def test_states_carry_over(layer, xs):
    whole, end = layer(xs)
    first, middle = layer(xs[:, :2])
    second, last = layer(xs[:, 2:], middle)
    assert_close((jnp.concatenate([first, second], axis=1), last), (whole, end))


def test_the_initial_state_is_the_default(layer, xs):
    chex.assert_trees_all_equal(layer(xs), layer(xs, layer.initial_state(BATCH)))


def test_dropout_acts_between_layers_and_only_with_a_key(layer, xs):
    evaluated, again = layer(xs)[0], layer(xs)[0]
    np.testing.assert_array_equal(evaluated, again)
    dropped, same, other = (layer(xs, key=jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(dropped[0], same[0])
    assert not np.allclose(dropped[0], other[0])
    np.testing.assert_array_equal(dropped[1][0].h, layer(xs)[1][0].h)


@pytest.mark.parametrize("between", [lx.regularizers.Dropout(0.5), lx.regularizers.locked_dropout(0.5)])
def test_time_major_is_a_transposition_under_dropout_too(layer, xs, between):
    stack = lx.Stacked(list(layer.layers), between)
    ys, states = stack(xs, key=jax.random.key(0))
    turned, turned_states = stack(xs.swapaxes(0, 1), time_major=True, key=jax.random.key(0))
    chex.assert_trees_all_equal((ys, states), (turned.swapaxes(0, 1), turned_states))


def test_dropout_keeps_the_mean_and_the_rate():
    y = lx.regularizers.Dropout(0.25)(jnp.ones((200, 200)), key=jax.random.key(0))
    assert set(np.unique(y).round(4)) == {0.0, np.float32(4 / 3).round(4)}
    np.testing.assert_allclose(y.mean(), 1.0, atol=0.01)


@pytest.mark.parametrize("time_axis", [0, 1])
def test_locked_dropout_has_one_mask_for_all_steps(time_axis):
    x = jnp.ones((7, 7, 50))
    y = np.moveaxis(lx.regularizers.locked_dropout(0.5, time_axis)(x, key=jax.random.key(0)), time_axis, 0)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:1], y.shape))
    assert len(np.unique(y[0], axis=0)) == 7


def test_modules_split_merge_jit_and_differentiate(layer, xs):
    graphdef, params = nnx.split(layer)
    expected = layer(xs)[0]

    @jax.jit
    def loss(params):
        return nnx.merge(graphdef, params)(xs)[0].sum()

    np.testing.assert_allclose(loss(params), expected.sum(), rtol=1e-5)
    assert all(np.abs(leaf).sum() > 0 for leaf in jax.tree.leaves(jax.grad(loss)(params)))
    np.testing.assert_allclose(nnx.jit(lambda m, x: m(x)[0])(layer, xs), expected, rtol=1e-5, atol=1e-6)


def test_names_and_shapes_of_parameters_stay(layer):
    flat = {".".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(layer))}
    assert flat == {
        "layers.0.weights.b": (16,),
        "layers.0.weights.w_h": (4, 16),
        "layers.0.weights.w_x": (3, 16),
        "layers.1.weights.b": (16,),
        "layers.1.weights.w_h": (4, 16),
        "layers.1.weights.w_x": (4, 16),
    }


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: lx.LSTM(3, 4, num_layers=0, rngs=nnx.Rngs(0)), "num_layers must be at least 1, got 0"),
        (lambda: lx.LSTM(3, 4, num_layers=2, dropout=1.0, rngs=nnx.Rngs(0)), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: lx.LSTM(3, 4, dropout=0.5, rngs=nnx.Rngs(0)), "dropout acts between layers, so it needs num_layers"),
        (lambda: lx.regularizers.Dropout(1.0), r"rate must be in \[0, 1\), got 1.0"),
        (lambda: lx.Stacked([]), "layers must hold at least one layer, got none"),
        (
            lambda: lx.Stacked([lx.Recurrent(lx.cells.LSTM(3, 4), rngs=nnx.Rngs(0))] * 2),
            r"layers\[1\] must take what layers\[0\] gives, \[4\], got one that takes \[3\]",
        ),
    ],
)
def test_layers_that_cannot_be(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()


def test_a_state_for_another_number_of_layers(layer, xs):
    with pytest.raises(ValueError, match="state must be a tuple of 2 states, one a layer, got tuple of 1"):
        layer(xs, layer.initial_state(BATCH)[:1])
    with pytest.raises(TypeError, match="state must have the structure"):
        layer(xs, layer.initial_state(BATCH)[0])
