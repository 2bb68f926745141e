"""Piano rolls: probabilities by hand in float64, padding and batches, what is drawn, what belongs together."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from lstmjax.data.music import Keyboard
from lstmjax.data.source import Bucketed
from lstmjax.decoding.rolls import sample_rolls
from lstmjax.models import NADE, IndependentNotes, PianoRollConfig, piano_roll_config
from lstmjax.sampling import sample
from lstmjax.trees import split_model

B, T, P, H = 3, 6, 5, 4
LENGTHS = np.array([6, 3, 1], np.int32)
INSIDE = np.arange(T) < LENGTHS[:, None]
RNG = np.random.default_rng(0)
ROLLS = (RNG.random((B, T, P)) < 0.4) & INSIDE[..., None]
CONFIG = PianoRollConfig(hidden_features=(7,), nade_features=H, num_notes=P, most_notes=P, recurrent_dropout=0.0)
CONFIGS = {
    "nade": CONFIG,
    "independent": dataclasses.replace(CONFIG, output="independent", cell="gru", input_dropout=0.2),
    "linear": dataclasses.replace(CONFIG, output="independent", cell="none"),
}
CHORDS = np.array(list(itertools.product([False, True], repeat=P)))
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def build(config):
    model = piano_roll_config.build(config, nnx.Rngs(0))
    model.notes.start_from(np.linspace(0.1, 0.6, P))
    return model


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_probabilities(notes, scores, v):
    """Of each note of one step, given the notes below it where they count, in float64."""
    if isinstance(notes, IndependentNotes):
        return sigmoid(np.float64(scores))
    (b, c), weights, out = map(np.float64, scores), np.float64(notes.w[...]), np.float64(notes.v[...])
    return np.array([sigmoid(b[i] + out[i] @ sigmoid(c + weights[:i].T @ v[:i])) for i in range(P)])


def batch_of(rolls, lengths, batch_size=B):
    pieces = [roll[:length] for roll, length in zip(rolls, lengths, strict=True)]
    return Bucketed(pieces, np.arange(len(pieces)), batch_size, 1, None).batch(0)


@every_config
def test_the_loss_is_what_numpy_says(config):
    model = build(config)
    scores, _ = nnx.jit(lambda model, rolls: model(rolls))(model, np.pad(ROLLS[:, :-1], ((0, 0), (1, 0), (0, 0))))
    nll = np.full((B, T), np.nan)
    for row, step in zip(*np.nonzero(INSIDE), strict=True):
        v = ROLLS[row, step]
        p = numpy_probabilities(model.notes, jax.tree.map(lambda leaf: np.asarray(leaf[row, step]), scores), v)  # noqa: B023
        nll[row, step] = -np.log(np.where(v, p, 1 - p)).sum()
    task = piano_roll_config.task(config)
    means, _ = jax.jit(lambda batch: task.loss(model, batch, (), None))(batch_of(ROLLS, LENGTHS, batch_size=4))
    assert float(means["loss"].value) == pytest.approx(nll[INSIDE].mean(), rel=1e-5)
    assert float(means["nll"].value) == pytest.approx(np.nanmean(nll[:, 1:]), rel=1e-5)
    assert (float(means["loss"].weight), float(means["nll"].weight)) == (10, 7)


def test_an_lstm_with_independent_notes_is_what_numpy_says():
    config = dataclasses.replace(CONFIG, output="independent")
    model = build(config)
    (w_x, w_h, b), head = model.recurrent.layers[0].params, model.notes.head
    scores, _ = model(ROLLS[:1])
    h = c = np.zeros(7)
    for t in range(T):
        i, f, g, o = np.split(np.float64(ROLLS[0, t]) @ np.float64(w_x) + np.float64(b) + h @ np.float64(w_h), 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        logits = h @ np.float64(head.kernel[...]) + np.float64(head.bias[...])
        np.testing.assert_allclose(scores[0, t], logits, rtol=1e-4, atol=1e-6)


@every_config
def test_padding_and_batches_make_no_difference_and_teach_nothing(config):
    model = build(config)
    graphdef, params, other = split_model(model)
    task = piano_roll_config.task(config)

    @jax.jit
    def value_and_gradient(params, batch):
        def loss(params):
            return task.loss(nnx.merge(graphdef, params, other), batch, (), None)[0]["loss"].total

        return jax.value_and_grad(loss)(params)

    batch = batch_of(ROLLS, LENGTHS)
    value, gradient = value_and_gradient(params, batch)
    garbage = batch._replace(inputs=np.where(INSIDE[..., None], batch.inputs, True))
    dirty, dirty_gradient = value_and_gradient(params, garbage)
    assert float(value) == float(dirty)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradient, dirty_gradient)
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.abs(leaf).sum() > 0, jax.tree_util.keystr(path)
    alone = sum(
        float(value_and_gradient(params, batch._replace(weights=weights))[0]) for weights in np.eye(B, dtype=np.float32)
    )
    assert float(value) == pytest.approx(alone, rel=1e-5)


def test_all_chords_of_a_nade_have_probabilities_that_sum_to_one():
    notes = NADE(3, P, H, most_notes=P, rngs=nnx.Rngs(1))
    hs = jnp.asarray(RNG.standard_normal((4, 3)), jnp.float32)
    scores = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], len(CHORDS), axis=1), notes(hs))
    chords = np.broadcast_to(CHORDS, (4, *CHORDS.shape))
    found = np.exp(np.float64(notes.log_likelihood(scores, chords)))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    for row in range(4):
        one = jax.tree.map(lambda leaf: np.asarray(leaf[row, 0]), scores)  # noqa: B023
        p = [np.where(v, q, 1 - q).prod() for v in CHORDS for q in [numpy_probabilities(notes, one, v)]]
        np.testing.assert_allclose(found[row], p, rtol=1e-4)


def test_a_nade_takes_no_more_notes_than_it_was_made_for():
    few, every = (NADE(3, P, H, most_notes=most, rngs=nnx.Rngs(1)) for most in (2, P))
    scores = every(jnp.ones((len(CHORDS), 3)))
    is_small = CHORDS.sum(axis=1) <= 2
    found = jax.jit(few.log_likelihood)(scores, CHORDS)
    np.testing.assert_array_equal(np.isnan(found), ~is_small)
    np.testing.assert_allclose(found[is_small], every.log_likelihood(scores, CHORDS)[is_small], rtol=1e-5)
    with pytest.raises(ValueError, match="notes must be at most 2 at a step, got 5"):
        few.log_likelihood(scores, CHORDS)


@pytest.mark.parametrize("kind", [IndependentNotes, NADE])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_chords_are_drawn_as_often_as_they_are_likely(kind, temperature):
    notes = (
        IndependentNotes(3, P, rngs=nnx.Rngs(2))
        if kind is IndependentNotes
        else NADE(3, P, H, most_notes=P, rngs=nnx.Rngs(2))
    )
    scores, count = notes(jnp.ones(3)), 20_000
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), scores)
    drawn = np.asarray(sample(jax.random.split(jax.random.key(0), count), many, notes.draw(temperature)))
    assert drawn.dtype == bool
    one = jax.tree.map(np.asarray, scores)
    for chord in CHORDS:
        p = numpy_probabilities(notes, one, chord)
        p = p ** (1 / temperature) / (p ** (1 / temperature) + (1 - p) ** (1 / temperature))
        expected = np.where(chord, p, 1 - p).prod()
        error = 4 * np.sqrt(expected * (1 - expected) / count) + 1e-4
        assert np.all(drawn == chord, axis=1).mean() == pytest.approx(expected, abs=error)


@pytest.mark.parametrize("name", ["nade", "independent"])
def test_temperature_zero_takes_what_is_likelier_than_not(name):
    notes = build(CONFIGS[name]).notes
    scores = jax.tree.map(lambda leaf: leaf[0], notes(jnp.asarray(RNG.standard_normal((1, 7)), jnp.float32) * 3))
    chord = np.asarray(notes.draw(0.0)(jax.random.key(0), scores))
    p = numpy_probabilities(notes, jax.tree.map(np.asarray, scores), chord)
    np.testing.assert_array_equal(chord, p > 0.5)
    np.testing.assert_allclose(notes.probabilities(scores, jnp.asarray(chord)), p, rtol=1e-5)


def test_music_goes_on_as_if_step_by_step():
    model, key = build(CONFIG), jax.random.key(3)
    openings = ROLLS[:2, :3]
    found = sample_rolls(model, openings, length=4, key=key, temperature=0.0)
    roll = np.concatenate([np.zeros((2, 1, P), bool), openings], axis=1)
    for _ in range(4):
        scores = jax.tree.map(lambda leaf: leaf[:, -1], model(roll)[0])
        new = sample(jax.random.split(key, 2), scores, model.notes.draw(0.0))
        roll = np.concatenate([roll, np.asarray(new)[:, None]], axis=1)
    np.testing.assert_array_equal(found, roll[:, 4:])
    drawn = sample_rolls(model, np.zeros((2, 0, P), bool), length=9, key=key)
    assert drawn.shape == (2, 9, P)
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(sample_rolls(model, np.zeros((1, 0, P), bool), length=9, key=key), drawn[:1])


def test_a_key_switches_dropout_on():
    model = build(CONFIGS["linear"])
    noisy = [model(ROLLS, key=jax.random.key(seed))[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert not np.allclose(noisy[0], noisy[2])
    np.testing.assert_array_equal(model(ROLLS)[0], model(ROLLS.astype(np.uint8))[0])


def test_before_it_has_learnt_notes_sound_as_often_as_they_do():
    shares = np.linspace(0.1, 0.6, P)
    notes = IndependentNotes(3, P, rngs=nnx.Rngs(0))
    notes.start_from(shares)
    np.testing.assert_allclose(jax.nn.sigmoid(notes(jnp.zeros(3))), shares, rtol=1e-5)
    nade = NADE(3, P, H, most_notes=1, rngs=nnx.Rngs(0))
    nade.start_from(shares)
    silent = jnp.zeros(P, bool)
    np.testing.assert_allclose(nade.probabilities(nade(jnp.zeros(3)), silent), shares, rtol=1e-5)
    with pytest.raises(ValueError, match=r"shares must have shape \[5\]"):
        nade.start_from(np.ones(3))


def test_configs_survive_json_and_belong_to_a_keyboard():
    again = PianoRollConfig(**json.loads(json.dumps(dataclasses.asdict(CONFIG))))
    assert again == CONFIG
    assert piano_roll_config.with_keyboard(CONFIG, Keyboard(60, 64)) == CONFIG
    with pytest.raises(ValueError, match="its num_notes is 5, and there are 88 keys on its keyboard"):
        piano_roll_config.with_keyboard(CONFIG, Keyboard())


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"output": "gaussian"}, "output must be one of"),
        ({"cell": "none", "recurrent_dropout": 0.1}, "recurrent_dropout acts on recurrent layers"),
        ({"hidden_features": ()}, "hidden_features must have a width"),
        ({"hidden_features": 3}, "hidden_features must be a tuple"),
        ({"hidden_dropout": 0.1}, "needs two widths"),
        ({"nade_features": 0}, "nade_features must be at least 1"),
        ({"most_notes": 0}, "most_notes must be at least 1"),
    ],
)
def test_configs_that_make_no_sense(wrong, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        PianoRollConfig(**wrong)


def test_what_does_not_fit_is_refused():
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match="num_notes and most_notes must be set"):
        piano_roll_config.build(PianoRollConfig(), rngs)
    with pytest.raises(ValueError, match="most_notes must be at most 5"):
        NADE(3, P, H, most_notes=6, rngs=rngs)
    with pytest.raises(ValueError, match=r"and \[3\] features, which recurrent takes and gives \[5, 4\]"):
        lx.models.PianoRoll(lx.LSTM(P, 4, rngs=rngs), IndependentNotes(3, P, rngs=rngs))
    with pytest.raises(ValueError, match=r"the notes themselves are \[5, 5\]"):
        lx.models.PianoRoll(None, IndependentNotes(3, P, rngs=rngs))
    with pytest.raises(TypeError, match="notes must be of the class IndependentNotes or NADE, got Linear"):
        lx.models.PianoRoll(None, nnx.Linear(P, P, rngs=rngs))
    model = build(CONFIGS["linear"])
    for rolls, sentence in [
        (ROLLS[..., :3], r"rolls must have shape \[B, T, 5\]"),
        (ROLLS.astype(np.float32), "rolls must have dtype integer, got float32"),
        (ROLLS.astype(int) * 2, r"rolls must lie in \[0, 1\]"),
    ]:
        with pytest.raises((TypeError, ValueError), match=sentence):
            model(rolls)
    with pytest.raises(ValueError, match=r"openings must have shape \[B, S, 5\]"):
        sample_rolls(model, ROLLS[0], length=1, key=jax.random.key(0))
    with pytest.raises(TypeError, match="model must be a PianoRoll, got Linear"):
        sample_rolls(nnx.Linear(P, P, rngs=rngs), ROLLS, length=1, key=jax.random.key(0))
