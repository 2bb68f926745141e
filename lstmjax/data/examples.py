"""What all readers return: sequences, their targets, and where each stands in its file."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstmjax import checks
from lstmjax.data import text
from lstmjax.errors import InputError


class Labelled(NamedTuple):
    """Sequences with their targets, as a file has them.

    `sequences`: N texts, or N arrays float32 [T_n, I]. `targets`: N labels, N tuples of labels, numbers float64 [N, K],
    or None where the file says nothing. `places`: where each of the N stands, such as "reviews.tsv, row 3". `classes`:
    every label that there may be, where a file says so of more than it has.

    >>> Labelled(["well made", "a bore"], ["good", "bad"], ["reviews.tsv, row 1", "reviews.tsv, row 2"]).take([1])
    Labelled(sequences=['a bore'], targets=['bad'], places=['reviews.tsv, row 2'], classes=None)
    """

    sequences: list[str] | list[np.ndarray]
    targets: list[str] | list[tuple[str, ...]] | np.ndarray | None
    places: list[str]
    classes: tuple[str, ...] | None = None

    def take(self, rows: Sequence[int] | np.ndarray) -> "Labelled":
        """Those of the rows given, numbers in 0..N-1, in that order."""
        targets: Any = self.targets
        if isinstance(targets, np.ndarray):
            targets = targets[np.asarray(rows, int)]
        elif targets is not None:
            targets = [targets[row] for row in rows]
        sequences: list[Any] = [self.sequences[row] for row in rows]
        return Labelled(sequences, targets, [self.places[row] for row in rows], self.classes)

    @property
    def file(self) -> str:
        """The file they are from, for messages."""
        return self.places[0].rsplit(", ", 1)[0] if self.places else "no file"


def split(labelled: Labelled, fraction: float, seed: int) -> tuple[Labelled, Labelled]:
    """Hold a random part out; both parts keep the order of the file.

    Where each example has one label, both parts have the labels in the same proportions, as nearly as whole numbers
    allow, and the first part has at least one example of each.

    Args:
      labelled: N examples.
      fraction: how much of them to hold out, in (0, 1).
      seed: at least 0; the split follows from it.

    Returns:
      the rest, and what is held out.

    Raises:
      ValueError: a fraction or a seed out of range.
      InputError: too few examples for two parts.

    >>> rest, held_out = split(Labelled(list("abcdef"), list("xxxxyy"), ["-"] * 6), fraction=0.5, seed=0)
    >>> rest.targets, held_out.targets
    (['x', 'x', 'y'], ['x', 'x', 'y'])
    """
    checks.index("seed", seed, 0)
    checks.fraction("fraction", fraction)
    held = _drawn(_groups(labelled), fraction, np.random.default_rng(seed))
    if len(held) == 0:
        raise InputError(
            f"{labelled.file}: too few examples to split, {len(labelled.sequences)}: "
            f"a fraction of {fraction} would leave one part empty"
        )
    rest = np.setdiff1d(np.arange(len(labelled.sequences)), held)
    return labelled.take(rest), labelled.take(held)


def _groups(labelled: Labelled) -> list[np.ndarray]:
    """The rows of each label; all together where there is not one label for each."""
    labels = labelled.targets
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return [np.arange(len(labelled.sequences))]
    places: dict[Any, list[int]] = {}
    for row, label in enumerate(labels):
        places.setdefault(label, []).append(row)
    return [np.array(rows) for rows in places.values()]


def _drawn(groups: list[np.ndarray], fraction: float, generator: np.random.Generator) -> np.ndarray:
    """A fraction of each group, those with the largest remainders rounded up; never all of one."""
    sizes = np.array([len(rows) for rows in groups])
    shares = sizes * fraction
    counts = np.minimum(np.floor(shares).astype(int), sizes - 1)
    mixed = generator.permutation(len(groups))  # so that equal remainders favour nobody
    order = mixed[np.argsort(counts[mixed] - shares[mixed], kind="stable")]
    able = order[(counts[order] < sizes[order] - 1) & (shares[order] - counts[order] > 1e-9)]
    counts[able[: max(0, int(shares.sum() + 0.5) - int(counts.sum()))]] += 1
    drawn = [generator.permutation(rows)[:count] for rows, count in zip(groups, counts, strict=True)]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, int)


def numbered_lines(path: str | Path) -> list[tuple[int, str]]:
    """The lines of a text file without their ends, each with its row as an editor counts: from 1.

    Raises:
      InputError: see `text.read_text`.
    """
    return list(enumerate(re.split(r"\r\n|\r|\n", text.read_text(path)), 1))


def any_number(written: str) -> float | None:
    """The number that a text writes in digits, NaN and infinities with it, or None."""
    try:
        return None if "_" in written else float(written)
    except ValueError:
        return None


def finite_number(place: str, written: str, where: str = "") -> float:
    """The finite number that a text writes in digits; InputError, which says where it stands, if it writes none.

    >>> finite_number("row 1", " -1.5e3")
    -1500.0
    """
    number = any_number(written)
    if number is None or not math.isfinite(number):
        raise InputError(f"{place}: expected a finite number{where}, got {written!r:.60}")
    return number


def finite_numbers(place: str, written: Sequence[str]) -> np.ndarray:
    """The numbers that N texts write, float32 [N]; InputError if one of them writes none that is finite there."""
    exact = np.array([any_number(each) for each in written], np.float64)  # None becomes NaN
    with np.errstate(over="ignore"):  # what float32 can't hold is found below
        numbers = exact.astype(np.float32)
    if not np.isfinite(numbers).all():
        at = int(np.argmin(np.isfinite(numbers)))
        raise InputError(f"{place}, value {at + 1}: expected a finite number, got {written[at].strip()!r:.60}")
    return numbers
