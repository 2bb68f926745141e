"""Everything a training run is at one moment, as one pytree."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lstmjax.data.text import Batch
from lstmjax.models import LanguageModel
from lstmjax.trees import split_model
from lstmjax.types import Array, Float, Int, Key, PyTree

Metrics = dict[str, Float[Array, ""]]
TrainStep = Callable[["TrainState", Batch], tuple["TrainState", Metrics]]


class TrainState(NamedTuple):
    """Parameters (plain nested dicts of arrays) and all that the next step depends on, data position included."""

    params: PyTree
    other: PyTree
    opt_state: optax.OptState
    step: Int[Array, ""]
    key: Key[Array, ""]
    carry: tuple[Any, ...]
    position: Int[Array, ""]


def initial_train_state(
    model: LanguageModel, optimizer: optax.GradientTransformation, batch_size: int, key: Key[Array, ""]
) -> TrainState:
    """The state before the first step: the model's parameters, zero carry, first batch.

    Parameters and key are copied: a training step gives its state's buffers up, and the caller's should stay usable.
    """
    params, other = jax.tree.map(jnp.copy, split_model(model)[1:])
    return TrainState(
        params=params,
        other=other,
        opt_state=optimizer.init(params),
        step=jnp.zeros((), jnp.int32),
        key=jnp.copy(key),
        carry=model.initial_state(batch_size),
        position=jnp.zeros((), jnp.int32),
    )
