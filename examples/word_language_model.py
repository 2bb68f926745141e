"""The next word of an encyclopedia: two LSTM layers, trained on text in its order, and text drawn from them.

The program of PyTorch's `word_language_model` (`main.py --model LSTM` and `generate.py`). It reads `train.txt`,
`valid.txt` and `test.txt` of a folder, such as wikitext-2; without one, this Python's language reference.
"""

import functools
import math
import pydoc_data.topics
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import tyro
from flax import nnx

import lstmjax as lx
from lstmjax.data.lines import LineVocabulary
from lstmjax.data.text import Batch, Streams

State = tuple[lx.LSTMState, ...]


class LanguageModel(nnx.Module):
    def __init__(self, words: int, embed: int, hidden: int, layers: int, dropout: float, rngs: nnx.Rngs):
        self.dropout = lx.regularizers.Dropout(dropout)
        small = functools.partial(jax.random.uniform, minval=-0.1, maxval=0.1)
        self.embed = nnx.Embed(words, embed, embedding_init=small, rngs=rngs)
        self.lstm = lx.LSTM(embed, hidden, num_layers=layers, dropout=dropout, rngs=rngs)
        self.head = lx.TimeDistributed(nnx.Linear(hidden, words, kernel_init=small, rngs=rngs))

    def __call__(
        self, words: jax.Array, state: State | None = None, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        before, between, after = lx.regularizers.split_key(key, 3)
        ys, state = self.lstm(self.dropout(self.embed(words), key=before), state=state, key=between)
        return self.head(self.dropout(ys, key=after)), state

    def step(self, words: jax.Array, state: State) -> tuple[jax.Array, State]:
        scores, state = self(words[:, None], state)
        return scores[:, 0], state


def loss_of(model: LanguageModel, batch: Batch, state: State, key: jax.Array | None = None) -> tuple[jax.Array, State]:
    logits, state = model(batch.inputs, state, key)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)), state


@nnx.jit
def train_step(
    model: LanguageModel, batch: Batch, state: State, key: jax.Array, rate: float, clip: float
) -> tuple[jax.Array, State]:
    (loss, state), gradients = nnx.value_and_grad(loss_of, has_aux=True)(model, batch, state, key)
    scale = rate * jnp.minimum(1.0, clip / optax.tree.norm(gradients))
    nnx.update(
        model, jax.tree.map(lambda weight, slope: weight - scale * slope, nnx.state(model, nnx.Param), gradients)
    )
    return loss, state


def main(
    folder: Path | None = None,
    embed: int = 200,
    hidden: int = 200,
    layers: int = 2,
    dropout: float = 0.2,
    batch_size: int = 20,
    length: int = 35,
    rate: float = 20.0,
    clip: float = 0.25,
    epochs: int = 40,
    words: int = 200,
) -> float:
    """Train, print words that the model makes up, and return the perplexity of the test text."""
    reference = "\n".join(pydoc_data.topics.topics.values())
    cuts = slice(0, -60_000), slice(-60_000, -30_000), slice(-30_000, None)
    texts = [reference[cut] for cut in cuts]
    if folder is not None:
        texts = [(folder / f"{part}.txt").read_text(encoding="utf-8") for part in ("train", "valid", "test")]
    vocabulary = LineVocabulary.of("\n".join(texts))
    train, valid, test = (Streams(vocabulary.encode(text), batch_size, length) for text in texts)
    model = LanguageModel(len(vocabulary), embed, hidden, layers, dropout, nnx.Rngs(0))
    evaluate, best, keys = nnx.jit(loss_of), math.inf, nnx.Rngs(1)

    def perplexity(source: Streams) -> float:
        state, total = model.lstm.initial_state(batch_size), 0.0
        for position in range(len(source)):
            loss, state = evaluate(model, source.batch(position), state)
            total += float(loss)
        return math.exp(total / len(source))

    for epoch in range(epochs):
        state = model.lstm.initial_state(batch_size)
        for position in range(len(train)):
            loss, state = train_step(model, train.batch(position), state, keys(), rate, clip)
            if position % 200 == 199:
                print(f"epoch {epoch + 1}, {position + 1} of {len(train)} batches: perplexity {math.exp(loss):.1f}")
        now = perplexity(valid)
        print(f"epoch {epoch + 1}: rate {rate}, perplexity {now:.1f} of the validation text")
        if now < best:
            best, kept = now, jax.tree.map(jnp.copy, nnx.state(model))
        else:
            rate /= 4
    nnx.update(model, kept)
    start, draw = model.lstm.initial_state(1), lx.decoding.Sampling(temperature=1.0)
    drawn, _ = lx.decoding.decode_from(model.step, start, jnp.zeros(1, jnp.int32), words, draw, key=keys())
    print(vocabulary.decode(drawn[0]))
    return perplexity(test)


if __name__ == "__main__":
    tyro.cli(main)
