"""Translation: beam search against a plain one that reads all anew for each symbol; ensembles, samples, text."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax.data.symbol_pairs import PairVocabulary
from lstmjax.data.symbols import END, START, Characters, Words
from lstmjax.decoding import GNMTLength, PlainLength
from lstmjax.decoding.translated_text import together, translate_text
from lstmjax.decoding.translation import BeamSettings, sample_translations, translate
from lstmjax.models import Seq2SeqConfig, seq2seq_config
from lstmjax.sampling import GREEDY

STEPS = 4
VOCABULARY = PairVocabulary(Characters(("a", "b", "c", "d")), Characters(("x", "y", "z")))
CONFIG = Seq2SeqConfig(
    embed_features=4,
    encoder_features=(3,),
    decoder_features=(5,),
    out_features=6,
    tie_output=False,
    source_vocab_size=8,
    target_vocab_size=7,
)
SOURCE = np.array([[4, 5, 6, 7, 4, 3], [6, 6, 3, 0, 0, 0], [5, 3, 0, 0, 0, 0]], np.int32)
LENGTHS = np.array([6, 3, 2], np.int32)


@functools.cache
def made(seed, **changes):
    """A model with opinions, which ends now and then."""
    model = seq2seq_config.build(dataclasses.replace(CONFIG, **changes), nnx.Rngs(seed))
    nnx.update(model, jax.tree.map(lambda leaf: 2.5 * leaf, nnx.state(model)))
    model.head.bias[...] = jnp.array([-9.0, -9.0, -9.0, 0.5, 0.0, 0.0, 0.0], jnp.float32)
    return model


@nnx.jit
def read(model, source, inputs, lengths):
    logits, weights = model.with_alignments(source, inputs, lengths=lengths)
    return jax.nn.log_softmax(logits), weights


def after(models, row, prefix):
    """Of one source: log probabilities of what follows each symbol of a beginning, and each model's coverage."""
    inputs = np.zeros((1, STEPS + 1), np.int32)
    inputs[0, : len(prefix) + 1] = START, *prefix
    found = [read(model, SOURCE[row : row + 1], inputs, LENGTHS[row : row + 1]) for model in models]
    log_p = np.log(np.mean([np.exp(np.asarray(each[0], np.float64)) for each, _ in found], axis=0))
    covered = [np.asarray(weights[0, : len(prefix) + 1, : LENGTHS[row]]).sum(axis=0) for _, weights in found]
    return log_p, covered


def finished(models, row, prefix, settings):
    """Score, log probability and symbols of what ends here."""
    log_p, covered = after(models, row, prefix)
    log_probability = sum(log_p[t, symbol] for t, symbol in enumerate((*prefix, END)))
    extra = np.mean([settings.coverage_beta * np.log(np.minimum(each, 1.0)).sum() for each in covered])
    penalty = settings.length_penalty(np.array([len(prefix) + 1.0]))[0]
    return log_probability / penalty + extra, log_probability, prefix


def search(models, row, settings):
    """The best K beginnings, again and again, until K have ended."""
    living, ended = [(0.0, ())], []
    for _ in range(settings.steps):
        each = [
            (total + log_p, symbol, prefix)
            for total, prefix in living
            for symbol, log_p in enumerate(after(models, row, prefix)[0][len(prefix)])
            if symbol != END or len(prefix) >= settings.min_steps
        ]
        best = sorted(each, reverse=True)
        ended += [prefix for _, symbol, prefix in best[: settings.beam] if symbol == END]
        on = [(total, (*prefix, symbol)) for total, symbol, prefix in best if symbol != END]
        living = on[: settings.beam] if len(ended) < settings.beam else []
    ended += [prefix for _, prefix in living]
    return sorted((finished(models, row, prefix, settings) for prefix in ended), reverse=True)[: settings.n_best]


