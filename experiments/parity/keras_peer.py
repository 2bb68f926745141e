"""Keras 3 `LSTM`, `GRU` and `SimpleRNN`, on JAX; any mask is an argument of theirs too."""

import importlib
import os
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.parity.measuring import (
    HIDDEN,
    STEPS,
    Form,
    Peer,
    Problem,
    Result,
    States,
    foreign,
    random_like,
    run_jax,
)
from lstmjax.interop import from_keras
from lstmjax.interop.layouts import LAYOUTS

CELLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "LSTM": ("LSTM", {}, "LSTM"),
    "GRU": ("GRU", {}, "GRU"),
    "GRU, reset_after=False": ("GRU", {"reset_after": False}, "GRU(reset_after=False)"),
    "SimpleRNN": ("SimpleRNN", {}, "SimpleRNN"),
}
_NAMES = ("kernel", "recurrent_kernel", "bias")


def make(cell: str, form: Form, dtype: Any) -> Peer:
    with foreign():
        layers = [_layer(cell, form, dtype, depth) for depth in range(form.layers)]
        weights = [_by_direction(form, layer.get_weights()) for layer in layers]

    def apply(weights: list[list[dict[str, Any]]], xs: Any, states: States) -> tuple[Any, States]:
        ends = []
        for layer, own, state in zip(layers, weights, states, strict=True):
            arrays = [one[name] for one in own for name in _NAMES]
            seeds = [variable.value for variable in layer.non_trainable_variables]
            begin = [leaf for one in state for leaf in one]
            mask = None if form.mask is None and form.lengths is None else form.valid
            (xs, *end), _ = layer.stateless_call(arrays, seeds, xs, initial_state=begin, mask=mask)
            half = len(end) // form.ways
            ends.append([tuple(end[at : at + half]) for at in range(0, len(end), half)])
        return xs, ends

    def run(problem: Problem) -> Result:
        return run_jax(apply, weights, form, problem)

    return Peer(from_keras(layers), LAYOUTS["keras"][CELLS[cell][2]], run)


def _layer(cell: str, form: Form, dtype: Any, depth: int) -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras: Any = importlib.import_module("keras")
    kind, options, _ = CELLS[cell]
    name = np.dtype(dtype).name
    returns = {"return_sequences": True, "return_state": True}
    layer = getattr(keras.layers, kind)(HIDDEN, dtype=name, **returns, **options)
    layer = keras.layers.Bidirectional(layer, dtype=name) if form.bidirectional else layer
    for one in [layer.forward_layer, layer.backward_layer] if form.bidirectional else [layer]:
        if name == "float64":
            one.cell.activation = jnp.tanh  # on JAX, Keras' own rounds float64 to float32
    layer.build((None, STEPS, form.in_features(depth)))
    layer.set_weights(random_like(layer.get_weights(), np.random.default_rng(depth), dtype))
    return layer


def _by_direction(form: Form, arrays: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    size = len(_NAMES)
    return [dict(zip(_NAMES, arrays[size * way : size * (way + 1)], strict=True)) for way in range(form.ways)]
