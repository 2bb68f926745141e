"""Both directions: against each alone, lengths right in both, every merge, states in and out."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from tests.cases import HIDDEN, IN, random_like
from tests.test_unroll import BATCH, STEPS, assert_close

LENGTHS = np.array([0, 2, STEPS])
MERGED = {
    "concat": lambda a, b: np.concatenate([a, b], axis=-1),
    "sum": np.add,
    "mul": np.multiply,
    "ave": lambda a, b: (a + b) / 2,
}


def build(merge="concat"):
    rngs = nnx.Rngs(0)
    cells = lx.cells.LSTM(IN, HIDDEN), lx.cells.GRU(IN, HIDDEN)
    return lx.Bidirectional(*(lx.Recurrent(cell, rngs=rngs) for cell in cells), merge)


@pytest.fixture
def xs():
    return jax.random.normal(jax.random.key(1), (BATCH, STEPS, IN), jnp.float32)


@pytest.mark.parametrize("merge", MERGED)
def test_each_direction_is_the_layer_alone(xs, merge):
    layer = build(merge)
    state = random_like(layer.initial_state(BATCH), jax.random.key(2))
    ys, end = layer(xs, state=state, lengths=LENGTHS)
    ahead, ahead_end = layer.forward(xs, state=state.forward, lengths=LENGTHS)
    back, back_end = layer.backward(xs, state=state.backward, lengths=LENGTHS, reverse=True)
    np.testing.assert_allclose(ys, MERGED[merge](np.asarray(ahead), np.asarray(back)), rtol=1e-6)
    chex.assert_trees_all_equal(end, lx.BidirectionalState(ahead_end, back_end))
    assert ys.shape[2:] == layer.out_shape


def test_merge_none_is_a_pair(xs):
    ys, end = build("none")(xs)
    assert_close(jnp.concatenate(ys, axis=-1), build("concat")(xs)[0])
    assert isinstance(end, lx.BidirectionalState)


@pytest.mark.parametrize("merge", MERGED)
def test_lengths_are_right_in_both_directions(xs, merge):
    """Each row is what it is alone, cut to its length, whatever stands in the padding."""
    layer = build(merge)
    poisoned = jnp.where((np.arange(STEPS) < LENGTHS[:, None])[..., None], xs, jnp.nan)
    ys, end = layer(poisoned, lengths=LENGTHS)
    for b in (1, 2):
        alone, alone_end = layer(xs[b : b + 1, : LENGTHS[b]])
        assert_close(ys[b : b + 1, : LENGTHS[b]], alone)
        assert_close(jax.tree.map(lambda leaf, b=b: leaf[b : b + 1], end), alone_end)
        np.testing.assert_array_equal(ys[b, LENGTHS[b] :], 0.0)


def test_reverse_turns_both_around(xs):
    layer = build()
    swapped = lx.Bidirectional(layer.backward, layer.forward)
    ys, end = layer(xs, lengths=LENGTHS, reverse=True)
    ahead, back = jnp.split(swapped(xs, lengths=LENGTHS)[0], 2, axis=-1)
    assert_close(ys, jnp.concatenate([back, ahead], axis=-1))
    assert_close(end[::-1], tuple(swapped(xs, lengths=LENGTHS)[1]))


def test_time_major_is_a_transposition(xs):
    layer = build()
    ys, end = layer(xs, lengths=LENGTHS)
    turned, turned_end = layer(xs.swapaxes(0, 1), lengths=LENGTHS, time_major=True)
    chex.assert_trees_all_equal((ys, end), (turned.swapaxes(0, 1), turned_end))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mask", [np.ones(STEPS, bool), np.array([1, 0, 1, 1, 0, 1], bool)], ids=["full", "holes"])
def test_packed_sequences_are_sequences_apart(xs, mask, reverse):
    """Two sequences in one row, the second from the reset at step 3 (going back: the first from step 2) on."""
    layer = build()
    resets = np.zeros((BATCH, STEPS), bool)
    resets[:, 2 if reverse else 3] = True
    rows = np.broadcast_to(mask, (BATCH, STEPS))
    ys, _ = layer(xs, mask=rows, resets=resets, reverse=reverse)
    parts = [layer(xs[:, cut], mask=rows[:, cut], reverse=reverse)[0] for cut in (slice(0, 3), slice(3, None))]
    assert_close(ys, jnp.concatenate(parts, axis=1))


def test_stacks_in_both_directions(xs):
    layer = lx.LSTM(IN, [HIDDEN, 5], bidirectional=True, dropout=0.5, rngs=nnx.Rngs(0))
    ys, states = layer(xs, lengths=LENGTHS)
    below, first = layer.layers[0](xs, lengths=LENGTHS)
    expected, second = layer.layers[1](below, lengths=LENGTHS)
    chex.assert_trees_all_equal((ys, states), (expected, (first, second)))
    assert ys.shape == (BATCH, STEPS, 10)
    again, _ = layer(xs, state=layer.initial_state(BATCH), lengths=LENGTHS)
    np.testing.assert_array_equal(ys, again)
    assert not np.allclose(ys, layer(xs, lengths=LENGTHS, key=jax.random.key(0))[0])


@pytest.mark.parametrize(
    ("build_it", "sentence"),
    [
        (lambda: build("add"), "merge must be one of 'concat', 'sum', 'mul', 'ave', 'none', got 'add'"),
        (
            lambda: lx.Bidirectional(*(lx.Recurrent(lx.cells.GRU(3, n), rngs=nnx.Rngs(0)) for n in (4, 5))),
            r"backward must have forward's out_shape \[4\], got \[5\]",
        ),
        (
            lambda: lx.Stacked([build("none"), lx.Recurrent(lx.cells.GRU(HIDDEN, 2), rngs=nnx.Rngs(0))]),
            "merge must be other than 'none' where another layer takes the outputs, got a pair",
        ),
        (
            lambda: lx.Residual(build("none")),
            "merge must be other than 'none' where another layer takes the outputs, got a pair",
        ),
        (lambda: lx.LSTM(3, 4, merge="sum", rngs=nnx.Rngs(0)), "merge needs bidirectional=True, got merge 'sum'"),
        (
            lambda: lx.LSTM(3, 4, bidirectional=True, merge="max", rngs=nnx.Rngs(0)),
            "merge must be one of 'concat', 'sum', 'mul', 'ave', 'none', got 'max'",
        ),
    ],
)
def test_directions_that_cannot_be(build_it, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_it()


@pytest.mark.parametrize(
    ("build_it", "error", "sentence"),
    [
        (
            lambda: lx.Bidirectional(*[lx.Recurrent(lx.cells.GRU(3, 4), rngs=nnx.Rngs(0))] * 2),
            ValueError,
            "backward must have parameters of its own, got the same layer twice",
        ),
        (
            lambda: lx.Bidirectional(lx.cells.GRU(3, 4), lx.cells.GRU(3, 4)),
            TypeError,
            "forward must be a layer, such as lstmjax.Recurrent of a cell, got GRU",
        ),
    ],
)
def test_layers_that_are_none_or_one(build_it, error, sentence):
    with pytest.raises(error, match=sentence):
        build_it()


def test_directions_of_different_precision(xs):
    cells = [lx.cells.GRU(IN, HIDDEN, dtype=dtype) for dtype in (jnp.float16, jnp.bfloat16)]
    layer = lx.Bidirectional(*(lx.Recurrent(cell, rngs=nnx.Rngs(0)) for cell in cells))
    with pytest.raises(TypeError, match="the backward layer's output must have dtype float16, got bfloat16"):
        layer(xs)


def test_a_state_that_is_no_pair(xs):
    with pytest.raises(TypeError, match=r"state must be a pair of states \(forward, backward\), got Array"):
        build()(xs, state=jnp.zeros((BATCH, HIDDEN)))
    with pytest.raises(TypeError, match=r"state must have the structure .*LSTMState"):
        build()(xs, state=build().initial_state(BATCH)[::-1])
