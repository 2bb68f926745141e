"""Made data that ask how long and how much a network remembers: two numbers, ten symbols, or many facts.

Every call draws fresh sequences, so nothing is seen twice, and a loss on a batch before its step is one on unseen data.
`count` is how many, B, at least 1; `generator` is NumPy's and draws all that is random. No batch has weights. A number
that is too small raises a ValueError, one that is not whole a TypeError.
"""

import math

import numpy as np

from lstmjax import checks
from lstmjax.data.source import Examples

SYMBOLS = 8
"""How many symbols `copying` and `recalling` choose from."""

WORD = 10
"""How many symbols `copying` asks back."""


def adding(count: int, steps: int, generator: np.random.Generator) -> Examples:
    """The adding problem: the sum of the two numbers that are marked.

        target = sum_t number_t mark_t        number_t ~ U(0, 1), mark_t = 1 at two steps drawn at random, else 0

    Saying 1 whatever comes has a mean squared error of 1/6, `adding_baseline()`.

    Args:
      count, generator: see the module.
      steps: T, at least 2.

    Returns:
      inputs float32 [B, T, 2], the number and its mark; targets float32 [B, 1].

    Source: Hochreiter and Schmidhuber 1997, in the form of Le, Jaitly and Hinton 2015, "A Simple Way to Initialize
    Recurrent Networks of Rectified Linear Units".

    >>> batch = adding(4, 100, np.random.default_rng(0))
    >>> numbers, marks = np.moveaxis(batch.inputs, -1, 0)
    >>> marks.sum(axis=1).tolist(), bool(np.allclose(batch.targets[:, 0], (numbers * marks).sum(axis=1)))
    ([2.0, 2.0, 2.0, 2.0], True)
    """
    checks.positive_int("count", count)
    checks.index("steps", steps, 2)
    numbers = generator.random((count, steps), np.float32)
    places = generator.random((count, steps)).argpartition(1, axis=1)[:, :2]  # of the two smallest
    marks = np.zeros_like(numbers)
    np.put_along_axis(marks, places, 1.0, axis=1)
    targets = np.take_along_axis(numbers, places, axis=1).sum(axis=1, keepdims=True)
    return Examples(np.stack([numbers, marks], axis=-1), targets)


def adding_baseline() -> float:
    """The mean squared error of always saying 1: the variance of a sum of two uniform numbers.

    >>> round(adding_baseline(), 4)
    0.1667
    """
    return 2 / 12


def copying(count: int, blanks: int, generator: np.random.Generator) -> Examples:
    """Copy memory: after ten symbols, blanks and a signal, the targets are the ten symbols in their order.

        inputs    s_1 .. s_10, blank T - 1 times, the signal, blank 10 times       s_k uniform in 0..7
        targets   blank T + 10 times, s_1 .. s_10

    The blank is number 8, the signal number 9. Saying blank, and at the end any symbol alike, has a cross-entropy of
    10 log 8 / (T + 20) a step, `copying_baseline(T)`.

    Args:
      count, generator: see the module.
      blanks: T, at least 1: steps from the last symbol to the signal.

    Returns:
      inputs float32 [B, T + 20, 10], one-hot; targets int32 [B, T + 20].

    Source: Arjovsky, Shah and Bengio 2016, "Unitary Evolution Recurrent Neural Networks".

    >>> batch = copying(1, 3, np.random.default_rng(0))
    >>> batch.inputs.argmax(axis=-1).tolist()
    [[6, 5, 4, 2, 2, 0, 0, 0, 1, 6, 8, 8, 9, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]]
    >>> batch.targets[:, -10:].tolist()
    [[6, 5, 4, 2, 2, 0, 0, 0, 1, 6]]
    """
    checks.positive_int("count", count)
    checks.positive_int("blanks", blanks)
    blank, signal = SYMBOLS, SYMBOLS + 1
    word = generator.integers(0, SYMBOLS, (count, WORD))
    inputs = np.full((count, blanks + 2 * WORD), blank)
    targets = np.full(inputs.shape, blank, np.int32)
    inputs[:, :WORD], inputs[:, WORD + blanks - 1], targets[:, -WORD:] = word, signal, word
    return Examples(np.eye(SYMBOLS + 2, dtype=np.float32)[inputs], targets)


def copying_baseline(blanks: int) -> float:
    """The cross-entropy a step, in nats, of knowing when to speak and not what: 10 log 8 / (T + 20).

    Args:
      blanks: T, at least 1.

    >>> round(copying_baseline(100), 4)
    0.1733
    """
    checks.positive_int("blanks", blanks)
    return WORD * math.log(SYMBOLS) / (blanks + 2 * WORD)


def recalling(count: int, items: int, generator: np.random.Generator) -> Examples:
    """Facts to remember: each of K keys comes once with a symbol, in any order; then each key is asked for once.

        inputs    8 k + s_k for each key k, then 8 K + k for each          s_k uniform in 0..7
        targets   s_k of each key that is asked for

    To answer all, 3 K bits must be held: one observation is K = 1. Guessing is right one time in eight.

    Args:
      count, generator: see the module.
      items: K, at least 1.

    Returns:
      inputs float32 [B, 2 K, 9 K], one-hot: a fact is one input; targets int32 [B, K], for the last K steps.

    >>> batch = recalling(1, 2, np.random.default_rng(1))
    >>> batch.inputs.argmax(axis=-1).tolist(), batch.targets.tolist()
    ([[12, 3, 16, 17]], [[3, 4]])
    """
    checks.positive_int("count", count)
    checks.positive_int("items", items)
    symbols = generator.integers(0, SYMBOLS, (count, items))
    orders = np.tile(np.arange(items), (2, count, 1))
    shown, asked = generator.permuted(orders, axis=-1)
    facts = SYMBOLS * shown + np.take_along_axis(symbols, shown, axis=1)
    inputs = np.concatenate([facts, SYMBOLS * items + asked], axis=1)
    targets = np.take_along_axis(symbols, asked, axis=1).astype(np.int32)
    return Examples(np.eye((SYMBOLS + 1) * items, dtype=np.float32)[inputs], targets)
