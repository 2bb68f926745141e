"""Distributions: densities against scipy's, and laws that tie densities, quantiles, means and draws together."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.test_util import check_grads

from lstmjax import scores
from lstmjax.distributions import LEVELS, OUTPUTS, Gaussian, NegativeBinomial, Point, Quantiles, StudentT

RNG = np.random.default_rng(0)
N = 4000
KINDS = [Point, Gaussian, StudentT, NegativeBinomial, Quantiles]
P = np.array([0.001, 0.025, 0.1, 0.33, 0.5, 0.8, 0.99])


def log_uniform(low, high, size=N):
    return (10 ** RNG.uniform(low, high, size)).astype(np.float32)


def wide():
    """Distributions over wide ranges in float32, targets they may well have made, and what scipy says of these."""
    scale, df = log_uniform(-15, 15), log_uniform(-1, 3)
    loc = (scale * RNG.normal(0, 10, N)).astype(np.float32)
    y = (loc + scale * RNG.standard_t(2, N)).astype(np.float32)
    mu, dispersion = log_uniform(-4, 5), log_uniform(-4, 2)
    near = RNG.poisson(mu * RNG.gamma(1 / dispersion) * dispersion)
    counts = np.where(np.arange(N) % 2, np.minimum(near, 100_000), np.floor(log_uniform(-1, 5))).astype(np.float32)
    size = 1 / dispersion.astype(float)
    return {
        "gaussian": (Gaussian(loc, scale), y, lambda y: scipy.stats.norm.logpdf(y, *map(np.float64, (loc, scale)))),
        "student-t": (
            StudentT(df, loc, scale),
            y,
            lambda y: scipy.stats.t.logpdf(y, *map(np.float64, (df, loc, scale))),
        ),
        "negative-binomial": (
            NegativeBinomial(mu, dispersion),
            counts,
            lambda y: scipy.stats.nbinom.logpmf(y, size, size / (size + mu)),
        ),
    }


WIDE = wide()


@pytest.mark.parametrize("name", WIDE)
def test_losses_are_what_scipy_says_and_their_gradients_finite(name):
    """To 1e-6, of the loss or of the log scale within it, whichever is larger."""
    distribution, y, log_density = WIDE[name]
    expected = -log_density(y.astype(float))
    scale = getattr(distribution, "scale", np.ones(N))
    losses, pull = jax.vjp(OUTPUTS[name].loss, jax.tree.map(jnp.asarray, distribution), jnp.asarray(y))
    error = np.abs(np.asarray(losses, np.float64) - expected) / np.maximum(
        1.0, np.maximum(np.abs(expected), np.abs(np.log(scale)))
    )
    assert losses.dtype == jnp.float32
    assert error.max() < 1e-6
    assert np.quantile(error, 0.99) < 5e-7
    small = jax.tree.map(lambda leaf: np.isfinite(leaf).all(), pull(losses * 0 + 1))
    assert all(jax.tree.leaves(small))


@pytest.mark.parametrize("name", WIDE)
def test_losses_in_float64(name, x64):
    distribution, y, log_density = WIDE[name]
    double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), distribution)
    y = y.astype(float)
    np.testing.assert_allclose(OUTPUTS[name].loss(double, y), -log_density(y), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", OUTPUTS)
def test_gradients(name, x64):
    """With df / 2 and 1 / dispersion on both sides of 4, where one formula hands over to another, and at 0."""
    kind, loss = OUTPUTS[name]
    raw = 2 * np.random.default_rng(1).normal(size=(40, kind.size))
    targets = np.arange(40.0) % 7
    raw[20:, -1] -= 3  # small scales and dispersions
    raw[30:, 0] += 12
    check_grads(jax.jit(lambda raw: loss(kind.of(raw), targets)), (raw,), order=1, rtol=1e-6, atol=1e-6)


def test_a_gradient_where_one_formula_hands_over_to_another(x64):
    """At dispersion 1/4, by which Stirling's error is a series or a sum, and at a count of 4."""

    def loss(dispersion, y):
        return NegativeBinomial(jnp.full_like(y, 3.0), dispersion).loss(y)

    counts = jnp.asarray([0.0, 2.0, 4.0])
    slope = jax.jit(jax.vmap(jax.vmap(jax.grad(loss)), in_axes=(0, None)))
    below, at, above = slope(0.25 + np.array([[-1e-9], [0.0], [1e-9]]) * np.ones(3), counts)
    np.testing.assert_allclose(below, at, rtol=1e-6)
    np.testing.assert_allclose(above, at, rtol=1e-6)


