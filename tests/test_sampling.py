"""Drawing a symbol: settings at the edge of what floats hold, and each kind of draw against its probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax import sampling
from lstmjax.sampling import GREEDY, BernoulliSampling, GaussianMixture, MixtureSampling, Sampling

KEYS = jax.random.split(jax.random.key(0), 20_000)
FEW = KEYS[:200]
LOGITS = 3.0 * jax.random.normal(jax.random.key(1), (200, 7))
HALF = jnp.array([-jnp.inf, 1.0, -jnp.inf, 1.0])


def repeated(scores, keys=KEYS):
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (len(keys), *leaf.shape)), scores)


@pytest.mark.parametrize("temperature", [1e-37, 1e-38, 1e-40, 1e-300])
def test_a_tiny_temperature_is_greedy(temperature):
    greedy = sampling.sample(FEW, LOGITS, GREEDY)
    np.testing.assert_array_equal(sampling.sample(FEW, LOGITS, Sampling(temperature)), greedy)
    np.testing.assert_array_equal(sampling.sample(FEW, LOGITS - 1e4, Sampling(temperature)), greedy)
    np.testing.assert_array_equal(sampling.sample(FEW, LOGITS, BernoulliSampling(temperature)), LOGITS > 0.0)


@pytest.mark.parametrize("top_p", [1e-20, 1e-45, 1e-300])
def test_a_tiny_top_p_is_greedy(top_p):
    greedy = sampling.sample(FEW, LOGITS, GREEDY)
    np.testing.assert_array_equal(sampling.sample(FEW, LOGITS, Sampling(top_p=top_p)), greedy)


@pytest.mark.parametrize("temperature", [1e-300, 1.0, 1e300])
def test_scores_of_minus_infinity_never_come(temperature):
    drawn = sampling.sample(FEW, repeated(HALF, FEW), Sampling(temperature, top_p=0.999))
    assert np.unique(drawn).tolist() == [1, 3]


def test_a_score_of_infinity_is_certain():
    scores = jnp.array([0.0, jnp.inf, 3.0])
    assert np.unique(sampling.sample(FEW, repeated(scores, FEW), Sampling(0.5))).tolist() == [1]


def test_an_endless_temperature_is_uniform_over_what_top_k_keeps():
    drawn = sampling.sample(KEYS, repeated(jnp.array([1.0, 5.0, 2.0, 9.0])), Sampling(1e300, top_k=3))
    frequencies = np.bincount(drawn, minlength=4) / len(KEYS)
    np.testing.assert_allclose(frequencies, [0, 1 / 3, 1 / 3, 1 / 3], atol=4.5 * np.sqrt(2 / 9 / len(KEYS)))


def test_settings_in_float64(x64):
    how = Sampling(np.float64(0.7), top_k=np.int64(3), top_p=np.float64(0.9))
    assert int(how(jax.random.key(0), jnp.array([0.0, 90.0, 3.0, 4.0]))) == 1
    assert int(Sampling(1e-320)(jax.random.key(0), jnp.array([0.0, 1.0]))) == 1


def test_half_precision_scores():
    np.testing.assert_array_equal(
        sampling.sample(FEW, LOGITS.astype(jnp.bfloat16), Sampling(0.5)),
        sampling.sample(FEW, LOGITS.astype(jnp.bfloat16).astype(jnp.float32), Sampling(0.5)),
    )


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_yes_and_no_as_often_as_said(temperature):
    logits = jnp.array([-2.0, 0.0, 1.5])
    drawn = np.asarray(sampling.sample(KEYS, repeated(logits), BernoulliSampling(temperature)))
    expected = 1 / (1 + np.exp(-np.asarray(logits) / temperature))
    bound = 4.5 / np.sqrt(len(KEYS))
    assert (np.abs(drawn.mean(0) - expected) <= bound * np.sqrt(expected * (1 - expected))).all()
    assert (np.abs(np.corrcoef(drawn.T)[np.triu_indices(3, 1)]) <= bound).all()


@pytest.mark.parametrize("bias", [0.0, 1.5])
def test_points_have_the_moments_of_their_mixture(bias):
    weights, means = np.array([0.3, 0.7]), np.array([[1.0, -2.0], [-1.0, 0.5]])
    scale_tril = np.array([[[0.5, 0.0], [0.4, 0.3]], [[1.0, 0.0], [-0.6, 0.8]]])
    mixture = GaussianMixture(*(jnp.array(leaf, jnp.float32) for leaf in (np.log(weights), means, scale_tril)))
    drawn = np.asarray(sampling.sample(KEYS, repeated(mixture), MixtureSampling(bias)), np.float64)
    weights = weights ** (1 + bias) / (weights ** (1 + bias)).sum()
    mean = weights @ means
    spread = np.exp(-2 * bias) * scale_tril @ scale_tril.swapaxes(1, 2) + means[:, :, None] * means[:, None, :]
    covariance = np.tensordot(weights, spread, 1) - np.outer(mean, mean)
    deviation = np.sqrt(np.diag(covariance))
    bound = 4.5 / np.sqrt(len(KEYS))
    assert (np.abs(drawn.mean(0) - mean) <= bound * deviation).all()
    assert (np.abs(np.cov(drawn.T) - covariance) <= 2 * bound * np.outer(deviation, deviation)).all()


def test_an_endless_bias_gives_the_likeliest_mean():
    mixture = GaussianMixture(jnp.array([0.0, 1.0]), jnp.array([[5.0], [7.0]]), jnp.ones((2, 1, 1)))
    assert MixtureSampling(1e300)(jax.random.key(0), mixture).tolist() == [7.0]


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: Sampling("0.5"), TypeError, "temperature must be a number, got '0.5'"),
        (lambda: Sampling(top_p="0.5"), TypeError, "top_p must be a number, got '0.5'"),
        (lambda: BernoulliSampling(-1.0), ValueError, "temperature must be at least 0, got -1.0"),
        (lambda: MixtureSampling(float("inf")), ValueError, "bias must be finite, got inf"),
    ],
)
def test_settings_that_cannot_be(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()
