"""Spans and their scores: known cases, a reference by the rules of conlleval, and the same counts on the device."""

import itertools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax.spans import SpanScore, f1_of, scheme_of, span_counts, span_labels, span_scores, spans

LABELS = ["LOC", "creative-work"]
ALL = ["O", *(f"{letter}-{label}" for letter in "BIES" for label in LABELS)]

STARTS = {"BB", "IB", "OB", "OI", "EE", "EI", "OE"}
ENDS = {"BB", "BO", "IB", "IO", "EE", "EI", "EO"}
"""Letters of two tokens of one label between which conlleval sees a span start or end."""
OURS = {"EB", "SB", "SI", "SE", "BS", "IS", "ES", "SS"}
"""Those for which it has no rule: a span ends there, and another starts."""


def conlleval(true, predicted):
    """Right, predicted and true spans of one sentence, token by token, with what is right so far in one flag."""
    counts = [0, 0, 0]
    last = [("O", ""), ("O", "")]
    is_right = False
    for pair in [*zip(predicted, true, strict=True), ("O", "O")]:
        now = [(tag[0], tag[2:]) for tag in pair]
        ended, started = zip(*(boundary(*joint) for joint in zip(last, now, strict=True)), strict=True)
        if is_right and (any(ended) or now[0][1] != now[1][1]):
            counts[0] += all(ended) and last[0][1] == last[1][1]
            is_right = False
        if all(started) and now[0][1] == now[1][1]:
            is_right = True
        counts[1] += started[0]
        counts[2] += started[1]
        last = now
    return tuple(counts)


def boundary(before, after):
    """Whether a span ends, and whether one starts, between two tokens."""
    joint = before[0] + after[0]
    is_other = before[1] != after[1]
    is_ours = joint in OURS
    ends = joint in ENDS or is_ours or joint == "SO" or (before[0] != "O" and is_other)
    starts = joint in STARTS or is_ours or joint == "OS" or (after[0] != "O" and is_other)
    return ends, starts


def written(bounds, length, scheme):
    """Tags of the spans (label, start, end) of a sentence, label None for what is outside."""
    tags = ["O"] * length
    for before, (label, start, end) in zip([(None, 0, 0), *bounds], bounds, strict=False):
        if label is not None:
            inside = ["I"] * (end - start)
            if scheme == "BIO" or (scheme == "IOB1" and before[0] == label):
                inside[0] = "B"
            if scheme == "IOBES":
                inside = [*"B", *"I" * (end - start - 2), *"E"] if end - start > 1 else ["S"]
            tags[start:end] = [f"{letter}-{label}" for letter in inside]
    return tags


def whole(chance, length):
    """Random spans that fill a sentence."""
    cuts = sorted(chance.sample(range(1, length), chance.randint(0, length - 1)))
    return [(chance.choice([None, *LABELS]), *both) for both in itertools.pairwise([0, *cuts, length])]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-A I-A O B-A", [("A", 0, 2), ("A", 3, 4)]),
        ("B-A B-A I-A", [("A", 0, 1), ("A", 1, 3)]),
        ("I-A I-A B-A O", [("A", 0, 2), ("A", 2, 3)]),
        ("O I-A O", [("A", 1, 2)]),
        ("B-A I-B", [("A", 0, 1), ("B", 1, 2)]),
        ("I-A I-B I-A", [("A", 0, 1), ("B", 1, 2), ("A", 2, 3)]),
        ("B-A I-A E-A S-A B-A E-A", [("A", 0, 3), ("A", 3, 4), ("A", 4, 6)]),
        ("S-A S-A I-A", [("A", 0, 1), ("A", 1, 2), ("A", 2, 3)]),
        ("O E-A O", [("A", 1, 2)]),
        ("I-A E-A I-A E-A", [("A", 0, 2), ("A", 2, 4)]),
        ("E-A E-A", [("A", 0, 1), ("A", 1, 2)]),
        ("B-A O E-A", [("A", 0, 1), ("A", 2, 3)]),
        ("B-a-b I-a-b I-a", [("a-b", 0, 2), ("a", 2, 3)]),
        ("B I I- O-A I", [("", 0, 3), ("", 4, 5)]),
    ],
)
def test_spans_by_hand(tags, expected):
    assert spans(tags.split()) == expected


