"""The `.ts` format of sktime and aeon: sequences of several dimensions, with a class or a number for each."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstmjax.data.examples import Labelled, finite_number, finite_numbers, numbered_lines
from lstmjax.errors import InputError

FLAGS = ("timestamps", "missing", "univariate", "equallength", "classlabel", "targetlabel")
COUNTS = ("dimension", "dimensions", "serieslength")

Said = dict[str, tuple[int, list[str]]]
"""For each key of the header, in lower case, its row and the words after it."""


class Header(NamedTuple):
    """What the lines before `@data` fix; None where they leave it open."""

    dimensions: int | None
    steps: int | None
    equal_length: bool
    labels: list[str] | None
    """Those there are, where rows end in one."""
    numbers: bool
    """Whether rows end in a number."""


def read_ts(path: str | Path, *, has_targets: bool = True) -> Labelled:
    """Sequences with their class labels or target numbers.

    A row is a line of `@data`: dimensions with ":" between them, their values with "," between them, a label or number
    after the last ":".
    Rows may have different lengths, the dimensions of a row may not. Keys of the header are read in any case; one of
    `@classLabel` and `@targetLabel` must say whether there are targets.

    Args:
      path: a UTF-8 file.
      has_targets: read the labels or numbers; otherwise what stands in their place is not looked at.

    Returns:
      N arrays float32 [T_n, I]; as targets N labels, float64 [N, 1], or None.

    Raises:
      InputError: a file that can't be read or is not in this format, missing values and timestamps included.

    Source: the format's description at https://www.aeon-toolkit.org.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "steps.ts")
    ...     _ = path.write_text("@classLabel true up down\\n@data\\n1,2,3:0,0,0:up\\n2,1:5,5:down\\n")
    ...     steps = read_ts(path)
    >>> steps.sequences[1].tolist(), steps.targets, [len(sequence) for sequence in steps.sequences]
    ([[2.0, 5.0], [1.0, 5.0]], ['up', 'down'], [3, 2])
    """
    lines = ((row, line.strip()) for row, line in numbered_lines(path))
    telling = ((row, line) for row, line in lines if line and not line.startswith("#"))
    header = _header(path, _said(path, telling))
    rows = {f"{path}, row {row}": line.split(":") for row, line in telling}
    if not rows:
        raise InputError(f"{path} has no rows after @data; expected at least 1")
    targets = _targets(header, rows, has_targets)
    return Labelled(_sequences(header, rows), targets, list(rows))


def _said(path: str | Path, lines: Iterator[tuple[int, str]]) -> Said:
    """The header, taken from the lines up to `@data`."""
    said: Said = {}
    for row, line in lines:
        key, *words = line.split()
        key = key.lower().removeprefix("@")
        if line.lower() == "@data":
            return said
        if not line.startswith("@") or key not in ("problemname", *FLAGS, *COUNTS):
            raise InputError(f"{path}, row {row}: expected a line of the header or @data, got {line!r:.60}")
        if key in said:
            raise InputError(f"{path}, row {row}: @{key} is said already in row {said[key][0]}")
        said[key] = row, words
    raise InputError(f"{path} has no line @data; expected one before the rows")


def _header(path: str | Path, said: Said) -> Header:
    flags = {key: _flag(path, said, key) for key in FLAGS}
    if flags["timestamps"]:
        raise InputError(f"{path}, row {said['timestamps'][0]}: sequences with timestamps can't be read")
    if not said.keys() & {"classlabel", "targetlabel"} or (flags["classlabel"] and flags["targetlabel"]):
        raise InputError(f"{path}: either @classLabel or @targetLabel must say before @data whether rows have targets")
    _, *labels = said["classlabel"][1] if flags["classlabel"] else [""]
    if flags["classlabel"] and not labels:
        raise InputError(f"{path}, row {said['classlabel'][0]}: expected all labels after @classLabel true, got none")
    return Header(
        _count(path, said, "dimensions") or _count(path, said, "dimension") or (1 if flags["univariate"] else None),
        _count(path, said, "serieslength"),
        flags["equallength"],
        labels or None,
        flags["targetlabel"],
    )


def _flag(path: str | Path, said: Said, key: str) -> bool:
    row, words = said.get(key, (0, ["false"]))
    first, *more = words or [""]
    if first.lower() not in ("true", "false") or (more and (key, first.lower()) != ("classlabel", "true")):
        raise InputError(f"{path}, row {row}: expected true or false after @{key}, got {' '.join(words)!r:.60}")
    return first.lower() == "true"


def _count(path: str | Path, said: Said, key: str) -> int | None:
    if key not in said:
        return None
    row, words = said[key]
    if len(words) != 1 or not words[0].isdecimal() or int(words[0]) == 0:
        raise InputError(f"{path}, row {row}: expected a number from 1 after @{key}, got {' '.join(words)!r:.60}")
    return int(words[0])


def _targets(header: Header, rows: dict[str, list[str]], wanted: bool) -> list[str] | np.ndarray | None:
    """The rows' last parts, which are taken from them, where they are targets."""
    if header.labels is None and not header.numbers:
        return None
    last = {place: parts.pop().strip() for place, parts in rows.items()}
    if not wanted:
        return None
    if header.numbers:
        return np.array(
            [[finite_number(place, part, where=" after the last ':'")] for place, part in last.items()], np.float64
        )
    for place, part in last.items():
        if part not in (header.labels or ()):
            raise InputError(f"{place}: expected a label that @classLabel names after the last ':', got {part!r:.60}")
    return list(last.values())


def _sequences(header: Header, rows: dict[str, list[str]]) -> list[np.ndarray]:
    dimensions = header.dimensions or len(next(iter(rows.values())))
    sequences = [_sequence(place, parts, dimensions) for place, parts in rows.items()]
    steps = header.steps or len(sequences[0])
    for place, sequence in zip(rows, sequences, strict=True):
        if header.equal_length and len(sequence) != steps:
            wanted = f"{place}: expected {steps} values a dimension, as @equalLength is true"
            raise InputError(f"{wanted}, got {len(sequence)}")
    return sequences


def _sequence(place: str, parts: list[str], dimensions: int) -> np.ndarray:
    """One row, float32 [T, I]."""
    if len(parts) != dimensions or not parts:
        raise InputError(f"{place}: expected {max(1, dimensions)} dimensions before any target, got {len(parts)}")
    columns = [finite_numbers(f"{place}, dimension {number}", part.split(",")) for number, part in enumerate(parts, 1)]
    for number, column in enumerate(columns, 1):
        if len(column) != len(columns[0]):
            wanted = f"{place}, dimension {number}: expected {len(columns[0])} values, as in dimension 1"
            raise InputError(f"{wanted}, got {len(column)}")
    return np.stack(columns, axis=1)
