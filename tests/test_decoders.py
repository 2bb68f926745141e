"""Decoders: each against its equations in NumPy, training's pass against decoding's steps, rows against one another."""

import dataclasses
import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

import lstmjax as lx
from lstmjax.losses import sparse_categorical_cross_entropy
from lstmjax.models import Looking, LuongDecoder, PlainDecoder, Seq2SeqConfig, config_parts, seq2seq_config
from lstmjax.models.decoder_steps import first_state, run_decoder, step_cells
from lstmjax.trees import to_table
from tests import reference

B, S, T, V = 3, 4, 6, 7
RNG = np.random.default_rng(0)
SOURCE = RNG.integers(4, V, (B, S)).astype(np.int32)
INPUTS = RNG.integers(4, V, (B, T)).astype(np.int32)
LENGTHS = np.array([4, 0, 2], np.int32)
SMALL = Seq2SeqConfig(
    embed_features=3,
    encoder_features=(2,),
    decoder_features=(4,),
    attention_features=3,
    out_features=3,
    source_vocab_size=V,
    target_vocab_size=V,
)
CONFIGS = {
    "general": SMALL,
    "dot": dataclasses.replace(
        SMALL, attention="dot", cell="gru", decoder_features=(3, 4), input_feeding=False, encoder_features=(3, 2)
    ),
    "concat": dataclasses.replace(
        SMALL, attention="concat", coverage=True, decoder_features=(3, 5), tie_output=False, out_features=6
    ),
    "bahdanau": dataclasses.replace(SMALL, attention="bahdanau", encoder_features=(3,), bidirectional=False),
    "bahdanau-gru": dataclasses.replace(
        SMALL,
        attention="bahdanau",
        coverage=True,
        cell="gru",
        decoder_features=(3, 5),
        window="predicted",
        half_width=2,
    ),
    "plain": dataclasses.replace(SMALL, attention="none", decoder_features=(5, 3)),
    "monotonic": dataclasses.replace(SMALL, window="monotonic", half_width=1, cell="gru"),
    "predicted": dataclasses.replace(SMALL, window="predicted", half_width=2, share_embeddings=True),
}
every_decoder = pytest.mark.parametrize("name", CONFIGS)
some_decoders = pytest.mark.parametrize("name", ["general", "concat", "plain"])


@functools.cache
def made(name):
    """A model in float64 with no parameter 0, its parameters by name, and its whole pass and its step, compiled."""
    wide = {kind: functools.partial(cell, param_dtype=np.float64) for kind, cell in config_parts.CELLS.items()}
    with mock.patch.dict(config_parts.CELLS, wide):
        model = seq2seq_config.build(CONFIGS[name], nnx.Rngs(0))
    for embed in (model.source_embed.embed, model.target_embed.embed):
        embed.dtype = np.dtype(np.float64)
    graphdef, params = nnx.split(model)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)

    @jax.jit
    def whole(params, source, inputs, lengths):
        model = nnx.merge(graphdef, params)
        read = model.encode(source, lengths=lengths)
        features, _ = run_decoder(model.decoder, *read, model.target_embed(inputs, key=None))
        return model.with_alignments(source, inputs, lengths=lengths), features, read

    @jax.jit
    def step(params, memory, symbols, state):
        return nnx.merge(graphdef, params).step(memory, symbols, state)

    return graphdef, params, whole, step


def cell_of(config, table, place):
    """A step of a cell and what it starts from."""
    weights = {name: table.get(f"{place}.weights.{name}") for name in ("w_x", "w_h", "b", "b_h")}
    zeros = np.zeros(len(weights["w_h"]))
    step = {"lstm": reference.lstm_step, "gru": reference.gru_step}[config.cell]
    return functools.partial(step, weights), {"h": zeros, "c": zeros} if config.cell == "lstm" else {"h": zeros}


def read(config, table, xs):
    """What the encoder gives at each step of one source, and its last states."""
    last = []
    for layer in range(len(config.encoder_features)):
        ways = []
        for way in (".forward", ".backward") if config.bidirectional else ("",):
            step, state = cell_of(config, table, f"encoder.layers.{layer}{way}")
            hs = []
            for x in xs[::-1] if way == ".backward" else xs:
                state = step(state, x)
                hs.append(state["h"])
            ways.append(hs[::-1] if way == ".backward" else hs)
            last.extend(state.values())
        xs = [np.concatenate(both) for both in zip(*ways, strict=True)]
    return np.reshape(xs, (len(xs), config.memory_features)), np.concatenate(last)


