"""What newcomers reach for: outputs alone, one step, closed loops, states that stay, ragged rows, modes, pickles."""

import pickle

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
XS = jax.random.normal(jax.random.key(1), (BATCH, STEPS, IN), jnp.float32)
LENGTHS = jnp.array([3, 5])


def lstm(**options):
    return lx.LSTM(IN, HIDDEN, rngs=nnx.Rngs(0), **options)


def test_outputs_stand_in_a_sequential_model():
    rngs, layer, between = nnx.Rngs(0), lstm(), lx.GRU(HIDDEN, HIDDEN, rngs=nnx.Rngs(1))
    head = nnx.Linear(HIDDEN, 2, rngs=rngs)
    model = nnx.Sequential(lx.Outputs(layer), lx.Outputs(between, lx.layers.last_step), head)
    np.testing.assert_array_equal(model(XS), head(between(layer(XS)[0])[0][:, -1]))


def test_pooled_outputs_see_each_rows_own_steps():
    """Against the state, which holds what each direction ends with, whatever stands in the padding."""
    layer = lstm(bidirectional=True)
    _, (state,) = layer(XS, lengths=LENGTHS)
    ends = lx.Outputs(layer, lx.layers.both_ends)
    expected = jnp.concatenate([state.forward.h, state.backward.h], axis=1)
    np.testing.assert_array_equal(ends(XS, lengths=LENGTHS), expected)
    mask = lx.sequence_mask(LENGTHS, STEPS)
    poisoned = jnp.where(mask[:, :, None], XS, jnp.nan)
    np.testing.assert_array_equal(ends(poisoned, mask=mask), expected)
    with pytest.raises(ValueError, match="time_major must be False where outputs are pooled"):
        ends(XS, time_major=True)


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 2, "dropout": 0.5, "residual": True},
        {"proj_features": 2, "recurrent_dropout": 0.5, "initial_state": "learned"},
    ],
    ids=["stack", "projected"],
)
def test_steps_are_a_call(options):
    layer = lstm(**options)
    ys, final = layer(XS)
    state = layer.initial_state(BATCH)
    outputs = []
    for t in range(STEPS):
        y, state = layer.step(XS[:, t], state)
        outputs.append(y)
    assert_close((jnp.stack(outputs, axis=1), state), (ys, final))


def test_steps_that_cannot_be():
    both = lstm(bidirectional=True)
    with pytest.raises(TypeError, match="a bidirectional layer has no step"):
        both.step(XS[:, 0], both.initial_state(BATCH))
    layer = lstm()
    with pytest.raises(ValueError, match=r"x must have shape \[B, 3\]"):
        layer.step(XS, layer.initial_state(BATCH))
    with pytest.raises(ValueError, match=r"state\.h must have shape \[2, 4\], got \[3, 4\]"):
        layer.step(XS[:, 0], layer.initial_state(3))
    with pytest.raises(ValueError, match="state must be a tuple of 1 states"):
        layer.step(XS[:, 0], layer.initial_state(BATCH)[0])


def test_a_closed_loop_is_its_plain_loop():
    layer, head = lstm(num_layers=2), nnx.Linear(HIDDEN, IN, rngs=nnx.Rngs(1))

    def step(x, state):
        y, state = layer.step(x, state)
        return head(y), state

    x, state = XS[:, -1], layer(XS[:, :-1])[1]
    ys, final = lx.unroll_feedback(step, x, state, 3)
    expected = []
    for _ in range(3):
        x, state = step(x, state)
        expected.append(x)
    assert_close((ys, final), (jnp.stack(expected, axis=1), state))


@pytest.mark.parametrize(
    ("step", "error", "sentence"),
    [
        (lambda x, state: (x[:, :1], state), ValueError, r"step's output must have shape \[2, 3\], got \[2, 1\]"),
        (lambda x, state: (x.astype(jnp.bfloat16), state), TypeError, "step's output must have dtype float32"),
        (lambda x, state: (x, (state, state)), TypeError, "step's state must have the structure"),
        (lambda x, state: x, TypeError, "step must return an output and a state"),
    ],
)
def test_closed_loops_that_cannot_be(step, error, sentence):
    with pytest.raises(error, match=sentence):
        lx.unroll_feedback(step, XS[:, 0], jnp.zeros(BATCH), 3)


def test_a_stateful_layer_goes_on_until_reset():
    inner = lstm(num_layers=2, initial_state="learned")
    layer = lx.Stateful(inner, BATCH)
    whole, _ = inner(XS)
    call = nnx.jit(lambda layer, xs: layer(xs))
    halves = [call(layer, XS[:, :2]), call(layer, XS[:, 2:])]
    assert_close(jnp.concatenate(halves, axis=1), whole)
    layer.reset(rows=[1])
    after = layer(XS)
    assert_close(after[1], whole[1])
    assert np.abs(after[0] - whole[0]).max() > 1e-3
    layer.reset()
    assert_close(layer(XS), whole)


