"""Metrics: worked by hand, adding up over batches, blind to padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax import metrics
from lstmjax.tasks import add_means

LOGITS = np.array([[[3, 2, 1], [1, 3, 2], [0, 0, 9]], [[1, 2, 3], [5, 5, 1], [2, 1, 3]]], np.float32)
TARGETS = np.array([[0, 2, -1], [0, 0, 1]])
LENGTHS = np.array([2, 3])


def test_accuracy_worked_by_hand():
    np.testing.assert_array_equal(metrics.accuracy(LOGITS, TARGETS, lengths=LENGTHS), [2.0, 5.0])
    np.testing.assert_array_equal(metrics.top_k_accuracy(LOGITS, TARGETS, k=2, lengths=LENGTHS), [3.0, 5.0])
    np.testing.assert_array_equal(metrics.top_k_accuracy(LOGITS, TARGETS, k=3, lengths=LENGTHS), [5.0, 5.0])
    weighted = metrics.accuracy(LOGITS, TARGETS, lengths=LENGTHS, weights=np.array([2.0, 0.5], np.float32))
    np.testing.assert_array_equal(weighted, [2.5, 5.5])


def test_accuracy_adds_up_over_ragged_batches():
    parts = [metrics.accuracy(LOGITS[k, :length][None], TARGETS[k, :length][None]) for k, length in enumerate(LENGTHS)]
    np.testing.assert_array_equal(add_means(*parts), metrics.accuracy(LOGITS, TARGETS, lengths=LENGTHS))


# Four classes, the last of them never seen and never predicted, the third never right.
GOLD = np.array([0, 0, 0, 1, 1, 2])
GUESSED = np.array([0, 0, 1, 1, 0, 1])
MATRIX = np.array([[2, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
PRECISION, RECALL, F1 = [2 / 3, 1 / 3, 0, 0], [2 / 3, 1 / 2, 0, 0], [2 / 3, 2 / 5, 0, 0]


def test_a_confusion_matrix_worked_by_hand_and_added_up():
    np.testing.assert_array_equal(metrics.confusion_matrix(GUESSED, GOLD, 4), MATRIX)
    parts = [metrics.confusion_matrix(GUESSED[part], GOLD[part], 4) for part in (np.s_[:4], np.s_[4:])]
    np.testing.assert_array_equal(parts[0] + parts[1], MATRIX)


def test_a_confusion_matrix_leaves_padding_out(x64):
    padded = [np.stack([ids, np.full_like(ids, -100)]) for ids in (GUESSED, GOLD)]
    by_row = jax.jit(lambda *ids: metrics.confusion_matrix(*ids, 4, weights=np.array([2.0, 0.0])))(*padded)
    np.testing.assert_array_equal(by_row, 2 * MATRIX)
    np.testing.assert_array_equal(metrics.confusion_matrix(*padded, 4, lengths=np.array([6, 0])), MATRIX)
    masked = metrics.confusion_matrix(*padded, 4, mask=np.stack([np.arange(6) < 4, np.zeros(6, bool)]))
    assert int(masked.sum()) == 4


@pytest.mark.parametrize(
    ("metric", "each", "micro"),
    [(metrics.precision, PRECISION, 0.5), (metrics.recall, RECALL, 0.5), (metrics.f1, F1, 0.5)],
)
def test_precision_recall_and_f1_worked_by_hand(metric, each, micro):
    np.testing.assert_allclose(metric(MATRIX, average=None), each, rtol=1e-6)
    np.testing.assert_allclose(metric(MATRIX), np.mean(each), rtol=1e-6)
    np.testing.assert_allclose(metric(MATRIX, average="micro"), micro, rtol=1e-6)
    assert float(metric(np.zeros((2, 2)))) == float(metric(np.zeros((2, 2)), average="micro")) == 0.0


def test_ways_to_say_a_loss():
    np.testing.assert_allclose([metrics.bits_per_symbol(np.log(8.0)), metrics.perplexity(np.log(8.0))], [3.0, 8.0])
    assert metrics.perplexity(1e4) == np.inf


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda: metrics.accuracy(LOGITS, TARGETS),
            ValueError,
            r"targets must lie in .* from -1 to 2",
        ),
        (lambda: metrics.accuracy(LOGITS, TARGETS[:1]), ValueError, r"targets must have shape \[2, 3\], got \[1, 3\]"),
        (lambda: metrics.accuracy(LOGITS[0, 0], 1), ValueError, r"logits must have shape \[B, \.\.\., C\], got \[3\]"),
        (lambda: metrics.top_k_accuracy(LOGITS, TARGETS, k=4), ValueError, "k must be at most 3, got 4"),
        (lambda: metrics.confusion_matrix(GOLD, GUESSED, 2), ValueError, r"predicted must lie in \[0, 1\]"),
        (lambda: metrics.confusion_matrix(GOLD + 2**32, GUESSED, 4), ValueError, r"predicted must lie in \[0, 3\]"),
        (lambda: metrics.confusion_matrix(GOLD, jnp.ones(6), 4), TypeError, "targets must have dtype integer"),
        (lambda: metrics.f1(MATRIX[:2]), ValueError, r"confusion must be square, got \[2, 4\]"),
        (lambda: metrics.f1(MATRIX, "mean"), ValueError, "average must be one of 'macro', 'micro', got 'mean'"),
    ],
)
def test_arguments_that_make_no_metric(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
