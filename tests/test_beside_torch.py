"""The tagger written in PyTorch computes what ours does, so that the two may be timed beside each other."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.peers.common import foreign
from lstmjax.data.source import SequenceBatch
from lstmjax.models import TaggerConfig, tagger_config, tagger_task

SIZES = TaggerConfig(
    hidden_features=(6,),
    word_features=5,
    character_features=4,
    spelling_features=6,
    vocab_size=30,
    num_characters=20,
    tags=("ADJ", "NOUN", "VERB"),
)
"""Dropout and unknown words are on, as they are by default: nothing of them may be left where no noise is asked for."""


def drawn(kind, shape, low=0, high=1):
    rng = np.random.default_rng(len(shape) + sum(shape))
    return (rng.integers(low, high, shape) if kind is int else rng.normal(size=shape)).astype(
        np.int32 if kind is int else np.float32
    )


def random_batch():
    """Sentences that do not come in the order of their lengths, the longest shorter than the batch."""
    lengths = np.array([3, 6, 1, 6], np.int32)
    batch, steps, longest = len(lengths), 7, 5
    is_there = np.arange(steps) < lengths[:, None]
    read = np.arange(longest) < drawn(int, (batch, steps), 1, longest + 1)[..., None]
    characters = np.where(read, drawn(int, (batch, steps, longest), 1, SIZES.num_characters), 0)
    words = drawn(int, (batch, steps, 1), 1, SIZES.vocab_size)
    inputs = np.where(is_there[..., None], np.concatenate([words, characters], axis=2), 0)
    tags = np.where(is_there, drawn(int, (batch, steps), 0, len(SIZES.tags)), 0)
    return SequenceBatch(inputs, tags, lengths, lengths, np.ones(batch, np.float32))


@functools.partial(nnx.jit, static_argnums=0)
def computed(config, model, words, characters, batch):
    """Emissions, tags and losses."""
    emissions = model(words, characters, lengths=batch.lengths)
    means, _ = tagger_task.task(config).loss(model, batch, (), None)
    return emissions, model.tag(words, characters, lengths=batch.lengths), means


@pytest.mark.parametrize("output", ["softmax", "crf"])
def test_the_two_taggers_compute_the_same(output, lenient_promotion):
    with foreign():
        pytest.importorskip("torch")
        if output == "crf":
            pytest.importorskip("torchcrf")
        from experiments.tag import torch_tagger

        config = TaggerConfig(**{**vars(SIZES), "output": output})
        model = tagger_config.build(config, nnx.Rngs(0))
        state = nnx.state(model, nnx.Param)
        nnx.update(model, jax.tree.map(lambda leaf: drawn(float, leaf.shape), state))  # no bias, no transition is 0
        batch = random_batch()
        words, characters = tagger_task.read(batch.inputs, config)
        ours, said, means = computed(config, model, words, characters, batch)
        own = [row[:length].tolist() for row, length in zip(said, batch.lengths, strict=True)]

        for pads in (False, True):
            arrays, count = torch_tagger.arrays_of(model), np.ones(config.vocab_size, "float32")
            theirs = torch_tagger.TorchTagger(config, arrays, count, pads=pads).eval()
            packed = torch_tagger.packed(batch)
            emissions, loss, tags = theirs.emissions(packed), theirs.loss(packed), theirs.tag(packed)
            for row, length in enumerate(batch.lengths):
                np.testing.assert_allclose(emissions[row, :length], ours[row, :length], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(float(loss.detach()), float(means["loss"].value), rtol=1e-5)
            assert in_order(packed, tags, output) == own


def in_order(packed, tags, output):
    """The tags of each sentence, sentences as they came."""
    longest_first = tags
    if output == "softmax":
        longest_first = [tags[packed.sentence.numpy() == place].tolist() for place in range(len(packed.order))]
    return [longest_first[place] for place in np.argsort(packed.order.numpy())]
