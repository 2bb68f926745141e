"""The training loop: steps, evaluations, checkpoints, and telling whoever watches."""

import dataclasses
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np
import optax

from lstmjax import checks
from lstmjax.data.prefetch import Resumable, prefetch
from lstmjax.data.source import Source
from lstmjax.training.checkpoint import Checkpoints
from lstmjax.training.optimizers import Optimizer, changes_with_evaluations
from lstmjax.training.state import Metrics, TrainState, TrainStep
from lstmjax.types import PyTree


class Observer(Protocol):
    """Hears of logged steps and of evaluations, in order; nothing it does changes the run."""

    def on_step(self, step: int, metrics: dict[str, float]) -> None: ...

    def on_evaluation(self, step: int, metrics: dict[str, float]) -> None: ...


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
      patience: stop early once so many evaluations in a row have brought no better score; None never does.
    """

    steps: int
    log_every: int
    eval_every: int
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "eval_every"):
            checks.positive_int(name, getattr(self, name))
        if self.patience is not None:
            checks.positive_int("patience", self.patience)

    @classmethod
    def of_epochs(cls, epochs: int, source: Source[Any], log_every: int = 10, patience: int | None = None) -> "Cadence":
        """So many passes over a source, with an evaluation after each.

        >>> Cadence.of_epochs(3, range(7))
        Cadence(steps=21, log_every=10, eval_every=7, patience=None)
        """
        checks.positive_int("epochs", epochs)
        return cls(epochs * len(source), log_every, len(source), patience)

    def is_log(self, step: int) -> bool:
        return step % self.log_every == 0 or self.is_evaluation(step)

    def is_evaluation(self, step: int) -> bool:
        return step % self.eval_every == 0 or step == self.steps

    def has_waited(self, step: int, best: tuple[int, float] | None) -> bool:
        """Whether `step` is `patience` evaluations or more past the best one, given as its step and score."""
        if self.patience is None or best is None:
            return False
        return step // self.eval_every - best[0] // self.eval_every >= self.patience


def fit(
    state: TrainState,
    source: Source[Any],
    train_step: TrainStep,
    evaluate: Callable[[PyTree, PyTree], dict[str, float]],
    checkpoints: Checkpoints,
    cadence: Cadence,
    observers: Sequence[Observer] = (),
    should_stop: Callable[[], bool] = lambda: False,
    score: Callable[[dict[str, float]], float] = operator.itemgetter("loss"),
    optimizer: Optimizer | None = None,
) -> TrainState:
    """Train from `state` to the last step, until patience ends, or until `should_stop()`; the last state is saved.

    Where it starts is read from `state` alone, so a restored state goes on exactly as if it had never stopped.

    Args:
      state: from `initial_train_state` or a checkpoint; its buffers are donated.
      source: the batches, prepared ahead in the background; `state.step` says where to go on.
      train_step: from `make_train_step`, or any function like it.
      evaluate: figures of parameters and other variables, `(params, other) -> {"loss": ..., ...}`.
      checkpoints: where states go; the one with the lowest score is kept as the best.
      cadence: length, how often to log and evaluate, and when to stop early.
      observers: hear of logged steps and of evaluations.
      should_stop: asked after every step.
      score: what of an evaluation's figures should become low.
      optimizer: the one in `train_step`, if it changes with evaluations (reduce on plateau, averaged weights).

    Returns:
      the last state.

    Raises:
      DivergedError: the loss, its gradient or the score is not finite; the last good checkpoint is kept.
      ValueError: no `optimizer`, and the state is of one that changes with evaluations.
    """
    rule = _rule(optimizer, state)
    pending: list[tuple[int, Metrics]] = []
    step, best = int(state.step), checkpoints.best()
    if step > 0 and isinstance(source, Resumable):
        source.restore(checkpoints.source_state(step))
    with prefetch(source, step) as batches:
        while step < cadence.steps and not cadence.has_waited(step, best):
            state, metrics = train_step(state, next(batches))
            step += 1
            pending.append((step, metrics))
            stopping = should_stop()
            if cadence.is_log(step) or stopping:
                _report(pending, cadence, observers, checkpoints)
                pending.clear()
            if cadence.is_evaluation(step):
                state, value = _evaluated(state, evaluate, score, rule, checkpoints, observers)
                best = (step, value) if best is None or value < best[1] else best
                checkpoints.save(state, value, source_state=batches.state, average=rule.average(state.opt_state))
            elif stopping:
                checkpoints.save(state, source_state=batches.state, average=rule.average(state.opt_state))
            if stopping:
                break
    return state


def _rule(optimizer: Optimizer | None, state: TrainState) -> Optimizer:
    """The optimizer, or one that nothing happens to between steps."""
    if optimizer is not None:
        return optimizer
    if changes_with_evaluations(state.opt_state):
        raise ValueError("optimizer must be given: the one in train_step changes with evaluations or averages weights")
    return Optimizer(*optax.identity())


def _evaluated(
    state: TrainState,
    evaluate: Callable[[PyTree, PyTree], dict[str, float]],
    score: Callable[[dict[str, float]], float],
    rule: Optimizer,
    checkpoints: Checkpoints,
    observers: Sequence[Observer],
) -> tuple[TrainState, float]:
    """Evaluate the present weights, tell the observers and the optimiser; returns the state and the score.

    Raises:
      DivergedError: the loss or the score is not finite.
    """
    average = rule.average(state.opt_state)
    figures = evaluate(state.params if average is None else average, state.other)
    value = score(figures)
    if not (math.isfinite(figures.get("loss", 0.0)) and math.isfinite(value)):
        raise DivergedError(int(state.step), _newest(checkpoints))
    for observer in observers:
        observer.on_evaluation(int(state.step), figures)
    return state._replace(opt_state=rule.after_evaluation(state.opt_state, value)), value


def _report(
    pending: Sequence[tuple[int, Metrics]], cadence: Cadence, observers: Sequence[Observer], checkpoints: Checkpoints
) -> None:
    """Fetch the metrics of all steps since the last report; every one is checked, the logged ones are passed on."""
    for step, metrics in jax.device_get(pending):
        if not (np.isfinite(metrics["loss"]) and np.isfinite(metrics["grad_norm"])):
            raise DivergedError(step, _newest(checkpoints))
        if cadence.is_log(step):
            for observer in observers:
                observer.on_step(step, {name: float(value) for name, value in metrics.items()})


def _newest(checkpoints: Checkpoints) -> int | None:
    return max(checkpoints.steps(), default=None)
