"""One optimisation step of truncated backpropagation through time, compiled."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from lstmjax import checks
from lstmjax.data.text import Batch
from lstmjax.training.state import Metrics, TrainState, TrainStep
from lstmjax.types import Array, Float, Key, PyTree


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Adam with clipped gradients; the learning rate warms up linearly and falls along a cosine."""

    learning_rate: float = 4e-3
    """The highest learning rate, reached after warm-up."""
    warmup_steps: int = 100
    """Steps of linear warm-up from zero; in a shorter run, all steps but the last."""
    final_fraction: float = 0.02
    """The last learning rate as a share of the highest, in [0, 1]."""
    beta2: float = 0.99
    """Adam's decay of squared gradients, in [0, 1)."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW) on all matrices, at least 0; biases are spared."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this global norm."""

    def __post_init__(self) -> None:
        checks.index("warmup_steps", self.warmup_steps, 0)
        checks.rate("beta2", self.beta2)
        checks.positive("learning_rate", self.learning_rate)
        checks.positive("clip_norm", self.clip_norm)
        if not 0.0 <= self.final_fraction <= 1.0:
            raise ValueError(f"final_fraction must be in [0, 1], got {self.final_fraction}")
        if not self.weight_decay >= 0.0:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Linear from 0 over the warm-up, then a cosine down to the final fraction at the last step.

    >>> schedule = learning_rate_schedule(OptimizerConfig(learning_rate=1.0, warmup_steps=10), steps=100)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 100)]
    [0.0, 0.5, 1.0, 0.02]
    """
    peak, warmup = config.learning_rate, min(config.warmup_steps, steps - 1)
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, steps, peak * config.final_fraction)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Clip by global norm, then Adam (AdamW if `weight_decay` is above 0) on the schedule."""
    schedule = learning_rate_schedule(config, steps)
    if config.weight_decay == 0.0:
        adam = optax.adam(schedule, b2=config.beta2)
    else:
        adam = optax.adamw(schedule, b2=config.beta2, weight_decay=config.weight_decay, mask=_is_matrix)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)


def make_train_step(graphdef: nnx.GraphDef[Any], optimizer: optax.GradientTransformation) -> TrainStep:
    """Compile `(state, batch) -> (state, metrics)`; the old state's buffers are given up to the new one.

    The carried LSTM state enters as a constant, so gradients stop at the chunk's start; where the streams start again
    it is zeroed. Metrics are scalars: loss (nats per symbol), grad_norm (before clipping).
    """

    def loss_of(
        params: PyTree, batch: Batch, carry: tuple[Any, ...], key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], tuple[Any, ...]]:
        logits, carry = nnx.merge(graphdef, params)(batch.inputs, carry, key=key)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
        return losses.mean(), carry

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key, dropout_key = jax.random.split(state.key)
        carry = jax.tree.map(lambda leaf: jnp.where(batch.is_start, jnp.zeros_like(leaf), leaf), state.carry)
        (loss, carry), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params, batch, carry, dropout_key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
        return TrainState(params, state.other, opt_state, state.step + 1, key, carry, state.position + 1), metrics

    return jax.jit(train_step, donate_argnums=0)


def _is_matrix(params: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
