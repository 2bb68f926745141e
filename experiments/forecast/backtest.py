"""What a forecast is worth: at every origin of a part, what was said is held against what came."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.baselines import Figures
from experiments.forecast import naive, parts
from lstmjax import scores
from lstmjax.data.windows import WindowBatch
from lstmjax.decoding.forecasts import Forecast, in_own_units, paths
from lstmjax.models import ForecasterConfig
from lstmjax.scores import Totals

LEVELS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
"""Nominal coverage, in percent, of the central intervals that are looked at."""
PINBALL = (10, 50, 90)
"""Levels of the pinball loss, in percent."""
ROWS = 32  # windows at a time
MOST_WINDOWS = 3000  # looked at where nobody says how many


class Origins(NamedTuple):
    """Some windows of a part: what a model reads of them, what came, and whose they are.

    `batch`: in the scale of training. `history` [N, L, C] and `future` [N, H, C]: in the data's own units, NaN where
    missing and in rows that only fill the batch up. `series` [N]: numbers.
    """

    batch: WindowBatch
    history: np.ndarray
    future: np.ndarray
    series: np.ndarray


Forecaster = Callable[[Origins], Forecast]


@dataclasses.dataclass(frozen=True)
class Backtest:
    """Every origin of a part of prepared series, a few at a time.

    Args:
      prepared: the series.
      model: its input length decides which windows there are.
      part: "validation" or "test".
      season: in steps; naive forecasts are shown two of them.
      stride: steps between two origins of a series; None means 1, or what leaves about `MOST_WINDOWS`.
    """

    prepared: parts.Prepared
    model: ForecasterConfig
    part: str
    season: int
    stride: int | None = None

    def origins(self) -> Iterator[Origins]:
        """The windows in the order of series and time."""
        assert self.model.input_length is not None
        stride = self.stride
        if stride is None:
            count = parts.windows(self.prepared, self.part, self.prepared.raw(), self.model, 1, 1).num_windows
            stride = -(-count // MOST_WINDOWS)
        lengths = (self.model.input_length, max(self.model.input_length, 2 * self.season))
        scaled, raw = (
            dataclasses.replace(
                parts.windows(self.prepared, self.part, rows, self.model, length, stride), batch_size=ROWS
            )
            for rows, length in zip((self.prepared.scaled(), self.prepared.raw()), lengths, strict=True)
        )
        for position in range(len(scaled)):
            batch, own = scaled.batch(position), raw.batch(position)
            numbers = np.minimum(np.arange(position * ROWS, (position + 1) * ROWS), scaled.num_windows - 1)
            future = np.where(batch.weights[:, None, None] > 0, own.future, np.nan)
            yield Origins(batch, own.history, future, scaled.place(numbers)[0])

    def of_model(self, model: Any, num_paths: int, seed: int) -> Forecaster:
        """What a trained model says, in the data's own units."""
        batches = itertools.count()

        def forecast(origins: Origins) -> Forecast:
            key = jax.random.fold_in(jax.random.key(seed), next(batches))
            point, drawn = paths(model, origins.batch, num_paths, key)
            return in_own_units(point, drawn, [self.prepared.scaler.of(number) for number in origins.series])

        return forecast

    def of_naive(self, said: Callable[[np.ndarray], np.ndarray], num_paths: int, seed: int) -> Forecaster:
        """A naive forecast, with the errors it made before this part for paths around it.

        Args:
          said: `history [N, L, C] -> [N, H, C]`; where a channel has no history, its training mean stands instead.
          num_paths: S; 0 for points alone.
          seed: chooses S of the errors.
        """
        errors = self._errors_before(said) if num_paths else np.zeros((1, 1, 1))
        chosen = errors[np.random.default_rng(seed).integers(len(errors), size=num_paths)]

        def forecast(origins: Origins) -> Forecast:
            point = said(origins.history)
            point = np.where(np.isnan(point), self.prepared.level[origins.series][:, None], point)
            around = chosen[:, None] * self.prepared.spread[origins.series][:, None]
            return Forecast(point, point + around)

        return forecast

    def _errors_before(self, said: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """What came less what was said, in training spreads, [N, H, C], where nothing was missing."""
        found = []
        for part in ("train",) if self.part == "validation" else ("train", "validation"):
            for origins in dataclasses.replace(self, part=part, stride=None).origins():
                spread = self.prepared.spread[origins.series][:, None]
                found.append((origins.future - said(origins.history)) / spread)
        errors = np.concatenate(found)
        whole = errors[~np.any(np.isnan(errors), axis=(1, 2))]
        return whole if len(whole) else np.zeros((1, *errors.shape[1:]))

    def score(self, forecaster: Forecaster) -> Totals:
        """All scores over all origins."""
        totals = Totals()
        series = zip(self.prepared.table.series, self.prepared.cuts, strict=True)
        in_sample = np.stack([scores.seasonal_naive_error(s.targets[: c.validation], self.season) for s, c in series])
        for origins in self.origins():
            said = forecaster(origins)
            _add(totals, said, origins.future, self.prepared.spread[origins.series][:, None])
            totals.add("mase", scores.mase(said.point, origins.future, in_sample[origins.series][:, None]))
        return totals


def _add(totals: Totals, said: Forecast, future: np.ndarray, spread: np.ndarray) -> None:
    """Scores of some windows; those in training spreads are called scaled."""
    absolute, squared = scores.absolute_error(said.point, future), scores.squared_error(said.point, future)
    for name, values in (("mae", absolute), ("scaled_mae", absolute / spread)):
        totals.add(name, values)
    for name, values in (("mse", squared), ("scaled_mse", squared / np.square(spread))):
        totals.add(name, values)
    totals.add("smape", scores.smape(said.point, future))
    if len(said.paths) == 0:
        return
    crps = scores.crps(said.paths, future)
    totals.add("crps", crps)
    totals.add("scaled_crps", crps / spread)
    shares = {share for level in LEVELS for share in ends(level)} | {level / 100 for level in PINBALL}
    quantiles = dict(zip(sorted(shares), said.quantile(np.array(sorted(shares))), strict=True))  # sorts paths once
    for level in PINBALL:
        totals.add(f"pinball_{level}", scores.pinball(quantiles[level / 100], future, level / 100))
    for level in LEVELS:
        low, high = ends(level)
        totals.add(f"coverage_{level}", scores.coverage(quantiles[low], quantiles[high], future))


def ends(level: int) -> tuple[float, float]:
    """The probabilities between which a central interval of a nominal coverage in percent lies.

    >>> ends(80)
    (0.1, 0.9)
    """
    return (100 - level) / 200, (100 + level) / 200


def figures_of(totals: Totals, prefix: str, targets: tuple[str, ...]) -> Figures:
    """Every score by its plain name: one target's in its own units, several's in standard deviations of their training
    parts, since units do not add; then `mae_NAME` is each one's in its own. A score that nothing can have is left out,
    such as the MASE of a series that never changed."""
    names = [name for name in totals.sums if not name.startswith("scaled_")]
    found = {name: totals.mean(name) for name in names if not name.startswith("coverage_")}
    if len(targets) > 1:
        found |= {name: totals.mean(f"scaled_{name}") for name in names if f"scaled_{name}" in totals.sums}
        found |= {f"mae_{t}": value for t, value in zip(targets, totals.by_channel("mae").tolist(), strict=True)}
    found["rmse"] = float(np.sqrt(found["mse"]))
    found |= {f"scaled_{name}": totals.mean(f"scaled_{name}") for name in ("mse", "mae")}
    found |= {name: totals.mean(name) for name in ("coverage_80", "coverage_95") if name in totals.sums}
    return {f"{prefix}_{name}": value for name, value in found.items() if not np.isnan(value)}


def naive_forecasts(horizon: int, season: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Forecasts that need no training, by name."""
    return {
        "last_value": lambda history: naive.last_value(history, horizon),
        "seasonal_naive": lambda history: naive.seasonal_naive(history, horizon, season),
        "drift": lambda history: naive.drift(history, horizon),
    }
