"""Short sentences from English into French, character by character: one LSTM reads, another writes.

The program of Keras' `lstm_seq2seq.py`. It reads `fra.txt` of manythings.org/anki; without the file, sentences of the
same form are made up. What stands after the end of a sentence is not learned here, as it is there.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import made_up
import numpy as np
import optax
import tyro
from flax import nnx

import lstmjax as lx

START, END = "\t", "\n"
State = tuple[lx.LSTMState, ...]


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

    def read(self, source: jax.Array, lengths: jax.Array) -> State:
        return self.reader(jax.nn.one_hot(source, self.sources), lengths=lengths)[1]

    def write(self, target: jax.Array, state: State) -> tuple[jax.Array, State]:
        ys, state = self.writer(jax.nn.one_hot(target, self.targets), state=state)
        return self.head(ys), state

    def step(self, target: jax.Array, state: State) -> tuple[jax.Array, State]:
        scores, state = self.write(target[:, None], state)
        return scores[:, 0], state


def loss_of(model: Translator, batch: lx.data.SequenceBatch) -> jax.Array:
    logits, _ = model.write(batch.targets[:, :-1], model.read(batch.inputs, batch.lengths))
    answers, lengths = batch.targets[:, 1:], batch.target_lengths - 1
    return lx.losses.sparse_categorical_cross_entropy(logits, answers, lengths=lengths, weights=batch.weights).value


@nnx.jit
def train_step(model: Translator, optimizer: nnx.Optimizer, batch: lx.data.SequenceBatch) -> jax.Array:
    loss, gradients = nnx.value_and_grad(loss_of)(model, batch)
    optimizer.update(model, gradients)
    return loss


def main(
    file: Path | None = None,
    samples: int = 10_000,
    hidden: int = 256,
    batch_size: int = 64,
    epochs: int = 100,
    rate: float = 0.001,
) -> float:
    """Train, translate twenty sentences, and return the loss of a character in sentences that were not learned."""
    lines = (file or made_up.sentences()).read_text(encoding="utf-8").splitlines()[:samples]
    sources, targets = zip(*(line.split("\t")[:2] for line in lines), strict=True)
    english, french = Alphabet(sources), Alphabet(targets)
    xs, ys = english.ids(sources), french.ids([START + target + END for target in targets])
    cut = int(0.8 * len(xs))
    train = lx.data.Bucketed(xs[:cut], ys[:cut], batch_size, num_buckets=1, seed=0)
    test = lx.data.Bucketed(xs[cut:], ys[cut:], len(xs) - cut, num_buckets=1, seed=None).batch(0)
    model, evaluate = Translator(len(english.characters), len(french.characters), hidden, nnx.Rngs(0)), nnx.jit(loss_of)
    optimizer = nnx.Optimizer(model, optax.rmsprop(rate), wrt=nnx.Param)
    for step in range(epochs * len(train)):
        loss = train_step(model, optimizer, train.batch(step))
        if (step + 1) % len(train) == 0:
            held_out = float(evaluate(model, test))
            print(f"epoch {(step + 1) // len(train)}: loss {loss:.4f}, of what was not learned {held_out:.4f}")
    start, end = french.ids([START + END])[0].tolist()
    state, longest = model.read(*lx.pad(xs[:20])), max(map(len, ys))
    answers = lx.decoding.decode_from(model.step, state, jnp.full(len(xs[:20]), start), longest, stop=[end])
    for source, answer in zip(sources, lx.unpad(*answers), strict=False):
        print(f"{source}  {''.join(french.characters[symbol] for symbol in answer)}")
    return held_out


if __name__ == "__main__":
    tyro.cli(main)
