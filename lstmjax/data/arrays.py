"""Sequences as NumPy arrays in an NPZ file, of one length or of many, with labels or numbers."""

from pathlib import Path
from typing import Any

import numpy as np

from lstmjax.data.examples import Labelled
from lstmjax.data.npz import check_lengths, outline, read_arrays
from lstmjax.errors import InputError

REAL = "fiub"
"""The kinds of dtype that hold real numbers."""


def read_npz(path: str | Path, *, numbers: bool = False, has_targets: bool = True) -> Labelled:
    """Sequences `x`, targets `y` and, where sequences fill only part of their rows, `lengths`.

    Messages count examples, steps and features from 0, as NumPy does. Object arrays, which are pickles, are read only
    as far as they hold arrays, numbers and texts, so a file can't run anything.

    Args:
      path: an NPZ file. `x`: real numbers [N, T, I] or [N, T], or N rows [T_n, I] or [T_n] as an object array.
        `lengths`: whole numbers [N], each from 0 to the length of its row, which is cut there. `y`: N labels, texts or
        whole numbers; or [N, K] of 0 and 1, where column k says whether the label "k" holds; or with `numbers` [N]
        or [N, K].
      numbers: targets are numbers and not labels.
      has_targets: read `y`; otherwise it may be missing, and is not looked at.

    Returns:
      N arrays float32 [T_n, I]; as targets N labels, N tuples of labels, float64 [N, K], or None without `has_targets`.

    Raises:
      InputError: a file that can't be read or holds something else.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "steps.npz")
    ...     np.savez(path, x=np.arange(6.0).reshape(2, 3), y=["up", "down"], lengths=[3, 1])
    ...     steps = read_npz(path)
    >>> [sequence[:, 0].tolist() for sequence in steps.sequences], steps.targets
    ([[0.0, 1.0, 2.0], [3.0]], ['up', 'down'])
    """
    needed, ignored = (["x", "y"], []) if has_targets else (["x"], ["y"])
    arrays = read_arrays(path, needed, ["lengths"], ignored, objects=True)
    rows = _rows(path, arrays["x"])
    if "lengths" in arrays:
        lengths = check_lengths(path, arrays["lengths"], rows, 0, ("x", "example"))
        rows = [row[:length] for row, length in zip(rows, lengths, strict=True)]
    places = [f"{path}, example {number}" for number in range(len(rows))]
    sequences = [_finite(place, row) for place, row in zip(places, rows, strict=True)]
    if not has_targets:
        return Labelled(sequences, None, places)
    y = arrays["y"]
    classes = tuple(map(str, range(y.shape[1]))) if y.ndim == 2 and not numbers else None
    return Labelled(sequences, _targets(path, y, places, numbers), places, classes)


def _rows(path: str | Path, x: np.ndarray) -> list[np.ndarray]:
    """Rows [T_n, I] of one I, of whatever real dtype they have."""
    if x.ndim == 0 or (x.dtype != object and (x.ndim not in (2, 3) or x.dtype.kind not in REAL)):
        raise InputError(f"{path}: x must be numbers [N, T, I] or [N, T], or N rows of them, got {outline(x)}")
    rows = [_row(f"{path}, example {number}", row) for number, row in enumerate(x)]
    if not rows:
        raise InputError(f"{path}: x has no examples; expected at least 1")
    width = rows[0].shape[1]
    for number, row in enumerate(rows):
        if row.shape[1] != width or width == 0:
            raise InputError(f"{path}, example {number}: expected {width or 'some'} features, got {row.shape[1]}")
    return rows


def _row(place: str, row: Any) -> np.ndarray:
    try:
        array = np.asarray(row.tolist() if isinstance(row, np.ndarray) and row.dtype == object else row)
    except ValueError:  # lists of different lengths
        array = np.zeros(0, object)
    if array.ndim not in (1, 2) or array.dtype.kind not in REAL:
        raise InputError(f"{place}: expected numbers [T, I] or [T], got {row!r:.60}".replace("\n", " "))
    return array if array.ndim == 2 else array[:, None]


def _finite(place: str, row: np.ndarray) -> np.ndarray:
    """A row as float32, which holds it."""
    with np.errstate(over="ignore"):
        numbers = row.astype(np.float32, copy=False)
    if not np.isfinite(numbers).all():
        step, feature = np.argwhere(~np.isfinite(numbers))[0].tolist()
        found = row[step, feature]
        raise InputError(f"{place}, step {step}, feature {feature}: expected a finite float32, got {found}")
    return numbers


def _targets(
    path: str | Path, y: np.ndarray, places: list[str], numbers: bool
) -> list[str] | list[tuple[str, ...]] | np.ndarray:
    if y.ndim not in (1, 2) or len(y) != len(places) or y.size == 0:
        raise InputError(f"{path}: y must be [{len(places)}] or [{len(places)}, K], as x, got {list(y.shape)}")
    if numbers:
        return _numbers(places, y)
    if y.ndim == 1:
        return [_label(place, label) for place, label in zip(places, y.tolist(), strict=True)]
    for place, row in zip(places, y.tolist(), strict=True):
        for column, entry in enumerate(row):
            if entry not in (0, 1):
                raise InputError(f"{place}: expected 0 or 1 in column {column} of y, got {entry!r:.60}")
    return [tuple(str(column) for column, entry in enumerate(row) if entry) for row in y.tolist()]


def _label(place: str, label: object) -> str:
    if isinstance(label, bytes):
        try:
            label = label.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{place}: expected a label in UTF-8, got {label!r:.60}") from None
    if not isinstance(label, str | int | np.integer) or str(label).strip() == "":
        raise InputError(f"{place}: expected a label, some text or a whole number, got {label!r:.60}")
    return str(label)


def _numbers(places: list[str], y: np.ndarray) -> np.ndarray:
    """Numbers, float64 [N, K]."""
    rows = y if y.ndim == 2 else y[:, None]
    for place, row in zip(places, rows.tolist(), strict=True):
        for column, entry in enumerate(row):
            if not isinstance(entry, int | float | np.number) or not np.isfinite(entry):
                raise InputError(f"{place}: expected a finite number in column {column} of y, got {entry!r:.60}")
    return rows.astype(np.float64)
