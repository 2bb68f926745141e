"""Layers: stacks against the core they call, dropout, states in and out, and what nnx asks of a module."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from tests.cases import CELLS, HIDDEN, IN, every_cell, random_inputs
from tests.test_unroll import assert_close

BATCH, STEPS = 2, 5


@pytest.fixture
def layer():
    return lx.LSTM(IN, HIDDEN, num_layers=2, dropout=0.5, rngs=nnx.Rngs(0))


@pytest.fixture
def xs():
    return jax.random.normal(jax.random.key(1), (BATCH, STEPS, IN), jnp.float32)


def test_a_stack_is_unroll_after_unroll(layer, xs):
    lengths = jnp.array([5, 3])
    ys, states = layer(xs, lengths=lengths)
    hidden, first = lx.unroll(lx.cells.LSTM(IN, HIDDEN), layer.layers[0].params, xs, lengths=lengths)
    expected, second = lx.unroll(lx.cells.LSTM(HIDDEN, HIDDEN), layer.layers[1].params, hidden, lengths=lengths)
    chex.assert_trees_all_equal((ys, states), (expected, (first, second)))


def test_states_carry_over(layer, xs):
    whole, end = layer(xs)
    first, middle = layer(xs[:, :2])
    second, last = layer(xs[:, 2:], state=middle)
    assert_close((jnp.concatenate([first, second], axis=1), last), (whole, end))


def test_the_initial_state_is_the_default(layer, xs):
    chex.assert_trees_all_equal(layer(xs), layer(xs, state=layer.initial_state(BATCH)))


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
    y = lx.regularizers.Dropout(0.25)(jnp.ones((200, 200), jnp.float32), key=jax.random.key(0))
    assert set(np.unique(y).round(4)) == {0.0, np.float32(4 / 3).round(4)}
    np.testing.assert_allclose(y.mean(), 1.0, atol=0.01)


@pytest.mark.parametrize("time_axis", [0, 1])
def test_locked_dropout_has_one_mask_for_all_steps(time_axis):
    x = jnp.ones((7, 7, 50), jnp.float32)
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


@pytest.mark.parametrize(
    ("name", "graph"),
    [*((name, True) for name in CELLS), *((name, False) for name in ("lstm", "conv-lstm", "stacked", "integrator"))],
)
def test_every_cell_is_a_layer_in_both_modes_of_nnx(name, graph):
    """split, merge, jit and grad with nnx graph mode on and off; the layer is `unroll` of its cell and parameters.

    Of a cell, nnx sees how its parameters and its state are nested: there are as many kinds as cells in the other mode.
    """
    cell = CELLS[name].make(jnp.float32)
    layer = lx.Recurrent(cell, initial_state="learned", rngs=nnx.Rngs(0))
    xs = random_inputs(cell, (BATCH, STEPS), jax.random.key(1))
    expected = lx.unroll(cell, layer.params, xs, layer.initial_state(BATCH))
    graphdef, params = nnx.split(layer, graph=graph)

    def loss(params):
        ys, end = nnx.merge(graphdef, params)(xs)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((ys, end))), (ys, end)

    grads, outputs = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert_close(outputs, expected)
    assert all(np.isfinite(leaf).all() and np.abs(leaf).sum() > 0 for leaf in jax.tree.leaves(grads))
    assert_close(nnx.jit(lambda layer, xs: layer(xs), graph=graph)(layer, xs), expected)


def test_an_ensemble_of_layers(xs):
    @nnx.vmap(in_axes=0, out_axes=0)
    def create(key):
        return lx.LSTM(IN, HIDDEN, num_layers=2, rngs=nnx.Rngs(key))

    ensemble = create(jax.random.split(jax.random.key(0), 3))
    ys, _ = nnx.vmap(lambda layer, xs: layer(xs), in_axes=(0, None))(ensemble, xs)
    graphdef, params = nnx.split(ensemble)
    alone = nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf[1], params))(xs)[0]
    assert_close(ys[1], alone)


def test_a_learned_state_is_where_sequences_start_and_start_again(xs):
    layer = lx.LSTM(IN, HIDDEN, num_layers=2, initial_state="learned", rngs=nnx.Rngs(0))
    layer.layers[0].initial = nnx.data(jax.tree.map(lambda p: nnx.Param(p[...] + 0.5), layer.layers[0].initial))
    start = layer.initial_state(BATCH)
    np.testing.assert_array_equal(start[0].h, 0.5)
    chex.assert_trees_all_equal(layer(xs), layer(xs, state=start))
    resets = jnp.zeros((BATCH, STEPS), bool).at[:, 2].set(True)
    assert_close(layer(xs, resets=resets)[0][:, 2:], layer(xs[:, 2:])[0])
    chex.assert_trees_all_equal(layer(xs, lengths=jnp.zeros(BATCH, int))[1], start)


def test_residual_layers_add_their_input(xs):
    layer = lx.GRU(IN, HIDDEN, num_layers=3, residual=True, rngs=nnx.Rngs(0))
    lengths = jnp.array([5, 3])
    poisoned = xs.at[1, 3:].set(jnp.nan)
    ys, _ = layer(poisoned, lengths=lengths)
    expected, _ = layer.layers[0](xs, lengths=lengths)
    for above in layer.layers[1:]:
        expected = expected + above.layer(expected, lengths=lengths)[0]
    assert_close(ys, expected)
    np.testing.assert_array_equal(ys[1, 3:], 0.0)


def test_a_residual_layer_alone_does_not_see_the_padding(xs):
    layer = lx.Residual(lx.Recurrent(lx.cells.GRU(IN, IN), rngs=nnx.Rngs(0)))
    poisoned = xs.at[1, 3:].set(jnp.nan)
    ys, _ = layer(poisoned, lengths=jnp.array([5, 3]))
    np.testing.assert_array_equal(ys[1, 3:], 0.0)
    turned, _ = layer(poisoned.swapaxes(0, 1), lengths=jnp.array([5, 3]), time_major=True)
    np.testing.assert_array_equal(ys, turned.swapaxes(0, 1))


def test_a_width_for_each_layer(xs):
    layer = lx.ElmanRNN(IN, [4, 6, 2], activation_fn=jax.nn.relu, rngs=nnx.Rngs(0))
    ys, states = layer(xs)
    assert ys.shape == (BATCH, STEPS, 2)
    assert [state.h.shape[-1] for state in states] == [4, 6, 2]


def test_stacked_cells_are_stacked_layers(xs):
    layer = lx.LSTM(IN, [4, 6], rngs=nnx.Rngs(0))
    cell = lx.StackedCells(tuple(below.cell for below in layer.layers))
    lengths = jnp.array([5, 3])
    assert_close(
        lx.unroll(cell, tuple(below.params for below in layer.layers), xs, lengths=lengths), layer(xs, lengths=lengths)
    )


@every_cell
def test_every_cell_runs_inside_flaxs_rnn(make_cell):
    cell = make_cell(jnp.float32)
    adapted = lx.FlaxCell(cell, rngs=nnx.Rngs(0))
    xs = random_inputs(cell, (BATCH, STEPS), jax.random.key(1))
    rnn = nnx.RNN(adapted, return_carry=True, rngs=False)
    end, ys = rnn(xs, seq_lengths=jnp.array([STEPS, 2]))
    expected, expected_end = lx.unroll(cell, adapted.params, xs, lengths=jnp.array([STEPS, 2]))
    assert_close((ys[0], ys[1, :2], end), (expected[0], expected[1, :2], expected_end))


def test_time_distributed_is_the_layer_at_every_step():
    conv = nnx.Conv(2, 3, kernel_size=(3, 3), rngs=nnx.Rngs(0))
    heads = lx.TimeDistributed(conv)
    xs = jax.random.normal(jax.random.key(0), (BATCH, STEPS, 4, 4, 2), jnp.float32)
    ys = heads(xs)
    for t in range(STEPS):
        np.testing.assert_allclose(ys[:, t], conv(xs[:, t]), rtol=1e-5, atol=1e-6)
    poisoned = xs.at[1, 3:].set(jnp.nan)
    value, grad = jax.value_and_grad(lambda xs: heads(xs, lengths=jnp.array([5, 3])).sum())(poisoned)
    assert np.isfinite(value)
    assert np.isfinite(grad).all()
    turned = heads(xs.swapaxes(0, 1), lengths=jnp.array([5, 3]), time_major=True)
    np.testing.assert_allclose(turned.swapaxes(0, 1), heads(poisoned, lengths=jnp.array([5, 3])), rtol=1e-5, atol=1e-6)


def test_conv_lstm_is_a_layer():
    layer = lx.ConvLSTM(2, 3, spatial_shape=(4, 5), kernel_size=(3, 3), strides=(2, 2), rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (BATCH, STEPS, 4, 5, 2), jnp.float32)
    ys, state = layer(xs, lengths=jnp.array([5, 0]))
    assert ys.shape == (BATCH, STEPS, 2, 3, 3)
    np.testing.assert_array_equal(state[0].h[1], 0.0)
    stack = lx.Stacked([layer, lx.ConvLSTM(3, 2, spatial_shape=(2, 3), kernel_size=(2, 2), rngs=nnx.Rngs(1))])
    assert stack(xs)[0].shape == (BATCH, STEPS, 2, 3, 2)


def test_other_parameters_can_be_set(xs):
    layer = lx.Recurrent(lx.cells.LSTM(IN, HIDDEN), rngs=nnx.Rngs(0))
    params = lx.cells.LSTM(IN, HIDDEN).init(jax.random.key(5))
    layer.set_params(params)
    chex.assert_trees_all_equal(layer(xs), lx.unroll(layer.cell, params, xs))
    with pytest.raises(ValueError, match=r"params.w_h must have shape \[4, 16\], got \[2, 2\]"):
        layer.set_params(params._replace(w_h=jnp.ones((2, 2), jnp.float32)))


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
        (
            lambda: lx.LSTM(3, 4, residual=True, rngs=nnx.Rngs(0)),
            "residual acts between layers, so it needs num_layers",
        ),
        (
            lambda: lx.LSTM(3, [4, 5], residual=True, rngs=nnx.Rngs(0)),
            r"layer must give the shape it takes, \[4\], for a residual connection, got one that gives \[5\]",
        ),
        (lambda: lx.LSTM(3, [4, 5], num_layers=3, rngs=nnx.Rngs(0)), "hidden_features must be 3 widths, .* got 2"),
        (
            lambda: lx.LSTM(3, [], rngs=nnx.Rngs(0)),
            "hidden_features must be a width or at least one width a layer, got none",
        ),
        (
            lambda: lx.LSTM(3, 4, initial_state="ones", rngs=nnx.Rngs(0)),
            "initial_state must be one of 'zeros', 'learned', got 'ones'",
        ),
        (
            lambda: lx.TimeDistributed(jnp.sin)(jnp.ones((2, 3), jnp.float32)),
            r"xs must have shape \[B, T, ...\], got \[2, 3\]",
        ),
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


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: lx.Stacked([lx.cells.LSTM(3, 4)]), r"layers\[0\] must be a layer, such as .*, got LSTM"),
        (lambda: lx.Residual(lx.cells.LSTM(3, 3)), "layer must be a layer, such as .*, got LSTM"),
        (
            lambda: lx.Stacked([lx.Recurrent(lx.cells.LSTM(3, 4), rngs=nnx.Rngs(0))], dropout=0.5),
            r"dropout must be a module such as regularizers.Dropout\(0.5\), got 0.5",
        ),
        (
            lambda: lx.Recurrent(3, rngs=nnx.Rngs(0)),
            r"cell must be a cell, such as lstmjax\.cells\.LSTM\(3, 5\), got int",
        ),
        (lambda: lx.Recurrent(lx.cells.LSTM(3, 4), rngs=0), "rngs must be an nnx.Rngs, .*, got int"),
        (lambda: lx.TimeDistributed(3), "layer must be a function, got 3"),
        (
            lambda: lx.LSTM(3, 4, rngs=nnx.Rngs(0))(jnp.ones((2, 5, 3), jnp.float32), key=5),
            "key must be a key of jax.random, .*, got int",
        ),
    ],
)
def test_layers_of_the_wrong_kind(build, sentence):
    with pytest.raises(TypeError, match=sentence):
        build()


def test_set_parameters_are_copies():
    layer = lx.Recurrent(lx.cells.LSTM(3, 4), rngs=nnx.Rngs(0))
    params = jax.tree.map(np.array, layer.params)
    layer.set_params(params)
    params.b[:] = 9.0
    assert float(layer.params.b.max()) == 1.0


def test_a_state_for_another_number_of_layers(layer, xs):
    with pytest.raises(ValueError, match="state must be a tuple of 2 states, one a layer, got tuple of 1"):
        layer(xs, state=layer.initial_state(BATCH)[:1])
    with pytest.raises(TypeError, match=r"state must have the structure LSTMState\(h, c\), got array"):
        layer(xs, state=layer.initial_state(BATCH)[0])
