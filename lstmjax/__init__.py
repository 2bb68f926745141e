"""Recurrent networks for JAX: cells as pure functions, one way to run them over time, and models to train with them."""

from lstmjax import (
    cells,
    data,
    decoding,
    initializers,
    interop,
    kernels,
    layers,
    metrics,
    models,
    regularizers,
    training,
    types,
)
from lstmjax.cells import GRUParams, HiddenState, LSTMParams, LSTMState, Record, Recording, StackedCells
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
from lstmjax.steps import valid_steps
from lstmjax.unroll import unroll, unroll_loop

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
    "cells",
    "data",
    "decoding",
    "initializers",
    "interop",
    "kernels",
    "layers",
    "load_model",
    "metrics",
    "models",
    "regularizers",
    "stack",
    "training",
    "types",
    "unroll",
    "unroll_loop",
    "valid_steps",
]
