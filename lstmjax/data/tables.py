"""Tables of texts, tab- or comma-separated, with a label or a number for each."""

import contextlib
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from lstmjax import checks
from lstmjax.data import text
from lstmjax.data.examples import Labelled, any_number, finite_number
from lstmjax.errors import InputError

DELIMITERS = {".tsv": "\t", ".txt": "\t", ".tab": "\t", ".csv": ","}


class Row(NamedTuple):
    """The cells of one row, and the line it starts on."""

    line: int
    cells: list[str]


def read_table(
    path: str | Path,
    *,
    text_column: str = "1",
    target_column: str | None = "2",
    header: Literal["auto", "yes", "no"] = "auto",
    numbers: bool = False,
    separator: str | None = None,
) -> Labelled:
    r"""Texts and their targets from two columns of a table.

    Columns are separated by tabs in a `.tsv`, `.tab` or `.txt`, where quotes are characters like all others, and by
    commas in a `.csv`, where a cell in quotes may hold commas and line ends. Messages name a row by the line it starts
    on, counted from 1. Empty lines are skipped. A text may be empty. A target may not, unless `separator` is given:
    then it has no labels. Blanks around a target are dropped.

    Args:
      path: a UTF-8 file.
      text_column: the column of the texts, by its name or its number from 1.
      target_column: that of the targets; None where there are none to read.
      header: whether the first row names the columns. "auto": yes where a column is given by its name. Else, of labels,
        where none of the first row's stands in the others, two or more; of numbers, where the first row has none; no
        where there is no target column.
      numbers: targets are numbers and not labels.
      separator: what separates the labels, where a cell may hold any number of them.

    Returns:
      N texts; as targets N labels, float64 [N, 1] with `numbers`, N tuples of labels with a `separator`, or None.

    Raises:
      InputError: a file that can't be read or is no such table, or a column it has not.
      ValueError: another `header`, or a `separator` that is empty or given with `numbers`.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "reviews.tsv")
    ...     _ = path.write_text("text\tlabel\nwell made\tgood\na bore\tbad\n")
    ...     table = read_table(path, text_column="text", target_column="label")
    >>> table.sequences, table.targets, table.places[0].endswith("reviews.tsv, row 2")
    (['well made', 'a bore'], ['good', 'bad'], True)
    """
    checks.one_of("header", header, ("auto", "yes", "no"))
    if numbers and separator is not None:
        raise ValueError(f"separator parts labels, so it must be None with numbers, got {separator!r}")
    if separator == "":
        raise ValueError("separator must be None or at least one character, got ''")
    columns = [column for column in (text_column, target_column) if column is not None]
    if header == "no" and not all(map(str.isdecimal, columns)):
        raise InputError(f"{path} is to be read without a header, so its columns have numbers from 1 and no names")
    rows = _rows(path)
    at, *target_at = (_place(path, column, rows[0]) for column in columns)
    if _has_header(rows, header, columns, target_at, numbers, separator):
        rows = rows[1:]
    if not rows:
        raise InputError(f"{path} has a header and no rows; expected at least 1")
    targets = _targets(path, rows, target_at[0], numbers, separator) if target_at else None
    return Labelled([row.cells[at] for row in rows], targets, [f"{path}, row {row.line}" for row in rows])


def first_row(path: str | Path) -> Row:
    """The first row that is not empty, a header or not; raises as `read_table` does."""
    return _rows(path)[0]


def _rows(path: str | Path) -> list[Row]:
    """The rows of a file whose name tells the delimiter."""
    delimiter = DELIMITERS.get(Path(path).suffix.lower())
    if delimiter is None:
        endings = ", ".join(DELIMITERS)
        raise InputError(f"{path} is not known as a table: expected a name that ends in {endings} (or .ts, .npz)")
    return parse_rows(path, text.read_text(path), delimiter)