SETTINGS = {
    "plain": BeamSettings(beam=3, n_best=3, steps=STEPS, length_penalty=PlainLength(1.0)),
    "coverage": BeamSettings(beam=3, n_best=3, steps=STEPS, coverage_beta=0.4, min_steps=2),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("seeds", [(0,), (0, 1)], ids=["alone", "ensemble"])
def test_a_search_is_the_plain_one(name, seeds):
    """Over sources of several lengths together; the mean of the probabilities, and of the coverage penalties."""
    models, settings = [made(seed) for seed in seeds], SETTINGS[name]
    beams = translate(models, SOURCE, lengths=LENGTHS, settings=settings)
    assert beams.symbols.shape == (3, 3, STEPS)
    for row in range(3):
        expected = search(models, row, settings)
        lengths = np.asarray(beams.lengths[row])
        assert [tuple(symbols[:n]) for symbols, n in zip(beams.symbols[row].tolist(), lengths, strict=True)] == [
            prefix for _, _, prefix in expected
        ]
        np.testing.assert_allclose(beams.scores[row], [score for score, _, _ in expected], rtol=1e-4)
        np.testing.assert_allclose(beams.log_probabilities[row], [log_p for _, log_p, _ in expected], rtol=1e-4)
        assert (np.diff(beams.scores[row]) <= 0).all()
    assert len(set(np.asarray(beams.lengths).ravel().tolist())) > 1


def same(beams, others):
    np.testing.assert_array_equal(beams.symbols, others.symbols)
    np.testing.assert_array_equal(beams.lengths, others.lengths)
    np.testing.assert_allclose(beams.scores, others.scores, rtol=1e-4)
    np.testing.assert_allclose(beams.log_probabilities, others.log_probabilities, rtol=1e-4)


def test_a_translation_depends_on_its_source_alone():
    """Not on what stands beside it, nor on what stands after its end."""
    settings, model = SETTINGS["coverage"], made(0)
    whole = translate(model, SOURCE, lengths=LENGTHS, settings=settings)
    dirty = np.where(np.arange(SOURCE.shape[1]) < LENGTHS[:, None], SOURCE, 7)
    jax.tree.map(np.testing.assert_array_equal, whole, translate(model, dirty, lengths=LENGTHS, settings=settings))
    alone = translate(model, SOURCE[1:2, :3], settings=settings)
    same(jax.tree.map(lambda leaf: leaf[1:2], whole), alone)


def test_a_model_twice_is_the_model():
    model, settings = made(0), SETTINGS["coverage"]
    twice = translate([model, model], SOURCE, lengths=LENGTHS, settings=settings)
    same(translate(model, SOURCE, lengths=LENGTHS, settings=settings), twice)


def test_a_sample_is_fixed_by_its_key():
    given = {"lengths": LENGTHS, "steps": STEPS}
    model = made(0)
    drawn = [sample_translations(model, SOURCE, key=jax.random.key(seed), **given) for seed in (0, 0, 1)]
    jax.tree.map(np.testing.assert_array_equal, drawn[0], drawn[1])
    assert not np.array_equal(drawn[0][0], drawn[2][0])
    for symbols, lengths in drawn:
        for row, length in zip(np.asarray(symbols), np.asarray(lengths), strict=True):
            assert END not in row[:length]
            assert length == STEPS or row[length] == END
    greedy, lengths = sample_translations(model, SOURCE, key=jax.random.key(0), sampling=GREEDY, **given)
    best = translate(model, SOURCE, lengths=LENGTHS, settings=BeamSettings(beam=1, steps=STEPS))
    np.testing.assert_array_equal(lengths, best.lengths[:, 0])
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(greedy[row, :length], best.symbols[row, 0, :length])


def test_samples_come_as_often_as_is_likely():
    model, count = made(0), 4000
    source = np.tile(SOURCE[2:, :2], (count, 1))
    symbols, lengths = sample_translations([model, made(1)], source, key=jax.random.key(3), steps=1)
    log_p, _ = after([model, made(1)], 2, ())
    found = np.bincount(np.where(lengths == 0, END, symbols[:, 0]), minlength=7) / count
    np.testing.assert_allclose(found, np.exp(log_p[0]), atol=4 * 0.5 / np.sqrt(count))


def test_texts_keep_their_order_and_blank_ones_stay_blank():
    """Of any length, with unknown symbols, alone or with others."""
    model = made(0)
    lines = ["abc", "", "dd?d", "a" * 30, " \n", "b", "abc"]
    settings = BeamSettings(beam=2, n_best=2, steps=STEPS, min_steps=2)
    found = translate_text(model, VOCABULARY, lines, settings=settings, batch_size=2)
    assert [len(each) for each in found] == [2, 1, 2, 2, 1, 2, 2]
    for place in (1, 4):
        ((text, symbols, score, log_probability),) = found[place]
        assert (text, symbols.tolist(), score, log_probability) == ("", [], 0.0, 0.0)
    texts = [each[0].text for each in found]
    assert texts[0] == texts[6]
    assert len(set(texts)) > 2
    for place in (0, 2):
        source = np.append(VOCABULARY.source.encode(lines[place]), END)[None]
        padded, lengths = together([source[0]], 2)
        beams = translate(model, padded, lengths=lengths, settings=settings)
        for rank, translation in enumerate(found[place]):
            symbols = np.asarray(beams.symbols[0, rank, : beams.lengths[0, rank]])
            np.testing.assert_array_equal(translation.symbols, symbols)
            assert translation.text == VOCABULARY.target.decode(symbols)
            np.testing.assert_allclose(translation.score, beams.scores[0, rank], rtol=1e-4)
            np.testing.assert_allclose(translation.log_probability, beams.log_probabilities[0, rank], rtol=1e-4)
    assert translate_text(model, VOCABULARY, []) == []
    assert translate_text(model, VOCABULARY, [" "])[0][0].text == ""


def test_few_shapes_are_compiled():
    for longest, steps in ((1, 8), (8, 8), (9, 16), (64, 64), (65, 128), (129, 256)):
        padded, lengths = together([np.full(longest, 5), np.array([4, 3])], 3)
        assert (padded.shape, padded.dtype) == ((3, steps), np.int32)
        assert lengths.tolist() == [longest, 2, 2]
        assert padded[1].tolist() == padded[2].tolist() == [4, 3] + [0] * (steps - 2)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"beam": 0}, ValueError, "beam must be at least 1, got 0"),
        ({"beam": 2, "n_best": 3}, ValueError, "n_best must be at most 2, got 3"),
        ({"n_best": 0}, ValueError, "n_best must be at least 1, got 0"),
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"steps": 2, "min_steps": 3}, ValueError, "min_steps must be at most 2, got 3"),
        ({"block_ngrams": -1}, ValueError, "block_ngrams must be at least 0, got -1"),
        ({"coverage_beta": -0.1}, ValueError, "coverage_beta must be at least 0, got -0.1"),
        ({"coverage_beta": float("inf")}, ValueError, "coverage_beta must be finite"),
        ({"beam": 2.0}, TypeError, "beam must be a whole number"),
        ({"coverage_beta": "x"}, TypeError, "coverage_beta must be a number"),
    ],
)
def test_settings_that_cannot_be(given, error, sentence):
    with pytest.raises(error, match=sentence):
        BeamSettings(**given)
    assert BeamSettings().length_penalty == GNMTLength(0.6)