CASES = {
    Point: Point(jnp.array([2.0, -3.0])),
    Gaussian: Gaussian(jnp.array([2.0, -3.0]), jnp.array([0.5, 4.0])),
    StudentT: StudentT(jnp.array([2.5, 30.0]), jnp.array([2.0, -3.0]), jnp.array([0.5, 4.0])),
    NegativeBinomial: NegativeBinomial(jnp.array([0.7, 40.0]), jnp.array([2.0, 0.1])),
    Quantiles: Quantiles(jnp.array([[x**3 for x in LEVELS], [10 * x for x in LEVELS]])),
}


@pytest.mark.parametrize("kind", [Gaussian, StudentT])
def test_the_density_up_to_a_quantile_adds_up_to_its_probability(kind, x64):
    distribution = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), CASES[kind])
    for p in (0.3, 0.9):
        low, high = distribution.quantile(0.001), distribution.quantile(p)
        grid = np.linspace(low, high, 20_001)
        density = np.exp(-jax.vmap(distribution.loss)(grid))
        np.testing.assert_allclose(np.trapezoid(density, grid, axis=0), p - 0.001, rtol=1e-6)


def probabilities(counts, number):
    """Of 0, 1, ..., number - 1, for each of two distributions."""
    grid = jnp.broadcast_to(jnp.arange(float(number))[:, None], (number, 2))
    return np.exp(-np.asarray(jax.jit(jax.vmap(counts.loss))(grid), np.float64))


def test_quantiles_of_counts_are_the_first_that_reach_the_probability():
    counts = CASES[NegativeBinomial]
    below = np.cumsum(probabilities(counts, 400), axis=0)
    np.testing.assert_allclose(below[-1], 1.0, rtol=1e-5)
    assert counts.quantile(P).tolist() == [np.argmax(below >= p, axis=0).tolist() for p in P]


def test_quantiles_lie_on_lines_that_go_on_at_both_ends():
    said = CASES[Quantiles]
    np.testing.assert_allclose(said.quantile(np.array(LEVELS)), np.asarray(said.values.T, float), rtol=1e-6)
    np.testing.assert_allclose(said.quantile(P)[:, 1], 10 * P, rtol=1e-5)  # a line from end to end
    np.testing.assert_allclose(said.quantile(0.22)[0], 0.8 * 0.2**3 + 0.2 * 0.3**3, rtol=1e-6)
    np.testing.assert_allclose(said.quantile(0.01)[0], 0.025**3 - 0.6 * (0.05**3 - 0.025**3), rtol=1e-5)
    assert said.mean().tolist() == [0.125, 5.0]


@pytest.mark.parametrize("kind", KINDS)
def test_quantiles_have_the_shape_of_p_before_that_of_the_values(kind):
    cube = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), CASES[kind])
    outer = cube.quantile(P)
    assert (outer.shape, outer.dtype) == ((len(P), 3, 2), np.float64)
    for p, each in zip(P, outer, strict=True):
        assert cube.quantile(float(p)).tolist() == each.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_quantiles_and_the_mean(kind):
    many = 20_000
    spread = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (many, *leaf.shape)), CASES[kind])
    drawn = np.asarray(spread.sample(jax.random.key(3)), np.float64)
    assert drawn.shape == (many, 2)
    quantiles, error = CASES[kind].quantile(P), 4.5 * np.sqrt(P * (1 - P) / many)[:, None]
    assert (np.mean(drawn <= quantiles[:, None] + 1e-6, axis=1) >= P[:, None] - error).all()
    assert (np.mean(drawn < quantiles[:, None] - 1e-6, axis=1) <= P[:, None] + error).all()
    expected = CASES[kind].quantile((np.arange(many) + 0.5) / many).mean(axis=0)
    np.testing.assert_allclose(drawn.mean(axis=0), expected, atol=5 * drawn.std(axis=0).max() / np.sqrt(many) + 1e-6)
    if kind is not Quantiles:
        np.testing.assert_allclose(CASES[kind].mean(), expected, rtol=0.02)


