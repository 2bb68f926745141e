"""The `.ts` format of sktime and aeon: sequences of several dimensions, with a class or a number for each."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lstmjax.data.examples import Labelled, finite_number, finite_numbers, numbered_lines
from lstmjax.errors import InputError

FLAGS = ("timestamps", "missing", "univariate", "equallength")
COUNTS = ("dimension", "dimensions", "serieslength")
TARGETS = ("classlabel", "targetlabel")


@dataclasses.dataclass
class Header:
    """What the lines before `@data` say; what the file leaves open is fixed by its first row."""

    said: dict[str, tuple[int, list[str]]]
    """For each key in lower case, its row and what follows it."""
    dimensions: int | None = None
    steps: int | None = None
    classes: list[str] | None = None
    """The labels there are, where rows end in a label."""
    numbers: bool = False
    """Whether rows end in a number."""


def read_ts(path: str | Path) -> Labelled:
    """Sequences with their class labels or target numbers.

    A row is a line of `@data`: dimensions parted by ":", the values of one by ",", a label or number behind the last.
    Rows may have different lengths, the dimensions of a row may not. Keys of the header are read in any case; one of
    `@classLabel` and `@targetLabel` must say whether there are targets.

    Args:
      path: a UTF-8 file.

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
    rest = ((row, line) for row, line in lines if line and not line.startswith("#"))
    header = _header(path, rest)
    places, parts = [], []
    for row, line in rest:
        places.append(f"{path}, row {row}")
        parts.append(line.split(":"))
    if not parts:
        raise InputError(f"{path} has no rows behind @data; expected at least 1")
    targets = _targets(header, places, parts)
    return Labelled([_sequence(header, place, row) for place, row in zip(places, parts, strict=True)], targets, places)


def _header(path: str | Path, lines: Iterator[tuple[int, str]]) -> Header:
    """What is said up to `@data`, which is the last line taken."""
    said: dict[str, tuple[int, list[str]]] = {}
    for row, line in lines:
        key, *words = line.split()
        key = key[1:].lower() if key.startswith("@") else ""
        if key == "data":
            return _understood(path, Header(said))
        if key not in ("problemname", *FLAGS, *COUNTS, *TARGETS):
            raise InputError(f"{path}, row {row}: expected a line of the header, such as @data, got {line!r:.60}")
        if key in said:
            raise InputError(f"{path}, row {row}: @{key} was said before, in row {said[key][0]}")
        said[key] = row, words
    raise InputError(f"{path} has no line @data; expected one before the rows")


def _understood(path: str | Path, header: Header) -> Header:
    flags = {key: _flag(path, header, key) for key in (*FLAGS, *TARGETS)}
    if flags["timestamps"]:
        raise InputError(f"{path}, row {header.said['timestamps'][0]}: sequences with timestamps can't be read")
    if not header.said.keys() & set(TARGETS) or (flags["classlabel"] and flags["targetlabel"]):
        raise InputError(f"{path}: one of @classLabel and @targetLabel must say before @data whether rows have targets")
    if flags["classlabel"]:
        row, words = header.said["classlabel"]
        header.classes = words[1:]
        if not header.classes:
            raise InputError(f"{path}, row {row}: expected the labels behind @classLabel true, got none")
    header.numbers = flags["targetlabel"]
    alone = 1 if flags["univariate"] else None
    header.dimensions = _count(path, header, "dimensions") or _count(path, header, "dimension") or alone
    steps = _count(path, header, "serieslength")
    header.steps = (steps or 0) if flags["equallength"] else None
    return header


def _flag(path: str | Path, header: Header, key: str) -> bool:
    row, words = header.said.get(key, (0, ["false"]))
    first = words[0].lower() if words else ""
    if first not in ("true", "false") or (len(words) > 1 and (key != "classlabel" or first == "false")):
        raise InputError(f"{path}, row {row}: expected @{key} true or false, got {' '.join(words)!r:.60}")
    return first == "true"


def _count(path: str | Path, header: Header, key: str) -> int | None:
    if key not in header.said:
        return None
    row, words = header.said[key]
    if len(words) != 1 or not words[0].isdecimal() or int(words[0]) < 1:
        raise InputError(f"{path}, row {row}: expected a number of at least 1 behind @{key}, got {' '.join(words)!r}")
    return int(words[0])
