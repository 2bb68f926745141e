"""The numbers of a row, drawn from a seed: weights in our layout (gates i, f, g, o), inputs, and the loss's weights."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.peers.common import Weights
from experiments.speed.rows import SYMBOLS, Row, draw_lengths
from experiments.speed.turns import Prepared

LEARNING_RATE = 1e-3
"""Adam's, of an epoch."""


class Request(NamedTuple):
    """One thing that a contender prepares: `mode` is one that is timed."""

    row: Row
    mode: str
    dtype: str = "float32"
    device: str = "cpu"


@dataclasses.dataclass(frozen=True)
class Problem:
    """Everything a contender needs to know, float32, time first.

    Args:
      weights: "w_x" [I, 4H], "w_h" [H, 4H] and "b" [4H] of each layer and direction.
      xs: inputs [T, B, I].
      loss_weights: [T, B, D], zero at invalid steps: the loss is sum(ys * loss_weights).
      lengths: [B], or None where all are T.
      embedding: [V, I], of the symbols to generate.
      head: ([H, V], [V]), from the top layer's output to their scores; in an epoch V is 1, a prediction.
      batches: of an epoch, (xs [T, B, I], targets [B, 1]), the last as small as it comes.
    """

    weights: Weights
    xs: np.ndarray
    loss_weights: np.ndarray
    lengths: np.ndarray | None
    embedding: np.ndarray
    head: tuple[np.ndarray, np.ndarray]
    batches: list[tuple[np.ndarray, np.ndarray]]

    @property
    def valid(self) -> np.ndarray:
        """[T, B, 1]."""
        steps, batch = self.loss_weights.shape[:2]
        lengths = np.full(batch, steps) if self.lengths is None else self.lengths
        return (np.arange(steps)[:, None] < lengths)[..., None]


def draw(row: Row, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    outputs = 1 if row.sequences else SYMBOLS
    problem = Problem(
        weights=[[_cell(row, depth, rng) for _ in range(row.ways)] for depth in range(row.layers)],
        xs=rng.standard_normal((row.steps, row.batch, row.in_features), np.float32),
        loss_weights=rng.standard_normal((row.steps, row.batch, row.ways * row.hidden), np.float32),
        lengths=draw_lengths(row) if row.ragged else None,
        embedding=rng.standard_normal((SYMBOLS, row.in_features), np.float32),
        head=(_uniform(rng, row.hidden, row.hidden, outputs), _uniform(rng, row.hidden, outputs)),
        batches=_waves(row, rng),
    )
    problem.loss_weights[~np.broadcast_to(problem.valid, problem.loss_weights.shape)] = 0
    return problem


def _cell(row: Row, depth: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    width = 4 * row.hidden
    parts = {
        "w_x": _uniform(rng, row.hidden, row.features_into(depth), width),
        "w_h": _uniform(rng, row.hidden, row.hidden, width),
        "b": _uniform(rng, row.hidden, width),
    }
    parts["b"][row.hidden : 2 * row.hidden] += np.float32(1)
    return parts


def _uniform(rng: np.random.Generator, fan_in: int, *shape: int) -> np.ndarray:
    bound = 1 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def _waves(row: Row, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Noisy sine waves, and the value after each, in batches."""
    frequency, phase = rng.uniform(0.01, 0.1, row.sequences), rng.uniform(0, 2 * np.pi, row.sequences)
    waves = np.sin(2 * np.pi * frequency * np.arange(row.steps + 1)[:, None] + phase)
    waves = (waves + 0.1 * rng.standard_normal(waves.shape)).astype(np.float32)
    starts = range(0, row.sequences, row.batch)
    return [(waves[:-1, at : at + row.batch, None], waves[-1, at : at + row.batch, None]) for at in starts]


def prepare_epoch(step: Callable[..., Any], batches: Sequence[tuple[Any, Any]]) -> Prepared:
    """An epoch's mean loss over its sequences, from `step(xs, targets)`, which learns and gives a loss.

    An LSTM reads 1000 sequences of 1000 steps, a dense layer makes a number from its last output, the loss is the mean
    squared error, Adam learns from batches of 64, in the same order from the same weights in each library.
    """
    sizes = [len(targets) for _, targets in batches]

    def epoch() -> float:
        losses = [step(*batch) for batch in batches]
        return float(np.average([float(loss) for loss in losses], weights=sizes))

    return Prepared({"epoch": epoch}, lambda: {"loss": np.array([epoch()])})
