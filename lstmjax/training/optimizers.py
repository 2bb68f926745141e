"""Optimisers by config: optax's, with a schedule, clipping, accumulated gradients and averaged weights around them."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lstmjax import checks
from lstmjax.regularizers import weight_decay_mask
from lstmjax.types import Array, Bool, Float, Int, PyTree


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """An optimiser, the way its learning rate goes, and what is done to gradients before it and to weights after it."""

    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """adamw is adam with weight_decay, which it needs."""
    learning_rate: float = 4e-3
    """The highest learning rate, reached after warm-up."""
    schedule: Literal["cosine", "constant", "step", "plateau"] = "cosine"
    """After warm-up: a cosine down to final_fraction, no change, times decay_factor every decay_steps, or times
    decay_factor whenever validation has not improved for decay_patience evaluations."""
    warmup_steps: int = 100
    """Updates of linear warm-up from zero; in a shorter run, all but the last."""
    final_fraction: float = 0.02
    """Of cosine: the last learning rate as a share of the highest, in [0, 1]."""
    decay_factor: float = 0.5
    """Of step and plateau: what the learning rate is multiplied by, in (0, 1)."""
    decay_steps: int = 1000
    """Of step: updates between two decays."""
    decay_patience: int = 3
    """Of plateau: evaluations without improvement before a decay."""
    momentum: float = 0.0
    """Of sgd and rmsprop: the share of the last update that is kept, in [0, 1)."""
    beta2: float = 0.99
    """Of adam and rmsprop: decay of squared gradients, in [0, 1)."""
    weight_decay: float = 0.0
    """Decoupled weight decay, at least 0, on what multiplies an input or a state (regularizers.weight_decay_mask)."""
    clip_norm: float | None = 1.0
    """Gradients are scaled down to this global norm; None leaves them."""
    clip_value: float | None = None
    """Each entry of a gradient is cut to plus or minus this, before clip_norm; None leaves them."""
    accumulate: int = 1
    """Batches whose gradients are averaged before one update."""
    average: Literal["none", "ema", "asgd"] = "none"
    """Weights to evaluate and load: the last ones, their exponential average, or their mean from the evaluation on at
    which validation had not improved for average_patience evaluations (NT-ASGD)."""
    average_decay: float = 0.999
    """Of ema: the share of the average that stays at each step, in [0, 1)."""
    average_patience: int = 5
    """Of asgd: evaluations without improvement before averaging starts."""

    def __post_init__(self) -> None:
        checks.one_of("optimizer", self.optimizer, ("adam", "adamw", "sgd", "rmsprop"))
        checks.one_of("schedule", self.schedule, ("cosine", "constant", "step", "plateau"))
        checks.one_of("average", self.average, ("none", "ema", "asgd"))
        checks.index("warmup_steps", self.warmup_steps, 0, 2**31 - 1)
        for name in ("decay_steps", "decay_patience", "accumulate", "average_patience"):
            checks.index(name, getattr(self, name), 1, 2**31 - 1)  # they are compared with counts in int32
        for name in ("beta2", "momentum", "average_decay"):
            checks.rate(name, getattr(self, name))
        checks.positive("learning_rate", self.learning_rate)
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                checks.positive(name, getattr(self, name))
        self._check_shares()
        self._check_combination()

    def _check_shares(self) -> None:
        checks.at_least_zero("weight_decay", self.weight_decay)
        for name in ("final_fraction", "decay_factor"):
            checks.finite(name, getattr(self, name))
        if not 0.0 <= self.final_fraction <= 1.0:
            raise ValueError(f"final_fraction must be in [0, 1], got {self.final_fraction}")
        if not 0.0 < self.decay_factor < 1.0:
            raise ValueError(f"decay_factor must be in (0, 1), got {self.decay_factor}")

    def _check_combination(self) -> None:
        """What goes with which optimiser."""
        if self.optimizer == "adamw" and self.weight_decay == 0.0:
            raise ValueError("adamw needs weight_decay above 0, got 0.0; without it, it is adam")
        if self.momentum > 0.0 and self.optimizer not in ("sgd", "rmsprop"):
            raise ValueError(f"momentum needs optimizer sgd or rmsprop, got {self.optimizer}")


class Optimizer(NamedTuple):
    """An optax transformation, and what it does with the score of an evaluation.

    Args:
      init: `params -> opt_state`.
      update: `(gradients, opt_state, params) -> (updates, opt_state)`.
      after_evaluation: `(opt_state, score) -> opt_state`, where a lower score is better.
      average: `opt_state -> params` to evaluate and to load in place of the last ones; None means the last ones.
    """

    init: Callable[[PyTree], Any]
    update: Callable[..., tuple[PyTree, Any]]
    after_evaluation: Callable[[Any, float], Any] = lambda opt_state, score: opt_state
    average: Callable[[Any], PyTree | None] = lambda opt_state: None


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Linear from 0 over the warm-up, then as `config.schedule` says; a plateau's decays come on top.

    >>> schedule = learning_rate_schedule(OptimizerConfig(learning_rate=1.0, warmup_steps=10), steps=100)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 100)]
    [0.0, 0.5, 1.0, 0.02]
    """
    peak, warmup = config.learning_rate, min(config.warmup_steps, steps - 1)
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, steps, peak * config.final_fraction)
    after: optax.Schedule = optax.constant_schedule(peak)
    if config.schedule == "step":
        after = optax.exponential_decay(peak, config.decay_steps, config.decay_factor, staircase=True)
    if warmup == 0:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def make_optimizer(config: OptimizerConfig, steps: int) -> Optimizer:
    """The optimiser that a config asks for.

        clip -> adam, sgd or rmsprop -> weight decay -> learning rate,   averaged over `accumulate` batches

    Args:
      config: see `OptimizerConfig`.
      steps: batches in the whole run, which a cosine needs to know.
    """
    updates = max(1, steps // config.accumulate)
    links = []
    if config.clip_value is not None:
        links.append(optax.clip(config.clip_value))
    if config.clip_norm is not None:
        links.append(optax.clip_by_global_norm(config.clip_norm))
    links += _rule(config)
    if config.weight_decay > 0.0:
        links.append(optax.add_decayed_weights(config.weight_decay, weight_decay_mask))
    links.append(optax.scale_by_learning_rate(learning_rate_schedule(config, updates)))
    chain = optax.chain(*links)
    optimizer = Optimizer(chain.init, chain.update)
    if config.schedule == "plateau":
        optimizer = reduce_on_plateau(optimizer, config.decay_factor, config.decay_patience)
    if config.accumulate > 1:
        optimizer = accumulated(optimizer, config.accumulate)
    if config.average == "ema":
        optimizer = moving_average(optimizer, config.average_decay)
    if config.average == "asgd":
        optimizer = triggered_average(optimizer, config.average_patience)
    return optimizer


def _rule(config: OptimizerConfig) -> list[optax.GradientTransformation]:
    if config.optimizer in ("adam", "adamw"):
        return [optax.scale_by_adam(b2=config.beta2)]
    trace = [optax.trace(config.momentum)] if config.momentum > 0.0 else []
    return trace if config.optimizer == "sgd" else [optax.scale_by_rms(config.beta2), *trace]


class Waiting(NamedTuple):
    """The best score of all evaluations so far, and how many there have been since."""

    best: Float[Array, ""]
    waited: Int[Array, ""]

    @classmethod
    def start(cls) -> "Waiting":
        return cls(jnp.array(jnp.inf, jnp.float32), jnp.zeros((), jnp.int32))

    def after(self, score: float) -> "Waiting":
        """One evaluation on."""
        better = score < self.best
        return Waiting(
            jnp.where(better, jnp.asarray(score, jnp.float32), self.best),
            jnp.where(better, jnp.zeros_like(self.waited), self.waited + 1),
        )


class PlateauState(NamedTuple):
    """The wrapped optimiser's state, and what its updates are multiplied by."""

    inner: Any
    scale: Float[Array, ""]
    waiting: Waiting


def reduce_on_plateau(optimizer: Optimizer, factor: float, patience: int) -> Optimizer:
    """Multiply updates by `factor` once more whenever `patience` evaluations in a row have brought no lower score.

    >>> optimizer = reduce_on_plateau(Optimizer(*optax.sgd(1.0)), factor=0.5, patience=2)
    >>> state = optimizer.init({"w": jnp.zeros(2)})
    >>> for score in (1.0, 2.0, 2.0):
    ...     state = optimizer.after_evaluation(state, score)
    >>> float(state.scale)
    0.5
    """

    def init(params: PyTree) -> PlateauState:
        return PlateauState(optimizer.init(params), jnp.ones((), jnp.float32), Waiting.start())

    def update(gradients: PyTree, state: PlateauState, params: PyTree = None) -> tuple[PyTree, PlateauState]:
        updates, inner = optimizer.update(gradients, state.inner, params)
        return jax.tree.map(lambda leaf: leaf * state.scale.astype(leaf.dtype), updates), state._replace(inner=inner)

    def after_evaluation(state: PlateauState, score: float) -> PlateauState:
        waiting = state.waiting.after(score)
        is_due = waiting.waited >= patience
        scale = jnp.where(is_due, state.scale * factor, state.scale)
        waited = jnp.where(is_due, jnp.zeros_like(waiting.waited), waiting.waited)
        return PlateauState(optimizer.after_evaluation(state.inner, score), scale, waiting._replace(waited=waited))

    return Optimizer(init, update, after_evaluation)


def accumulated(optimizer: Optimizer, batches: int) -> Optimizer:
    """Average the gradients of so many batches before one update; parameters stay as they are in between."""
    steps = optax.MultiSteps(optax.GradientTransformation(optimizer.init, optimizer.update), batches)

    def after_evaluation(state: optax.MultiStepsState, score: float) -> optax.MultiStepsState:
        return state._replace(inner_opt_state=optimizer.after_evaluation(state.inner_opt_state, score))

    return Optimizer(steps.init, steps.update, after_evaluation)


class AverageState(NamedTuple):
    """The wrapped optimiser's state, the average, how many weights are in it, and since when it is being made."""

    inner: Any
    average: PyTree
    weights_seen: Int[Array, ""]
    active: Bool[Array, ""]
    waiting: Waiting


def changes_with_evaluations(opt_state: Any) -> bool:
    """Whether a state is of an optimiser that wants to hear of evaluations."""
    kinds = (PlateauState, AverageState)
    return any(isinstance(leaf, kinds) for leaf in jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, kinds)))


