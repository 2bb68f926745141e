"""Scores against numbers worked out by hand, closed forms and brute force; sums that add up over batches."""

import numpy as np
import pytest
import scipy.stats

from lstmjax import scores

NAN, INF = np.nan, np.inf
RNG = np.random.default_rng(0)
Y = np.array([3.0, 0.0, NAN, 5.0])
F = np.array([1.0, 0.0, 2.0, NAN])


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (lambda: scores.absolute_error(F, Y), [2.0, 0.0, NAN, INF]),
        (lambda: scores.squared_error(F, Y), [4.0, 0.0, NAN, INF]),
        (lambda: scores.smape(F, Y), [100.0, 0.0, NAN, INF]),  # 200 * 2 / 4; both 0
        (lambda: scores.mase(F, Y, 4.0), [0.5, 0.0, NAN, INF]),
        (lambda: scores.mase(F, Y, np.array([4.0, 0.0, 1.0, NAN])), [0.5, NAN, NAN, NAN]),
        (lambda: scores.pinball(F, Y, 0.9), [1.8, 0.0, NAN, INF]),
        (lambda: scores.pinball(Y, F, 0.9), [0.2, 0.0, INF, NAN]),
        (lambda: scores.coverage(F - 1, F + 1, Y), [0.0, 1.0, NAN, 0.0]),
        (lambda: scores.interval_score(F - 1, F + 1, Y, 0.95), [42.0, 2.0, NAN, INF]),  # 2 + 2 / 0.05 * 1
        (lambda: scores.crps(F[None], Y), [2.0, 0.0, NAN, INF]),
        (lambda: scores.crps(np.stack([F, F + 2, F + 6]), Y), [2 / 3, 4 / 3, NAN, INF]),
    ],
)
def test_worked_examples(score, expected):
    """The last: draws 1, 3, 7 miss 3 by 6/3, draws 0, 2, 6 miss 0 by 8/3 on average; pairs differ by 24/9."""
    np.testing.assert_allclose(score(), expected, rtol=1e-14)


def test_smape_of_opposite_signs_is_the_most_there_is():
    np.testing.assert_allclose(scores.smape(np.array([-1.0, 0.0]), np.array([2.0, -3.0])), 200.0)


def test_infinite_forecasts_have_infinite_errors():
    infinite, one = np.array([INF, -INF]), np.ones(2)
    for score in (scores.absolute_error, scores.squared_error, scores.smape):
        assert score(infinite, one).tolist() == [INF, INF]
    assert scores.crps(np.stack([one, infinite]), one).tolist() == [INF, INF]


def test_the_seasonal_naive_error():
    """Season 2: |3 - 1|, |5 - 2|; a missing number takes its pairs along; a constant has 0, too few steps NaN."""
    train = np.array([[1.0, 1.0, 7.0], [2.0, NAN, 7.0], [3.0, 4.0, 7.0], [5.0, 0.0, 7.0]])
    assert scores.seasonal_naive_error(train, 2).tolist() == [2.5, 3.0, 0.0]
    assert np.isnan(scores.seasonal_naive_error(train, 4)).all()
    assert np.isnan(scores.seasonal_naive_error(train, 9)).all()


def test_mase_of_the_seasonal_naive_forecast_on_its_own_training_part_is_one():
    train = RNG.normal(size=(50, 3))
    scale = scores.seasonal_naive_error(train, 7)
    np.testing.assert_allclose(scores.mase(train[:-7], train[7:], scale).mean(axis=0), 1.0, rtol=1e-13)


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_crps_is_the_double_sum_and_the_sum_of_pinball_losses(offset):
    """Jordan, Krueger, Lerch 2019. Far from 0 no digits are lost but those of the numbers."""
    paths, actual = np.round(offset + RNG.normal(size=(11, 4, 2)), 6), np.round(offset + RNG.normal(size=(4, 2)), 6)
    pairs = np.abs(paths[:, None] - paths).mean(axis=(0, 1))
    double_sum = np.abs(paths - actual).mean(axis=0) - pairs / 2
    np.testing.assert_allclose(scores.crps(paths, actual), double_sum, rtol=1e-12)
    losses = [scores.pinball(x, actual, (i + 0.5) / 11) for i, x in enumerate(np.sort(paths, axis=0))]
    np.testing.assert_allclose(scores.crps(paths, actual), 2 * np.mean(losses, axis=0), rtol=1e-12)


