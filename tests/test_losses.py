"""Losses: what their formulas say over what counts, whatever stands elsewhere; sums that add up over batches."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax import losses
from lstmjax.tasks import Mean, add_means

B, T, C = 3, 5, 4
RNG = np.random.default_rng(0)
LENGTHS = np.array([5, 0, 3])
INSIDE = np.arange(T) < LENGTHS[:, None]
WEIGHTS = np.array([2.0, 1.0, 0.5], np.float32)
PREDICTIONS = RNG.normal(size=(B, T, C)) * 2
NUMBERS = RNG.normal(size=(B, T, C))
ONE_HOT = np.eye(C)[RNG.integers(0, C, (B, T))]
PROBABILITIES = RNG.dirichlet(np.ones(C), (B, T))
LABELS = RNG.integers(0, C, (B, T))


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def bernoulli(logits, targets):
    p = 1 / (1 + np.exp(-logits))
    return -targets * np.log(p) - (1 - targets) * np.log(1 - p)


def huber(error):
    return np.where(np.abs(error) <= 0.7, error**2 / 2, 0.7 * (np.abs(error) - 0.35))


def picked(logits, targets):
    return -np.take_along_axis(log_softmax(logits), targets[..., None], -1)[..., 0]


CASES = {  # loss, its keywords, targets, and the formula for each position in float64
    "mse": (losses.mean_squared_error, {}, NUMBERS, lambda p, t: (p - t) ** 2),
    "mae": (losses.mean_absolute_error, {}, NUMBERS, lambda p, t: np.abs(p - t)),
    "huber": (losses.huber, {"delta": 0.7}, NUMBERS, lambda p, t: huber(p - t)),
    "bce": (losses.binary_cross_entropy, {}, ONE_HOT, bernoulli),
    "bce smooth": (
        losses.binary_cross_entropy,
        {"label_smoothing": 0.2},
        ONE_HOT,
        lambda p, t: bernoulli(p, 0.8 * t + 0.1),
    ),
    "cce": (losses.categorical_cross_entropy, {}, PROBABILITIES, lambda p, t: -(t * log_softmax(p)).sum(-1)),
    "cce smooth": (
        losses.categorical_cross_entropy,
        {"label_smoothing": 0.2},
        ONE_HOT,
        lambda p, t: -((0.8 * t + 0.05) * log_softmax(p)).sum(-1),
    ),
    "sparse": (losses.sparse_categorical_cross_entropy, {}, LABELS, picked),
    "sparse smooth": (
        losses.sparse_categorical_cross_entropy,
        {"label_smoothing": 0.2},
        LABELS,
        lambda p, t: 0.8 * picked(p, t) - 0.2 * log_softmax(p).mean(-1),
    ),
}


def as_float32(targets):
    return targets if targets.dtype.kind == "i" else targets.astype(np.float32)


def call(name, predictions=PREDICTIONS, rows=slice(None), **counting):
    loss, keywords, targets, _ = CASES[name]
    return loss(predictions.astype(np.float32)[rows], as_float32(targets[rows]), **keywords, **counting)


def by_hand(name, each):
    values = CASES[name][3](PREDICTIONS, CASES[name][2])
    each = np.broadcast_to(each.reshape(each.shape + (1,) * (values.ndim - each.ndim)), values.shape)
    return Mean((values * each).sum(), each.sum())


@pytest.mark.parametrize("name", CASES)
def test_losses_are_their_formulas_over_what_counts(name):
    everywhere, short = np.ones((B, T)), INSIDE * 1.0
    holes = np.array(INSIDE)
    holes[0, 2] = False
    for counting, each in [
        ({}, everywhere),
        ({"lengths": LENGTHS}, short),
        ({"mask": holes}, holes * 1.0),
        ({"lengths": LENGTHS, "mask": holes, "weights": WEIGHTS}, holes * WEIGHTS[:, None]),
        ({"weights": short * 3}, short * 3),
    ]:
        np.testing.assert_allclose(call(name, **counting), by_hand(name, each), rtol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_padding_reaches_neither_value_nor_gradient(name):
    bad = np.where(INSIDE[..., None], PREDICTIONS, np.nan)
    bad[2] = np.nan
    weights = np.array([1, 1, 0])

    @jax.jit
    @jax.value_and_grad
    def value_and_gradient(predictions):
        return call(name, predictions, lengths=LENGTHS, weights=weights).value

    clean, dirty = (value_and_gradient(jnp.asarray(x, jnp.float32)) for x in (PREDICTIONS, bad))
    np.testing.assert_array_equal(clean[0], dirty[0])
    np.testing.assert_array_equal(clean[1], dirty[1])
    assert not dirty[1][1:].any()
    assert dirty[1][0].all()


@pytest.mark.parametrize("name", CASES)
def test_sums_over_ragged_batches_are_the_whole(name):
    first, second, third = (call(name, rows=slice(k, k + 1), lengths=LENGTHS[k : k + 1]) for k in range(B))
    np.testing.assert_allclose(
        add_means(add_means(first, second), third).value, call(name, lengths=LENGTHS).value, rtol=1e-6
    )


@pytest.mark.parametrize("name", ["huber", "bce smooth", "cce", "sparse smooth"])
def test_sums_take_32_bits_at_least_and_64_where_given(name, x64):
    loss, keywords, targets, _ = CASES[name]
    half = jax.jit(lambda p, t: loss(p, t, **keywords))(jnp.asarray(PREDICTIONS, jnp.bfloat16), as_float32(targets))
    assert (half.total.dtype, half.weight.dtype) == (jnp.float32, jnp.float32)
    double = loss(PREDICTIONS, targets, **keywords, lengths=LENGTHS, weights=WEIGHTS)
    assert double.total.dtype == jnp.float64
    np.testing.assert_allclose(double, by_hand(name, INSIDE * WEIGHTS[:, None]), rtol=1e-12)


def test_class_weights_are_weights():
    of_class = np.array([1.0, 0.0, 3.0, 0.5], np.float32)
    got = call("sparse", class_weights=of_class, lengths=LENGTHS, weights=WEIGHTS)
    np.testing.assert_allclose(got, by_hand("sparse", INSIDE * WEIGHTS[:, None] * of_class[LABELS]), rtol=1e-6)


def test_a_class_that_cannot_be():
    logits = np.array([[0.0, -np.inf, 0.0]], np.float32)
    loss, gradient = jax.value_and_grad(
        lambda x: losses.categorical_cross_entropy(x, np.array([[1.0, 0.0, 0.0]], np.float32)).value
    )(logits)
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-0.5, 0.0, 0.5]], rtol=1e-6)


def all_alignments(logits, target):
    """-log of the sum over every path of classes that reads as the target once repeats and blanks (0) are gone."""
    log_p = log_softmax(logits)
    total = 0.0
    for path in itertools.product(range(logits.shape[-1]), repeat=len(logits)):
        if [symbol for symbol, _ in itertools.groupby(path) if symbol != 0] == list(target):
            total += np.exp(sum(log_p[step, symbol] for step, symbol in enumerate(path)))
    return -np.log(total)


CTC_TARGETS = np.array([[1, 1], [2, -7], [9, 9]])
CTC_KEYWORDS = {"target_lengths": np.array([2, 1, 0]), "weights": np.array([1.0, 3.0, 0.0], np.float32)}
CTC_MASK = np.array([[1, 1, 1, 1, 0], [1, 0, 1, 1, 0], [1, 1, 0, 0, 0]], bool)


def test_ctc_is_the_sum_over_alignments():
    dirty = np.where(CTC_MASK[..., None], PREDICTIONS, np.nan).astype(np.float32)
    dirty[2] = np.nan

    def total(logits):
        return losses.ctc(logits, CTC_TARGETS, mask=CTC_MASK, **CTC_KEYWORDS)

    (loss, weight), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(dirty)
    rows = [all_alignments(PREDICTIONS[k][CTC_MASK[k]], target) for k, target in ((0, [1, 1]), (1, [2]))]
    np.testing.assert_allclose(loss, rows[0] + 3 * rows[1], rtol=1e-5)
    assert weight == 4.0
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).sum(-1) > 0).tolist() == (CTC_MASK & [[True], [True], [False]]).tolist()


def test_ctc_in_64_bits_and_jit(x64):
    targets = np.array([[1, 1], [2, 3], [3, 2]])
    loss = jax.jit(lambda logits, targets: losses.ctc(logits, targets, lengths=np.array([5, 4, 3]), blank=0))(
        PREDICTIONS, targets
    )
    rows = [all_alignments(PREDICTIONS[k][: 5 - k], targets[k]) for k in range(3)]
    np.testing.assert_allclose(loss, [sum(rows), 3.0], rtol=1e-9)


X = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: losses.mean_squared_error(X, X.T), ValueError, r"targets must have shape \[2, 3\], got \[3, 2\]"),
        (
            lambda: losses.mean_squared_error(X, X, weights=X[:1, 0]),
            ValueError,
            r"weights must have shape \[2\]",
        ),
        (lambda: losses.mean_squared_error(X.astype(int), X), TypeError, "predictions must have dtype floating"),
        (lambda: losses.mean_squared_error(X, X, lengths=[4, 1]), ValueError, r"lengths must lie in \[0, 3\]"),
        (
            lambda: losses.mean_squared_error(X[0], X[0], lengths=[1]),
            ValueError,
            r"need positions .*, got \[3\]",
        ),
        (lambda: losses.huber(X, X, delta=0.0), ValueError, "delta must be above 0 and finite, got 0.0"),
        (
            lambda: losses.binary_cross_entropy(X, X + 2),
            ValueError,
            r"targets must lie in \[0, 1\], got values from 2 to 2",
        ),
        (
            lambda: losses.categorical_cross_entropy(X, X - 1),
            ValueError,
            r"targets must lie in \[0, 1\], got values from -1 to -1",
        ),
        (
            lambda: losses.categorical_cross_entropy(X, X, label_smoothing=1.0),
            ValueError,
            r"label_smoothing must be in \[0, 1\), got 1.0",
        ),
        (
            lambda: losses.sparse_categorical_cross_entropy(X, np.array([1, 2**32 + 1])),
            ValueError,
            r"targets must lie in \[0, 2\], got values from 1 to 4294967297",
        ),
        (
            lambda: losses.sparse_categorical_cross_entropy(X, np.array([1, -1])),
            ValueError,
            r"targets must lie in \[0, 2\], got values from -1 to 1",
        ),
        (
            lambda: losses.sparse_categorical_cross_entropy(X, X[:, 0]),
            TypeError,
            "targets must have dtype integer, got float32",
        ),
        (
            lambda: losses.sparse_categorical_cross_entropy(X, np.array([1, 2, 0])),
            ValueError,
            r"targets must have shape \[2\], got \[3\]",
        ),
        (
            lambda: losses.sparse_categorical_cross_entropy(X, np.array([1, 2]), class_weights=X[0, :2]),
            ValueError,
            r"class_weights must have shape \[3\], got \[2\]",
        ),
        (
            lambda: losses.sparse_categorical_cross_entropy(X[0], np.array(1)),
            ValueError,
            "logits must have shape",
        ),
        (lambda: losses.ctc(X, np.array([[1], [1]])), ValueError, r"logits must have shape \[B, T, C\], got \[2, 3\]"),
        (lambda: losses.ctc(X[None], np.array([1])), ValueError, r"targets must have shape \[1, U\], got \[1\]"),
        (lambda: losses.ctc(X[None], np.array([[0]])), ValueError, "targets must not hold the blank, 0; got 1 of it"),
        (lambda: losses.ctc(X[None], np.array([[3]])), ValueError, r"targets must lie in \[0, 2\]"),
        (lambda: losses.ctc(X[None], np.array([[1]]), blank=3), ValueError, "blank must be at most 2, got 3"),
    ],
)
def test_arguments_that_make_no_loss(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