def look(config, table, h, memory, covered, position):
    """Context and weights of one query of one source."""
    of = {name.rsplit("looking.", 1)[1]: array for name, array in table.items() if "looking." in name}
    if config.attention == "dot":
        scores = memory @ h
    elif config.attention == "general":
        scores = memory @ of["attention.to_keys.kernel"] @ h
    else:
        inner = h @ of["attention.to_query.kernel"] + memory @ of["attention.to_keys.kernel"]
        inner = inner + of["attention.to_keys.bias"]
        if config.coverage:
            inner = inner + covered[:, None] * of["attention.of_coverage"]
        scores = np.tanh(inner) @ of["attention.score.kernel"][:, 0]
    centre = position
    if config.window == "predicted":
        inner = np.tanh(h @ of["centre.hidden.kernel"]) @ of["centre.score.kernel"][:, 0]
        centre = len(memory) * reference.sigmoid(inner)
    distance = np.arange(len(memory)) - centre
    seen = np.abs(distance) <= (config.half_width if config.window else np.inf)
    weights = np.where(seen, np.exp(scores), 0.0)
    weights = weights / weights.sum() if seen.any() else weights
    if config.window == "predicted":
        weights = weights * np.exp(-(distance**2) / (2 * (config.half_width / 2) ** 2))
    return weights @ memory, weights


def steps_of(config, table, x, states, feature, memory, covered, position):
    """One step of the decoder: features, weights and states."""
    luong = config.attention in ("general", "dot", "concat")
    context, weights = np.zeros(0), np.zeros(len(memory))
    if config.attention == "bahdanau":
        context, weights = look(config, table, states[-1]["h"], memory, covered, position)
        x = np.concatenate([x, context])
    elif luong and config.input_feeding:
        x = np.concatenate([x, feature])
    after = []
    for number, state in enumerate(states):
        after.append(cell_of(config, table, f"decoder.layers.{number}")[0](state, x))
        x = after[-1]["h"]
    if luong:
        context, weights = look(config, table, x, memory, covered, position)
        inner = x @ table["decoder.of_state.kernel"] + table["decoder.of_state.bias"]
        return np.tanh(inner + context @ table["decoder.of_context.kernel"]), weights, after
    inner = np.concatenate([x, context]) @ table["decoder.combine.kernel"] + table["decoder.combine.bias"]
    return np.tanh(inner), weights, after


def by_hand(config, table, source, inputs):
    """Logits and weights of one source, symbol by symbol."""
    memory, last = read(config, table, list(table["source_embed.embed.embedding"][source]))
    embedding = table["source_embed.embed.embedding" if config.share_embeddings else "target_embed.embed.embedding"]
    flat = np.tanh(last @ table["bridge.kernel"] + table["bridge.bias"])
    states = []
    for width in config.decoder_features:
        names = ("h", "c") if config.cell == "lstm" else ("h",)
        states.append(dict(zip(names, np.split(flat[: width * len(names)], len(names)), strict=True)))
        flat = flat[width * len(names) :]
    feature, covered, features, weights = np.zeros(config.out_features), np.zeros(len(memory)), [], []
    for position, symbol in enumerate(inputs):
        x = embedding[symbol]
        feature, weight, states = steps_of(config, table, x, states, feature, memory, covered, position)
        covered = covered + weight
        features.append(feature)
        weights.append(np.pad(weight, (0, S - len(weight))))
    if config.tie_output:
        return features @ embedding.T, np.array(weights)
    return features @ table["head.kernel"] + table["head.bias"], np.array(weights)


@every_decoder
def test_training_is_the_equations_and_decoding_is_training(name, x64):
    """To the last bit, but for the scores: a product over all steps at once rounds otherwise than one a step."""
    _, params, whole, step = made(name)
    (logits, weights), features, (memory, state) = whole(params, SOURCE, INPUTS, LENGTHS)
    assert (logits.dtype, weights.dtype) == (np.float64, np.float64)
    table = to_table(nnx.to_pure_dict(params))
    for row, length in enumerate(LENGTHS):
        expected = by_hand(CONFIGS[name], table, SOURCE[row, :length], INPUTS[row])
        np.testing.assert_allclose(logits[row], expected[0], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(weights[row], expected[1], rtol=1e-10, atol=1e-12)
    for t in range(T):
        scores, state = step(params, memory, jnp.asarray(INPUTS[:, t]), state)
        np.testing.assert_array_equal(state.weights, weights[:, t])
        np.testing.assert_array_equal(state.features, features[:, t])
        np.testing.assert_allclose(scores, logits[:, t], rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(state.position, T)
    np.testing.assert_allclose(state.coverage, weights.sum(axis=1))


@some_decoders
def test_rows_of_one_source_are_as_if_alone(name, x64):
    """Two rows a source, which differ, beside one row a source."""
    _, params, whole, step = made(name)
    *_, (memory, first) = whole(params, SOURCE, INPUTS, LENGTHS)
    symbols = [jnp.asarray(INPUTS[:, t]) for t in range(4)]
    alone = []
    for now in (0, 1):
        _, state = step(params, memory, symbols[now], first)
        alone.append((state, *step(params, memory, symbols[2 + now], state)))

    def beside(one, other):
        return jnp.stack([one, other], axis=1).reshape(2 * B, *one.shape[1:])

    states = jax.tree.map(beside, *(state for state, _, _ in alone))
    scores, after = step(params, memory, beside(symbols[2], symbols[3]), states)
    expected = jax.tree.map(beside, *((scores, after) for _, scores, after in alone))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), (scores, after), expected)


