"""The sequence-to-sequence model written in PyTorch computes what ours does, so that the two may be timed."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.peers.common import foreign
from lstmjax.data.source import SequenceBatch
from lstmjax.decoding.translated_text import together
from lstmjax.decoding.translation import BeamSettings, translate
from lstmjax.models import Seq2SeqConfig, seq2seq_config, seq2seq_task

SIZES = Seq2SeqConfig(
    embed_features=5,
    encoder_features=(4,),
    decoder_features=(6,),
    out_features=5,
    source_vocab_size=20,
    target_vocab_size=17,
)
SENTENCES = [[7, 8, 4, 3], [9, 10, 11, 12, 13, 16, 4, 3], [3], [5, 6, 7, 3], [14, 4, 5, 9, 10, 3], [6, 3]]


def random_model(config):
    """Weights large enough that translations end at different lengths; no bias is 0."""
    model = seq2seq_config.build(config, nnx.Rngs(0))
    rng = np.random.default_rng(1)
    drawn = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), nnx.state(model, nnx.Param))
    nnx.update(model, drawn)
    return model


@functools.partial(nnx.jit, static_argnums=0)
def computed(config, model, batch):
    """Logits and losses."""
    logits = model(batch.inputs, seq2seq_task.shifted(batch.targets), lengths=batch.lengths)
    return logits, seq2seq_task.task(config).loss(model, batch, (), None)[0]


@pytest.mark.parametrize("shared", [False, True])
def test_the_two_models_compute_the_same(shared, lenient_promotion):
    with foreign():
        torch = pytest.importorskip("torch")
        from experiments.translate import torch_seq2seq

        config = dataclasses.replace(SIZES, share_embeddings=shared, source_vocab_size=17 if shared else 20)
        model = random_model(config)
        theirs = torch_seq2seq.TorchSeq2Seq(config, torch_seq2seq.arrays_of(model)).eval()
        source, lengths = together([np.array(sentence) for sentence in SENTENCES], len(SENTENCES))
        targets, of_targets = together([np.array(sentence) for sentence in SENTENCES[::-1]], len(SENTENCES))
        given = [torch.tensor(array, dtype=torch.int64) for array in (source, lengths, targets)]

        batch = SequenceBatch(source, targets, lengths, of_targets, np.ones(len(source), np.float32))
        logits, means = computed(config, model, batch)
        inputs = torch.tensor(np.asarray(seq2seq_task.shifted(targets)), dtype=torch.int64)
        np.testing.assert_allclose(theirs(*given[:2], inputs).detach(), logits, rtol=1e-5, atol=1e-5)

        np.testing.assert_allclose(float(theirs.loss(*given).detach()), float(means["loss"].value), rtol=1e-5)

        ends = set()
        for beam, min_steps in ((1, 0), (1, 3), (5, 0), (5, 3)):  # each compiles
            settings = BeamSettings(beam=beam, steps=12, min_steps=min_steps)
            found = translate(model, source, lengths=lengths, settings=settings)
            symbols, ours = theirs.translate(*given[:2], settings).numpy(), np.asarray(found.symbols[:, 0])
            np.testing.assert_array_equal(symbols, ours[:, : symbols.shape[1]])
            assert not ours[:, symbols.shape[1] :].any()
            ends |= set(np.asarray(found.lengths).ravel().tolist())
        assert len(ends) > 3


def test_training_lowers_the_loss():
    with foreign():
        torch = pytest.importorskip("torch")
        from experiments.peers.torch_layers import make_train_step
        from experiments.translate import torch_seq2seq
        from experiments.translate.contenders import OPTIMIZER

        model = torch_seq2seq.TorchSeq2Seq(SIZES, torch_seq2seq.arrays_of(random_model(SIZES)))
        source, lengths = together([np.array(sentence) for sentence in SENTENCES], len(SENTENCES))
        given = [torch.tensor(array, dtype=torch.int64) for array in (source, lengths, source % 17)]
        train_step, before = make_train_step(model, OPTIMIZER), float(model.eval().loss(*given).detach())
        model.train()
        for _ in range(20):
            train_step(*given)
        assert float(model.eval().loss(*given).detach()) < before