def test_the_variance_of_counts():
    """mu + dispersion mu^2, from the probabilities themselves."""
    counts, grid = CASES[NegativeBinomial], np.arange(1000.0)[:, None]
    probability = probabilities(counts, 1000)
    mean = (probability * grid).sum(axis=0)
    np.testing.assert_allclose(mean, counts.mu, rtol=1e-5)
    variance = (probability * grid**2).sum(axis=0) - mean**2
    np.testing.assert_allclose(variance, counts.mu + counts.dispersion * counts.mu**2, rtol=1e-4)


def test_counts_may_be_integers():
    counts = CASES[NegativeBinomial]
    np.testing.assert_array_equal(counts.loss(jnp.array([0, 3])), counts.loss(jnp.array([0.0, 3.0])))


def test_huge_counts():
    counts = NegativeBinomial(jnp.array([1e6, 1e12, 1e14]), jnp.array([1e-4, 1e-4, 1e-4]))
    drawn = counts.sample(jax.random.key(0))
    np.testing.assert_allclose(drawn, counts.mu, rtol=0.05)
    assert np.isfinite(counts.quantile(P)).all()


@pytest.mark.parametrize("kind", [Point, Gaussian, StudentT, Quantiles])
def test_affine_is_what_becomes_of_quantiles_means_draws_and_losses(kind):
    one, shift, scale = CASES[kind], jnp.array([5.0, -1.0]), jnp.array([3.0, 0.25])
    moved = one.affine(shift, scale)
    key, y = jax.random.key(0), jnp.array([1.5, 2.0])
    np.testing.assert_allclose(moved.quantile(P), np.asarray(shift) + np.asarray(scale) * one.quantile(P), rtol=1e-5)
    np.testing.assert_allclose(moved.mean(), shift + scale * one.mean(), rtol=1e-6)
    np.testing.assert_allclose(moved.sample(key), shift + scale * one.sample(key), rtol=1e-5)
    by_unit = {Point: one.loss(y) * scale**2, Quantiles: one.loss(y) * scale}
    np.testing.assert_allclose(
        moved.loss(shift + scale * y), by_unit.get(kind, one.loss(y) + jnp.log(scale)), rtol=1e-5
    )
    for leaf, same in zip(
        jax.tree.leaves(one.affine(2.0, 1.0)), jax.tree.leaves(one.affine(shift * 0 + 2, scale * 0 + 1)), strict=True
    ):
        np.testing.assert_array_equal(leaf, same)


