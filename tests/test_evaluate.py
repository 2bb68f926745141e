"""Texts scored: each way against plain loops, what the past alone decides, and the command line."""

import json
import shlex

import jax
import numpy as np
import pytest
from flax import nnx

from experiments import evaluate
from lstmjax import text_scores
from lstmjax.errors import InputError
from lstmjax.models import LanguageModel, LanguageModelConfig
from tests import cases

GOLDEN = "tests/golden/language-model-format-0"
VOCAB, LENGTH = 7, 600
IDS = np.random.default_rng(0).integers(0, VOCAB, LENGTH).astype(np.int32)


@pytest.fixture(scope="module")
def model():
    return LanguageModel(VOCAB, LanguageModelConfig(4, 5), rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def carried(model):
    return text_scores.carried(model, IDS)


def log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_carried_is_the_model_on_the_whole_text(model, carried):
    scores = log_softmax(model(IDS[None, :-1])[0][0])
    np.testing.assert_allclose(carried, -scores[np.arange(LENGTH - 1), IDS[1:]], rtol=1e-5)


@pytest.mark.parametrize("block_length", [1, 7, 599, 1000])
def test_blocks_begin_anew(model, block_length):
    ids = IDS[:80]
    found = text_scores.in_blocks(model, ids, block_length)
    pieces = [ids[k : k + block_length + 1] for k in range(0, 79, block_length)]
    expected = [-log_softmax(model(p[None, :-1])[0][0])[np.arange(len(p) - 1), p[1:]] for p in pieces]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5)


@pytest.mark.parametrize(("size", "flatness"), [(1, 0.3), (30, 0.0), (300, 1.5)])
def test_the_cache_is_one_written_with_loops(model, carried, size, flatness):
    hs = np.asarray(model.hidden(IDS[None, :-1])[0][0], np.float64)
    expected = [carried[0]]
    for t in range(1, LENGTH - 1):
        seen = range(max(0, t - size), t)
        alike = np.array([np.exp(flatness * hs[t] @ hs[i]) for i in seen])
        cached = sum(a for a, i in zip(alike, seen, strict=True) if IDS[i + 1] == IDS[t + 1]) / alike.sum()
        expected.append(-np.log(0.7 * np.exp(-carried[t]) + 0.3 * cached))
    found = text_scores.with_cache(model, IDS, size=size, weight=0.3, flatness=flatness)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_cache_without_weight_is_none(model, carried):
    np.testing.assert_allclose(text_scores.with_cache(model, IDS, size=9, weight=0.0, flatness=1.0), carried, rtol=1e-9)


def test_without_a_learning_rate_nothing_is_learnt(model, carried):
    found = text_scores.dynamic(model, IDS, learning_rate=0.0, decay=0.5, chunk_length=9)
    np.testing.assert_allclose(found, carried, rtol=1e-5)


def test_a_chunk_is_scored_before_it_is_learnt_from(model, carried):
    settings = {"learning_rate": 0.05, "decay": 0.1, "chunk_length": 8}
    before = jax.tree.map(np.asarray, nnx.state(model))
    changed = IDS.copy()
    changed[33:] = (changed[33:] + 1) % VOCAB
    found, other = (text_scores.dynamic(model, ids[:60], **settings) for ids in (IDS, changed))
    np.testing.assert_array_equal(found[:32], other[:32])
    np.testing.assert_allclose(found[:8], carried[:8], rtol=1e-5)
    assert np.abs(found[8:] - carried[8:59]).min() > 0
    assert np.abs(found[40:] - other[40:]).max() > 1e-3
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(model))


