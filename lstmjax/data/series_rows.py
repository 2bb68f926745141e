"""Rows of a table of time series: which column is what, and cells read as times and numbers."""

import datetime
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstmjax.data import text
from lstmjax.data.examples import any_number
from lstmjax.data.tables import DELIMITERS, Row, parse_rows
from lstmjax.data.timeline import parse_time
from lstmjax.errors import InputError

MISSING = ("", "na", "nan", "null", "none", "?")
"""Cells without a value, in upper or lower case."""


class Columns(NamedTuple):
    """The columns of each role, by their names."""

    time: str | None
    series: str | None
    targets: tuple[str, ...]
    past: tuple[str, ...]
    known: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """Those that hold numbers."""
        return (*self.targets, *self.past, *self.known)


class Rows(NamedTuple):
    """R rows of a table.

    `series`: the number of the series that each belongs to, integers [R]. `times`: datetime64[us] [R], or how many rows
    of the series stand above, int64 [R]. `values`: targets, past and known covariates, float64 [R, C + P + K], NaN
    where missing. `lines`: where each starts in the file, integers [R].
    """

    series: np.ndarray
    times: np.ndarray
    values: np.ndarray
    lines: np.ndarray

    def take(self, index: slice | np.ndarray) -> "Rows":
        """Those of the rows given, in that order."""
        return Rows(*(column[index] for column in self))


class _Column(NamedTuple):
    """The cells of a column, and what is needed to say where they are."""

    path: str | Path
    name: str
    lines: list[int]
    cells: list[str]

    def bad(self, at: int, expected: str) -> InputError:
        place = f"{self.path}, row {self.lines[at]}, column {self.name!r}"
        return InputError(f"{place}: expected {expected}, got {self.cells[at]!r:.60}")


def read_rows(path: str | Path, asked: Columns, time_format: str | None = None) -> tuple[Columns, Rows, list[str]]:
    """The rows of a table as they stand in the file; for the format and the arguments see `series.read_series`.

    Returns:
      the columns by name, at least 1 row, and the name of each series, in the order in which they first appear.

    Raises:
      InputError: a file that can't be read or does not keep to the format, or a column it has not.
    """
    header, *rows = _table(path)
    if not rows:
        raise InputError(f"{path} has a header and no rows; expected at least 1")
    names = _names(path, header, time_format)
    columns = _columns(f"{path}, row {header.line}", header, names, asked)
    lines = [row.line for row in rows]

    def column(name: str) -> _Column:
        at = names.index(name)
        return _Column(path, name, lines, [row.cells[at] for row in rows])

    ids, series = _ids(column(columns.series)) if columns.series else ([_stem(path)], np.zeros(len(rows), int))
    times = _times(column(columns.time), time_format) if columns.time else _counted(series)
    values = np.stack([_numbers(column(name)) for name in columns.values], 1)
    return columns, Rows(series, times, values, np.array(lines)), ids


def _table(path: str | Path) -> list[Row]:
    name = Path(path).name.lower().removesuffix(".gz")
    delimiter = DELIMITERS.get(Path(name).suffix)
    if delimiter is None:
        endings = ", ".join(DELIMITERS)
        raise InputError(f"{path} is not known as a table: expected a name that ends in {endings}, or so and .gz")
    content = text.read_text(path)
    first = content.lstrip().partition("\n")[0]
    rows = parse_rows(path, content, ";" if delimiter == "," and ";" in first and "," not in first else delimiter)
    if len(rows[0].cells) == 1:
        for above, below in itertools.pairwise(rows):
            if below.line > above.line + 1:
                raise InputError(f"{path}, row {above.line + 1} is empty; expected a number, or NA for a missing one")
    return rows


def _stem(path: str | Path) -> str:
    stem = Path(Path(path).stem)
    return stem.stem if Path(path).suffix.lower() == ".gz" else stem.name


