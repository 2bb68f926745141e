"""Series as a forecaster reads them: scaled by their training part, cut at two times, and in windows."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lstmjax.data.series import SeriesSet
from lstmjax.data.timeline import calendar
from lstmjax.data.windows import (
    Cuts,
    Rows,
    Windows,
    filled_forward,
    origins_between,
    part_counts,
    split_by_time,
    training_origins,
    with_values,
)
from lstmjax.errors import InputError
from lstmjax.layers import SeriesScaler
from lstmjax.layers.scaling import scaled, statistics
from lstmjax.models import Forecaster, ForecasterConfig, RecursiveForecaster

LONGEST_INPUT = 1024
SEASONS = 4  # of which a window must have as many for a season to be read as one step


class Prepared(NamedTuple):
    """The series of a file, where each is cut, and the scalers that were measured before the first cut.

    `known`: for each series its known covariates and features of the calendar, [T + F, K]. `level` and `spread` [S, C]:
    mean and standard deviation of each training part, 1 where that is 0; errors in spreads compare across units.
    """

    table: SeriesSet
    known: list[np.ndarray]
    cuts: list[Cuts]
    scaler: SeriesScaler
    past_scaler: SeriesScaler | None
    known_scaler: SeriesScaler | None
    level: np.ndarray
    spread: np.ndarray

    def training_parts(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Of each series' rows, those before its first cut."""
        return [array[: cuts.validation] for array, cuts in zip(arrays, self.cuts, strict=True)]

    def adapt(self, model: "Forecaster | RecursiveForecaster | Prepared") -> None:
        """Give the three scalers of a model what the training part says."""
        series = self.table.series
        model.scaler.adapt(self.training_parts([each.targets for each in series]))
        if model.past_scaler is not None:
            model.past_scaler.adapt(self.training_parts([each.past for each in series]))
        if model.known_scaler is not None:
            model.known_scaler.adapt(self.training_parts(self.known))

    def scaled(self) -> list[Rows]:
        """What a model reads of each series."""
        return [
            Rows(
                self.scaler(each.targets, number),
                filled_forward(scaled(self.past_scaler, each.past)),
                scaled(self.known_scaler, known[: len(each.targets)]),
            )
            for number, (each, known) in enumerate(zip(self.table.series, self.known, strict=True))
        ]

    def raw(self) -> list[Rows]:
        """The targets of each series alone, in their own units, float64."""
        return [Rows(each.targets, *[np.zeros((len(each.targets), 0))] * 2) for each in self.table.series]


def with_calendar(table: SeriesSet) -> list[np.ndarray]:
    """The known covariates of each series and, after them, features of the calendar."""
    return [np.hstack([each.known, calendar(each.times, table.frequency)[0]]) for each in table.series]


def prepare(
    table: SeriesSet,
    model: ForecasterConfig,
    has_calendar: bool,
    counts: tuple[int, int, int] | None,
    fractions: tuple[float, float],
) -> Prepared:
    """Cut the series, and measure the scales of what comes before the first cut.

    A series that was never observed before that is left out, and a note says so.

    Args:
      table: from a file.
      model: its horizon, and how it scales.
      has_calendar: whether features of the calendar are known covariates, too.
      counts: how many steps train, validate and test; None leaves it to the fractions.
      fractions: for validation and for the test.

    Raises:
      InputError: too few steps, a target that was never observed in a training part, numbers that are too large.
    """
    assert model.horizon is not None
    cuts = _cuts(table, model.horizon, counts, fractions)
    table, cuts = _observed(table, cuts)
    known = with_calendar(table) if has_calendar else [each.known for each in table.series]
    if model.output == "negative-binomial":
        check_counts(table)
    try:
        own = [
            statistics(each.targets[: cut.validation], "standard") for each, cut in zip(table.series, cuts, strict=True)
        ]
        found = Prepared(
            table,
            known,
            cuts,
            SeriesScaler(len(table.targets), model.scaling, _num_scales(table, model), model.transform),
            SeriesScaler(len(table.past)) if table.past else None,
            SeriesScaler(known[0].shape[1]) if known[0].shape[1] else None,
            np.stack([each.shift for each in own]),
            np.stack([each.scale for each in own]),
        )
        found.adapt(found)
        found.scaled()  # a transform may have no value for a number of any part
    except ValueError as error:
        raise InputError(f"{table.file} can't be scaled: {error}") from error
    return found


def _num_scales(table: SeriesSet, model: ForecasterConfig) -> int:
    return len(table.series) if model.scale_each else 1


def check_counts(table: SeriesSet) -> None:
    """Make sure that every target is a whole number of at least 0, or missing.

    Raises:
      InputError: one is not.
    """
    for each in table.series:
        wrong = np.argwhere((each.targets < 0) | (each.targets != np.round(each.targets)) & ~np.isnan(each.targets))
        for row, column in wrong[:1]:
            place = f"{table.file}: {each.name}, {each.times[row].item()}, column {table.targets[column]!r}"
            raise InputError(f"{place}: expected a count for negative-binomial, got {each.targets[row, column]:g}")


