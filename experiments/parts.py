"""The parts that data are in: to learn from, to choose a model by, and to look at once, at the end."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from lstmjax.data.downloads import Parts
from lstmjax.errors import InputError

__all__ = ["Parts", "complete", "described", "digest", "in_batches"]

T = TypeVar("T")
S = TypeVar("S")


def complete(
    train: T,
    validation: T | None,
    test: T | None,
    split: Callable[[T, float, int], tuple[T, T]],
    fractions: tuple[float, float],
    seed: int,
) -> Parts[T]:
    """The parts that are given; what is missing is held out of those to learn from.

    Args:
      train, validation, test: the parts.
      split: from examples, a fraction and a seed to the rest and what is held out.
      fractions: for validation and for the test, each in (0, 1).
      seed: at least 0; the parts follow from it.
    """
    of_validation, of_test = fractions
    if test is None:
        train, test = split(train, of_test, seed)
    if validation is None:
        train, validation = split(train, of_validation, seed + 1)
    return Parts(train, validation, test)


def held_out(count: int, fraction: float, seed: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Which of N rows stay, and which are held out at random; both in the rows' order.

    Args:
      count: N.
      fraction: how many to hold out.
      seed: at least 0.
      what: of what there may be too few, such as "tags.conll: too few sentences".

    Raises:
      InputError: one of them would be empty.
    """
    size = round(fraction * count)
    if not 0 < size < count:
        raise InputError(f"{what} to hold out {fraction:g} of them, {count}")
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[size:]), np.sort(order[:size])


def in_batches(parts: Parts[T], batches: Callable[[T, int | None], S], seed: int) -> Parts[S]:
    """The batches of each part: in training in another order each pass, which follows from the seed."""
    return Parts(batches(parts.train, seed), batches(parts.validation, None), batches(parts.test, None))


def digest(pieces: Iterable[bytes]) -> str:
    """SHA-256 in hex, by which data are known wherever they were read from."""
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()


def described(what: str, counts: Sequence[int]) -> str:
    """How many examples the three parts have.

    >>> described("clips", [1200, 30, 40])
    'clips: 1,200 to learn from, 30 to choose by, 40 to test on'
    """
    return f"{what}: {counts[0]:,} to learn from, {counts[1]:,} to choose by, {counts[2]:,} to test on"
