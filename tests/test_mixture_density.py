"""Mixtures of Gaussians against scipy; the model of strokes: its figures by hand, its drawings to their ends."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx
from jax.test_util import check_grads
from scipy.stats import multivariate_normal

from lstmjax.data.source import SequenceBatch
from lstmjax.data.strokes import DRAWS, ENDS
from lstmjax.decoding import StrokeSampling, generate_strokes, strokes
from lstmjax.densities import log_density
from lstmjax.models import MixtureDensity, MixtureDensityConfig, mixture_density
from lstmjax.sampling import GaussianMixture

SMALL = MixtureDensityConfig(hidden_features=(5,), components=3)
LENGTHS = np.array([6, 3], np.int32)
density = jax.jit(log_density)
slopes_of = jax.jit(jax.value_and_grad(lambda *given: jnp.sum(log_density(*given)), argnums=(0, 1)))


def mixture(batch, count, size, seed=0):
    rng = np.random.default_rng(seed)
    tril = np.tril(rng.normal(size=(*batch, count, size, size)), -1)
    tril += rng.uniform(0.1, 2.0, size=(*batch, count, 1, size)) * np.eye(size)
    return GaussianMixture(rng.normal(size=(*batch, count)), rng.normal(size=(*batch, count, size)), tril)


def by_scipy(said, point):
    """The logarithm of one mixture's density at one point."""
    parts = [
        multivariate_normal(mean, tril @ tril.T).logpdf(point)
        for mean, tril in zip(np.asarray(said.means), np.asarray(said.scale_tril), strict=True)
    ]
    return scipy.special.logsumexp(scipy.special.log_softmax(said.logits) + np.array(parts))


@nnx.jit
def scored(model, *given):
    return model(*given)


@nnx.jit
def loss_of(model, batch):
    return mixture_density.task(SMALL).loss(model, batch, (), None)[0]


def small(**options):
    model = MixtureDensity(dataclasses.replace(SMALL, **options), rngs=nnx.Rngs(0))
    model.standardize.mean[...], model.standardize.scale[...] = jnp.array([0.5, -1.0]), jnp.array([2.0, 3.0])
    model.head.bias[...] = jax.random.normal(jax.random.key(1), model.head.bias.shape)
    return model


def drawing(shape, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=(*shape, 2)), rng.integers(0, 2, size=(*shape, 1))], axis=-1, dtype="f4")


@pytest.mark.parametrize(("count", "size"), [(1, 2), (4, 2), (3, 1), (2, 3)])
def test_densities_are_those_of_scipy(count, size, x64):
    said, points = mixture((5, 2), count, size), np.random.default_rng(1).normal(size=(5, 2, size)) * 3
    rows = [GaussianMixture(*(leaf[at] for leaf in said)) for at in np.ndindex(5, 2)]
    expected = [by_scipy(row, point) for row, point in zip(rows, points.reshape(10, size), strict=True)]
    np.testing.assert_allclose(np.ravel(density(said, points)), expected, rtol=0, atol=1e-10)


def test_gradients_of_densities(x64):
    said, points = mixture((3,), 4, 2), np.random.default_rng(1).normal(size=(3, 2))
    lower = jnp.tril(jnp.ones((2, 2)))[None, None]
    density_of = jax.jit(lambda logits, means, tril, x: log_density(GaussianMixture(logits, means, tril * lower), x))
    check_grads(density_of, (*said, points), order=1, modes=["rev"])


@pytest.mark.parametrize("far", [0.0, 1e4, 1e19, 1e30])
@pytest.mark.parametrize("narrow", [1.0, 1e-6, 1e-19, 1e-30, 0.0])
def test_far_points_and_narrow_scales_stay_finite(far, narrow):
    said = GaussianMixture(
        jnp.array([[0.0, 40.0]]),
        jnp.zeros((1, 2, 2)),
        narrow * jnp.tile(jnp.array([[1.0, 0.0], [0.7, 1.0]]), (1, 2, 1, 1)),
    )
    value, slopes = slopes_of(said, jnp.full((1, 2), far))
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_one_component_far_away_does_not_hide_another():
    said = GaussianMixture(jnp.zeros(2), jnp.array([[0.0, 0.0], [1e8, 0.0]]), 1e-3 * jnp.stack([jnp.eye(2)] * 2))
    expected = np.log(0.5) - np.log(2 * np.pi) - 2 * np.log(1e-3)
    np.testing.assert_allclose(density(said, jnp.zeros(2)), expected, rtol=1e-6)


