"""Drawings as pen movements: from NPZ, from JSON, and as Quick, Draw! publishes them.

A drawing is an array [T, 3], a row a point: how far it is from the point before, in x and in y, and the pen there.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstmjax import checks
from lstmjax.data import text
from lstmjax.data.npz import outline, read_arrays
from lstmjax.errors import InputError

DRAWS, LIFTS, ENDS = 0, 1, 2
"""What the pen does after a point: draws on to the next, lifts so that the next begins a stroke, ends the drawing."""

LARGEST = 1e9  # of a coordinate: offsets of such points, and their squares, are far from what float32 can't hold
SUFFIXES = (".npz", ".json", ".json.gz", ".ndjson", ".ndjson.gz")


class Drawings(NamedTuple):
    """Drawings, and where each stands, such as "cat.ndjson, line 3".

    `points`: N arrays float32 [T_n, 3] of dx, dy and pen. The first point of each is its origin, so it begins with
    0, 0; the pen is `DRAWS`, `LIFTS` or, at the last point and nowhere else, `ENDS`. y grows downwards, as on screens.
    """

    points: list[np.ndarray]
    places: list[str]

    def take(self, rows: Iterable[int]) -> "Drawings":
        """Those of the rows given, numbers in 0..N-1, in that order."""
        chosen = list(rows)
        return Drawings([self.points[row] for row in chosen], [self.places[row] for row in chosen])


def to_points(strokes: Sequence[np.ndarray]) -> np.ndarray:
    """A drawing's points, float32 [T, 3], from its strokes: at least one array [n, 2] of at least one x and y.

    >>> to_points([np.array([[5, 5], [7, 5]]), np.array([[7, 9]])]).tolist()
    [[0.0, 0.0, 0.0], [2.0, 0.0, 1.0], [0.0, 4.0, 2.0]]
    """
    where = np.concatenate([np.asarray(stroke, np.float64) for stroke in strokes])
    points = np.zeros((len(where), 3), np.float32)
    points[1:, :2] = np.diff(where, axis=0)
    points[np.cumsum([len(stroke) for stroke in strokes]) - 1, 2] = LIFTS
    points[-1, 2] = ENDS
    return points


def to_strokes(points: np.ndarray) -> list[np.ndarray]:
    """A drawing's strokes, float64 arrays [n, 2] of x and y, from its points; they begin in the origin.

    Raises:
      ValueError: points of another shape than [T, 3].

    >>> [stroke.tolist() for stroke in to_strokes(np.array([[0, 0, 0], [2, 0, 1], [0, 4, 2]]))]
    [[[0.0, 0.0], [2.0, 0.0]], [[2.0, 4.0]]]
    """
    points = np.asarray(points, np.float64)
    checks.shape("points", points, ("T", 3))
    where = np.cumsum(points[:, :2], axis=0)
    return [stroke for stroke in np.split(where, np.flatnonzero(points[:, 2] != DRAWS) + 1) if len(stroke)]


def read_strokes(path: str | Path, *, only_recognized: bool = False, limit: int | None = None) -> Drawings:
    r"""Read the drawings of a file.

    Points are taken as they are, in the file's own units; only where they lie on the page is lost.

    Args:
      path: one of these; `.gz` after `.json` and `.ndjson` is unpacked.

        - `.ndjson` as Quick, Draw! publishes it: on each line an object whose `drawing` is a list of strokes, each a
          list of x and a list of y, and perhaps one of times, which are not used.
        - `.json`: a list of such drawings; or `{"points": [...]}`, drawings whose strokes are lists of [x, y].
        - `.npz`: `points` [N, 3] with dx, dy, and 1 where a stroke ends after this point, else 0, of K drawings one
          after another, and `lengths` [K]; or any number of such arrays [T, 3], one a drawing. Object arrays, which
          are pickles, are refused.
      only_recognized: leave out drawings that Quick, Draw! did not recognise; for `.ndjson`.
      limit: read the first so many drawings; None reads all.

    Raises:
      InputError: a file that can't be read, has no drawings, or one that is empty, has numbers that are not finite or
        lists of different lengths.
      ValueError: a limit below 1, or `only_recognized` for a file that does not say.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "ticks.ndjson")
    ...     _ = path.write_text('{"word": "tick", "drawing": [[[0, 2, 6], [0, 3, -9]]]}\n')
    ...     read_strokes(path).points[0].tolist()
    [[0.0, 0.0, 0.0], [2.0, 3.0, 0.0], [4.0, -12.0, 2.0]]
    """
    if limit is not None:
        checks.positive_int("limit", limit)
    kind = _kind(path)
    if only_recognized and kind != ".ndjson":
        raise ValueError(f"only_recognized is for files of Quick, Draw! that end in .ndjson, got {path}")
    if kind == ".npz":
        found = _from_npz(path)
    else:
        found = _from_lines(path, only_recognized, limit) if kind == ".ndjson" else _from_json(path)
    if not found.points:
        raise InputError(f"{path} has no drawings; expected at least 1")
    return found if limit is None else found.take(range(min(limit, len(found.points))))


def _kind(path: str | Path) -> str:
    name = Path(path).name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix.removesuffix(".gz")
    raise InputError(f"{path} is not known as strokes: expected a name that ends in {', '.join(SUFFIXES)}")


def _from_lines(path: str | Path, only_recognized: bool, limit: int | None) -> Drawings:
    found = Drawings([], [])
    for number, line in enumerate(text.read_text(path).split("\n"), 1):
        if len(found.points) == limit:
            break
        if line.strip():
            place = f"{path}, line {number}"
            entry = text.parse_json(place, line)
            if not isinstance(entry, dict) or "drawing" not in entry:
                raise InputError(f"{place}: expected an object with a drawing, got {line.strip():.60}")
            if not only_recognized or _is_recognized(place, entry):
                found.points.append(_drawing(place, entry["drawing"]))
                found.places.append(place)
    return found


def _is_recognized(place: str, entry: dict[str, Any]) -> bool:
    said = entry.get("recognized")
    if not isinstance(said, bool):
        raise InputError(f"{place}: expected recognized to be true or false, got {said!r:.60}")
    return said


def _from_json(path: str | Path) -> Drawings:
    content = text.parse_json(str(path), text.read_text(path))
    by_point = isinstance(content, dict) and content.keys() == {"points"}
    drawings = content["points"] if by_point else content
    if not isinstance(drawings, list):
        raise InputError(f'{path}: expected a list of drawings or {{"points": [...]}}, got {_shown(drawings)}')
    places = [f"{path}, drawing {number}" for number in range(1, len(drawings) + 1)]
    return Drawings([_drawing(*each, by_point) for each in zip(places, drawings, strict=True)], places)


def _drawing(place: str, strokes: Any, by_point: bool = False) -> np.ndarray:
    if not isinstance(strokes, list) or not strokes:
        raise InputError(f"{place}: expected a list of at least one stroke, got {_shown(strokes)}")
    read = _stroke_of_points if by_point else _stroke_of_lists
    return to_points([read(f"{place}, stroke {number}", stroke) for number, stroke in enumerate(strokes, 1)])


def _stroke_of_lists(place: str, stroke: Any) -> np.ndarray:
    if not isinstance(stroke, list) or len(stroke) not in (2, 3) or not all(isinstance(each, list) for each in stroke):
        raise InputError(f"{place}: expected a list of x and one of y, perhaps one of times, got {_shown(stroke)}")
    x, y = stroke[:2]
    if len(x) != len(y) or not x:
        raise InputError(f"{place}: expected as many x as y and at least 1, got {len(x)} x and {len(y)} y")
    return np.array([_numbers(place, "x", x), _numbers(place, "y", y)]).T


def _stroke_of_points(place: str, stroke: Any) -> np.ndarray:
    if not isinstance(stroke, list) or not stroke:
        raise InputError(f"{place}: expected a list of points [x, y], got {_shown(stroke)}")
    for number, point in enumerate(stroke, 1):
        if not isinstance(point, list) or len(point) != 2:
            raise InputError(f"{place}, point {number}: expected [x, y], got {_shown(point)}")
    x, y = map(list, zip(*stroke, strict=True))
    return np.array([_numbers(place, "x", x), _numbers(place, "y", y)]).T


def _numbers(place: str, name: str, values: list[Any]) -> np.ndarray:
    for number, value in enumerate(values, 1):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) <= LARGEST:  # nor is NaN, or a whole number beyond any float
            raise InputError(f"{place}: expected {name} {number} to be finite and below {LARGEST:g}, got {value!r:.60}")
    return np.array(values, np.float64)


def _from_npz(path: str | Path) -> Drawings:
    arrays = {name: np.atleast_1d(array) for name, array in read_arrays(path).items()}
    together = {"points", "lengths"}
    if arrays.keys() & together and arrays.keys() != together:
        raise InputError(f"{path}: expected points and lengths together and nothing else, got {', '.join(arrays)}")
    if "lengths" not in arrays:
        places = [f"{path}, array {name}" for name in arrays]
        return Drawings([_offsets(*each) for each in zip(places, arrays.values(), strict=True)], places)
    points, lengths = arrays["points"], arrays["lengths"]
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or np.any(lengths < 0) or lengths.sum() != len(points):
        wanted = f"whole numbers [K] that add up to the {len(points)} points"
        raise InputError(f"{path}: expected lengths to be {wanted}, got {outline(lengths)}")
    places = [f"{path}, drawing {number}" for number in range(1, len(lengths) + 1)]
    pieces = np.split(points, np.cumsum(lengths)[:-1]) if len(lengths) else []
    return Drawings([_offsets(*each) for each in zip(places, pieces, strict=True)], places)


def _offsets(place: str, points: np.ndarray) -> np.ndarray:
    """A drawing from dx, dy and whether a stroke ends, as `Drawings` has it."""
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiub" or not len(points):
        raise InputError(f"{place}: expected numbers [T, 3] of at least 1 point, got {outline(points)}")
    offsets = points.astype(np.float64)
    too_large = np.argwhere(~(np.abs(offsets) <= LARGEST))
    if len(too_large):
        row, column = too_large[0].tolist()
        reason = f"expected it to be finite and below {LARGEST:g}, got {offsets[row, column]}"
        raise InputError(f"{place}, point {row + 1}, column {column + 1}: {reason}")
    wrong = np.flatnonzero(~np.isin(offsets[:, 2], (0, 1)))
    if len(wrong):
        raise InputError(f"{place}, point {wrong[0] + 1}: expected 0 or 1 in column 3, got {offsets[wrong[0], 2]:g}")
    offsets[0, :2] = 0.0
    offsets[-1, 2] = ENDS
    return offsets.astype(np.float32)


def _shown(value: Any) -> str:
    return f"{value!r:.60}"
