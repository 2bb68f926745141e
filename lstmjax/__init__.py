"""Recurrent networks for JAX: cells as pure functions, one way to run them over time, and models to train with them."""

from lstmjax import cells, data, decoding, initializers, metrics, models, regularizers, training, types
from lstmjax.cells import LSTMParams, LSTMState
from lstmjax.layers import LSTM, Recurrent, Stacked
from lstmjax.steps import valid_steps
from lstmjax.unroll import unroll, unroll_loop

__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "LSTMParams",
    "LSTMState",
    "Recurrent",
    "Stacked",
    "cells",
    "data",
    "decoding",
    "initializers",
    "metrics",
    "models",
    "regularizers",
    "training",
    "types",
    "unroll",
    "unroll_loop",
    "valid_steps",
]
