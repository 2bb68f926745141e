"""What a row costs by arithmetic alone: floating-point operations, bytes that must move, and the time they take.

Counted are the matrix products, two operations for each multiply and add; elementwise work is left out, so no program
reaches the floor. Bytes: each array is read or written once where it is needed once, and nothing is spilled.
"""

import numpy as np

from experiments.speed.problem import draw_lengths
from experiments.speed.spec import Row

ITEM_BYTES = {"float32": 4, "bfloat16": 2}


def valid_steps(row: Row) -> int:
    """Steps of all sequences that are no padding."""
    if row.kind == "job":
        return row.steps * row.sequences
    return int(np.sum(draw_lengths(row))) if row.ragged else row.steps * row.batch


def lstm_weights(row: Row) -> int:
    """Numbers in all weight matrices and biases of the recurrent layers."""
    return sum(row.ways * 4 * row.hidden * (row.features_into(d) + row.hidden + 1) for d in range(row.layers))


def head_weights(row: Row) -> int:
    """Numbers in the layer that makes scores, or a job's prediction."""
    if row.kind == "layer":
        return 0
    return (row.hidden + 1) * (row.symbols if row.kind == "generation" else 1)


def flops(row: Row, mode: str) -> int:
    """Forward: 2 (I + H) 4H for each step and cell; backward twice as much, for weights and for inputs."""
    cells = sum(row.ways * 2 * 4 * row.hidden * (row.features_into(depth) + row.hidden) for depth in range(row.layers))
    forward = valid_steps(row) * cells
    if row.kind == "generation":
        forward += valid_steps(row) * 2 * row.hidden * row.symbols
    return forward if mode in ("forward", "generate") else 3 * forward


def bytes_moved(row: Row, mode: str, dtype: str = "float32") -> int:
    """The least traffic there can be.

    Forward reads weights and inputs and writes outputs. Backward reads these, and the outputs' gradients, and writes
    gradients of weights and inputs. Generation reads all weights at each step, and each symbol's embedding.
    """
    item, weights = ITEM_BYTES[dtype], lstm_weights(row) + head_weights(row)
    if mode == "generate":
        return item * row.steps * (weights + row.batch * row.in_features)
    into = valid_steps(row) * row.in_features
    out = valid_steps(row) * row.out_features
    forward = weights + into + out
    return item * (forward if mode == "forward" else forward + 2 * (weights + into + out))


def floor_seconds(row: Row, mode: str, dtype: str, matrix_rate: float, bandwidth: float) -> float:
    """The least time, at so many operations and bytes a second."""
    return max(flops(row, mode) / matrix_rate, bytes_moved(row, mode, dtype) / bandwidth)