def test_what_does_not_fit_is_named():
    model, other = made(0), made(0, target_vocab_size=7, source_vocab_size=9)
    plain = made(0, attention="none")
    few = BeamSettings(coverage_beta=0.2, steps=2)
    words = Words(("a", "b"))
    for call, error, sentence in (
        (lambda: translate([], SOURCE), ValueError, "models must be at least one Seq2Seq, got none"),
        (lambda: translate([model, 5], SOURCE), TypeError, "models must be Seq2Seq models, got int"),
        (lambda: translate([model, other], SOURCE), ValueError, "models must have the same vocabularies"),
        (lambda: translate(model, SOURCE + 1), ValueError, r"source must lie in \[0, 7\], got values from 1 to 8"),
        (lambda: translate(model, SOURCE[0]), ValueError, r"source must have shape \[B, S\], got \[6\]"),
        (lambda: translate(model, SOURCE * 1.0), TypeError, "source must have dtype integer"),
        (lambda: translate(model, SOURCE, lengths=LENGTHS - 2), ValueError, r"lengths must lie in \[1, 6\]"),
        (lambda: translate(model, SOURCE, lengths=LENGTHS[:2]), ValueError, r"lengths must have shape \[3\]"),
        (lambda: translate([plain], SOURCE, settings=few), ValueError, "coverage_beta needs models that look back"),
        (lambda: sample_translations(model, SOURCE, key=3), TypeError, "key must be"),
        (lambda: translate_text(model, VOCABULARY, "abc"), TypeError, "lines must be several texts, got one"),
        (lambda: translate_text(model, VOCABULARY, ["a", 5]), TypeError, r"lines\[1\] must be a text, got int"),
        (lambda: translate_text(model, VOCABULARY, ["a"], batch_size=0), ValueError, "batch_size must be at least 1"),
        (
            lambda: translate_text(model, PairVocabulary(words, words), ["a"]),
            ValueError,
            "vocabulary must have the models' 8 and 7 symbols, got 6 and 6",
        ),
    ):
        with pytest.raises(error, match=sentence):
            call()
