"""The training loop: steps, evaluations, checkpoints, and telling whoever watches."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import jax
import numpy as np

from lstmjax import checks
from lstmjax.data.text import Streams
from lstmjax.training.checkpoint import Checkpoints
from lstmjax.training.state import Metrics, TrainState, TrainStep
from lstmjax.types import PyTree


class Observer(Protocol):
    """Someone who is told how training goes, in order; nothing it does changes the run."""

    def on_step(self, step: int, metrics: dict[str, float]) -> None: ...

    def on_evaluation(self, step: int, validation_loss: float) -> None: ...


class DivergedError(ArithmeticError):
    """The loss or its gradient stopped being a finite number.

    Args:
      step: the step whose numbers were bad.
      last_good: the newest checkpoint saved before it, if there is one.
    """

    def __init__(self, step: int, last_good: int | None) -> None:
        kept = (
            "no checkpoint had been saved yet" if last_good is None else f"the checkpoint of step {last_good} is kept"
        )
        super().__init__(f"the loss or its gradient is not finite at step {step}; training stopped, and {kept}")
        self.step, self.last_good = step, last_good


@dataclasses.dataclass(frozen=True)
class Cadence:
    """How long to train and how often to look.

    Args:
      steps: the run's length.
      log_every: steps between records of the training loss.
      eval_every: steps between evaluations; each one is followed by a checkpoint. The last step has both too.
    """

    steps: int
    log_every: int
    eval_every: int

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "eval_every"):
            checks.positive_int(name, getattr(self, name))

    def is_log(self, step: int) -> bool:
        return step % self.log_every == 0 or self.is_evaluation(step)

    def is_evaluation(self, step: int) -> bool:
        return step % self.eval_every == 0 or step == self.steps


def fit(
    state: TrainState,
    batches: Streams,
    train_step: TrainStep,
    evaluate: Callable[[PyTree], float],
    checkpoints: Checkpoints,
    cadence: Cadence,
    observers: Sequence[Observer] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainState:
    """Train from `state` to the last step, or until `should_stop()`; either way the last state is saved.

    Where it starts is read from `state` alone, so a restored state goes on exactly as if it had never stopped.

    Args:
      state: from `initial_train_state` or a checkpoint; its buffers are given up.
      batches: the training text; `state.position` says where to go on.
      train_step: from `make_train_step`.
      evaluate: validation loss of parameters, in nats per symbol.
      checkpoints: where states go.
      cadence: length, and how often to log and evaluate.
      observers: told of logged steps and evaluations.
      should_stop: asked after every step.

    Returns:
      the last state.

    Raises:
      DivergedError: the loss or gradient is not finite; the last good checkpoint is kept.
    """
    pending: list[tuple[int, Metrics]] = []
    step, position = int(state.step), int(state.position)
    while step < cadence.steps:
        state, metrics = train_step(state, batches.batch(position))
        step, position = step + 1, position + 1
        pending.append((step, metrics))
        stopping = should_stop()
        if cadence.is_log(step) or stopping:
            _report(pending, cadence, observers, checkpoints)
            pending.clear()
        if cadence.is_evaluation(step):
            loss = evaluate(state.params)
            if not math.isfinite(loss):
                raise DivergedError(step, _newest(checkpoints))
            for observer in observers:
                observer.on_evaluation(step, loss)
            checkpoints.save(state, loss)
        elif stopping:
            checkpoints.save(state)
        if stopping:
            break
    return state


def _report(
    pending: Sequence[tuple[int, Metrics]], cadence: Cadence, observers: Sequence[Observer], checkpoints: Checkpoints
) -> None:
    """Fetch the metrics of all steps since the last report; every one is checked, the logged ones are passed on."""
    for step, metrics in jax.device_get(pending):
        if not all(np.isfinite(value) for value in metrics.values()):
            raise DivergedError(step, _newest(checkpoints))
        if cadence.is_log(step):
            for observer in observers:
                observer.on_step(step, {name: float(value) for name, value in metrics.items()})


def _newest(checkpoints: Checkpoints) -> int | None:
    return max(checkpoints.steps(), default=None)
