"""Arrays in NPZ and NPY files, read without running anything that is in them."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from lstmjax.data import pickles
from lstmjax.errors import InputError

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""What reads the header of each version of the NPY format."""


def read_arrays(
    path: str | Path,
    needed: Sequence[str] = (),
    optional: Sequence[str] | None = None,
    ignored: Sequence[str] = (),
    *,
    objects: bool = False,
) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file by their names; InputError where it can't be read, is no NPZ file, or has other arrays.

    Those `needed` must be there; `optional` ones may be, None allowing any; those `ignored` may be, and are not read.
    Without `objects`, which are read as `pickles.load` does, object arrays are refused.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder, "steps.npz"), x=np.arange(3), y=np.ones(2))
    ...     read_arrays(Path(folder, "steps.npz"), needed=["x"], optional=[], ignored=["y"])
    {'x': array([0, 1, 2])}
    """
    with _opened(path) as file:
        there = [name.removesuffix(".npy") for name in file.namelist()]
        if optional is not None and not {*needed} <= {*there} <= {*needed, *optional, *ignored}:
            may = f", perhaps {', '.join(sorted([*optional, *ignored]))}" if optional or ignored else ""
            found = ", ".join(sorted(there)) or "none"
            raise InputError(f"{path}: expected the arrays {', '.join(needed)}{may}, got {found}")
        return {name: _member(path, file, name, objects) for name in there if name not in ignored}


def read_array(path: str | Path) -> np.ndarray:
    """The array of an NPY file; InputError where it can't be read, or holds objects."""
    try:
        with open(path, "rb") as file:
            return _unpacked(file, objects=False)
    except Exception as error:  # damaged headers fail in every way there is
        raise InputError(f"{path} can't be read: {_reason(error)}") from error


def check_lengths(
    path: str | Path, lengths: np.ndarray, rows: Sequence[np.ndarray] | np.ndarray, least: int, names: tuple[str, str]
) -> list[int]:
    """Whole numbers [N] from `least` to the length of each of the N rows; `names` are those of all rows, and of one."""
    if lengths.shape != (len(rows),) or lengths.dtype.kind not in "iu":
        wanted = f"whole numbers [{len(rows)}], as {names[0]}"
        raise InputError(f"{path}: lengths must be {wanted}, got {outline(lengths)}")
    found: list[int] = lengths.tolist()
    for number, (row, length) in enumerate(zip(rows, found, strict=True)):
        if not least <= length <= len(row):
            raise InputError(f"{path}, {names[1]} {number}: expected a length in [{least}, {len(row)}], got {length}")
    return found


def outline(array: np.ndarray) -> str:
    """The dtype and shape of an array, for messages."""
    return f"{array.dtype} {list(array.shape)}"


def _opened(path: str | Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(f"{path} is not an NPZ file: {error}") from error


def _member(path: str | Path, file: zipfile.ZipFile, name: str, objects: bool) -> np.ndarray:
    try:
        with file.open(f"{name}.npy") as member:
            return _unpacked(member, objects)
    except Exception as error:  # damaged zips, headers and pickles fail in every way there is
        raise InputError(f"{path}: the array {name} can't be read: {_reason(error)}") from error


def _unpacked(file: IO[bytes], objects: bool) -> np.ndarray:
    shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
    if dtype.hasobject and not objects:
        raise ValueError("it holds Python objects; save texts with .astype(str), numbers with .astype(float)")
    if dtype.hasobject:
        return pickles.load(file).reshape(shape)
    file.seek(0)
    array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype.kind == "U":
        array.tolist()  # fails here and not later where numbers are no characters
    return array


def _reason(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
    return f"{reason:.120}"
