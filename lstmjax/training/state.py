"""Everything a training run is at one moment, as one pytree."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from lstmjax.tasks import Task
from lstmjax.trees import split_model
from lstmjax.types import Array, Float, Int, Key, PyTree

Metrics = dict[str, Float[Array, ""]]
TrainStep = Callable[["TrainState", Any], tuple["TrainState", Metrics]]


class TrainState(NamedTuple):
    """All that the next step depends on.

    Args:
      params: the trained parameters, as nested dicts of arrays.
      other: variables that are not trained, such as a batch normalisation's running statistics.
      opt_state: the optimiser's.
      step: how many steps have been taken; also the position of the next batch.
      key: where every step's noise is drawn from, together with `step`.
      carry: what one batch hands to the next, see `lstmjax.tasks.Task`.
    """

    params: PyTree
    other: PyTree
    opt_state: optax.OptState
    step: Int[Array, ""]
    key: Key[Array, ""]
    carry: PyTree


def initial_train_state(
    model: nnx.Module, task: Task, optimizer: optax.GradientTransformation, batch_size: int, key: Key[Array, ""]
) -> TrainState:
    """The state before the first step.

    Parameters and key are copied: a training step donates its state's buffers, and the caller's should stay usable.

    Args:
      model: an nnx module.
      task: what it is trained to do.
      optimizer: from `make_optimizer`, or any of optax.
      batch_size: B, rows of a batch.
      key: fixes the noise of all steps.
    """
    _, params, other = split_model(model)
    params, other, carry = jax.tree.map(jnp.copy, (params, other, task.carry(model, batch_size)))
    return TrainState(
        params=params,
        other=other,
        opt_state=optimizer.init(params),
        step=jnp.zeros((), jnp.int32),
        key=jnp.copy(key),
        carry=carry,
    )
