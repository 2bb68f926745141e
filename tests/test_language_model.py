"""The language model: causal, the same in pieces, regularised only with a key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax.models import LanguageModel, LanguageModelConfig
from lstmjax.trees import split_model
from tests.test_unroll import assert_close

VOCAB, BATCH, STEPS = 7, 2, 5
PLAIN = LanguageModelConfig(4, 4)
DROPPED = LanguageModelConfig(4, 4, input_dropout=0.5, hidden_dropout=0.5, output_dropout=0.5)
TIED = LanguageModelConfig(4, 4, tie_embeddings=True)
HALF = LanguageModelConfig(4, 6, dtype="bfloat16")
CONFIGS = {"plain": PLAIN, "dropped": DROPPED, "tied": TIED, "half": HALF}
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


@pytest.mark.parametrize("place", ["input_dropout", "hidden_dropout", "output_dropout"])
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


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"hidden_features": 0}, "hidden_features must be at least 1, got 0"),
        ({"input_dropout": 1.0}, r"input_dropout must be in \[0, 1\), got 1.0"),
        ({"hidden_dropout": 0.5, "num_layers": 1}, "hidden_dropout needs num_layers of at least 2"),
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'bfloat16', got 'float16'"),
        ({"tie_embeddings": True, "embed_features": 5}, "needs embed_features = hidden_features, got 5 and 256"),
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
