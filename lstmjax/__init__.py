"""Recurrent networks for JAX: cells as pure functions, one way to run them over time, and models to train with them.

What is named here is imported when it is first used, so that cells and `unroll` need neither Flax, optax nor orbax.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lstmjax import cells, initializers, kernels, types
from lstmjax.cells import GRUParams, HiddenState, LSTMParams, LSTMState, Record, Recording, StackedCells
from lstmjax.steps import valid_steps
from lstmjax.unroll import unroll, unroll_loop

if TYPE_CHECKING:
    from lstmjax import (
        attention,
        crf,
        data,
        decoding,
        densities,
        inspection,
        interop,
        layers,
        losses,
        metrics,
        models,
        regularizers,
        tasks,
        text_scores,
        training,
    )
    from lstmjax.layers import (
        GRU,
        LSTM,
        Bidirectional,
        BidirectionalState,
        ConvLSTM,
        ElmanRNN,
        FlaxCell,
        Recurrent,
        Residual,
        Stacked,
        TimeDistributed,
        stack,
    )
    from lstmjax.saved import load_model

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "Bidirectional",
    "BidirectionalState",
    "ConvLSTM",
    "ElmanRNN",
    "FlaxCell",
    "GRUParams",
    "HiddenState",
    "LSTMParams",
    "LSTMState",
    "Record",
    "Recording",
    "Recurrent",
    "Residual",
    "Stacked",
    "StackedCells",
    "TimeDistributed",
    "attention",
    "cells",
    "crf",
    "data",
    "decoding",
    "densities",
    "initializers",
    "inspection",
    "interop",
    "kernels",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "models",
    "regularizers",
    "stack",
    "tasks",
    "text_scores",
    "training",
    "types",
    "unroll",
    "unroll_loop",
    "valid_steps",
]

_LAYERS = (
    "GRU",
    "LSTM",
    "Bidirectional",
    "BidirectionalState",
    "ConvLSTM",
    "ElmanRNN",
    "FlaxCell",
    "Recurrent",
    "Residual",
    "Stacked",
    "TimeDistributed",
    "stack",
)
_HOMES = dict.fromkeys(_LAYERS, "lstmjax.layers") | {"load_model": "lstmjax.saved"}
_ROOMS = (
    "attention",
    "crf",
    "data",
    "decoding",
    "densities",
    "inspection",
    "interop",
    "layers",
    "losses",
    "metrics",
    "models",
    "regularizers",
    "tasks",
    "text_scores",
    "training",
)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"lstmjax.{name}")
    if name in _HOMES:
        globals()[name] = found = getattr(importlib.import_module(_HOMES[name]), name)
        return found
    raise AttributeError(f"module 'lstmjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
