"""Baselines for language models: counts of one, two and three symbols in a row, in plain NumPy."""

import math
from typing import NamedTuple

import numpy as np


class Level(NamedTuple):
    """Counts of n symbols in a row, as sorted codes: n-grams, and the n - 1 symbols that they begin with."""

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray
    discount: float


def kneser_ney(train: np.ndarray, text: np.ndarray, num_symbols: int, order: int) -> np.ndarray:
    """The probability of each symbol of a text but its first `order` - 1, by interpolated Kneser-Ney counts.

        p(w | h) = (max(c(h w) - d, 0) + d N(h) p(w | h')) / c(h),    d = n_1 / (n_1 + 2 n_2)

    where h' is h without its first symbol, N(h) is how many symbols follow h, and p(w) ends in 1 / V. c counts what
    occurs in the highest order, and in lower ones how many symbols it comes after.

    Args:
      train, text: integers [N] in 0..V-1, `train` at least `order` of them.
      num_symbols: V; V to the power of `order` below 2^63.
      order: n, at least 1.

    Returns:
      probabilities, float64 [N - order + 1].

    Source: Kneser and Ney 1995; interpolated: Chen and Goodman 1999.

    >>> p = kneser_ney(np.array([0, 1, 0, 1, 0, 2]), np.array([0, 1, 0]), num_symbols=3, order=2)
    >>> p.round(3).tolist()
    [0.644, 0.933]
    """
    levels, codes = [], _codes(train, num_symbols, order)
    grams, counts = np.unique(codes, return_counts=True)
    for size in range(order, 0, -1):
        levels.append(_level(grams, counts, num_symbols))
        grams, counts = np.unique(grams % num_symbols ** (size - 1), return_counts=True)
    asked = _codes(text, num_symbols, order)
    probabilities = np.full(len(asked), 1.0 / num_symbols)
    for size, level in enumerate(reversed(levels), 1):
        probabilities = _interpolated(level, asked % num_symbols**size, num_symbols, probabilities)
    return probabilities


def perplexities(train: np.ndarray, text: np.ndarray, num_symbols: int) -> dict[str, float]:
    """The perplexity of a text but its first symbol, by each baseline's name; the trigram's second is a bigram's."""
    one, two, three = (kneser_ney(train, text, num_symbols, order) for order in (1, 2, 3))
    named = {"unigram": one[1:], "bigram": two, "trigram": np.concatenate([two[:1], three])}
    return {name: math.exp(-float(np.mean(np.log(found)))) for name, found in named.items()}


def _codes(ids: np.ndarray, num_symbols: int, order: int) -> np.ndarray:
    """One number for each `order` symbols in a row."""
    rows = np.lib.stride_tricks.sliding_window_view(ids.astype(np.int64), order)
    return rows @ num_symbols ** np.arange(order - 1, -1, -1, dtype=np.int64)


def _level(grams: np.ndarray, counts: np.ndarray, num_symbols: int) -> Level:
    contexts, first = np.unique(grams // num_symbols, return_index=True)
    once, twice = np.sum(counts == 1), np.sum(counts == 2)
    discount = float(once / max(once + 2 * twice, 1)) or 0.5  # where nothing occurs once
    kinds = np.diff(np.append(first, len(grams)))
    return Level(grams, counts, contexts, np.add.reduceat(counts, first), kinds, min(discount, 0.99))


def _interpolated(level: Level, asked: np.ndarray, num_symbols: int, lower: np.ndarray) -> np.ndarray:
    seen, place = _found(level.grams, asked)
    counts = np.where(seen, level.counts[place], 0)
    known, place = _found(level.contexts, asked // num_symbols)
    left = np.maximum(counts - level.discount, 0.0) + level.discount * level.kinds[place] * lower
    return np.where(known, left / level.totals[place], lower)


def _found(table: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each number is in a sorted table, and where."""
    place = np.minimum(np.searchsorted(table, asked), len(table) - 1)
    return table[place] == asked, place