def parse_rows(path: str | Path, content: str, delimiter: str) -> list[Row]:
    """The rows of a file's content but the empty ones, all of one width; where tabs part cells, quotes are characters.

    Raises:
      InputError: nothing but empty lines, rows of several widths, or a quote that does not end.
    """
    rows = [row for row in _cells(path, content, delimiter) if row.cells]
    if not rows:
        raise InputError(f"{path} has only empty lines; expected rows of text")
    width = len(rows[0].cells)
    for line, cells in rows:
        if len(cells) != width:
            raise InputError(f"{path}, row {line} has {_columns(len(cells))}; expected {width}, as row {rows[0].line}")
    return rows


def _cells(path: str | Path, content: str, delimiter: str) -> Iterator[Row]:
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    # strict: else a quote that never ends would swallow the rest of the file
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    line = 1
    with _cells_of_up_to(len(content)):
        try:
            for cells in reader:
                yield Row(line, cells)
                line = reader.line_num + 1
        except csv.Error as error:
            separated = "comma-separated" if delimiter == "," else f"cells separated by {delimiter!r}"
            raise InputError(f"{path}, row {line} can't be read as {separated}: {error}") from error


@contextlib.contextmanager
def _cells_of_up_to(length: int) -> Iterator[None]:
    """Let csv read longer cells than the 131072 characters it takes otherwise."""
    usual = csv.field_size_limit()
    csv.field_size_limit(max(usual, length))
    try:
        yield
    finally:
        csv.field_size_limit(usual)


def _place(path: str | Path, column: str, first: Row) -> int:
    """Where a column stands, from 0."""
    if column.isdecimal():
        if not 1 <= int(column) <= len(first.cells):
            raise InputError(f"{path}, row {first.line} has {_columns(len(first.cells))}; expected a column {column}")
        return int(column) - 1
    names = [name.strip() for name in first.cells]
    if names.count(column) != 1:
        there = ", ".join(map(repr, names))
        raise InputError(f"{path}, row {first.line} must name one column {column!r}; its columns are {there}")
    return names.index(column)


def _has_header(
    rows: list[Row], header: str, columns: list[str], target_at: list[int], numbers: bool, separator: str | None
) -> bool:
    """Whether the first row names the columns, by the rule of `read_table`."""
    if header != "auto" or not all(map(str.isdecimal, columns)):
        return header != "no"
    if not target_at:
        return False
    first, *others = [row.cells[target_at[0]].strip() for row in rows]
    if numbers:
        return first != "" and any_number(first) is None
    if separator is not None:
        first_labels, *labels = [{label.strip() for label in cell.split(separator)} for cell in (first, *others)]
        return len(others) >= 2 and first != "" and first_labels.isdisjoint(set().union(*labels))
    return len(others) >= 2 and first != "" and first not in others


def _targets(
    path: str | Path, rows: list[Row], at: int, numbers: bool, separator: str | None
) -> list[str] | list[tuple[str, ...]] | np.ndarray:
    cells = [(f"{path}, row {row.line}, column {at + 1}", row.cells[at].strip()) for row in rows]
    if numbers:
        return np.array([[finite_number(place, cell)] for place, cell in cells], np.float64)
    if separator is not None:
        return [_labels(place, cell, separator) for place, cell in cells]
    return [_label(place, cell) for place, cell in cells]


def _label(place: str, cell: str) -> str:
    if not cell:
        raise InputError(f"{place}: expected a label, got an empty cell")
    return cell


def _labels(place: str, cell: str, separator: str) -> tuple[str, ...]:
    """None in an empty cell, else at least one, each of them once."""
    labels = tuple(label.strip() for label in cell.split(separator)) if cell else ()
    if "" in labels or len(set(labels)) != len(labels):
        raise InputError(f"{place}: expected different labels parted by {separator!r}, got {cell!r:.60}")
    return labels


def _columns(count: int) -> str:
    return f"{count} column" if count == 1 else f"{count} columns"
