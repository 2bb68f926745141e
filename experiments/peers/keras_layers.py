"""Keras 3 `LSTM`, `GRU` and `SimpleRNN` on JAX, through `stateless_call`; lengths become a mask."""

import importlib
import os
from typing import Any

import jax.numpy as jnp

from experiments.peers.common import JaxLayers, States, Weights

NAMES = ("kernel", "recurrent_kernel", "bias")


def layers(kind: str, hidden: int, weights: Weights, **options: Any) -> JaxLayers:
    built = [_layer(kind, hidden, both, **options) for both in weights]

    def apply(weights: Weights, xs: Any, states: States, valid: Any) -> tuple[Any, States]:
        mask = jnp.arange(xs.shape[1]) < valid[:, None] if valid is not None and valid.ndim == 1 else valid
        ends: States = []
        for one, both, state in zip(built, weights, states, strict=True):
            begin = [leaf for leaves in state for leaf in leaves]
            (xs, *end), _ = one.stateless_call(arrays_of(both), seeds(one), xs, initial_state=begin, mask=mask)
            ends.append([tuple(end[at : at + len(state[0])]) for at in range(0, len(end), len(state[0]))])
        return xs, ends

    def step(weights: Weights, state: Any, x: Any) -> tuple[Any, Any]:
        cell = built[0].cell
        (y, state), _ = cell.stateless_call(arrays_of(weights[0]), seeds(cell), x, list(state))
        return tuple(state), y

    return JaxLayers(apply, built, step=step)


def _layer(kind: str, hidden: int, both: list[dict[str, Any]], **options: Any) -> Any:
    """A layer with these weights."""
    keras, dtype = keras_on_jax(), both[0]["kernel"].dtype.name
    returns = {"return_sequences": True, "return_state": True}
    one = getattr(keras.layers, kind)(hidden, dtype=dtype, **returns, **options)
    whole = keras.layers.Bidirectional(one, dtype=dtype) if len(both) == 2 else one
    if dtype == "float64":
        for way in [whole.forward_layer, whole.backward_layer] if len(both) == 2 else [one]:
            way.cell.activation = jnp.tanh  # on JAX, Keras' own rounds float64 to float32
    whole.build((None, None, both[0]["kernel"].shape[0]))
    whole.set_weights(arrays_of(both))
    return whole


def arrays_of(both: list[dict[str, Any]]) -> list[Any]:
    """One layer's weights in the order that Keras lists them in."""
    return [entries[name] for entries in both for name in NAMES]


def seeds(layer: Any) -> list[Any]:
    return [variable.value for variable in layer.non_trainable_variables]


def keras_on_jax() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is imported
    return importlib.import_module("keras")
