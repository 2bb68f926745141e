"""Time series from tables: one row a time, in order, on a regular grid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from lstmjax import checks
from lstmjax.data.series_rows import Columns, Rows, read_rows
from lstmjax.data.timeline import Frequency, infer_frequency, parse_frequency
from lstmjax.errors import InputError

REPAIRS = {
    "mean": "their values averaged, missing ones left out",
    "first": "only the first row kept",
    "last": "only the last row kept",
}
ROWS = Frequency("rows")


class Series(NamedTuple):
    """One series on a regular grid; missing values are NaN.

    `name`: its id, or the name of the file where that holds one series. `times` [T + F]: datetime64[us], or row numbers
    int64 from 0. `targets`: float64 [T, C]. `past`: covariates known up to now, float64 [T, P]. `known`: covariates
    known ahead, float64 [T + F, K], never NaN. The last F times are the future, of which there is only `known`.

    >>> none = np.zeros((2, 0))
    >>> Series("sales", np.arange(2), np.array([[3.0], [4.0]]), none, none).targets.shape
    (2, 1)
    """

    name: str
    times: np.ndarray
    targets: np.ndarray
    past: np.ndarray
    known: np.ndarray


class SeriesSet(NamedTuple):
    """The series of a file, at least one, all of one frequency.

    `targets`, `past`, `known`: the names of the C, P and K columns. `file`: where they are from. `notes`: a sentence on
    each thing that was done to the rows.

    >>> SeriesSet([], Frequency("rows"), ("sold",), (), (), "sales.csv", ()).targets
    ('sold',)
    """

    series: list[Series]
    frequency: Frequency
    targets: tuple[str, ...]
    past: tuple[str, ...]
    known: tuple[str, ...]
    file: str
    notes: tuple[str, ...]


def read_series(
    path: str | Path,
    *,
    time: str | None = None,
    targets: Sequence[str] = (),
    series: str | None = None,
    past: Sequence[str] = (),
    known: Sequence[str] = (),
    frequency: str | Frequency | None = None,
    time_format: str | None = None,
    duplicates: Literal["error", "mean", "first", "last"] = "error",
) -> SeriesSet:
    r"""Series from a table of numbers whose first row names the columns.

    Columns are separated by commas in a `.csv` (by semicolons, where its first line has some and no comma), by tabs in
    a `.tsv`, `.tab` or `.txt`; each may be packed, as `.csv.gz`. Empty lines are skipped. Columns are given by name, or
    by number from 1 where no column has that name. Cells are numbers with a decimal point; empty ones, NA, NaN, null,
    None and ? are missing.

    Rows are put in order of time. A time without a row between a series' first and last becomes a row of missing
    values, with the known covariates of the row before. `notes` lists what was done.
    With known covariates, which may miss no value, the rows after a series' last observed target are the future, of
    which none may be missing. Without, there is no future: targets that are missing at the end are missing values.

    Args:
      path: a UTF-8 file.
      time: the column of times, see `timeline.parse_time`; those with a zone become UTC. None: the rows of each series
        are in order and numbered from 0.
      targets: the columns to forecast; none given are all that have no other role.
      series: the column with the name of the series that a row belongs to; None where there is only one.
      past: the columns of covariates that are known up to now.
      known: the columns of covariates that are known ahead.
      frequency: see `timeline.parse_frequency`; None: by the rule of `timeline.infer_frequency`. All rows must keep to
        it, counted from the first of their series.
      time_format: how times are written, for `datetime.strptime`.
      duplicates: what to do with several rows of one time in a series: refuse them, average what is observed, or keep
        the first or the last in the file.

    Returns:
      the series, in the order in which they first appear.

    Raises:
      InputError: a file that can't be read or does not keep to this; a frequency that is none.
      ValueError: another word for `duplicates`, or settings for times without a column of times.
      TypeError: one text in place of several columns.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sales.csv")
    ...     _ = path.write_text("day,sold\n2024-01-01,5\n2024-01-02,\n2024-01-04,7\n2024-01-05,8\n")
    ...     sales = read_series(path, time="day")
    >>> print(sales.frequency, sales.series[0].targets[:, 0], sales.notes)
    1 day [ 5. nan nan  7.  8.] ('gaps filled with missing values: 1 time had no row',)
    """
    _check(time, {"targets": targets, "past": past, "known": known}, frequency, time_format, duplicates)
    asked = Columns(time, series, tuple(targets), tuple(past), tuple(known))
    columns, rows, names = read_rows(path, asked, time_format)
    rows, order_notes = _in_order(rows)
    rows, duplicate_notes = _without_duplicates(path, rows, duplicates)
    parts = _by_series(rows)
    found = ROWS if time is None else _frequency(path, [part.times for part in parts], frequency)
    _check_known(path, columns, rows)
    grids = [_on_grid(path, part, found, columns) for part in parts]
    gaps = sum(len(times) for times, _ in grids) - len(rows.times)
    gap_notes = [f"gaps filled with missing values: {_count(gaps, 'time')} had no row"] if gaps else []
    complete = [_series(path, name, *grid, columns) for name, grid in zip(names, grids, strict=True)]
    return SeriesSet(complete, found, *columns[2:], str(path), (*order_notes, *duplicate_notes, *gap_notes))


def _check(
    time: str | None,
    several: dict[str, Sequence[str]],
    frequency: str | Frequency | None,
    time_format: str | None,
    duplicates: str,
) -> None:
    checks.one_of("duplicates", duplicates, ("error", *REPAIRS))
    for name, columns in several.items():
        if isinstance(columns, str):
            raise TypeError(f"{name} must be several columns, such as ({columns!r},), got {columns!r}")
    if not isinstance(frequency, str | Frequency | None):
        raise TypeError(f"frequency must be a text, a Frequency or None, got {type(frequency).__name__}")
    if time is None and (time_format is not None or duplicates != "error" or frequency not in (None, ROWS)):
        raise ValueError("time must name a column where frequency, time_format or duplicates are given, got None")


def _in_order(rows: Rows) -> tuple[Rows, list[str]]:
    """The rows series by series, each in order of time; those of one time as in the file."""
    found = rows.take(np.argsort(rows.series, kind="stable"))
    late = int(np.sum((found.times[1:] < found.times[:-1]) & (found.series[1:] == found.series[:-1])))
    notes = [f"rows put in order of time: {_count(late, 'row')} stood below a later one"] if late else []
    return rows.take(np.lexsort((rows.times, rows.series))), notes


def _without_duplicates(path: str | Path, rows: Rows, duplicates: str) -> tuple[Rows, list[str]]:
    again = (rows.times[1:] == rows.times[:-1]) & (rows.series[1:] == rows.series[:-1])
    if not again.any():
        return rows, []
    if duplicates == "error":
        at = int(np.argmax(again))
        place = f"{path}, row {rows.lines[at + 1]} has the time of row {rows.lines[at]}, {_shown(rows.times[at])}"
        raise InputError(f"{place}; expected one row a time, or duplicates: mean, first or last")
    starts = np.flatnonzero(np.append(True, ~again))
    kept = rows.take(np.append(starts[1:], len(rows.times)) - 1 if duplicates == "last" else starts)
    if duplicates == "mean":
        kept = kept._replace(values=_means(rows.values, starts))
    return kept, [f"duplicates merged: {_count(int(again.sum()), 'row')} had another's time, {REPAIRS[duplicates]}"]


def _means(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The mean of what is observed from each start to the next; NaN where nothing is."""
    missing = np.isnan(values)
    sums = np.add.reduceat(np.where(missing, 0.0, values), starts)
    counts = np.add.reduceat(~missing, starts, dtype=np.int64)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _by_series(rows: Rows) -> list[Rows]:
    ends = np.append(np.flatnonzero(np.diff(rows.series)) + 1, len(rows.series))
    return [rows.take(slice(start, end)) for start, end in zip(np.append(0, ends[:-1]), ends, strict=True)]


