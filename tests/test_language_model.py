"""The language model: causal, the same in pieces, regularised only with a key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax.data.text import Batch
from lstmjax.models import LanguageModel, LanguageModelConfig
from lstmjax.models.language_model import task
from lstmjax.sampled_softmax import sample_symbols, sampled_softmax_losses
from lstmjax.trees import split_model
from tests.test_unroll import assert_close

VOCAB, BATCH, STEPS = 7, 2, 5
PLAIN = LanguageModelConfig(4, 4)
DROPPED = LanguageModelConfig(4, 4, input_dropout=0.5, hidden_dropout=0.5, output_dropout=0.5)
TIED = LanguageModelConfig(4, 4, tie_embeddings=True)
HALF = LanguageModelConfig(4, 6, dtype="bfloat16")
AWD = LanguageModelConfig(
    4,
    6,
    embedding_dropout=0.5,
    weight_drop=0.5,
    activation_penalty=2.0,
    temporal_penalty=1.0,
    tie_embeddings=True,
    sampled_symbols=6,
)
CONFIGS = {"plain": PLAIN, "dropped": DROPPED, "tied": TIED, "half": HALF, "awd": AWD}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def build(config):
    return LanguageModel(VOCAB, config, rngs=nnx.Rngs(0))


@pytest.fixture
def tokens():
    return jax.random.randint(jax.random.key(1), (BATCH, STEPS), 0, VOCAB)


@every_config
def test_a_text_in_pieces_is_the_text(config, tokens):
    model = build(config)
    whole, end = model(tokens)
    first, middle = model(tokens[:, :2])
    second, last = model(tokens[:, 2:], middle)
    assert whole.dtype == jnp.float32
    assert_close((jnp.concatenate([first, second], axis=1), last), (whole, end))


@every_config
def test_scores_depend_on_the_past_alone(config, tokens):
    model = build(config)
    changed = tokens.at[:, 3].add(1) % VOCAB
    before, after = model(tokens)[0], model(changed)[0]
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (np.abs(before - after)[:, 3:].max(axis=(0, 2)) > 0).all()


def test_dropout_needs_a_key_and_follows_it(tokens):
    model, plain = build(DROPPED), build(PLAIN)
    np.testing.assert_array_equal(model(tokens)[0], plain(tokens)[0])
    once, again, other = (model(tokens, key=jax.random.key(k))[0] for k in (0, 0, 1))
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(once, other)


@pytest.mark.parametrize(
    "place", ["input_dropout", "hidden_dropout", "output_dropout", "embedding_dropout", "weight_drop"]
)
def test_each_dropout_does_something(place, tokens):
    model = build(LanguageModelConfig(4, 4, **{place: 0.5}))
    assert not np.allclose(model(tokens, key=jax.random.key(0))[0], model(tokens)[0])


@every_config
def test_all_parameters_learn(config, tokens):
    graphdef, params, _ = split_model(build(config))
    grads = jax.grad(lambda p: jnp.sum(jnp.sin(nnx.merge(graphdef, p)(tokens)[0])))(params)
    assert all(np.abs(leaf.astype(jnp.float32)).sum() > 0 for leaf in jax.tree.leaves(grads))


def test_names_and_shapes_of_parameters_stay():
    params = split_model(build(LanguageModelConfig(3, 4, num_layers=1)))[1]
    shapes = {
        jax.tree_util.keystr(p, simple=True, separator="."): v.shape for p, v in jax.tree.leaves_with_path(params)
    }
    assert shapes == {
        "embed.embedding": (7, 3),
        "head.bias": (7,),
        "head.kernel": (4, 7),
        "recurrent.layers.0.weights.b": (16,),
        "recurrent.layers.0.weights.w_h": (4, 16),
        "recurrent.layers.0.weights.w_x": (3, 16),
    }
    assert "head" not in split_model(build(TIED))[1]


def test_a_tied_model_narrows_to_its_embedding():
    layers = split_model(build(AWD))[1]["recurrent"]["layers"]
    assert [layers[depth]["weights"]["w_h"].shape for depth in (0, 1)] == [(6, 24), (4, 16)]
    assert build(AWD)(jnp.ones((2, 3), int))[0].shape == (2, 3, VOCAB)


def test_another_cell_has_its_own_state(tokens):
    model = build(LanguageModelConfig(4, 4, cell="gru"))
    assert [set(state._fields) for state in model(tokens)[1]] == [{"h"}, {"h"}]


def trained_loss(config, tokens, key=None, **batch):
    """The loss of a fresh model on tokens, each to be followed by the next, and the model."""
    model, batch = build(config), Batch(tokens, jnp.roll(tokens, -1, axis=1), jnp.ones(BATCH, bool), **batch)
    means, _ = task(config).loss(model, batch, model.initial_state(BATCH), key)
    return float(means["loss"].value), model


def test_penalties_are_on_activations_and_in_training_alone(tokens):
    config = LanguageModelConfig(4, 6, activation_penalty=2.0, temporal_penalty=0.5)
    plain, model = trained_loss(config, tokens)
    ys = np.asarray(model.hidden(tokens)[0], np.float64)
    expected = plain + 2.0 * np.mean(ys**2) + 0.5 * np.mean(np.diff(ys, axis=1) ** 2)
    assert trained_loss(config, tokens, jax.random.key(0))[0] == pytest.approx(expected, rel=1e-6)
    assert plain == pytest.approx(trained_loss(LanguageModelConfig(4, 6), tokens)[0], rel=1e-6)


@pytest.mark.parametrize("is_tied", [True, False])
def test_a_sample_of_all_symbols_is_the_softmax(tokens, is_tied):
    config = LanguageModelConfig(4, 4, tie_embeddings=is_tied, sampled_symbols=VOCAB)
    mask = jnp.arange(STEPS)[None, :] < jnp.array([[3], [5]])
    sampled, plain = (trained_loss(config, tokens, key, mask=mask)[0] for key in (jax.random.key(0), None))
    assert sampled == pytest.approx(plain, rel=1e-6)


def test_a_sampled_sum_is_right_on_average():
    logits = np.random.default_rng(0).normal(size=40)
    targets = jnp.array([0, 30])

    def estimated(key):
        ids, log_weights = sample_symbols(key, 40, 12)
        chosen = jnp.broadcast_to(jnp.asarray(logits, jnp.float32)[ids], (2, 12))
        target_logits = jnp.asarray(logits, jnp.float32)[targets]
        losses = sampled_softmax_losses(chosen, target_logits, ids == targets[:, None], log_weights)
        return jnp.exp(losses + target_logits)

    with jax.numpy_rank_promotion("allow"):
        sums = np.asarray(jax.vmap(estimated)(jax.random.split(jax.random.key(1), 4000)), np.float64)
    assert abs(sums.mean(axis=0) - np.exp(logits).sum()).max() < 4 * sums.std() / 4000**0.5
    assert sums.std() > 1.0


def test_a_scale_is_on_the_gradient_alone(tokens):
    graphdef, params, _ = split_model(build(PLAIN))

    def loss(params, scale):
        batch = Batch(tokens, tokens, jnp.ones(BATCH, bool), scale=scale)
        model = nnx.merge(graphdef, params)
        return task(PLAIN).loss(model, batch, model.initial_state(BATCH), jax.random.key(0))[0]["loss"].value

    whole, half = (jax.value_and_grad(loss)(params, scale) for scale in (None, jnp.full(BATCH, 0.5)))
    assert_close(half, (whole[0], jax.tree.map(lambda leaf: 0.5 * leaf, whole[1])))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"hidden_features": 0}, "hidden_features must be at least 1, got 0"),
        ({"input_dropout": 1.0}, r"input_dropout must be in \[0, 1\), got 1.0"),
        ({"hidden_dropout": 0.5, "num_layers": 1}, "hidden_dropout needs num_layers of at least 2"),
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'bfloat16', got 'float16'"),
        ({"tie_embeddings": True, "embed_features": 5, "num_layers": 1}, "one layer needs embed_features = hidden_f"),
        ({"cell": "qrnn"}, "cell must be one of 'lstm', 'gru', 'elman', got 'qrnn'"),
        ({"temporal_penalty": -1.0}, "temporal_penalty must be at least 0, got -1.0"),
        ({"sampled_symbols": 3}, "sampled_symbols must be at least 4, got 3"),
    ],
)
def test_configs_that_cannot_be(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        LanguageModelConfig(**arguments)


@pytest.mark.parametrize(
    ("tokens", "error", "sentence"),
    [
        (jnp.ones((2, 3), jnp.float32), TypeError, "tokens must have dtype integer, got float32"),
        (jnp.ones(3, int), ValueError, r"tokens must have shape \[B, T\], got \[3\]"),
        (jnp.array([[0, 7]]), ValueError, r"tokens must lie in \[0, 6\], got values from 0 to 7"),
    ],
)
def test_tokens_that_cannot_be(tokens, error, sentence):
    with pytest.raises(error, match=sentence):
        build(PLAIN)(tokens)
