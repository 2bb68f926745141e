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


def kneser_ney(train: np.ndarray, asked: np.ndarray, num_symbols: int) -> np.ndarray:
    """The probability of the last of n symbols in a row after the others, by interpolated Kneser-Ney counts.

        p(w | h) = (max(c(h w) - d, 0) + d N(h) p(w | h')) / c(h),    d = n_1 / (n_1 + 2 n_2)

    where h' is h without its first symbol, N(h) is how many symbols follow h, and p(w) ends in 1 / V. c counts what
    occurs in the highest order, and in lower ones how many symbols it comes after.

    Args:
      train: what is counted, integers [M, n] in 0..V-1, such as `in_a_row` gives; n at least 1.
      asked: [N, n].
      num_symbols: V; V to the power of n below 2^63.

    Returns:
      probabilities, float64 [N].

    Source: Kneser and Ney 1995; interpolated: Chen and Goodman 1999.

    >>> pairs = in_a_row(np.array([0, 1, 0, 1, 0, 2]), 2)
    >>> kneser_ney(pairs, np.array([[0, 1], [1, 0]]), num_symbols=3).round(3).tolist()
    [0.644, 0.933]
    """
    order = train.shape[1]
    grams, counts = np.unique(_codes(train, num_symbols), return_counts=True)
    levels = []
    for size in range(order, 0, -1):
        levels.append(_level(grams, counts, num_symbols))
        grams, counts = np.unique(grams % num_symbols ** (size - 1), return_counts=True)
    codes = _codes(asked, num_symbols)
    probabilities = np.full(len(codes), 1.0 / num_symbols)
    for size, level in enumerate(reversed(levels), 1):
        probabilities = _interpolated(level, codes % num_symbols**size, num_symbols, probabilities)
    return probabilities


def perplexities(train: np.ndarray, text: np.ndarray, num_symbols: int) -> dict[str, float]:
    """The perplexity of a text but its first symbol, by each baseline's name; the trigram's second is a bigram's.

    Args:
      train, text: integers [N] in 0..V-1, at least 3 of them.
      num_symbols: V.
    """
    one, two, three = (kneser_ney(in_a_row(train, order), in_a_row(text, order), num_symbols) for order in (1, 2, 3))
    named = {"unigram": one[1:], "bigram": two, "trigram": np.concatenate([two[:1], three])}
    return {name: math.exp(-float(np.mean(np.log(found)))) for name, found in named.items()}


def in_a_row(ids: np.ndarray, order: int) -> np.ndarray:
    """Every `order` symbols in a row of a text [N]: [N - order + 1, order]."""
    return np.lib.stride_tricks.sliding_window_view(ids, order)


def _codes(rows: np.ndarray, num_symbols: int) -> np.ndarray:
    """One number for each row of symbols."""
    powers = num_symbols ** np.arange(rows.shape[1] - 1, -1, -1, dtype=np.int64)
    codes: np.ndarray = rows.astype(np.int64) @ powers
    return codes


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