def test_counts_are_scaled_and_never_shifted():
    counts = CASES[NegativeBinomial]
    scaled = counts.affine(0.0, jnp.array([2.0, 3.0]))
    np.testing.assert_allclose(scaled.mean(), counts.mu * jnp.array([2.0, 3.0]))
    np.testing.assert_array_equal(scaled.dispersion, counts.dispersion)
    with pytest.raises(ValueError, match="shift must be 0 for a negative binomial"):
        counts.affine(jnp.array([0.0, 1.0]), 1.0)
    traced = jax.jit(lambda shift: counts.affine(shift, 1.0).mean())(jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(traced, [counts.mu[0], np.nan])


def test_quantiles_never_cross():
    size = len(LEVELS)
    raw = RNG.normal(size=(2000, size)) * 10 ** RNG.uniform(-3, 9, (2000, 1)) * 10 ** RNG.uniform(-8, 0, (2000, size))
    huge = RNG.choice([-np.inf, -3.4e38, -1.0, 0.0, 1e7, 3.4e38, np.inf], (200, size))
    said = Quantiles.of(jnp.asarray(np.concatenate([raw, huge]), jnp.float32))
    for each in (said, said.affine(1e3, 1e-3)):
        assert np.isfinite(each.values).all()
        assert (np.diff(each.values, axis=-1) >= 0).all()
    np.testing.assert_array_equal(said.mean()[:2000], raw[:, size // 2].astype(np.float32))


@pytest.mark.parametrize("name", OUTPUTS)
def test_raw_numbers_of_any_size_make_a_distribution(name):
    kind, loss = OUTPUTS[name]
    huge = np.random.default_rng(2).choice([-np.inf, -3.4e38, -100.0, 0.0, 100.0, 3.4e38, np.inf], (200, kind.size))
    made = kind.of(jnp.asarray(huge, jnp.float32))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(made))
    assert np.isfinite(loss(made, jnp.full(200, 3.0))).all()
    if kind is StudentT:
        assert (made.df > 2).all()
    if kind in (Gaussian, StudentT):
        assert (made.scale > 0).all()
    half = kind.of(jnp.zeros((3, kind.size), jnp.bfloat16))
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype("float32")}


def test_errors_of_points_by_hand():
    point, y = Point(jnp.array([1.0, 1.0, 1.0])), jnp.array([1.0, 1.5, -2.0])
    assert OUTPUTS["mse"].loss(point, y).tolist() == [0.0, 0.25, 9.0]
    assert OUTPUTS["mae"].loss(point, y).tolist() == [0.0, 0.5, 3.0]
    assert OUTPUTS["huber"].loss(point, y).tolist() == [0.0, 0.125, 2.5]


def test_the_loss_of_quantiles_is_twice_the_mean_pinball_loss():
    said, y = CASES[Quantiles], np.array([0.3, 11.0], np.float32)
    losses = [scores.pinball(np.asarray(said.values[:, k]), y, level) for k, level in enumerate(LEVELS)]
    np.testing.assert_allclose(said.loss(y), 2 * np.mean(losses, axis=0), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_distributions_go_through_loops_and_vmap(kind):
    """A path drawn step by step in a loop whose state is the distribution itself."""
    start = CASES[kind]

    def step(state):
        count, key, now, total = state
        key, draw_key = jax.random.split(key)
        return count + 1, key, now.affine(0.0, 1.0), total + now.sample(draw_key)

    def path(key):
        return jax.lax.while_loop(lambda state: state[0] < 3, step, (0, key, start, jnp.zeros(2)))[2:]

    ends, totals = jax.vmap(path)(jax.random.split(jax.random.key(0), 4))
    np.testing.assert_allclose(jax.tree.leaves(ends)[0][1], jax.tree.leaves(start)[0])
    assert totals.shape == (4, 2)
    assert np.isfinite(totals).all()


def test_sizes():
    assert [kind.size for kind in KINDS] == [1, 2, 3, 2, 13]
    for kind in (Point, Gaussian, StudentT, NegativeBinomial):
        assert len(dataclasses.fields(kind)) == kind.size
    assert math.isclose(sum(LEVELS), len(LEVELS) / 2)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: Gaussian.of(jnp.zeros((4, 3))), ValueError, r"raw must have shape \[\.\.\., 2\], got \[4, 3\]"),
        (lambda: Gaussian.of(jnp.zeros((4, 2), int)), TypeError, "raw must have dtype floating, got int"),
        (lambda: CASES[Gaussian].loss(jnp.zeros(1)), ValueError, r"targets must have shape \[2\], got \[1\]"),
        (lambda: CASES[Quantiles].loss(jnp.zeros(13)), ValueError, r"targets must have shape \[2\], got \[13\]"),
        (lambda: CASES[Gaussian].quantile(np.array([0.5, 1.0])), ValueError, r"p must lie in \(0, 1\), got \[0.5, 1.0"),
        (lambda: CASES[Quantiles].quantile(0.0), ValueError, r"p must lie in \(0, 1\), got 0.0"),
    ],
)
def test_refusals(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
