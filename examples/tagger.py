"""Names and other things in sentences, marked by a tag a token: an LSTM in both directions over ragged batches.

The program of the packed BiLSTM of github.com/luopeixiang/named_entity_recognition. It reads files of two columns, a
token and its tag, with blank lines between sentences.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import made_up
import optax
import tyro
from flax import nnx

import lstmjax as lx


class Tagger(nnx.Module):
    def __init__(self, tokens: int, embed: int, hidden: int, tags: int, rngs: nnx.Rngs):
        self.embed = nnx.Embed(tokens, embed, rngs=rngs)
        self.lstm = lx.LSTM(embed, hidden, bidirectional=True, rngs=rngs)
        self.head = nnx.Linear(2 * hidden, tags, rngs=rngs)

    def __call__(self, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        ys, _ = self.lstm(self.embed(tokens), lengths=lengths)
        return self.head(ys)


def loss_of(model: Tagger, batch: lx.data.SequenceBatch) -> jax.Array:
    logits = model(batch.inputs, batch.lengths)
    return lx.losses.sparse_categorical_cross_entropy(
        logits, batch.targets, lengths=batch.lengths, weights=batch.weights
    ).value


@nnx.jit
def train_step(model: Tagger, optimizer: nnx.Optimizer, batch: lx.data.SequenceBatch) -> jax.Array:
    loss, gradients = nnx.value_and_grad(loss_of)(model, batch)
    optimizer.update(model, gradients)
    return loss


@nnx.jit
def confusion(model: Tagger, batch: lx.data.SequenceBatch) -> jax.Array:
    """How often each tag (row) was taken for each (column)."""
    logits, weights = model(batch.inputs, batch.lengths), lx.sequence_mask(batch.lengths, batch.inputs.shape[1])
    said = jnp.argmax(logits, axis=-1)
    return lx.metrics.confusion_matrix(said, batch.targets, logits.shape[2], weights=weights * batch.weights[:, None])


def main(
    train: Path | None = None,
    test: Path | None = None,
    embed: int = 128,
    hidden: int = 128,
    batch_size: int = 64,
    epochs: int = 30,
    shapes: int = 6,
) -> float:
    """Train, and return the part of the test set's tokens that get their true tag."""
    learned, asked = (lx.data.read_columns(file or made_up.tagged(seed=k)) for k, file in enumerate((train, test)))
    vocabulary = lx.data.TokenVocabulary.of(learned.tokens)
    tags = lx.data.Labels.of(tag for sentence in learned.tags + asked.tags for tag in sentence)

    def batches(sentences: lx.data.Sentences, seed: int | None) -> lx.data.Bucketed:
        numbers = [tags.encode(row, row) for row in sentences.tags]
        return lx.data.Bucketed([vocabulary.ids(row) for row in sentences.tokens], numbers, batch_size, shapes, seed)

    source, held_out = batches(learned, seed=0), batches(asked, seed=None)
    model = Tagger(vocabulary.num_words, embed, hidden, len(tags), nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(0.001), wrt=nnx.Param)
    for step in range(epochs * len(source)):
        loss = train_step(model, optimizer, source.batch(step))
        if (step + 1) % len(source) == 0:
            print(f"epoch {(step + 1) // len(source)}: loss {loss:.4f}")
    counts = sum(confusion(model, held_out.batch(position)) for position in range(len(held_out)))
    for tag, f1 in zip(tags.names, lx.metrics.f1(counts, average=None), strict=True):
        print(f"{tag:>10} F1 {f1:.3f}")
    return float(jnp.trace(counts) / jnp.sum(counts))


if __name__ == "__main__":
    tyro.cli(main)
