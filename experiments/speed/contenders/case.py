"""What a contender is asked for, and what it answers with."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.speed.problem import Problem, Weights
from experiments.speed.spec import Row

Answers = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Request:
    """One thing to prepare: `option` is the contender's own (a backend, a cell); `mode` is one of `RUN_MODES`."""

    row: Row
    mode: str
    dtype: str = "float32"
    device: str = "cpu"
    option: str = ""


@dataclasses.dataclass(frozen=True)
class Case:
    """Something prepared.

    Args:
      run: does it once, waits until it is done, and gives what came out.
      answers: what came out in one form for all contenders: "outputs" [T, B, D], or "d_inputs" and the weights'
        gradients, or "symbols" [B, N], or "loss".
      compile_seconds: None where nothing is compiled.
      program_bytes: temporary and output memory by the compiler's account; None where there is none.
      note: what the table should say of it.
      backend: of ours, what `lstmjax.kernels.explain` says runs its layers.
    """

    run: Callable[[], Any]
    answers: Callable[[Any], Answers]
    compile_seconds: float | None = None
    program_bytes: int | None = None
    note: str = ""
    backend: str = ""


def gradients(problem: Problem, d_inputs: np.ndarray, d_weights: Weights) -> Answers:
    """Gradients by name; `d_inputs` is [T, B, I]."""
    named = {
        f"{depth}.{way}.{name}": np.asarray(array)
        for depth, both in enumerate(d_weights)
        for way, parts in enumerate(both)
        for name, array in parts._asdict().items()
    }
    return {"d_inputs": np.where(problem.valid, d_inputs, 0), **named}


def difference(ours: Answers, reference: Answers, mode: str) -> float:
    """How far answers are from the reference's; see `spec.BARS` for what is meant in each mode."""
    if ours.keys() != reference.keys():
        raise ValueError(f"answers must be {', '.join(reference)}, got {', '.join(ours)}")
    each = [_one_difference(ours[name], reference[name], mode) for name in reference]
    return float(np.max(each))  # unlike max(), NaN if one is


def _one_difference(mine: np.ndarray, other: np.ndarray, mode: str) -> float:
    if mine.shape != other.shape:
        raise ValueError(f"answers must have shape {other.shape}, got {mine.shape}")
    if mode == "generate":
        return float(np.mean(mine != other))
    apart = np.abs(mine.astype(np.float64) - other.astype(np.float64))
    return float(np.max(apart) / (1.0 if mode == "forward" else max(float(np.max(np.abs(other))), 1e-30)))
