"""Scores of forecasts by their published definitions, in NumPy's float64: one for each number, and sums of them.

Each function gives the score at every position [...]; the score of a backtest is their mean, which `Totals` adds up
batch by batch. Forecasts have the shape of `actual`, what came. Where `actual` is missing (NaN) the score is NaN, and
no mean counts it. A forecast that is NaN where something came has an infinite error: a model that diverged can't hide.
"""

import dataclasses

import numpy as np

from lstmjax import checks
from lstmjax.types import Float


def absolute_error(forecast: Float[np.ndarray, "..."], actual: Float[np.ndarray, "..."]) -> np.ndarray:
    """`|actual - forecast|`, whose mean is the MAE.

    Args:
      forecast: [...], numbers.
      actual: [...], numbers, NaN where missing.

    Returns:
      float64 [...], NaN where `actual` is.

    Raises:
      ValueError: shapes that differ.

    >>> absolute_error(np.array([1.0, 2.0]), np.array([3.0, np.nan])).tolist()
    [2.0, nan]
    """
    forecast, actual = _pair("forecast", forecast, actual)
    return _scored(np.abs(actual - forecast), actual)


def squared_error(forecast: Float[np.ndarray, "..."], actual: Float[np.ndarray, "..."]) -> np.ndarray:
    """`(actual - forecast)^2`, whose mean is the MSE, and the root of that the RMSE.

    Args, returns and raises: see `absolute_error`.

    >>> squared_error(np.array([1.0]), np.array([4.0])).tolist()
    [9.0]
    """
    return np.square(absolute_error(forecast, actual))  # type: ignore[no-any-return]


@np.errstate(invalid="ignore")
def smape(forecast: Float[np.ndarray, "..."], actual: Float[np.ndarray, "..."]) -> np.ndarray:
    """`200 |actual - forecast| / (|actual| + |forecast|)`, in percent from 0 to 200; 0 where both are 0.

    Args, returns and raises: see `absolute_error`.

    Source: Makridakis, Spiliotis and Assimakopoulos 2020, "The M4 Competition".

    >>> smape(np.array([1.0, 0.0]), np.array([3.0, 0.0])).tolist()
    [100.0, 0.0]
    """
    forecast, actual = _pair("forecast", forecast, actual)
    size = np.abs(actual) + np.abs(forecast)
    return _scored(200.0 * np.abs(actual - forecast) / np.where(size == 0.0, 1.0, size), actual)


def mase(
    forecast: Float[np.ndarray, "... C"], actual: Float[np.ndarray, "... C"], scale: Float[np.ndarray, "C"]
) -> np.ndarray:
    """`|actual - forecast| / scale`, with the `seasonal_naive_error` of the training part as the scale.

    Where the scale is 0 (a series that never changed) or NaN the score is NaN: there is none, and no mean counts it.

    Args:
      forecast, actual: [..., C]; see `absolute_error`.
      scale: [C], or any shape that goes along with `actual`: one a channel, at least 0.

    Returns and raises: see `absolute_error`. Below 1 is better than the seasonal naive forecast was on the training
    part, one step ahead.

    Source: Hyndman and Koehler 2006, "Another look at measures of forecast accuracy".

    >>> mase(np.array([[1.0, 1.0]]), np.array([[4.0, 4.0]]), np.array([2.0, 0.0])).tolist()
    [[1.5, nan]]
    """
    scale = np.asarray(scale, np.float64)
    error = absolute_error(forecast, actual)
    return error / np.broadcast_to(np.where(scale > 0.0, scale, np.nan), error.shape)  # type: ignore[no-any-return]


def seasonal_naive_error(train: Float[np.ndarray, "T C"], season: int) -> np.ndarray:
    """The mean over t of `|train[t] - train[t - season]|`, over the pairs of which both are there.

    Args:
      train: [T, C], the training part, NaN where missing.
      season: at least 1, in steps; 1 where there is none.

    Returns:
      float64 [C], NaN for a channel without such a pair.

    Raises:
      TypeError, ValueError: a season that is no whole number above 0, another shape.

    >>> seasonal_naive_error(np.array([[1.0], [2.0], [4.0], [2.0]]), season=2).tolist()  # (3 + 0) / 2
    [1.5]
    """
    checks.positive_int("season", season)
    train = np.asarray(train, np.float64)
    checks.shape("train", train, ("T", "C"))
    changes = np.abs(train[season:] - train[:-season])
    return _ratio(np.nansum(changes, axis=0), np.sum(~np.isnan(changes), axis=0))


@np.errstate(invalid="ignore")
def crps(paths: Float[np.ndarray, "S ..."], actual: Float[np.ndarray, "..."]) -> np.ndarray:
    """The continuous ranked probability score of S draws: `mean |x - y| - mean |x - x'| / 2` over all pairs.

    In the unit of the data; of one draw, the absolute error. Of the draws in order, it is `2 / S` times the sum of
    their pinball losses at the levels `(i - 1/2) / S`, so the cost is that of sorting.

    Args:
      paths: [S, ...], the draws, at least one.
      actual: [...], see `absolute_error`.

    Returns and raises: see `absolute_error`; ValueError also for no draw.

    Source: Jordan, Krüger and Lerch 2019, "Evaluating Probabilistic Forecasts with scoringRules".

    >>> crps(np.array([[1.0], [3.0]]), np.array([2.0])).tolist()  # 1 - 1 / 2
    [0.5]
    """
    actual = np.asarray(actual, np.float64)
    checks.shape("paths", np.asarray(paths), ("S", *actual.shape))
    count = checks.positive_int("the number of paths", len(paths))
    errors = in_order(np.asarray(paths, np.float64) - actual)
    ranks = (2.0 * np.arange(1, count + 1) - count - 1.0) / count**2
    return _scored(np.mean(np.abs(errors), axis=0) - np.tensordot(ranks, errors, axes=1), actual)