def moving_average(optimizer: Optimizer, decay: float) -> Optimizer:
    """Weights to evaluate and load: `average = decay * average + (1 - decay) * params`, from the first step on.

    At step n, counted from 0, the decay is at most `n / (n + 1)`, so that the initial weights do not linger.

    Raises:
      TypeError: parameters in half precision, as they are initialised: an average moves in steps too small for it.
    """
    return _averaged(optimizer, decay, patience=None)


def triggered_average(optimizer: Optimizer, patience: int) -> Optimizer:
    """Weights to evaluate and load: the last ones, and from a trigger on the mean of all since it.

    The trigger is the first evaluation at which `patience` of them in a row have brought no lower score.

    Raises:
      TypeError: see `moving_average`.

    Source: Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models" (NT-ASGD).
    """
    return _averaged(optimizer, 1.0, patience)


def _averaged(optimizer: Optimizer, decay: float, patience: int | None) -> Optimizer:
    """`average = decay_n average + (1 - decay_n) params` with `decay_n = min(decay, n / (n + 1))`, n weights seen.

    It starts once `patience` evaluations have brought no lower score; None starts at once.
    """

    def init(params: PyTree) -> AverageState:
        for leaf in jax.tree.leaves(params):
            if leaf.dtype.itemsize < 4:
                raise TypeError(f"averaged weights need parameters in float32 or float64, got {leaf.dtype.name}")
        copies = jax.tree.map(jnp.copy, params)
        return AverageState(
            optimizer.init(params), copies, jnp.zeros((), jnp.int32), jnp.array(patience is None), Waiting.start()
        )

    def update(gradients: PyTree, state: AverageState, params: PyTree = None) -> tuple[PyTree, AverageState]:
        updates, inner = optimizer.update(gradients, state.inner, params)
        n = state.weights_seen.astype(jnp.float32)
        kept = jnp.where(state.active, jnp.minimum(decay, n / (n + 1.0)), 0.0)

        def mix(old: Array, new: Array) -> Array:
            return kept.astype(new.dtype) * old + (1 - kept.astype(new.dtype)) * new

        average = jax.tree.map(mix, state.average, optax.apply_updates(params, updates))
        seen = jnp.where(state.active, state.weights_seen + 1, 0)
        return updates, AverageState(inner, average, seen, state.active, state.waiting)

    def after_evaluation(state: AverageState, score: float) -> AverageState:
        waiting = state.waiting.after(score)
        inner = optimizer.after_evaluation(state.inner, score)
        is_due = patience is not None and waiting.waited >= patience
        return state._replace(inner=inner, active=state.active | is_due, waiting=waiting)

    return Optimizer(init, update, after_evaluation, lambda state: state.average)
