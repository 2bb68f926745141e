"""Adding up numbers, character by character: "535+61" gives "596".

The program of Keras' `addition_rnn.py`: one LSTM reads the question, backwards; another is given what the first made of
it at each step of the answer. The questions are made up, as they are there.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import nnx

import lstmjax as lx

CHARACTERS = "0123456789+ "


def ids(text: str, width: int) -> list[int]:
    return [CHARACTERS.index(character) for character in text.ljust(width)]


def make_sums(count: int, digits: int, rng: np.random.Generator) -> lx.data.Examples:
    """Distinct questions [N, 2 digits + 1], turned round, and their answers [N, digits + 1]."""
    draws = rng.integers(0, 10 ** rng.integers(1, digits + 1, (5 * count, 2))).tolist()
    pairs = list({tuple(sorted(pair)): pair for pair in draws}.values())[:count]
    questions = [ids(f"{a}+{b}", 2 * digits + 1)[::-1] for a, b in pairs]
    return lx.data.Examples(np.array(questions), np.array([ids(str(a + b), digits + 1) for a, b in pairs]))


class Adder(nnx.Module):
    def __init__(self, hidden: int, answer_length: int, rngs: nnx.Rngs):
        self.answer_length = answer_length
        self.reader = lx.LSTM(len(CHARACTERS), hidden, rngs=rngs)
        self.writer = lx.LSTM(hidden, hidden, rngs=rngs)
        self.head = nnx.Linear(hidden, len(CHARACTERS), rngs=rngs)

    def __call__(self, questions: jax.Array) -> jax.Array:
        _, (state,) = self.reader(jax.nn.one_hot(questions, len(CHARACTERS)))
        ys, _ = self.writer(jnp.repeat(state.h[:, None], self.answer_length, axis=1))
        return self.head(ys)


@nnx.jit
def train_step(model: Adder, optimizer: nnx.Optimizer, questions: jax.Array, answers: jax.Array) -> jax.Array:
    def loss_of(model: Adder) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(model(questions), answers))

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


def main(
    digits: int = 3,
    examples: int = 50_000,
    hidden: int = 128,
    batch_size: int = 32,
    epochs: int = 30,
    rate: float = 0.001,
) -> float:
    """Train, show some answers after each epoch, and return the part of characters that are right at the end."""
    sums = make_sums(examples, digits, np.random.default_rng(0))
    cut = examples // 10
    train = lx.data.Shuffled(lx.data.Examples(*(part[cut:] for part in sums[:2])), batch_size, seed=0, drop_last=True)
    questions, answers = sums.inputs[:cut], sums.targets[:cut]
    model = Adder(hidden, digits + 1, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(rate), wrt=nnx.Param)
    predict = nnx.jit(lambda model, questions: jnp.argmax(model(questions), axis=-1))
    for step in range(epochs * len(train)):
        batch = train.batch(step)
        loss = train_step(model, optimizer, batch.inputs, batch.targets)
        if (step + 1) % len(train) == 0:
            guesses = np.asarray(predict(model, questions))
            accuracy = float(np.mean(guesses == answers))
            print(f"epoch {(step + 1) // len(train)}: loss {loss:.4f}, characters right {accuracy:.1%}")
            for row in range(3):
                asked, said, right = ("".join(CHARACTERS[i] for i in r[row]) for r in (questions, guesses, answers))
                print(f"  {asked[::-1].strip()} = {said.strip()}" + ("" if said == right else f", not {right.strip()}"))
    return accuracy


if __name__ == "__main__":
    tyro.cli(main)