def _names(path: str | Path, header: Row, time_format: str | None) -> list[str]:
    """The names of all columns; those that have none are called by their numbers."""
    cells = [cell.strip() for cell in header.cells]
    if all(any_number(cell) is not None or parse_time(cell, time_format) is not None for cell in cells):
        raise InputError(f"{path}, row {header.line} must name the columns, got only numbers: {', '.join(cells)!r:.60}")
    names = [cell or str(number) for number, cell in enumerate(cells, 1)]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}, row {header.line} names {count} columns {name!r}; expected different names")
    return names


def _columns(place: str, header: Row, names: list[str], asked: Columns) -> Columns:
    def named(column: str) -> str:
        if column in names:
            return column
        if column.isdecimal() and 1 <= int(column) <= len(names):
            return names[int(column) - 1]
        raise InputError(f"{place} has no column {column!r}; its columns are {', '.join(map(repr, names)):.400}")

    time, series = (None if column is None else named(column) for column in (asked.time, asked.series))
    targets, past, known = (tuple(map(named, columns)) for columns in asked[2:])
    used = [*filter(None, (time, series)), *targets, *past, *known]
    if len(set(used)) < len(used):
        name = Counter(used).most_common(1)[0][0]
        raise InputError(f"{place}: column {name!r} is asked for twice; a column has one role")
    rest = targets or tuple(_free(place, header, names, used))
    if not rest:
        raise InputError(f"{place} leaves no column for a target; its columns are {', '.join(map(repr, names)):.400}")
    return Columns(time, series, rest, past, known)


def _free(place: str, header: Row, names: list[str], used: list[str]) -> Iterator[str]:
    """The columns without a role, all of them with names of their own."""
    for number, (name, cell) in enumerate(zip(names, header.cells, strict=True), 1):
        if name not in used:
            if not cell.strip():
                raise InputError(f"{place} has no name for column {number}; name it, or use it by its number")
            yield name


def _ids(column: _Column) -> tuple[list[str], np.ndarray]:
    """The names of the series, and the number of that of each row."""
    numbers: dict[str, int] = {}
    series = [numbers.setdefault(cell.strip(), len(numbers)) for cell in column.cells]
    if "" in numbers:
        raise column.bad(series.index(numbers[""]), "the name of a series")
    return list(numbers), np.array(series)


def _counted(series: np.ndarray) -> np.ndarray:
    """How many rows of the same series stand above each."""
    order = np.argsort(series, kind="stable")
    together = series[order]
    above = np.empty(len(series), np.int64)
    above[order] = np.arange(len(series)) - np.searchsorted(together, together)
    return above


def _times(column: _Column, time_format: str | None) -> np.ndarray:
    """Times datetime64[us], those with a zone in UTC."""
    written = f"a time as {time_format!r}" if time_format else "a time as 2024-12-31 23:00 (or give the time format)"
    times: list[datetime.datetime] = []
    for at, cell in enumerate(column.cells):
        time = parse_time(cell, time_format)
        if time is None:
            raise column.bad(at, written)
        times.append(time)
    zoned = [time.tzinfo is not None for time in times]
    if len(set(zoned)) > 1:
        one = "with a zone" if zoned[0] else "without a zone"
        raise column.bad(zoned.index(not zoned[0]), f"a time {one}, as in row {column.lines[0]}")
    if not zoned[0]:
        return np.array(times, "M8[us]")
    offsets = np.array([time.utcoffset() for time in times], "m8[us]")
    return np.asarray(np.array([time.replace(tzinfo=None) for time in times], "M8[us]") - offsets)


def _numbers(column: _Column) -> np.ndarray:
    """Numbers float64, NaN where missing."""
    numbers = np.array([any_number(cell) for cell in column.cells], np.float64)  # None becomes NaN
    for at in np.flatnonzero(~np.isfinite(numbers)).tolist():
        cell = column.cells[at].strip()
        if cell.casefold() not in MISSING:
            comma = " with a decimal point and no comma" if re.search(r"\d,\d", cell) else ""
            raise column.bad(at, f"a finite number{comma}")
    return numbers
