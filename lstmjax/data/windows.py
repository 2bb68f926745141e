"""Windows over time series: a history, what is to be forecast from it, and what is known of both; never copied ahead.

A missing value is NaN. A forecast's origin is the row it begins at: its history is what stands before that row.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstmjax import checks
from lstmjax.data.source import fill_up, orders
from lstmjax.errors import InputError


class Rows(NamedTuple):
    """One series as a model reads it, float32, a row a step: `targets` [T, C], `past` [T, P], `known` [T, K]."""

    targets: np.ndarray
    past: np.ndarray
    known: np.ndarray


class WindowBatch(NamedTuple):
    """B windows of L steps of history and H steps to forecast.

    `history` [B, L, C], NaN where a value is missing or a series has not begun; `past` [B, L, P]: covariates that end
    with the history; `known` [B, L + H, K]: covariates known for the steps to come, too; `future` [B, H, C]: what is to
    be forecast, NaN where unknown; `weights` [B]: 0 for rows that only fill the batch up. Covariates beyond a
    series' ends are those of its first and last row.
    """

    history: np.ndarray
    past: np.ndarray
    known: np.ndarray
    future: np.ndarray
    weights: np.ndarray


class Cuts(NamedTuple):
    """Where one series is cut: rows before `validation` train, those from `test` to `end` are looked at once."""

    validation: int
    test: int
    end: int


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """A source of windows over any number of series, each made when its batch is asked for.

    All series are held once, whatever the number of windows; a window costs the 16 bytes that say where it is and when
    it comes. A history that reaches back before its series begins has NaN there.

    Args:
      series: at least one, with the same C, P and K.
      origins: for each series its forecasts' origins, integers in 1..T - H. A window without an observed value in its
        history, or in its future, is of no use: `with_values` leaves such windows out.
      input_length: L, rows of history.
      horizon: H, rows to forecast; where an origin is less than H rows before the end, the future is NaN there.
      batch_size: B.
      seed: at least 0, for another order each pass; None keeps the order of series and time.

    Raises:
      TypeError, ValueError: a number out of range, or origins for fewer or more series.
      InputError: no windows.

    >>> rows = Rows(np.arange(6.0, dtype=np.float32)[:, None], np.zeros((6, 0)), np.zeros((6, 0)))
    >>> source = Windows([rows], [np.array([1, 4])], input_length=2, horizon=2, batch_size=2, seed=None)
    >>> batch = source.batch(0)
    >>> batch.history[:, :, 0].tolist(), batch.future[:, :, 0].tolist()
    ([[nan, 0.0], [2.0, 3.0]], [[1.0, 2.0], [4.0, 5.0]])
    """

    series: Sequence[Rows]
    origins: Sequence[np.ndarray]
    input_length: int
    horizon: int
    batch_size: int
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("input_length", "horizon", "batch_size"):
            checks.positive_int(name, getattr(self, name))
        if self.seed is not None:
            checks.index("seed", self.seed, 0)
        if len(self.origins) != len(self.series):
            raise ValueError(f"origins must be given for each of {len(self.series)} series, got {len(self.origins)}")
        if self.num_windows == 0:
            raise InputError(f"there is no window of a horizon of {self.horizon} steps")

    @functools.cached_property
    def _all(self) -> Rows:
        """The series one after another."""
        return Rows(*(np.concatenate(parts) for parts in zip(*self.series, strict=True)))

    @functools.cached_property
    def _begins(self) -> np.ndarray:
        """Where each series begins among all rows, and where the last one ends."""
        return np.cumsum([0, *(len(rows.targets) for rows in self.series)])

    @functools.cached_property
    def _before(self) -> np.ndarray:
        """How many windows the series before each one have."""
        return np.cumsum([0, *map(len, self.origins)])

    @property
    def num_windows(self) -> int:
        """How many windows make a pass."""
        return int(self._before[-1])

    def __len__(self) -> int:
        return -(-self.num_windows // self.batch_size)

    def place(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The series and the origin of windows, by their numbers in order [N]."""
        series = np.searchsorted(self._before, windows, side="right") - 1
        own = windows - self._before[series]
        origins = [self.origins[number][window] for number, window in zip(series, own, strict=True)]
        return series, np.array(origins, np.int64)

    def batch(self, position: int) -> WindowBatch:
        """The batch at a position, any number from 0."""
        epoch, place = divmod(checks.index("position", position, 0), len(self))
        (order,) = orders((self.num_windows,), self.seed, epoch)
        chosen, weights = fill_up(order[place * self.batch_size : (place + 1) * self.batch_size], self.batch_size)
        series, origins = self.place(chosen)
        begins, ends = self._begins[series], self._begins[series + 1]
        at = (begins + origins)[:, None] + np.arange(-self.input_length, self.horizon)
        is_there = (at >= begins[:, None]) & (at < ends[:, None])
        at = np.clip(at, begins[:, None], ends[:, None] - 1)
        values = np.where(is_there[:, :, None], self._all.targets[at], np.float32(np.nan))
        inputs = slice(None, self.input_length)
        return WindowBatch(
            history=values[:, inputs],
            past=self._all.past[at[:, inputs]],
            known=self._all.known[at],
            future=values[:, self.input_length :],
            weights=weights,
        )


