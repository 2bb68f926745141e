"""Regularisers: what each does by its definition, off without a key, the same again from the same key."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lstmjax as lx
from lstmjax import regularizers as reg
from tests.cases import CELLS, HIDDEN, IN
from tests.test_unroll import BATCH, STEPS, assert_close, setup

NOISE = {
    "recurrent-dropout": lambda cell: reg.RecurrentDropout(cell, 0.5),
    "weight-drop": lambda cell: reg.WeightDrop(cell, 0.5),
    "zoneout": lambda cell: reg.Zoneout(cell, 0.3, memory_rate=0.5 * hasattr(cell.initial_state(()), "c")),
    "all": lambda cell: reg.Zoneout(reg.WeightDrop(reg.RecurrentDropout(cell, 0.5), 0.5), 0.3),
    "all-turned": lambda cell: reg.RecurrentDropout(
        reg.RecurrentDropout(reg.WeightDrop(reg.Zoneout(cell, 0.3), 0.5), 0.1), 0.1
    ),
}
every_noise = pytest.mark.parametrize("regularize", NOISE.values(), ids=NOISE.keys())
OURS = {name: cell.make for name, cell in CELLS.items() if name not in ("stacked", "integrator")}
every_one_of_ours = pytest.mark.parametrize("make_cell", OURS.values(), ids=OURS.keys())


@every_one_of_ours
def test_every_noise_at_once_on_every_cell(make_cell):
    check_noise(make_cell, NOISE["all"])


@pytest.mark.parametrize("noise", [noise for noise in NOISE if noise != "all"])  # it is above
@pytest.mark.parametrize("name", ["lstm", "gru-original", "elman", "conv-lstm"])
def test_noise_needs_a_key_and_is_the_same_from_the_same_key(noise, name):
    check_noise(OURS[name], NOISE[noise])


def check_noise(make_cell, regularize):
    cell, params, xs, state = setup(make_cell)
    noisy = regularize(cell)
    evaluated = lx.unroll(noisy, params, xs, state)
    assert_close(evaluated, lx.unroll(cell, params, xs, state))  # another compilation, so perhaps another rounding
    trained, again, other = (lx.unroll(noisy, params, xs, state, key=jax.random.key(k)) for k in (1, 1, 2))
    chex.assert_trees_all_equal(trained, again)
    assert not np.allclose(trained[0], evaluated[0])
    assert not np.allclose(trained[0], other[0])


@every_noise
def test_noise_keeps_the_law_of_padding(regularize):
    """A valid output does not depend on what is in the padding, and the state stands still there."""
    cell, params, xs, state = setup(OURS["lstm"])
    lengths = jnp.array([0, 2, 6])
    mask = jnp.arange(STEPS)[None, :] < lengths[:, None]
    poisoned = jnp.where(mask[..., None], xs, jnp.nan)
    arguments = {"lengths": lengths, "key": jax.random.key(0)}
    clean = lx.unroll(regularize(cell), params, xs, state, **arguments)
    chex.assert_trees_all_equal(clean, lx.unroll(regularize(cell), params, poisoned, state, **arguments))
    chex.assert_trees_all_equal(*(jax.tree.map(lambda leaf: leaf[0], tree) for tree in (clean[1], state)))


@every_noise
def test_remat_draws_the_same_noise(regularize):
    cell, params, xs, state = setup(OURS["gru"])
    run = [lx.unroll(regularize(cell), params, xs, state, remat=remat, key=jax.random.key(0)) for remat in (None, 4)]
    assert_close(*run)


@pytest.mark.parametrize(
    "name", [name for name in OURS if name != "conv-lstm"]
)  # a grid's mask is no mask of its kernel
def test_recurrent_dropout_masks_what_enters_the_recurrent_product(name):
    """One mask a sequence for all steps: its rows of w_h might as well be zero, the others twice as large."""
    cell, params, xs, state = setup(OURS[name])
    key = jax.random.key(3)
    ys, end = jax.jit(lambda: lx.unroll(reg.RecurrentDropout(cell, 0.5), params, xs, state, key=key))()
    _, masked, _ = reg.RecurrentDropout(cell, 0.5).draw_noise(params, xs.swapaxes(0, 1), key)
    mask = masked.w_h.mask
    assert set(np.asarray(mask).flat) == {0.0, 2.0}

    def alone(mask, x, state):
        rows = mask if params.w_h.ndim == 1 else mask[:, None]
        dropped = params._replace(w_h=params.w_h * jnp.broadcast_to(rows, params.w_h.shape))
        return jax.tree.map(
            lambda leaf: leaf[0], lx.unroll(cell, dropped, *jax.tree.map(lambda leaf: leaf[None], (x, state)))
        )

    assert_close((ys, end), jax.jit(jax.vmap(alone))(mask, xs, state))


@pytest.mark.parametrize("name", ["gru", "gru-original"])
def test_recurrent_dropout_leaves_the_state_a_gru_keeps(name):
    """Where the update gate keeps everything, what is dropped has no say."""
    cell, params, xs, state = setup(OURS[name])
    keep = jnp.zeros(3 * HIDDEN).at[HIDDEN : 2 * HIDDEN].set(100.0)
    ys, _ = lx.unroll(reg.RecurrentDropout(cell, 0.5), params._replace(b=keep), xs, state, key=jax.random.key(0))
    assert_close(ys[:, -1], state.h)


def test_weight_drop_runs_on_weights_with_holes():
    cell, params, xs, state = setup(OURS["lstm"])
    noisy, dropped, _ = reg.WeightDrop(cell, 0.5).draw_noise(params, xs, jax.random.key(0))
    assert noisy == cell
    ratio = np.asarray(dropped.w_h / params.w_h)
    assert set(ratio.round(5).flat) == {0.0, 2.0}
    expected = lx.unroll(cell, dropped, xs, state)
    assert_close(lx.unroll(reg.WeightDrop(cell, 0.5), params, xs, state, key=jax.random.key(0)), expected)


def test_zoneout_keeps_or_renews_each_unit():
    cell, params, xs, state = setup(OURS["lstm"])
    _, _, (_, keep) = reg.Zoneout(cell, 0.3, 0.5).draw_noise(params, xs.swapaxes(0, 1), jax.random.key(0))
    ys, end = lx.unroll(reg.Zoneout(cell, 0.3, 0.5), params, xs, state, key=jax.random.key(0))
    before = state
    for t in range(STEPS):
        after, _ = cell.step(params, before, cell.project(params, xs[:, t]))
        before = jax.tree.map(lambda k, old, new, t=t: jnp.where(k[t], old, new), keep, before, after)
        assert_close(ys[:, t], before.h)
    assert_close(end, before)


def test_zoneout_keeps_as_often_as_it_says():
    cell = lx.cells.LSTM(IN, 50)
    _, _, (_, keep) = reg.Zoneout(cell, 0.1, 0.6).draw_noise(None, jnp.ones((40, 10, IN)), jax.random.key(0))
    assert abs(float(keep.h.mean()) - 0.1) < 0.01
    assert abs(float(keep.c.mean()) - 0.6) < 0.015


def test_expected_zoneout_is_the_mean_update():
    cell, params, xs, state = setup(OURS["gru"])
    zoned = reg.Zoneout(cell, 0.25, evaluation="expected")
    ys, end = lx.unroll(zoned, params, xs[:, :1], state)
    plain, _ = lx.unroll(cell, params, xs[:, :1], state)
    assert_close(ys[:, 0], 0.25 * state.h + 0.75 * plain[:, 0])
    assert_close(end.h, ys[:, 0])


def test_a_look_inside_a_regularised_cell():
    cell, params, xs, state = setup(OURS["lstm"])
    noisy = NOISE["all"](cell)
    record, _ = lx.unroll(lx.Recording(noisy), params, xs, state, key=jax.random.key(0))
    assert_close(record.output, lx.unroll(noisy, params, xs, state, key=jax.random.key(0))[0])


def test_gradients_pass_through_noise():
    cell, params, xs, state = setup(OURS["lstm"])
    noisy = NOISE["all"](cell)
    grads = jax.grad(lambda p: lx.unroll(noisy, p, xs, state, key=jax.random.key(0))[0].sum())(params)
    assert all(np.isfinite(leaf).all() and np.abs(leaf).sum() > 0 for leaf in grads)


def test_noise_in_layers():
    layer = lx.stack(lambda i, h: reg.WeightDrop(lx.cells.LSTM(i, h), 0.5), IN, 4, num_layers=2, rngs=nnx.Rngs(0))
    xs = jnp.ones((2, 5, IN))
    evaluated, trained, again = layer(xs), layer(xs, key=jax.random.key(0)), layer(xs, key=jax.random.key(0))
    chex.assert_trees_all_equal(trained, again)
    assert not np.allclose(evaluated[0], trained[0])
    assert not np.allclose(evaluated[1][0].h, trained[1][0].h)


def test_locked_dropout_is_one_mask_for_all_steps():
    xs = jnp.ones((2, 50, 8))
    ys = reg.locked_dropout(0.5)(xs, key=jax.random.key(0))
    np.testing.assert_array_equal(ys, jnp.broadcast_to(ys[:, :1], ys.shape))
    assert set(np.asarray(ys).flat) == {0.0, 2.0}
    np.testing.assert_array_equal(reg.locked_dropout(0.5)(xs, key=None), xs)


def test_embedding_dropout_drops_a_symbol_everywhere():
    embed = reg.EmbeddingDropout(nnx.Embed(100, 4, rngs=nnx.Rngs(0)), 0.4)
    tokens = jnp.arange(100)[None, :].repeat(2, axis=0)
    np.testing.assert_array_equal(embed(tokens, key=None), embed.embed(tokens))
    ys = embed(tokens, key=jax.random.key(0))
    np.testing.assert_array_equal(ys[0], ys[1])
    dropped = np.all(ys[0] == 0, axis=-1)
    assert 25 < dropped.sum() < 55
    np.testing.assert_allclose(ys[0][~dropped], embed.embed(tokens)[0][~dropped] / 0.6, rtol=1e-6)
    chex.assert_trees_all_equal(ys, embed(tokens, key=jax.random.key(0)))


def test_penalties_are_means_over_valid_steps():
    ys = jax.random.normal(jax.random.key(0), (BATCH, STEPS, 4))
    lengths = np.array([6, 1, 3])
    valid = np.arange(STEPS) < lengths[:, None]
    np.testing.assert_allclose(reg.activation_penalty(ys), np.mean(np.square(ys)), rtol=1e-6)
    np.testing.assert_allclose(
        reg.activation_penalty(ys, lengths=lengths), np.mean(np.square(np.asarray(ys)[valid])), rtol=1e-6
    )
    steps = np.concatenate([np.diff(np.asarray(ys[b, :n]), axis=0) for b, n in enumerate(lengths)])
    np.testing.assert_allclose(
        reg.temporal_activation_penalty(ys, lengths=lengths), np.mean(np.square(steps)), rtol=1e-5
    )


def test_penalties_of_half_precision_are_summed_in_float32():
    ys = jnp.full((32, 100, 4, 128), 0.5, jnp.float16)
    for penalty, expected in ((reg.activation_penalty, 0.25), (reg.temporal_activation_penalty, 0.0)):
        assert penalty(ys).dtype == jnp.float32
        np.testing.assert_allclose(penalty(ys), expected)


def test_penalties_do_not_see_the_padding():
    ys = jnp.ones((BATCH, STEPS, 4)).at[:, 2].set(jnp.nan)
    mask = jnp.ones((BATCH, STEPS), bool).at[:, 2].set(False)
    for penalty, expected in ((reg.activation_penalty, 1.0), (reg.temporal_activation_penalty, 0.0)):
        value, grad = jax.value_and_grad(lambda ys, penalty=penalty: penalty(ys, mask=mask))(ys)
        assert float(value) == expected
        assert np.isfinite(grad).all()
        assert float(penalty(ys, lengths=jnp.zeros(BATCH, int))) == 0.0


def test_weight_decay_pulls_at_weights_alone(lenient_promotion):
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(5, 3, rngs=rngs)
            self.lstm = lx.Recurrent(lx.cells.LayerNormLSTM(3, 4), initial_state="learned", rngs=rngs)
            self.indrnn = lx.Recurrent(lx.cells.IndRNN(4, 4), rngs=rngs)
            self.head = nnx.Linear(4, 2, rngs=rngs)

    params = nnx.to_pure_dict(nnx.state(Model(nnx.Rngs(0))))
    mask = reg.weight_decay_mask(params)
    pulled = {jax.tree_util.keystr(p, simple=True, separator=".") for p, on in jax.tree.leaves_with_path(mask) if on}
    assert pulled == {"lstm.weights.w_x", "lstm.weights.w_h", "indrnn.weights.w_x", "indrnn.weights.w_h", "head.kernel"}
    optimizer = optax.add_decayed_weights(0.1, mask=mask)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    for path, update in jax.tree.leaves_with_path(updates):
        assert bool(jnp.any(update != 0)) == (jax.tree_util.keystr(path, simple=True, separator=".") in pulled)


@pytest.mark.parametrize(
    ("build", "error", "sentence"),
    [
        (lambda cell: reg.RecurrentDropout(cell, 1.0), ValueError, r"rate must be in \[0, 1\), got 1.0"),
        (lambda cell: reg.WeightDrop(cell, -0.1), ValueError, r"rate must be in \[0, 1\), got -0.1"),
        (lambda cell: reg.WeightDrop(cell, "a"), TypeError, "rate must be a number, got 'a'"),
        (lambda cell: reg.Zoneout(cell, 1.5), ValueError, r"hidden_rate must be in \[0, 1\), got 1.5"),
        (lambda cell: reg.Zoneout(cell, 0.5, 1.0), ValueError, r"memory_rate must be in \[0, 1\), got 1.0"),
        (
            lambda cell: reg.Zoneout(cell, 0.5, evaluation="on"),
            ValueError,
            "evaluation must be one of 'off', 'expected'",
        ),
        (
            lambda cell: reg.WeightDrop(CELLS["integrator"].make(jnp.float32), 0.5),
            TypeError,
            "cell must have parameters with w_h, for WeightDrop, got Integrator",
        ),
        (
            lambda cell: reg.Zoneout(CELLS["integrator"].make(jnp.float32), 0.5),
            TypeError,
            "cell must have a state with h, for Zoneout, got Integrator",
        ),
        (
            lambda cell: reg.Zoneout(lx.cells.GRU(3, 4), 0.1, 0.1),
            ValueError,
            "memory_rate needs a cell with more than h",
        ),
        (
            lambda cell: reg.Zoneout(lx.Recording(cell), 0.1),
            TypeError,
            r"cell must give one array at each step here \(Recording goes outermost\), got Record",
        ),
        (
            lambda cell: lx.FlaxCell(reg.WeightDrop(cell, 0.5), rngs=nnx.Rngs(0)),
            TypeError,
            "cell must be without noise, for which nnx.RNN has no key",
        ),
        (lambda cell: reg.EmbeddingDropout(jnp.ones((3, 4)), 0.5), TypeError, "embed must be an nnx.Embed, got Array"),
        (lambda cell: reg.activation_penalty(jnp.ones((2, 3, 4), int)), TypeError, "ys must have dtype floating"),
        (lambda cell: reg.activation_penalty(jnp.ones((2, 3))), ValueError, r"ys must have shape \[B, T, ...\]"),
        (
            lambda cell: lx.StackedCells((reg.WeightDrop(cell, 0.5),)),
            TypeError,
            r"cells\[0\] must be a cell without noise",
        ),
    ],
)
def test_regularisers_that_cannot_be(build, error, sentence):
    with pytest.raises(error, match=sentence):
        build(lx.cells.LSTM(IN, HIDDEN))