@pytest.mark.parametrize("tag", ["NOUN", "-LRB-", "", "b-PER", "X-PER", "BI-PER", "L-PER", "."])
def test_tags_that_are_no_spans(tag):
    sentence = "a tag must be O, or B, I, E or S and a label, as B-PER, got "
    with pytest.raises(ValueError, match=f"{sentence}'{tag}'"):
        spans(["O", tag])
    with pytest.raises(ValueError, match=sentence):
        span_labels([tag])
    with pytest.raises(ValueError, match=sentence):
        span_counts(jnp.zeros((1, 1), int), jnp.zeros((1, 1), int), [tag])
    assert scheme_of([["B-PER", tag]]) is None


@pytest.mark.parametrize("letters", ["OBI", "OEI", "OBIES"])
def test_scores_of_any_tags_are_those_of_conlleval(letters):
    chance = random.Random(0)
    tags = [tag for tag in ALL if tag[0] in letters]
    for _ in range(1000):
        length = chance.randint(0, 8)
        true = chance.choices(tags, k=length)
        predicted = [tag if chance.random() < 0.7 else chance.choice(tags) for tag in true]
        assert span_scores([true], [predicted]).overall == conlleval(true, predicted)


def test_all_pairs_of_three_tags():
    tags = ["O", "B-A", "I-A", "I-B"]
    for true, predicted in itertools.product(itertools.product(tags, repeat=3), repeat=2):
        assert span_scores([true], [predicted]).overall == conlleval(true, predicted)


@pytest.mark.parametrize("scheme", ["BIO", "IOB1", "IOBES"])
def test_spans_of_each_scheme_are_those_written_and_the_scheme_is_known(scheme):
    chance = random.Random(1)
    sentences = []
    for _ in range(300):
        length = chance.randint(1, 9)
        bounds = whole(chance, length)
        sentences.append(written(bounds, length, scheme))
        assert spans(sentences[-1]) == [span for span in bounds if span[0] is not None]
    assert scheme_of(sentences) == scheme


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        (["O B-A I-A", "B-A B-A"], "BIO"),
        (["O B-A", "I-A"], "mixed"),
        (["B-A I-B"], "mixed"),
        (["I-A B-A I-A", "O I-B"], "IOB1"),
        (["I-A B-B"], "mixed"),
        (["S-A O B-A E-A"], "IOBES"),
        (["S-A B-A"], "mixed"),
        (["S-A B-A I-A"], "mixed"),
        (["B-A E-B S-A"], "mixed"),
        (["O E-A"], "mixed"),
        (["I-A E-A"], "mixed"),
        (["B I O"], "BIO"),
        (["O O", "O"], None),
        ([""], None),
        ([], None),
        (["DET NOUN VERB"], None),
        (["-LRB- NN-HL ."], None),
        (["B-A", "NOUN"], None),
    ],
)
def test_schemes(sentences, scheme):
    assert scheme_of(iter([tags.split() for tags in sentences])) == scheme


def test_scores_by_label():
    true = [["B-A", "I-A", "O", "B-B"], ["B-A", "O"]]
    predicted = [["B-A", "I-A", "O", "B-A"], ["I-C", "I-C"]]
    scores = span_scores(true, predicted)
    assert scores.overall == (1, 3, 3)
    assert (scores.overall.precision, scores.overall.recall, scores.overall.f1) == (1 / 3, 1 / 3, 1 / 3)
    assert list(scores.by_label.items()) == [("A", (1, 2, 2)), ("B", (0, 0, 1)), ("C", (0, 1, 0))]
    for label, none in (("B", (0.0, 0.0, 0.0)), ("C", (0.0, 0.0, 0.0)), ("A", (0.5, 0.5, 0.5))):
        score = scores.by_label[label]
        assert (score.precision, score.recall, score.f1) == none
    assert span_scores([["O"]], [["O"]]) == (SpanScore(0, 0, 0), {})