def split_by_time(
    times: Sequence[np.ndarray], ends: Sequence[int], grid: np.ndarray, counts: tuple[int, int, int]
) -> list[Cuts]:
    """Cut all series at the same two times, so that no series is trained on what is another's future to be tested.

    Args:
      times: of each series' rows.
      ends: how many rows of each series have targets.
      grid: all times from the first to the last of any series.
      counts: how many steps of the grid train, validate and test, one part after another; the rest is not looked at.

    >>> times = [np.arange(10), np.arange(5, 10)]
    >>> split_by_time(times, [10, 5], np.arange(10), (6, 2, 2))
    [Cuts(validation=6, test=8, end=10), Cuts(validation=1, test=3, end=5)]
    """
    bounds = np.cumsum(counts)
    found = []
    for own, end in zip(times, ends, strict=True):
        rows = [int(np.searchsorted(own, grid[bound])) if bound < len(grid) else len(own) for bound in bounds]
        found.append(Cuts(*(min(row, end) for row in rows)))
    return found


def part_counts(steps: int, horizon: int, fractions: tuple[float, float]) -> tuple[int, int, int]:
    """How many steps train, validate and test: the fractions asked for, and at least a horizon each.

    Args:
      steps: of the grid.
      horizon: H.
      fractions: for validation and for the test, each in (0, 1).

    Raises:
      InputError: too few steps for three parts.

    >>> part_counts(144, 12, (0.1, 0.2))
    (101, 14, 29)
    """
    validation, test = (max(round(steps * fraction), horizon) for fraction in fractions)
    train = steps - validation - test
    if train < horizon + 1:
        raise InputError(
            f"{steps} steps are too few for a horizon of {horizon}: {validation} to validate on and {test} to test on "
            f"would leave {max(train, 0)} to train on; expected at least {horizon + 1}"
        )
    return train, validation, test


def training_origins(cuts: Cuts, input_length: int, horizon: int, stride: int = 1) -> np.ndarray:
    """Origins whose windows lie in the training part; a series shorter than a window has one with NaN before it begins.

    >>> training_origins(Cuts(10, 12, 14), input_length=4, horizon=3).tolist()
    [4, 5, 6, 7]
    >>> training_origins(Cuts(5, 12, 14), input_length=4, horizon=3).tolist()
    [2]
    """
    return origins_between(min(input_length, cuts.validation - horizon), cuts.validation, horizon, stride)


def origins_between(first: int, end: int, horizon: int, stride: int = 1) -> np.ndarray:
    """Origins whose futures lie in the rows from `first` up to `end`; their histories may reach further back.

    >>> origins_between(6, 12, horizon=3).tolist()
    [6, 7, 8, 9]
    """
    return np.arange(max(first, 1), end - horizon + 1, stride)


def with_values(targets: np.ndarray, origins: np.ndarray, input_length: int, horizon: int) -> np.ndarray:
    """The origins that have an observed value in their history and one in their future.

    >>> targets, origins = np.array([[1.0], [np.nan], [np.nan], [4.0]]), np.array([1, 2, 3])
    >>> with_values(targets, origins, input_length=2, horizon=2).tolist()
    [2]
    """
    observed = np.concatenate([[0], np.cumsum(np.any(~np.isnan(targets), axis=1))])
    before = observed[origins] - observed[np.maximum(origins - input_length, 0)]
    after = observed[np.minimum(origins + horizon, len(targets))] - observed[origins]
    chosen: np.ndarray = origins[(before > 0) & (after > 0)]
    return chosen


def filled_forward(values: np.ndarray) -> np.ndarray:
    """The last observed value of each column [T, P] where one is missing, 0 before the first.

    >>> filled_forward(np.array([[np.nan], [2.0], [np.nan]])).ravel().tolist()
    [0.0, 2.0, 2.0]
    """
    steps = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    latest = np.take_along_axis(values, np.maximum.accumulate(steps, axis=0), axis=0)
    filled: np.ndarray = np.nan_to_num(latest, nan=0.0)
    return filled