def test_gradients(x64):
    """Of the loss, beside differences."""
    graphdef, params, _, _ = made("bahdanau-gru")
    targets = jnp.asarray(INPUTS[:, :3])

    @jax.jit
    def loss(params):
        logits = nnx.merge(graphdef, params)(SOURCE, targets, lengths=LENGTHS)
        return sparse_categorical_cross_entropy(logits, targets, lengths=np.array([3, 2, 0])).value

    check_grads(loss, (params,), order=1, modes=["rev"])


def test_noise_is_drawn_once_for_all_steps(x64):
    """A loop over cells whose noise was drawn before it gives the same; float32 stays that where 64 bits are on."""
    dtype = np.float32
    cells = [lx.regularizers.RecurrentDropout(lx.cells.GRU(2, 6, param_dtype=dtype), 0.5)]
    cells.append(lx.cells.LSTM(6, 5, param_dtype=dtype))
    decoder = PlainDecoder(cells, 4, dropout=0.5, rngs=nnx.Rngs(0))
    key = jax.random.key(3)
    cells = decoder.ready(2, key)
    assert cells[0].mask is None
    assert set(np.unique(cells[1].mask)) == {0.0, 2.0}
    state, xs = decoder.initial_recurrent(2), jnp.ones((2, 3, 2), dtype)
    found = []
    for t in range(3):
        state, h = step_cells(cells, state, xs[:, t])
        found.append(h)
    graphdef, params = nnx.split(decoder)
    wide = nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf.astype(dtype), params))
    memory = wide.remember(jnp.ones((2, 1, 1), dtype), None)
    begin = first_state(wide, wide.initial_recurrent(2), memory)
    features, weights = run_decoder(wide, memory, begin, xs, key)
    assert (features.dtype, weights.shape) == (dtype, (2, 3, 1))
    for t, h in enumerate(found):
        np.testing.assert_allclose(features[:, t], jnp.tanh(wide.combine(h)), rtol=1e-5)
    quiet, other = (run_decoder(wide, memory, begin, xs, key)[0] for key in (None, jax.random.key(4)))
    assert not np.allclose(features, quiet)
    assert not np.allclose(features, other)


def test_parts_that_do_not_fit_are_named():
    rngs = nnx.Rngs(0)
    looking = Looking(lx.attention.GeneralAttention(5, 6, rngs=rngs), query_features=5, rngs=rngs)
    cell = lx.cells.LSTM(3, 5)
    for make, error, sentence in (
        (lambda: PlainDecoder([], 4, rngs=rngs), ValueError, "cells must hold at least one cell, got none"),
        (lambda: PlainDecoder([cell, cell], 4, rngs=rngs), ValueError, r"each cell must take .* got 3 after \[5\]"),
        (lambda: PlainDecoder([cell], 4, rngs=0), TypeError, "rngs must be an nnx.Rngs"),
        (lambda: PlainDecoder([cell], 4, dropout=1.0, rngs=rngs), ValueError, r"rate must be in \[0, 1\)"),
        (lambda: LuongDecoder([cell], looking, 6, 4, input_feeding=1, rngs=rngs), TypeError, "input_feeding must be"),
        (lambda: Looking(looking.attention, "narrow", query_features=5, rngs=rngs), ValueError, "window must be"),
    ):
        with pytest.raises(error, match=sentence):
            make()
    noisy = PlainDecoder([lx.regularizers.Zoneout(cell, 0.5)], 4, rngs=rngs)
    with pytest.raises(TypeError, match="can't have noise for each step, as Zoneout does"):
        noisy.ready(2, jax.random.key(0))