def in_order(paths: Float[np.ndarray, "S ..."]) -> np.ndarray:
    """Draws from the lowest to the highest: `np.sort(paths, axis=0)`, in a tenth of its time.

    >>> in_order(np.array([[3.0], [1.0]])).tolist()
    [[1.0], [3.0]]
    """
    side_by_side = np.ascontiguousarray(np.moveaxis(paths, 0, -1))
    return np.moveaxis(np.sort(side_by_side, axis=-1), -1, 0)


def pinball(quantile: Float[np.ndarray, "..."], actual: Float[np.ndarray, "..."], level: float) -> np.ndarray:
    """`max(level e, (level - 1) e)` with `e = actual - quantile`: least, on average, at the true quantile.

    Args:
      quantile: [...], the forecast of the quantile.
      actual: [...], see `absolute_error`.
      level: in (0, 1), the quantile's probability.

    Returns and raises: see `absolute_error`; TypeError or ValueError also for a level that is no number in (0, 1).

    Source: Koenker and Bassett 1978, "Regression Quantiles".

    >>> pinball(np.array([2.0, 2.0]), np.array([3.0, 1.0]), 0.75).tolist()
    [0.75, 0.25]
    """
    checks.fraction("level", level)
    quantile, actual = _pair("quantile", quantile, actual)
    error = actual - quantile
    return _scored(np.maximum(level * error, (level - 1.0) * error), actual)


def coverage(
    low: Float[np.ndarray, "..."], high: Float[np.ndarray, "..."], actual: Float[np.ndarray, "..."]
) -> np.ndarray:
    """1 where `low <= actual <= high`, else 0: its mean should be the interval's nominal probability.

    Args:
      low, high: [...], the interval's ends.
      actual: [...], see `absolute_error`.

    Returns and raises: see `absolute_error`.

    >>> coverage(np.zeros(3), np.ones(3), np.array([1.0, 2.0, np.nan])).tolist()
    [1.0, 0.0, nan]
    """
    low, actual = _pair("low", low, actual)
    high, actual = _pair("high", high, actual)
    return np.where(np.isnan(actual), np.nan, (low <= actual) & (actual <= high))


def interval_score(
    low: Float[np.ndarray, "..."], high: Float[np.ndarray, "..."], actual: Float[np.ndarray, "..."], level: float
) -> np.ndarray:
    """The interval's width, and `2 / (1 - level)` times how far outside of it the actual is (Winkler's score).

    Args:
      low, high, actual: see `coverage`.
      level: in (0, 1), the interval's nominal probability, such as 0.8.

    Returns and raises: see `pinball`; the lower the better.

    Source: Gneiting and Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation", section 6.2.

    >>> interval_score(np.zeros(2), np.ones(2), np.array([0.5, 3.0]), 0.8).round(6).tolist()  # 1, 1 + 10 * 2
    [1.0, 21.0]
    """
    checks.fraction("level", level)
    low, actual = _pair("low", low, actual)
    high, actual = _pair("high", high, actual)
    outside = np.maximum(low - actual, 0.0) + np.maximum(actual - high, 0.0)
    return _scored(high - low + 2.0 / (1.0 - level) * outside, actual)


@dataclasses.dataclass
class Totals:
    """Sums of scores by name, over batches of windows of any number: every mean is that over all windows at once.

    Numbers that are NaN are left out.

    Args:
      sums, counts: by name, [H, C] each: what the scores at each step ahead and channel add up to, and how many.

    >>> totals = Totals()
    >>> totals.add("mae", np.array([[[1.0], [2.0]]]))
    >>> totals.add("mae", np.array([[[3.0], [np.nan]], [[5.0], [4.0]]]))
    >>> totals.mean("mae"), totals.by_step("mae").tolist(), totals.by_channel("mae").tolist()
    (3.0, [3.0, 3.0], [3.0])
    """

    sums: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    counts: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def add(self, name: str, values: Float[np.ndarray, "N H C"]) -> None:
        """Add the scores [N, H, C] of N windows.

        Raises:
          ValueError: another shape, or another H or C than before.
        """
        values = np.asarray(values, np.float64)
        checks.shape(name, values, ("N", *self.sums[name].shape) if name in self.sums else ("N", "H", "C"))
        self.sums[name] = self.sums.get(name, 0.0) + np.nansum(values, axis=0)
        self.counts[name] = self.counts.get(name, 0) + np.sum(~np.isnan(values), axis=0)

    def mean(self, name: str) -> float:
        """Over all windows, steps and channels; NaN where there was nothing to count."""
        return float(_ratio(self.sums[name].sum(), self.counts[name].sum()))

    def by_step(self, name: str) -> np.ndarray:
        """For each step ahead, over windows and channels: float64 [H]."""
        return _ratio(self.sums[name].sum(axis=1), self.counts[name].sum(axis=1))

    def by_channel(self, name: str) -> np.ndarray:
        """For each channel, over windows and steps: float64 [C]."""
        return _ratio(self.sums[name].sum(axis=0), self.counts[name].sum(axis=0))


def _pair(name: str, forecast: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    forecast, actual = np.asarray(forecast, np.float64), np.asarray(actual, np.float64)
    checks.shape(name, forecast, actual.shape)
    return forecast, actual


def _scored(score: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """NaN where nothing came, and infinity where only the forecast is NaN."""
    return np.where(np.isnan(actual), np.nan, np.where(np.isnan(score), np.inf, score))


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """`total / count`; NaN of nothing."""
    return np.asarray(total) / np.where(count == 0, np.nan, count)
