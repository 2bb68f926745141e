"""Class labels as text: their numbers, and the file they are kept in."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lstmjax.data.text import saved
from lstmjax.errors import InputError
from lstmjax.files import replace_text


@dataclasses.dataclass(frozen=True)
class Labels:
    """Classes 0..C-1 by name.

    Args:
      names: distinct.

    Raises:
      ValueError: none, or the same name twice.

    >>> labels = Labels.of(["yes", "no", "yes"])
    >>> labels.names, labels.encode(["no", "yes"], ["row 1", "row 2"]).tolist()
    (('no', 'yes'), [0, 1])
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"names must be distinct and at least one, got {self.names}")

    @classmethod
    def of(cls, labels: Iterable[str]) -> "Labels":
        """The distinct ones, numbers in their order, then the others in theirs."""
        return cls(tuple(sorted(set(labels), key=_in_order)))

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, labels: Sequence[str], places: Sequence[str]) -> np.ndarray:
        """Their numbers, int32 [N].

        Args:
          labels: N of them.
          places: where each stands, for the message.

        Raises:
          InputError: a label that is not among the names.
        """
        numbers = {name: number for number, name in enumerate(self.names)}
        for label, place in zip(labels, places, strict=True):
            if label not in numbers:
                raise InputError(f"{place} has the label {label!r}; expected one of {self._shown()}")
        return np.array([numbers[label] for label in labels], np.int32)

    def encode_sets(self, sets: Sequence[Sequence[str]], places: Sequence[str]) -> np.ndarray:
        """For each of N sets of labels, 1 for the classes in it, float32 [N, C]; raises as `encode` does."""
        found = np.zeros((len(sets), len(self)), np.float32)
        for row, (labels, place) in enumerate(zip(sets, places, strict=True)):
            found[row, self.encode(labels, [place] * len(labels))] = 1
        return found

    def _shown(self) -> str:
        shown = ", ".join(map(repr, self.names[:10]))
        return shown if len(self.names) <= 10 else f"{shown} and {len(self.names) - 10} more"


def save_labels(labels: Labels, path: str | Path) -> None:
    """Write them as JSON."""
    replace_text(path, json.dumps({"labels": labels.names}, ensure_ascii=False) + "\n")


def load_labels(path: str | Path) -> Labels:
    """Read what `save_labels` wrote.

    Raises:
      InputError: the file is missing or is something else.
    """
    with saved(path, "list of labels") as content:
        match content:
            case {"labels": [*names]} if all(isinstance(name, str) for name in names):
                return Labels(tuple(names))
    raise InputError(f"{path} does not hold labels")


def _in_order(label: str) -> tuple[int, float, str]:
    """10 after 9, as numbers are, and names after numbers."""
    return (0, float(label), label) if label.lstrip("+-").isdecimal() else (1, 0.0, label)