def test_no_gradient_goes_back_over_a_call_of_a_stateful_layer():
    inner = lstm()
    layer = lx.Stateful(inner, BATCH)
    _, before = inner(XS)
    layer(XS)

    def loss(layer):
        return jnp.sum(layer(XS) ** 2)

    def expected(inner):
        return jnp.sum(inner(XS, state=before)[0] ** 2)

    chex.assert_trees_all_equal(nnx.grad(loss)(layer)["layer"], nnx.grad(expected)(inner))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda layer: layer(XS[:1]), "xs must have batch_size=2 sequences in every call, got 1"),
        (lambda layer: layer.reset(rows=[2]), r"rows must lie in \[0, 1\]"),
    ],
)
def test_a_stateful_layer_has_one_batch_size(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(lx.Stateful(lstm(), BATCH))


def test_ragged_rows_padded_and_taken_apart():
    rows = [np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((0, 2), np.float32), np.ones((5, 2), np.float32)]
    xs, lengths = lx.pad(rows, multiple_of=4)
    assert xs.shape == (3, 8, 2)
    assert lengths.tolist() == [3, 0, 5]
    np.testing.assert_array_equal(xs.any(axis=2)[2], lx.sequence_mask(lengths, 8)[2])
    for row, again in zip(rows, lx.unpad(xs, lengths), strict=True):
        np.testing.assert_array_equal(row, again)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: lx.pad([]), ValueError, "rows must hold at least one sequence, got none"),
        (lambda: lx.pad([np.ones((2, 3)), np.ones((2, 4))]), ValueError, r"rows\[1\] must have shape \[T, 3\]"),
        (lambda: lx.pad([np.ones(2, np.float32), np.ones(2)]), TypeError, r"rows\[1\] must have dtype float32"),
        (lambda: lx.pad([np.ones(2)], multiple_of=0), ValueError, "multiple_of must be at least 1, got 0"),
        (lambda: lx.pad([1.0, 2.0]), ValueError, r"rows\[0\] must be a sequence \[T, \.\.\.\], got a single number"),
        (lambda: lx.unpad(np.ones((2, 3)), [4, 1]), ValueError, r"lengths must lie in \[0, 3\]"),
        (lambda: lx.sequence_mask(jnp.array([4]), 3), ValueError, r"lengths must lie in \[0, 3\]"),
        (lambda: lx.sequence_mask(jnp.array([1.5]), 3), TypeError, "lengths must"),
    ],
)
def test_ragged_rows_that_cannot_be(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


NOISY = [
    lambda: lstm(num_layers=2, dropout=0.5),
    lambda: lstm(recurrent_dropout=0.5),
    lambda: lx.Bidirectional(lstm(weight_drop=0.5), lstm(weight_drop=0.5)),
    lambda: lx.Outputs(lstm(weight_drop=0.5)),
]


@pytest.mark.parametrize("make", NOISY, ids=["between", "recurrent", "weights", "outputs"])
def test_noise_cannot_be_forgotten(make):
    """After train() there is a key or an error, after eval() none or an error; before either the key decides."""
    layer, key = make(), jax.random.key(0)
    noisy, quiet = layer(XS, key=key), layer(XS)
    assert not np.allclose(jax.tree.leaves(noisy)[0], jax.tree.leaves(quiet)[0])
    layer.train()
    chex.assert_trees_all_equal(layer(XS, key=key), noisy)
    with pytest.raises(ValueError, match=r"key must be given after train\(\)"):
        layer(XS)
    with pytest.raises(ValueError, match=r"key must be given after train\(\)"):
        nnx.jit(lambda layer: layer(XS))(layer)
    view = nnx.view(layer, deterministic=True)
    layer.eval()
    for evaluated in (layer, view):
        chex.assert_trees_all_equal(evaluated(XS), quiet)
        with pytest.raises(ValueError, match=r"key must be left out after eval\(\)"):
            evaluated(XS, key=key)


def test_modes_under_grad_and_vmap():
    layer = lstm(num_layers=2, dropout=0.5)
    layer.train()
    keys = jax.random.split(jax.random.key(0), 3)
    graphdef, state = nnx.split(layer)

    def loss(state, key):
        return jnp.sum(nnx.merge(graphdef, state)(XS, key=key)[0] ** 2)

    together = jax.vmap(jax.grad(loss), in_axes=(None, 0))(state, keys)
    first = jax.tree.map(lambda leaf: leaf[0], together)
    chex.assert_trees_all_close(first, jax.grad(loss)(state, keys[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_training_goes_by_the_key_whatever_mode_a_model_was_in(mode):
    layer, fresh = lstm(num_layers=2, dropout=0.5), lstm(num_layers=2, dropout=0.5)
    getattr(layer, mode)()
    model = nnx.merge(*lx.training.split_model(layer))
    chex.assert_trees_all_equal(model(XS), fresh(XS))
    assert not np.allclose(model(XS, key=jax.random.key(0))[0], fresh(XS)[0])
    assert layer.dropout.deterministic is (mode == "eval")


def test_a_layer_without_noise_has_no_modes():
    layer = lstm(num_layers=2)
    quiet = layer(XS)
    layer.train()
    chex.assert_trees_all_equal(layer(XS), quiet)


def test_a_layers_own_options():
    options = {"recurrent_dropout": 0.1, "weight_drop": 0.2, "dropout": 0.3}
    layer = lstm(num_layers=2, proj_features=2, **options)
    assert (layer.in_features, layer.out_features, layer.hidden_features, layer.num_layers) == (IN, 2, HIDDEN, 2)
    inner = lx.cells.ProjectedLSTM(IN, HIDDEN, proj_features=2)
    cell = lx.regularizers.WeightDrop(lx.regularizers.RecurrentDropout(inner, 0.1), 0.2)
    assert layer.cells[0] == cell
    key = jax.random.key(0)
    one = lstm(recurrent_dropout=0.1)
    twin = lx.Recurrent(lx.regularizers.RecurrentDropout(lx.cells.LSTM(IN, HIDDEN), 0.1), rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(one(XS, key=key)[0], lx.Stacked([twin])(XS, key=key)[0])


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (lambda: lx.GRU(IN, [6, 4], rngs=nnx.Rngs(0)), (IN, 4, (6, 4))),
        (lambda: lstm(bidirectional=True, num_layers=2), (IN, 2 * HIDDEN, HIDDEN)),
        (lambda: lx.Recurrent(lx.cells.ElmanRNN(IN, 5), rngs=nnx.Rngs(0)), (IN, 5, 5)),
        (lambda: lx.Residual(lx.GRU(IN, IN, rngs=nnx.Rngs(0))), (IN, IN, IN)),
    ],
)
def test_sizes_to_look_at(layer, sizes):
    made = layer()
    assert (made.in_features, made.out_features, made.hidden_features) == sizes


@pytest.mark.parametrize("options", [{}, {"recurrent_dropout": 0.5, "weight_drop": 0.5}], ids=["plain", "noisy"])
def test_stacked_grids_are_layer_after_layer(options):
    layer = lx.ConvLSTM(2, [3, 4], spatial_shape=(4, 5), kernel_size=3, dropout=0.5, rngs=nnx.Rngs(0), **options)
    xs = jax.random.normal(jax.random.key(0), (BATCH, 3, 4, 5, 2), jnp.float32)
    ys, (below, above) = layer(xs, lengths=jnp.array([3, 1]))
    hidden, expected = layer.layers[0](xs, lengths=jnp.array([3, 1]))
    chex.assert_trees_all_equal(below, expected)
    chex.assert_trees_all_equal((ys, above), layer.layers[1](hidden, lengths=jnp.array([3, 1])))
    assert not np.allclose(layer(xs, key=jax.random.key(0))[0], layer(xs)[0])


def test_sizes_of_a_grid_by_one_number():
    one = lx.cells.ConvLSTM(2, 3, spatial_shape=(6, 7), kernel_size=3, strides=2, dilation=1)
    pair = lx.cells.ConvLSTM(2, 3, spatial_shape=(6, 7), kernel_size=(3, 3), strides=(2, 2), dilation=(1, 1))
    chex.assert_trees_all_equal(one.init(jax.random.key(0)), pair.init(jax.random.key(0)))
    assert one.grid == pair.grid == (3, 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: lstm(num_layers=2, bidirectional=True, weight_drop=0.1, activation_fn=jax.nn.relu),
        lambda: lx.GRU(IN, HIDDEN, kernel_init=jax.nn.initializers.zeros, rngs=nnx.Rngs(0)),
    ],
    ids=["lstm", "gru"],
)
def test_a_pickled_layer_is_the_same(make):
    layer = make()
    again = pickle.loads(pickle.dumps(layer))
    assert again.cells == layer.cells
    chex.assert_trees_all_equal(again(XS), layer(XS))


def test_a_summary_counts_every_parameter_once():
    embed = nnx.Embed(5, 3, rngs=nnx.Rngs(0))
    table = lx.summary(nnx.Sequential(embed, lx.Outputs(lstm(bidirectional=True)), nnx.BatchNorm(8, rngs=nnx.Rngs(0))))
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [
        ["layers.0", "Embed", "15"],
        ["layers.1.layer.layers.0.backward", "Recurrent", "128"],
        ["layers.1.layer.layers.0.forward", "Recurrent", "128"],
        ["layers.2", "BatchNorm", "16"],
        ["total", "Sequential", "287"],
    ]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("LSTMCell", r"layer\.step\(x, state\)"), ("SimpleRNN", "ElmanRNN"), ("pad_sequences", "it is called pad")],
)
def test_other_libraries_names_lead_somewhere(name, sentence):
    with pytest.raises(AttributeError, match=sentence):
        getattr(lx, name)
    assert not hasattr(lx, name)