def test_scores_need_as_many_tags():
    with pytest.raises(ValueError, match="predicted must have 2 tags in sentence 1, got 1"):
        span_scores([["O"], ["O", "O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="zip"):
        span_scores([["O"]], [])


def batch(chance, labels, lengths, steps):
    """Random integers, garbage after each end, and as many sentences of names."""
    true = chance.integers(0, len(labels), (len(lengths), steps))
    predicted = np.where(chance.random(true.shape) < 0.7, true, chance.integers(0, len(labels), true.shape))
    named = [
        [[labels[tag] for tag in row[:length]] for row, length in zip(ids, lengths, strict=True)]
        for ids in (true, predicted)
    ]
    behind = np.arange(steps) >= lengths[:, None]
    return np.where(behind, 999, predicted), np.where(behind, -5, true), named


@pytest.mark.parametrize("labels", [ALL, ["O", "B-b", "I-b", "B-a", "I-a"], ["I", "B"], ["I", "E", "B"], ["O"]])
def test_counts_on_the_device_are_those_of_sentences(labels):
    chance = np.random.default_rng(0)
    counted = jax.jit(lambda predicted, targets, lengths: span_counts(predicted, targets, labels, lengths=lengths))
    total, every = np.zeros((len(span_labels(labels)), 3), np.int32), ([], [])
    for _ in range(5):
        lengths = np.r_[0, 1, 12, chance.integers(0, 13, 40)]
        predicted, targets, (true, guessed) = batch(chance, labels, lengths, 12)
        counts = counted(jnp.asarray(predicted), jnp.asarray(targets), jnp.asarray(lengths))
        assert counts.dtype == jnp.int32
        total += counts
        every[0].extend(true)
        every[1].extend(guessed)
    scores = span_scores(*every)
    assert scores.by_label == {
        label: tuple(row) for label, row in zip(span_labels(labels), total.tolist(), strict=True) if any(row)
    }
    np.testing.assert_allclose(f1_of(jnp.asarray(total)), scores.overall.f1, rtol=1e-6)


def test_counts_without_lengths_and_of_nothing():
    labels = ["O", "B-A", "I-A"]
    targets = jnp.array([[1, 2, 1], [0, 0, 2]])
    assert span_counts(targets, targets, labels).tolist() == [[3, 3, 3]]
    empty = jnp.zeros((2, 0), int)
    assert span_counts(empty, empty, labels).tolist() == [[0, 0, 0]]
    assert float(f1_of(jnp.zeros((1, 3), int))) == 0.0


@pytest.mark.parametrize(
    ("predicted", "targets", "lengths", "error", "sentence"),
    [
        ([[0, 3]], [[0, 1]], None, ValueError, r"predicted must lie in \[0, 2\], got values from 0 to 3"),
        ([[0, 1]], [[-1, 1]], None, ValueError, r"targets must lie in \[0, 2\], got values from -1 to 1"),
        ([[0]], [[0, 1]], None, ValueError, r"predicted must have shape \[1, 2\], got \[1, 1\]"),
        ([0, 1], [0, 1], None, ValueError, r"targets must have shape \[B, T\], got \[2\]"),
        ([[0.0, 1.0]], [[0, 1]], None, TypeError, "predicted must have dtype integer, got float"),
        ([[0, 1]], [[0, 1]], [3], ValueError, "lengths must"),
    ],
)
def test_batches_that_do_not_fit(predicted, targets, lengths, error, sentence):
    lengths = None if lengths is None else jnp.array(lengths)
    with pytest.raises(error, match=sentence):
        span_counts(jnp.array(predicted), jnp.array(targets), ["O", "B-A", "I-A"], lengths=lengths)