def test_densities_refuse_what_does_not_fit():
    said = GaussianMixture(*(jnp.asarray(leaf, jnp.float32) for leaf in mixture((3,), 4, 2)))
    with pytest.raises(ValueError, match=r"means must have shape \[3, 4, 3\]"):
        log_density(said, jnp.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"logits must have shape \[4\], got \[3, 4\]|logits must have shape"):
        log_density(said, jnp.zeros(2))
    with pytest.raises(TypeError, match="points must have dtype floating"):
        log_density(said, jnp.zeros((3, 2), int))
    with pytest.raises(TypeError, match="logits must have dtype float16, got float32"):
        log_density(said, jnp.zeros((3, 2), jnp.float16))


def test_point_by_point_is_all_at_once():
    model, points = small(), drawing((2, 4))
    whole, end = scored(model, points)
    state, rows = model.initial_state(2), []
    for at in range(4):
        scores, state = scored(model, points[:, at : at + 1], state)
        rows.append(scores)
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *rows)
    for one, other in zip(jax.tree.leaves((whole, end)), jax.tree.leaves((joined, state)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_loss_by_hand():
    """From the scores, by scipy, over valid steps of rows that count; in standard deviations of the offsets."""
    model = small(smallest_scale=0.3)
    inputs, targets = drawing((3, 6)), drawing((3, 6), seed=1)
    lengths = np.array([*LENGTHS, 5], np.int32)
    batch = SequenceBatch(inputs, targets, lengths, lengths, np.array([1, 1, 0], np.float32))
    means = loss_of(model, batch)
    scores, _ = jax.device_get(scored(model, inputs))
    offset, pen, hits = [], [], []
    for row, step in [(0, step) for step in range(6)] + [(1, step) for step in range(3)]:
        said = jax.tree.map(lambda leaf, at=(row, step): np.asarray(leaf[at], np.float64), scores)
        diagonal = np.diagonal(said.offset.scale_tril, axis1=1, axis2=2)
        assert (diagonal > 0.3 * np.array([2.0, 3.0])).all()
        offset.append(-by_scipy(said.offset, targets[row, step, :2]) - np.log(2.0 * 3.0))
        pen.append(-scipy.special.log_softmax(said.pen)[int(targets[row, step, 2])])
        hits.append(said.pen.argmax() == targets[row, step, 2])
    expected = {"loss": np.add(offset, pen), "offset_nll": offset, "pen_nll": pen, "pen_accuracy": hits}
    for name, values in expected.items():
        np.testing.assert_allclose(means[name].value, np.mean(values), rtol=1e-5)


def test_what_is_padding_changes_nothing():
    model, inputs, targets = small(), drawing((2, 6)), drawing((2, 6), seed=1)
    padded = [
        np.where(np.arange(6)[None, :, None] < LENGTHS[:, None, None], each, np.nan) for each in (inputs, targets)
    ]
    inside = [np.nan_to_num(each) for each in padded]

    slopes_of_loss = nnx.jit(nnx.value_and_grad(lambda model, batch: loss_of(model, batch)["loss"].value))
    given = [SequenceBatch(*each, LENGTHS, LENGTHS, np.ones(2, np.float32)) for each in (padded, inside)]
    (one, slopes), (other, other_slopes) = (slopes_of_loss(model, batch) for batch in given)
    np.testing.assert_allclose(one, other, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), slopes, other_slopes)


def test_figures_do_not_depend_on_units():
    inputs, targets = drawing((2, 6)), drawing((2, 6), seed=1)
    found = []
    for unit in (1.0, 250.0):
        model, by = small(), np.array([unit, unit, 1.0], np.float32)
        model.standardize.adapt([targets[..., :2] * np.float32(unit)])
        batch = SequenceBatch(inputs * by, targets * by, None, None, np.ones(2, np.float32))
        found.append(loss_of(model, batch)["loss"].value)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_a_drawing_depends_on_its_number_alone(monkeypatch):
    """Not on how many there are, nor on the pieces that they are drawn in; and each ends where it ends."""
    model, key = small(), jax.random.key(3)
    model.head.bias[...] = model.head.bias[...].at[-3:].set(jnp.array([3.0, 1.0, 0.5]))
    many = generate_strokes(model, 5, key=key, length=60)
    monkeypatch.setattr(strokes, "PIECE", 7)
    few = generate_strokes(model, 3, key=key, length=60)
    for one, other in zip(many, few, strict=False):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert len({len(each) for each in many}) > 2
    for each in many:
        assert each.dtype == np.float32
        assert each[0].tolist() == [0.0, 0.0, DRAWS]
        assert np.flatnonzero(each[:, 2] == ENDS).tolist() == [len(each) - 1]
    cut = generate_strokes(model, 5, key=key, length=4)
    for one, other in zip(many, cut, strict=True):
        np.testing.assert_allclose(one[:4, :2], other[:, :2], atol=1e-4)
        assert other[-1, 2] == ENDS


def test_an_endless_bias_follows_the_likeliest_means():
    model = small()
    model.head.bias[...] = model.head.bias[...].at[-3:].set(jnp.array([50.0, 0.0, 0.0]))
    (drawn,) = generate_strokes(model, 1, key=jax.random.key(0), bias=80.0, length=6)
    scores, _ = scored(model, drawn[None, :-1])
    which = np.argmax(scores.offset.logits[0], axis=1)
    np.testing.assert_allclose(drawn[1:, :2], np.asarray(scores.offset.means)[0, np.arange(5), which], atol=1e-4)


def test_pens_come_as_often_as_said():
    where = GaussianMixture(jnp.zeros(1), jnp.zeros((1, 2)), jnp.eye(2)[None])
    scores = mixture_density.StrokeScores(where, jnp.log(jnp.array([0.7, 0.2, 0.1])))
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: StrokeSampling(bias=1.0)(key, scores)))(keys))
    shares = np.bincount(drawn[:, 2].astype(int), minlength=3) / len(keys)
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.015)
    np.testing.assert_allclose(drawn[:, :2].std(axis=0), np.exp(-1.0), rtol=0.03)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"hidden_features": ()}, ValueError, "hidden_features must have a width for at least one"),
        ({"hidden_features": (0,)}, ValueError, "hidden_features must be at least 1, got 0"),
        ({"cell": "elman"}, ValueError, "cell must be one of 'lstm', 'gru'"),
        ({"components": 0}, ValueError, "components must be at least 1"),
        ({"smallest_scale": -0.1}, ValueError, "smallest_scale must be at least 0, got -0.1"),
        ({"output_dropout": 1.0}, ValueError, r"output_dropout must be in \[0, 1\)"),
    ],
)
def test_settings_out_of_range(options, error, sentence):
    with pytest.raises(error, match=sentence):
        MixtureDensityConfig(**options)


def test_arguments_of_another_kind():
    model, key = small(), jax.random.key(0)
    with pytest.raises(ValueError, match=r"points must have shape \[B, T, 3\], got \[2, 4\]"):
        model(jnp.zeros((2, 4)))
    with pytest.raises(TypeError, match="model must be a MixtureDensity, got Linear"):
        generate_strokes(model.head, 1, key=key)
    with pytest.raises(ValueError, match="length must be at least 2, got 1"):
        generate_strokes(model, 1, key=key, length=1)
    with pytest.raises(ValueError, match="bias must be at least 0"):
        generate_strokes(model, 1, key=key, bias=-1.0)
