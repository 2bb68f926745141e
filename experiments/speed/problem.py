"""The numbers of a row, drawn from a seed: weights in our layout (gates i, f, g, o), inputs, and the loss's weights."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from experiments.speed.spec import Row


class Parts(NamedTuple):
    """One cell's weights, or their gradients: [I, 4H], [H, 4H], [4H]."""

    w_x: np.ndarray
    w_h: np.ndarray
    b: np.ndarray


Weights = list[list[Parts]]
"""For each layer, bottom first, one or two directions, forward first."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Everything a contender needs to know, float32, time first.

    Args:
      weights: of the recurrent layers.
      xs: inputs [T, B, I]; of a job [N, T, I], all its sequences.
      loss_weights: [T, B, D], zero at invalid steps: the loss is sum(ys * loss_weights).
      lengths: [B], or None where all are T.
      embedding: [V, I] of generation, else [1, I].
      head: ([H, V], [V]), from the top layer's output to scores; of a job to its single prediction.
      targets: of a job [N, 1].
    """

    weights: Weights
    xs: np.ndarray
    loss_weights: np.ndarray
    lengths: np.ndarray | None
    embedding: np.ndarray
    head: tuple[np.ndarray, np.ndarray]
    targets: np.ndarray

    @property
    def valid(self) -> np.ndarray:
        """[T, B, 1]."""
        steps, batch = self.loss_weights.shape[:2]
        lengths = np.full(batch, steps) if self.lengths is None else self.lengths
        return (np.arange(steps)[:, None] < lengths)[..., None]


def draw(row: Row, seed: int = 0) -> Problem:
    """The row's problem; of a row that is not run, shapes alone: zeros without memory of their own."""
    rng = np.random.default_rng(seed)
    lengths = draw_lengths(row, seed) if row.ragged else None
    outputs = row.symbols if row.kind == "generation" else 1
    is_layer = row.kind == "layer"
    problem = Problem(
        weights=[[_cell(row, depth, rng) for _ in range(row.ways)] for depth in range(row.layers)],
        xs=_normal(rng, row, row.steps, row.batch, row.in_features) if is_layer else _sines(row, rng)[0],
        loss_weights=_normal(rng, row, row.steps, row.batch, row.out_features if is_layer else 1),
        lengths=lengths,
        embedding=_normal(rng, row, row.symbols if row.kind == "generation" else 1, row.in_features),
        head=(_uniform(rng, row.hidden, row.hidden, outputs), _uniform(rng, row.hidden, outputs)),
        targets=_sines(row, np.random.default_rng(seed))[1],
    )
    if lengths is None:
        return problem
    return dataclasses.replace(problem, loss_weights=problem.loss_weights * problem.valid.astype(np.float32))


def draw_lengths(row: Row, seed: int = 0) -> np.ndarray:
    """[B], uniform in 1..T."""
    return np.random.default_rng([seed, 1]).integers(1, row.steps + 1, row.batch).astype(np.int32)


def _cell(row: Row, depth: int, rng: np.random.Generator) -> Parts:
    width = 4 * row.hidden
    parts = Parts(
        _uniform(rng, row.hidden, row.features_into(depth), width),
        _uniform(rng, row.hidden, row.hidden, width),
        _uniform(rng, row.hidden, width),
    )
    parts.b[row.hidden : 2 * row.hidden] += np.float32(1)
    return parts


def _uniform(rng: np.random.Generator, fan_in: int, *shape: int) -> np.ndarray:
    bound = 1 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def _normal(rng: np.random.Generator, row: Row, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32) if row.runs else np.broadcast_to(np.float32(0), shape)


def _sines(row: Row, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noisy sine waves [N, T, 1] of a job, and the value after each [N, 1]."""
    frequency, phase = rng.uniform(0.01, 0.1, (row.sequences, 1)), rng.uniform(0, 2 * np.pi, (row.sequences, 1))
    waves = np.sin(2 * np.pi * frequency * np.arange(row.steps + 1) + phase)
    waves = (waves + 0.1 * rng.standard_normal(waves.shape)).astype(np.float32)
    return waves[:, :-1, None], waves[:, -1:]