def _cuts(
    table: SeriesSet, horizon: int, counts: tuple[int, int, int] | None, fractions: tuple[float, float]
) -> list[Cuts]:
    ends = [len(each.targets) for each in table.series]
    times = [each.times[:end] for each, end in zip(table.series, ends, strict=True)]
    grid = table.frequency.between(min(own[0] for own in times), max(own[-1] for own in times))
    if counts is not None and sum(counts) > len(grid):
        raise InputError(f"{table.file} has {len(grid)} steps, and --split asks for {sum(counts)}")
    try:
        return split_by_time(times, ends, grid, counts or part_counts(len(grid), horizon, fractions))
    except InputError as error:
        raise InputError(f"{table.file}: {error}") from error


def _observed(table: SeriesSet, cuts: list[Cuts]) -> tuple[SeriesSet, list[Cuts]]:
    """The series that have values to train on."""
    there = [~np.isnan(each.targets[: cut.validation]) for each, cut in zip(table.series, cuts, strict=True)]
    kept = [number for number, observed in enumerate(there) if np.any(observed)]
    left_out = [each.name for number, each in enumerate(table.series) if number not in set(kept)]
    if not kept:
        raise InputError(f"{table.file} has no value of {', '.join(table.targets)} before the validation part")
    for number in kept:
        for column, observed in zip(table.targets, there[number].T, strict=True):
            if not np.any(observed):
                name = table.series[number].name
                raise InputError(f"{table.file}: {name} has no value of {column} before the validation part")
    notes = table.notes
    if left_out:
        some = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")
        notes = (*notes, f"series without a value before the validation part left out: {len(left_out)} ({some})")
    return table._replace(series=[table.series[number] for number in kept], notes=notes), [cuts[k] for k in kept]


def input_length(horizon: int, season: int, longest: int, segment: int | None) -> int:
    """How much history to read where nobody says: three horizons or a season, and less than half of what there is.

    Args:
      horizon: H.
      season: in steps.
      longest: rows of the longest training part.
      segment: what it must be a multiple of; None: of whole seasons, if it has four or more.

    >>> input_length(96, 24, 8640, None), input_length(12, 12, 101, None), input_length(7, 365, 2555, None)
    (288, 36, 21)
    """
    wanted = max(3 * horizon, season if season <= 4 * horizon else 0)
    most = max((longest - horizon) // 2, 1)
    length = min(wanted, most, LONGEST_INPUT)
    whole = segment or (season if length >= SEASONS * season else 1)
    return max(length // whole, 1) * whole


def segment_of(model: ForecasterConfig, season: int, length: int) -> int | None:
    """Steps that a recurrent network reads at a time: as asked; else a season, if the window is four or more of them.

    Long windows of single steps are slow to read and hard to learn from. Where there are covariates, which a segment
    would blur, steps stay single.

    >>> segment_of(ForecasterConfig(), 24, 288), segment_of(ForecasterConfig(), 12, 36)
    (24, 1)
    """
    if not model.is_recurrent or model.segment is not None or model.head == "recursive":
        return model.segment
    if model.num_past or model.num_known or length < SEASONS * season:
        return 1
    is_whole = length % season == 0 and (model.head == "direct" or (model.horizon or season) % season == 0)
    return season if is_whole else 1


def windows(
    prepared: Prepared, part: str, rows: list[Rows], model: ForecasterConfig, length: int, stride: int
) -> Windows:
    """The windows of a part, in order, one row of a batch at a time.

    Args:
      prepared: the series.
      part: "train", "validation" or "test".
      rows: what windows are of, such as `prepared.scaled()`.
      model: for its input length, which decides which windows there are, and its horizon.
      length: how much history each shows.
      stride: steps between two origins of a series.

    Raises:
      InputError: no windows.
    """
    assert model.input_length is not None
    assert model.horizon is not None
    origins = []
    for each, cuts in zip(prepared.table.series, prepared.cuts, strict=True):
        own = {
            "train": training_origins(cuts, model.input_length, model.horizon, stride),
            "validation": origins_between(cuts.validation, cuts.test, model.horizon, stride),
            "test": origins_between(cuts.test, cuts.end, model.horizon, stride),
        }[part]
        origins.append(with_values(each.targets, own, model.input_length, model.horizon))
    try:
        return Windows(rows, origins, length, model.horizon, batch_size=1)
    except InputError as error:
        raise InputError(f"{prepared.table.file}: in the {part} part {error}") from error


def pieces(table: SeriesSet) -> Iterator[bytes]:
    """Names, times and values, to be known by wherever they were read from."""
    yield repr((table.targets, table.past, table.known, table.frequency)).encode()
    for each in table.series:
        yield each.name.encode() + b"\0"
        for array in (each.times, each.targets, each.past, each.known):
            yield str(array.shape).encode()
            yield np.ascontiguousarray(array).tobytes()
