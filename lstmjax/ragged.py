"""Sequences of different lengths: padded to one array, and taken apart again."""

from collections.abc import Sequence

import numpy as np

from lstmjax import checks
from lstmjax.masking import valid_steps
from lstmjax.types import Array, Bool, Float, Int


def pad(rows: Sequence[np.ndarray], multiple_of: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Sequences side by side, zeros after their ends.

    Args:
      rows: B arrays [T_b, ...], alike in all but their length; lists of numbers will do.
      multiple_of: T is the longest length, rounded up to a multiple of this, so that fewer programs are compiled.

    Returns:
      xs [B, T, ...] in the rows' dtype, and lengths int32 [B]: what every layer takes.

    Raises:
      ValueError: no rows, rows of other shapes or dtypes, `multiple_of` below 1.

    >>> xs, lengths = lx.pad([[1.0, 2.0, 3.0], [4.0]], multiple_of=2)
    >>> xs.tolist(), lengths.tolist()
    ([[1.0, 2.0, 3.0, 0.0], [4.0, 0.0, 0.0, 0.0]], [3, 1])
    """
    checks.positive_int("multiple_of", multiple_of)
    arrays = [np.asarray(row) for row in rows]
    if not arrays:
        raise ValueError("rows must hold at least one sequence, got none")
    for number, array in enumerate(arrays):
        if array.ndim == 0:
            raise ValueError(f"rows[{number}] must be a sequence [T, ...], got a single number")
        checks.shape(f"rows[{number}]", array, ("T", *arrays[0].shape[1:]))
        checks.dtype_among(f"rows[{number}]", array, [arrays[0].dtype])
    lengths = np.array([len(array) for array in arrays], np.int32)
    steps = -(-max(int(lengths.max()), 1) // multiple_of) * multiple_of
    xs = np.zeros((len(arrays), steps, *arrays[0].shape[1:]), arrays[0].dtype)
    for padded, array in zip(xs, arrays, strict=True):
        padded[: len(array)] = array
    return xs, lengths


def unpad(ys: Float[Array, "B T *out"], lengths: Int[Array, "B"]) -> list[np.ndarray]:
    """Each sequence's own steps: the inverse of `pad`.

    Args:
      ys: [B, T, ...], such as a layer's outputs.
      lengths: integers [B] in 0..T.

    Returns:
      B arrays [T_b, ...].

    >>> [row.tolist() for row in lx.unpad(np.array([[1.0, 2.0], [4.0, 0.0]]), np.array([2, 1]))]
    [[1.0, 2.0], [4.0]]
    """
    rows = np.asarray(ys)
    counts = np.asarray(checks.whole_numbers("lengths", lengths, (len(rows),), 0, rows.shape[1]))
    return [row[:count] for row, count in zip(rows, counts, strict=True)]


def sequence_mask(lengths: Int[Array, "B"], num_steps: int) -> Bool[Array, "B T"]:
    """True at the first `lengths[b]` steps of each sequence, as every `mask` has it.

    Args:
      lengths: integers [B] in 0..T.
      num_steps: T.

    >>> lx.sequence_mask(jnp.array([2, 0]), 3).tolist()
    [[True, True, False], [False, False, False]]
    """
    checks.positive_int("num_steps", num_steps)
    valid = valid_steps(lengths, None, num_steps, np.size(lengths))
    assert valid is not None
    return valid.T