def test_an_update_is_the_formula(model):
    """Two chunks of one symbol, by the gradients that `jax.grad` gives of the first."""
    ids, rate = IDS[:3], 0.02
    graphdef, params = nnx.split(model)

    @jax.jit
    def nats(params, tokens, state=None):
        scores, state = nnx.merge(graphdef, params)(tokens[None, :-1], state)
        return -jax.nn.log_softmax(scores)[0, -1, tokens[-1]], state

    gradient, state = jax.jit(jax.grad(nats, has_aux=True))(params, ids[:2])
    mean = np.mean(np.concatenate([np.abs(g).ravel() for g in jax.tree.leaves(gradient)]))
    moved = jax.tree.map(lambda p, g: p - rate * g / (abs(g) + mean), *jax.tree.map(np.asarray, (params, gradient)))
    expected = [nats(params, ids[:2])[0], nats(moved, ids[1:], state)[0]]
    found = text_scores.dynamic(model, ids, learning_rate=rate, chunk_length=1)
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-5)


def test_what_repeats_is_learnt(model):
    ids = np.tile(IDS[:6], 40)
    plain, learnt = text_scores.carried(model, ids), text_scores.dynamic(model, ids, learning_rate=0.05, chunk_length=4)
    cached = text_scores.with_cache(model, ids, size=60, weight=0.5, flatness=5.0)
    assert learnt[-60:].mean() < 0.8 * plain[-60:].mean()
    assert cached[-60:].mean() < 0.95 * plain[-60:].mean()


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda m: text_scores.carried(m, IDS[:1]), InputError, "has 1 symbols; expected at least 2"),
        (lambda m: text_scores.carried(m, IDS + 1), ValueError, r"ids must lie in \[0, 6\], got values from 1 to 7"),
        (lambda m: text_scores.carried(m, [1, 2]), TypeError, "ids must be a NumPy array, got list"),
        (lambda m: text_scores.carried(None, IDS), TypeError, "model must be a LanguageModel, got NoneType"),
        (lambda m: text_scores.in_blocks(m, IDS, 0), ValueError, "block_length must be at least 1, got 0"),
        (lambda m: text_scores.dynamic(m, IDS, learning_rate=-1.0), ValueError, "learning_rate must be at least 0"),
        (lambda m: text_scores.with_cache(m, IDS, size=3, weight=1.0, flatness=0.0), ValueError, "weight must be in"),
    ],
)
def test_what_cannot_be_scored(model, call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(model)


def run(arguments, monkeypatch, capsys):
    return cases.call(evaluate.main, shlex.split(arguments), monkeypatch, capsys)


def test_the_command_writes_every_way_that_is_asked_for(tmp_path, monkeypatch, capsys):
    (tmp_path / "text").write_text("The language reference of Python." * 3 + "€")
    ways = "--block-length 16 --cache-size 20 --dynamic --learning-rate 0.01 --chunk-length 9"
    arguments = f"--checkpoint {GOLDEN} --text {tmp_path}/text --out {tmp_path}/found.json {ways}"
    code, out, _ = run(arguments, monkeypatch, capsys)
    found = json.loads((tmp_path / "found.json").read_text())
    assert (code, found["per"], found["symbols"]) == (0, "character", 100)
    assert "scored as unknown ones: '€'" in out
    for way in ("carried", "blocks", "cache", "dynamic"):
        assert found[way]["perplexity"] == pytest.approx(np.exp(found[way]["nats"]))
        assert found[way]["bits"] == pytest.approx(found[way]["nats"] / np.log(2))
    code, out, _ = run(f"--checkpoint {GOLDEN} --text {tmp_path}/text --last-fraction 0.2", monkeypatch, capsys)
    assert (code, "20 characters, of which 19 are predicted" in out, "blocks" in out) == (0, True, False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--cache-weight 0.5", "cache_weight needs cache_size"),
        ("--decay 0.5", "decay needs dynamic"),
        ("--block-length 0", "block_length must be at least 1, got 0"),
        ("--last-fraction 0", "last_fraction must be in (0, 1], got 0.0"),
        ("", "nothing can't be read: No such file"),
    ],
)
def test_commands_that_cannot_be_used(arguments, sentence, monkeypatch, capsys):
    code, _, err = run(f"--checkpoint {GOLDEN} --text nothing {arguments}", monkeypatch, capsys)
    assert code == 2
    assert sentence in err
