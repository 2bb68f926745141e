"""The pages for those who come from elsewhere tell of every argument they know: a new one there fails here."""

import importlib
import inspect
import re
import typing
from pathlib import Path

import pytest
from flax import nnx

DOCS = Path(__file__).parents[1] / "docs"
KERAS_LAYERS = [
    *("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "LSTMCell", "GRUCell", "SimpleRNNCell"),
    *("RNN", "StackedRNNCells", "Bidirectional", "TimeDistributed", "Masking", "Embedding", "RepeatVector"),
]
TORCH_PACKING = ["pack_padded_sequence", "pad_packed_sequence", "pad_sequence", "pack_sequence", "unpad_sequence"]


def told(page):
    """What the first columns of a page's tables have as code: the words in it."""
    first = re.findall(r"^\| (.*?) \|", (DOCS / page).read_text(), re.MULTILINE)
    return set(re.findall(r"\w+", " ".join(code for cell in first for code in re.findall(r"`([^`]*)`", cell))))


def arguments(*calls):
    """Named parameters of functions and classes."""
    every = [parameter for call in calls for parameter in inspect.signature(call).parameters.values()]
    spread = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {parameter.name for parameter in every if parameter.kind not in spread} - {"self"}


@pytest.mark.parametrize("name", KERAS_LAYERS)
def test_every_argument_of_keras(name):
    layer = getattr(pytest.importorskip("keras").layers, name)
    assert arguments(layer, layer.call) <= told("coming-from-keras.md")


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
def test_every_argument_of_torch(name):
    layer = getattr(pytest.importorskip("torch").nn, name)
    builds = typing.get_overloads(layer.__init__) or [layer.__init__]
    assert {"input_size", "hidden_size", "bias"} < arguments(*builds)
    assert arguments(*builds, layer.forward) <= told("coming-from-pytorch.md")


@pytest.mark.parametrize("name", TORCH_PACKING)
def test_every_argument_of_torchs_packing(name):
    pytest.importorskip("torch")
    function = getattr(importlib.import_module("torch.nn.utils.rnn"), name)
    assert arguments(function) <= told("coming-from-pytorch.md")


@pytest.mark.parametrize("name", ["LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell", "RNN", "Bidirectional"])
def test_every_argument_of_flax(name):
    cell = getattr(nnx, name)
    assert arguments(cell.__init__) <= told("coming-from-flax.md")
    if name in ("RNN", "Bidirectional"):
        assert arguments(cell.__call__) <= told("coming-from-flax.md")
