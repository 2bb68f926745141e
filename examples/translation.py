"""Short sentences from English into French, character by character: one LSTM reads, another writes.

The program of Keras' `lstm_seq2seq.py`. It reads `fra.txt` of manythings.org/anki; without the file, sentences of the same
form are made up. What stands after the end of a sentence is not learned here, as it is there.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import nnx

import lstmjax as lx
import made_up

START, END = "\t", "\n"


class Alphabet:
    def __init__(self, texts: list[str]):
        self.characters = sorted({START, END}.union(*texts))

    def ids(self, texts: list[str]) -> list[np.ndarray]:
        places = {character: place for place, character in enumerate(self.characters)}
        return [np.array([places[character] for character in text]) for text in texts]


class Translator(nnx.Module):
    def __init__(self, sources: int, targets: int, hidden: int, rngs: nnx.Rngs):
        self.sources, self.targets = sources, targets
        self.reader = lx.LSTM(sources, hidden, rngs=rngs)
        self.writer = lx.LSTM(targets, hidden, rngs=rngs)
        self.head = nnx.Linear(hidden, targets, rngs=rngs)

    def read(self, source: jax.Array, lengths: jax.Array) -> tuple[lx.LSTMState, ...]:
        return self.reader(jax.nn.one_hot(source, self.sources), lengths=lengths)[1]

    def write(self, target: jax.Array, state: tuple[lx.LSTMState, ...]) -> tuple[jax.Array, tuple[lx.LSTMState, ...]]:
        ys, state = self.writer(jax.nn.one_hot(target, self.targets), state=state)
        return self.head(ys), state


@nnx.jit
def train_step(model: Translator, optimizer: nnx.Optimizer, batch: lx.data.SequenceBatch) -> jax.Array:
    def loss_of(model: Translator) -> jax.Array:
        logits, _ = model.write(batch.targets[:, :-1], model.read(batch.inputs, batch.lengths))
        answers, lengths = batch.targets[:, 1:], batch.target_lengths - 1
        return lx.losses.sparse_categorical_cross_entropy(logits, answers, lengths=lengths, weights=batch.weights).value

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


def main(file: Path | None = None, samples: int = 10_000, hidden: int = 256, batch_size: int = 64, epochs: int = 100) -> float:
    lines = (file or made_up.sentences()).read_text(encoding="utf-8").splitlines()[:samples]
    sources, targets = zip(*(line.split("\t")[:2] for line in lines), strict=True)
    english, french = Alphabet(sources), Alphabet(targets)
    xs, ys = english.ids(sources), french.ids([START + target + END for target in targets])
    cut = int(0.8 * len(xs))
    train = lx.data.Bucketed(xs[:cut], ys[:cut], batch_size, num_buckets=1, seed=0)
    model = Translator(len(english.characters), len(french.characters), hidden, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.rmsprop(0.001), wrt=nnx.Param)
    for step in range(epochs * len(train)):
        loss = train_step(model, optimizer, train.batch(step))
        if (step + 1) % len(train) == 0:
            print(f"epoch {(step + 1) // len(train)}: loss {loss:.4f}")
    return loss


if __name__ == "__main__":
    tyro.cli(main)