def _frequency(path: str | Path, times: list[np.ndarray], asked: str | Frequency | None) -> Frequency:
    if isinstance(asked, str):
        return parse_frequency(asked, times)
    found = infer_frequency(times) if asked is None else asked
    if found is None:
        raise InputError(f"{path} has one row a series, which tells no frequency; give it, such as 'h' or 'D'")
    if found == ROWS:
        raise InputError(f"{path} is to be read with times, but its frequency is to be rows, which have none")
    return found


def _check_known(path: str | Path, columns: Columns, rows: Rows) -> None:
    start = len(columns.targets) + len(columns.past)
    missing = np.argwhere(np.isnan(rows.values[:, start:]))
    if len(missing):
        at, column = missing[0]
        place = f"{path}, row {rows.lines[at]}, column {columns.known[column]!r}"
        raise InputError(f"{place}: expected a number, as it is to be known ahead, got a missing value")


def _on_grid(path: str | Path, rows: Rows, frequency: Frequency, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """All times of one series from its first to its last, and their values, NaN where there was no row."""
    first = rows.times[0]
    steps = frequency.steps(first, rows.times)
    _check_steps(path, rows, frequency, steps)
    times = frequency.moved(first, np.arange(int(steps[-1]) + 1))
    values = np.full((len(times), rows.values.shape[1]), np.nan)
    values[steps] = rows.values
    if columns.known and len(times) > len(steps):
        _check_future(path, rows, steps, columns)
        latest = np.searchsorted(steps, np.arange(len(times)), side="right") - 1
        values[:, -len(columns.known) :] = rows.values[latest, -len(columns.known) :]
    return times, values


def _check_future(path: str | Path, rows: Rows, steps: np.ndarray, columns: Columns) -> None:
    """After the last observed target, where known covariates are all there is, no row is missing."""
    observed = np.flatnonzero(~np.isnan(rows.values[:, : len(columns.targets)]).all(axis=1))
    last = observed[-1] if len(observed) else 0
    gaps = np.flatnonzero(np.diff(steps[last:]) > 1)
    if len(gaps):
        at = last + int(gaps[0]) + 1
        place = f"{path}, row {rows.lines[at]}: there is no row between {_shown(rows.times[at - 1])} and this"
        raise InputError(f"{place}, and {columns.known[0]!r} is to be known for every step to come")


def _check_steps(path: str | Path, rows: Rows, frequency: Frequency, steps: np.ndarray) -> None:
    """All times are on the grid, and not so far apart that nearly all of it would be empty."""
    times, off = rows.times, frequency.moved(rows.times[0], steps) != rows.times
    if off.any():
        at = int(np.argmax(off))
        place = f"{path}, row {rows.lines[at]}: {_shown(times[at])} does not follow {_shown(times[0])}"
        raise InputError(f"{place} (row {rows.lines[0]}) by whole steps of {frequency}")
    if steps[-1] > 1000 + 10 * len(times):
        at = int(np.argmax(np.diff(steps))) + 1
        place = f"{path}, row {rows.lines[at]}: {_shown(times[at])} is {steps[at] - steps[at - 1]} steps of {frequency}"
        raise InputError(f"{place} after {_shown(times[at - 1])} (row {rows.lines[at - 1]}); expected fewer gaps")


def _series(path: str | Path, name: str, times: np.ndarray, values: np.ndarray, columns: Columns) -> Series:
    targets, past, known = np.split(values, np.cumsum([len(columns.targets), len(columns.past)]), axis=1)
    observed = np.flatnonzero(~np.isnan(targets).all(axis=1))
    if len(observed) == 0:
        raise InputError(f"{path}: series {name!r} has no observed value of {', '.join(columns.targets):.200}")
    end = observed[-1] + 1 if columns.known else len(targets)
    return Series(name, times, targets[:end], past[:end], known)


def _shown(time: np.datetime64 | np.int64) -> str:
    return str(time.item())


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number > 1 else ''}"