def test_crps_of_many_draws_is_the_closed_form_of_the_gaussian():
    """s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), Gneiting and Raftery 2007, from stratified draws."""
    actual = np.linspace(-4.0, 9.0, 14)
    z, normal = (actual - 2.0) / 1.5, scipy.stats.norm
    closed = 1.5 * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / np.sqrt(np.pi))
    paths = normal.ppf((np.arange(20_000) + 0.5) / 20_000, 2.0, 1.5)
    np.testing.assert_allclose(scores.crps(np.repeat(paths[:, None], 14, axis=1), actual), closed, atol=3e-4)


def test_pinball_and_intervals_are_least_at_the_true_quantiles():
    y = RNG.normal(size=20_001)
    low, high = np.quantile(y, [0.1, 0.9])

    def at(low, high):
        full = np.full_like(y, low), np.full_like(y, high)
        return scores.interval_score(*full, y, 0.8).mean(), scores.pinball(full[0], y, 0.1).mean()

    for moved in (-0.1, 0.1):
        assert at(low + moved, high)[0] > at(low, high)[0]
        assert at(low + moved, high)[1] > at(low, high)[1]
        assert at(low, high + moved)[0] > at(low, high)[0]
    assert scores.coverage(np.full_like(y, low), np.full_like(y, high), y).mean() == pytest.approx(0.8, abs=1e-3)


def test_the_interval_score_is_two_pinball_losses():
    (low, high), y = np.sort(RNG.normal(size=(2, 100)), axis=0), RNG.normal(size=100)
    both = scores.pinball(low, y, 0.1) + scores.pinball(high, y, 0.9)
    np.testing.assert_allclose(scores.interval_score(low, high, y, 0.8), 2 / 0.2 * both, rtol=1e-12)


def test_totals_of_batches_are_means_of_the_whole():
    values = RNG.normal(size=(20, 5, 3))
    values[RNG.random(values.shape) < 0.3] = NAN
    values[:, :, 2] = NAN
    totals = scores.Totals()
    for part in (values[:1], values[1:1], values[1:13], values[13:]):
        totals.add("mae", part)
        totals.add("mse", 2 * part)
    seen = values[..., :2]
    np.testing.assert_allclose(totals.mean("mae"), np.nanmean(seen), rtol=1e-12)
    np.testing.assert_allclose(totals.mean("mse"), 2 * np.nanmean(seen), rtol=1e-12)
    np.testing.assert_allclose(totals.by_step("mae"), np.nanmean(seen, axis=(0, 2)), rtol=1e-12)
    np.testing.assert_allclose(totals.by_channel("mae"), [*np.nanmean(seen, axis=(0, 1)), NAN], rtol=1e-12)


def test_totals_of_nothing_are_nan_and_of_infinity_infinite():
    totals = scores.Totals()
    totals.add("mae", np.full((2, 1, 1), NAN))
    assert np.isnan(totals.mean("mae"))
    totals.add("mae", np.array([[[INF]], [[1.0]]]))
    assert totals.mean("mae") == INF


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: scores.absolute_error(F[:1], Y), ValueError, r"forecast must have shape \[4\], got \[1\]"),
        (lambda: scores.coverage(F, F[:1], Y), ValueError, r"high must have shape \[4\], got \[1\]"),
        (lambda: scores.crps(F, Y), ValueError, r"paths must have shape \[S, 4\], got \[4\]"),
        (lambda: scores.crps(F[None][:0], Y), ValueError, "the number of paths must be at least 1, got 0"),
        (lambda: scores.pinball(F, Y, 1.0), ValueError, r"level must be in \(0, 1\), got 1.0"),
        (lambda: scores.interval_score(F, F, Y, True), TypeError, "level must be a number, got True"),
        (lambda: scores.seasonal_naive_error(Y[:, None], 0), ValueError, "season must be at least 1, got 0"),
        (lambda: scores.seasonal_naive_error(Y, 1), ValueError, r"train must have shape \[T, C\], got \[4\]"),
        (lambda: scores.Totals().add("mae", Y), ValueError, r"mae must have shape \[N, H, C\], got \[4\]"),
    ],
)
def test_refusals(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_totals_of_another_horizon():
    totals = scores.Totals()
    totals.add("mae", np.ones((1, 2, 3)))
    with pytest.raises(ValueError, match=r"mae must have shape \[N, 2, 3\], got \[1, 1, 3\]"):
        totals.add("mae", np.ones((1, 1, 3)))
