"""Forecasts that need no training, to be beaten: the last value, the value a season ago, a straight line.

Each takes windows of history, [N, L, C] with NaN where a number is missing, and a horizon H, and gives [N, H, C] in
float64. It is NaN only for a channel of a window in which nothing was observed.

Source: Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", section 5.2.
"""

import numpy as np

from lstmjax import checks
from lstmjax.types import Float


def last_value(history: Float[np.ndarray, "N L C"], horizon: int) -> Float[np.ndarray, "N H C"]:
    """The last number observed, again and again.

    Args:
      history: [N, L, C], NaN where missing; L at least 1.
      horizon: H, at least 1.

    Raises:
      TypeError, ValueError: another shape, or a horizon that is no whole number above 0.

    >>> last_value(np.array([[[1.0], [2.0], [np.nan]]]), 2).tolist()
    [[[2.0], [2.0]]]
    """
    history = _checked(history, horizon)
    return np.repeat(_at(history, _last_observed(history)), horizon, axis=1)


def seasonal_naive(history: Float[np.ndarray, "N L C"], horizon: int, season: int) -> Float[np.ndarray, "N H C"]:
    """The latest number observed a whole number of seasons before; where there is none, the last one observed.

    Args:
      history, horizon: see `last_value`.
      season: its length in steps, at least 1.

    Raises:
      TypeError, ValueError: another shape, or a horizon or season that is no whole number above 0.

    >>> seasonal_naive(np.array([[[1.0], [2.0], [3.0], [np.nan]]]), 3, season=2).tolist()
    [[[3.0], [2.0], [3.0]]]
    """
    history = _checked(history, horizon)
    checks.positive_int("season", season)
    windows, steps, channels = history.shape
    padded = np.pad(history, ((0, 0), (-steps % season, 0), (0, 0)), constant_values=np.nan)
    seasons = padded.reshape(windows, -1, season * channels)  # the history ends where a season does
    latest = _at(seasons, _last_observed(seasons)).reshape(windows, season, channels)
    forecast = latest[:, np.arange(horizon) % season]
    return np.where(np.isnan(forecast), last_value(history, horizon), forecast)


def drift(history: Float[np.ndarray, "N L C"], horizon: int) -> Float[np.ndarray, "N H C"]:
    """The line through the first and the last number observed, which are one where only one was: a level line then.

    Args and raises: see `last_value`.

    >>> drift(np.array([[[1.0], [9.0], [5.0]]]), 2).tolist()
    [[[7.0], [9.0]]]
    """
    history = _checked(history, horizon)
    first, last = np.argmax(~np.isnan(history), axis=1, keepdims=True), _last_observed(history)
    slope = (_at(history, last) - _at(history, first)) / np.maximum(last - first, 1)
    ahead = np.arange(history.shape[1], history.shape[1] + horizon)[:, None] - last
    return _at(history, last) + slope * ahead  # type: ignore[no-any-return]


def _checked(history: np.ndarray, horizon: int) -> np.ndarray:
    history = np.asarray(history, np.float64)
    checks.shape("history", history, ("N", "L", "C"))
    checks.positive_int("the history's length", history.shape[1])
    checks.positive_int("horizon", horizon)
    return history


def _last_observed(history: np.ndarray) -> np.ndarray:
    """The step of the last number that is there, [N, 1, C]; the last step where there is none."""
    backwards = ~np.isnan(history[:, ::-1])
    return history.shape[1] - 1 - np.argmax(backwards, axis=1, keepdims=True)  # type: ignore[no-any-return]


def _at(history: np.ndarray, step: np.ndarray) -> np.ndarray:
    return np.take_along_axis(history, step, axis=1)
