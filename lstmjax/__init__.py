"""Recurrent networks for JAX: cells as pure functions, one way to run them over time, and models to train with them.

A cell is one step, a plain function of plain arrays; a layer is cells with their weights, run over whole sequences;
an adapter (`FlaxCell`, `interop`) makes either of them another library's.

What is named here is imported when it is first used, so that cells and `unroll` need neither Flax, optax nor orbax.

Rooms:

- `cells/`: one step of each recurrent network, as equations
- `kernels/`: the backends that run cells over time
- `layers/`: nnx layers: a cell over time, stacks, both directions, pooling
- `models/`: whole models by family, each with its config
- `data/`: readers of files, and batches of what they hold
- `training/`: the training step, optimisers, evaluation, checkpoints
- `decoding/`: generating and searching, from any step function
- `interop/`: weights from and to other libraries

Cells over time:

- `unroll.py`: any cell over the steps of each sequence, and the plain loop that says what that means
- `masking.py`: lengths, masks and resets as what each step takes
- `sharding.py`: what `jax.shard_map` asks of the arrays of a scan
- `chunks.py`: a scan over chunks of steps
- `feedback.py`: a step on its own outputs, in a closed loop
- `ragged.py`: sequences of different lengths, padded and taken apart again
- `derivative.py`: a function with a backward pass of its own
- `initializers.py`: how weights start
- `regularizers.py`: dropout, regularised cells, penalties, which weights decay

Functions of arrays:

- `attention.py`: which steps of a source a query is about
- `losses.py`: losses as sums and weights
- `metrics.py`: figures as sums and weights, or counts
- `positions.py`: which positions of a batch count
- `crf.py`: chains of tags: likelihoods, best paths, marginals
- `spans.py`: spans that tags mark, counted as conlleval does
- `distributions.py`: what a forecast says of a number
- `scores.py`: what a forecast was worth
- `densities.py`: densities of mixtures of Gaussians
- `sampled_softmax.py`: a softmax over very many symbols, trained on a sample
- `sampling.py`: drawing a symbol from scores

Trained models:

- `tasks.py`: what a model is trained to do
- `saved.py`: `load_model`, for every family
- `parts.py`: a table of a model's parts and parameters
- `text_scores.py`: a text scored as results are published
- `inspection.py`: every gate of a language model over a text

Shared:

- `types.py`: names for arrays, and what a cell is
- `checks.py`: checks of arguments
- `errors.py`: errors that a user can mend
- `trees.py`: modules as trees and as named tables
- `files.py`: files replaced whole or not at all
"""

import importlib
from typing import TYPE_CHECKING, Any

from lstmjax import cells, initializers, kernels, types
from lstmjax.cells import GRUParams, HiddenState, LSTMParams, LSTMState, Record, Recording, StackedCells
from lstmjax.feedback import unroll_feedback
from lstmjax.masking import valid_steps
from lstmjax.ragged import pad, sequence_mask, unpad
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
        Outputs,
        Recurrent,
        Residual,
        Stacked,
        Stateful,
        TimeDistributed,
        stack,
    )
    from lstmjax.parts import summary
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
    "Outputs",
    "Record",
    "Recording",
    "Recurrent",
    "Residual",
    "Stacked",
    "StackedCells",
    "Stateful",
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
    "pad",
    "regularizers",
    "sequence_mask",
    "stack",
    "summary",
    "tasks",
    "text_scores",
    "training",
    "types",
    "unpad",
    "unroll",
    "unroll_feedback",
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
    "Outputs",
    "Recurrent",
    "Residual",
    "Stacked",
    "Stateful",
    "TimeDistributed",
    "stack",
)
_HOMES = dict.fromkeys(_LAYERS, "lstmjax.layers") | {"load_model": "lstmjax.saved", "summary": "lstmjax.parts"}
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
_ONE_STEP = "one step is layer.step(x, state) of a layer lstmjax.{0}, or the cell lstmjax.cells.{0} without Flax"
_OTHER_NAMES = {
    "LSTMCell": _ONE_STEP.format("LSTM"),
    "OptimizedLSTMCell": _ONE_STEP.format("LSTM"),
    "GRUCell": _ONE_STEP.format("GRU"),
    "RNNCell": _ONE_STEP.format("ElmanRNN"),
    "SimpleRNNCell": _ONE_STEP.format("ElmanRNN"),
    "SimpleRNN": "it is called ElmanRNN",
    "RNN": "any cell over time is Recurrent(cell), and the plain recurrent network is ElmanRNN",
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), "it is called ConvLSTM, over one to three dimensions"),
    "Dropout": "it is lstmjax.regularizers.Dropout, or Flax's nnx.Dropout",
    "Embedding": "it is Flax's nnx.Embed",
    "pack_padded_sequence": "layers take lengths= as they are; lstmjax.pad makes padded arrays",
    "pad_sequence": "it is called pad",
    "pad_sequences": "it is called pad",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"lstmjax.{name}")
    if name in _HOMES:
        globals()[name] = found = getattr(importlib.import_module(_HOMES[name]), name)
        return found
    hint = f": {_OTHER_NAMES[name]}" if name in _OTHER_NAMES else ""
    raise AttributeError(f"module 'lstmjax' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
