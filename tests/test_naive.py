"""Forecasts without training, against numbers worked out by hand."""

import numpy as np
import pytest

from experiments.forecast.naive import drift, last_value, seasonal_naive

NAN = np.nan
WINDOWS = np.array(
    [
        [[1.0, NAN], [2.0, 4.0], [6.0, NAN], [3.0, 8.0], [NAN, NAN]],
        [[NAN, NAN], [NAN, NAN], [NAN, NAN], [NAN, 5.0], [NAN, NAN]],
    ]
)


def test_the_last_value_observed():
    assert last_value(WINDOWS, 2).tolist()[0] == [[3.0, 8.0], [3.0, 8.0]]
    np.testing.assert_array_equal(last_value(WINDOWS, 2)[1], [[NAN, 5.0], [NAN, 5.0]])


def test_a_season_before():
    """Steps 5, 6, 7 with season 2: 5 is like 3, 1; 6 is like 4, 2, 0, of which 4 is missing; 7 is like 5."""
    assert seasonal_naive(WINDOWS, 3, season=2).tolist()[0] == [[3.0, 8.0], [6.0, 8.0], [3.0, 8.0]]
    np.testing.assert_array_equal(seasonal_naive(WINDOWS, 2, season=2)[1], [[NAN, 5.0], [NAN, 5.0]])


def test_a_season_that_the_history_does_not_hold():
    """Season 7: step 5 and 6 were never seen (-2, -1); 7 is like 0, 8 like 1, 9 like 2; 12 again like 5."""
    first = [[3.0, 8.0], [3.0, 8.0], [1.0, 8.0], [2.0, 4.0], [6.0, 8.0], [3.0, 8.0], [3.0, 8.0], [3.0, 8.0]]
    assert seasonal_naive(WINDOWS, 8, season=7).tolist()[0] == first


@pytest.mark.parametrize("season", [1, 3, 12, 20])
def test_seasonal_naive_is_what_looking_back_finds(season):
    rng = np.random.default_rng(season)
    history = np.where(rng.random((3, 13, 2)) < 0.4, NAN, rng.normal(size=(3, 13, 2)))
    history[..., 3, :] = 1.0  # something was observed
    got = seasonal_naive(history, 30, season)
    for n, h, c in np.ndindex(got.shape):
        before = [t for t in range(13 + h, -1, -season) if t < 13 and not np.isnan(history[n, t, c])]
        seen = before or [t for t in range(12, -1, -1) if not np.isnan(history[n, t, c])]
        assert got[n, h, c] == history[n, seen[0], c]


def test_drift_is_the_line_through_the_ends():
    """(0, 1) to (3, 3): 2 / 3 a step; (1, 4) to (3, 8): 2 a step; both from step 5 on. One number: level."""
    np.testing.assert_allclose(drift(WINDOWS, 2)[0], [[3 + 4 / 3, 12.0], [5.0, 14.0]], rtol=1e-15)
    np.testing.assert_array_equal(drift(WINDOWS, 2)[1], [[NAN, 5.0], [NAN, 5.0]])
    line = np.broadcast_to(np.arange(4.0)[None, :, None], (2, 4, 3))
    np.testing.assert_allclose(drift(line, 5)[0, :, 0], np.arange(4.0, 9.0), rtol=1e-15)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: last_value(WINDOWS[0], 2), r"history must have shape \[N, L, C\], got \[5, 2\]"),
        (lambda: drift(WINDOWS, 0), "horizon must be at least 1, got 0"),
        (lambda: drift(WINDOWS[:, :0], 1), "the history's length must be at least 1, got 0"),
        (lambda: seasonal_naive(WINDOWS, 1, season=0), "season must be at least 1, got 0"),
    ],
)
def test_refusals(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
