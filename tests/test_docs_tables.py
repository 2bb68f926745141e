"""The pages for those who come from elsewhere tell of every argument they know, and tell the truth of the odd ones."""

import importlib
import inspect
import re
import typing
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from flax import nnx

import lstmjax as lx

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
def test_every_argument_of_keras(name, keras):
    layer = getattr(keras.layers, name)
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


def test_what_keras_does_backwards_and_at_padding(keras):
    """It turns the outputs of `go_backwards` round, and repeats the last output where a mask is False."""
    xs = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    mask = np.array([[True] * 5, [True] * 3 + [False] * 2])
    layer = lx.LSTM(3, 4, rngs=nnx.Rngs(0))
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        forward = keras.layers.LSTM(4, return_sequences=True)
        backward = keras.layers.LSTM(4, return_sequences=True, go_backwards=True)
        for theirs in (forward, backward):
            theirs.build(xs.shape)
            theirs.set_weights(lx.interop.to_keras(layer))
        masked, turned = np.asarray(forward(xs, mask=mask)), np.asarray(backward(xs))
    np.testing.assert_allclose(layer(xs, reverse=True)[0], turned[:, ::-1], atol=1e-5)
    ys, _ = layer(xs, mask=mask)
    np.testing.assert_allclose(lx.layers.last_step(ys, mask=mask), masked[:, -1], atol=1e-5)
    assert not ys[1, 3:].any()


@pytest.mark.usefixtures("lenient_promotion")
def test_decayed_weights_are_an_l2_penalty_on_kernels():
    params = {"lstm": lx.cells.LSTM(3, 5).init(jax.random.key(0)), "head": {"kernel": np.ones((5, 2), np.float32)}}
    chain = optax.chain(optax.add_decayed_weights(2 * 0.01, lx.regularizers.weight_decay_mask), optax.sgd(1.0))
    updates, _ = chain.update(jax.tree.map(np.zeros_like, params), chain.init(params), params)

    def penalty(params):
        kernels = (params["lstm"].w_x, params["lstm"].w_h, params["head"]["kernel"])
        return 0.01 * sum((kernel**2).sum() for kernel in kernels)

    for update, gradient in zip(jax.tree.leaves(updates), jax.tree.leaves(jax.grad(penalty)(params)), strict=True):
        np.testing.assert_allclose(update, -gradient, atol=1e-6)
