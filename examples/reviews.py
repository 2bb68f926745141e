"""Whether a film review is a good one: two layers of LSTMs in both directions.

The program of Keras' `bidirectional_lstm_imdb.py`. It reads `imdb.npz`; without the file, reviews of the same form are
made up. Of each review the last words are read, and no padding, which the original does read.
"""

import made_up
import optax
import tyro
from flax import nnx

import lstmjax as lx


def main(file: str = "", words: int = 20_000, longest: int = 200, epochs: int = 2, rate: float = 0.001) -> float:
    train, test = (lx.data.Bucketed(*part, 32, 1, seed=0) for part in made_up.imdb(file, words, longest))
    rngs = nnx.Rngs(0)
    layer = lx.LSTM(128, 64, num_layers=2, bidirectional=True, rngs=rngs)
    encoder = lx.models.SequenceEncoder(layer, lx.layers.both_ends, embed=nnx.Embed(words, 128, rngs=rngs))
    model = lx.models.SequenceClassifier(encoder, features=128, num_classes=2, rngs=rngs)
    task, optimizer = lx.models.sequence_task.task(lx.models.SequenceToOneConfig(answer="class")), optax.adam(rate)
    graphdef, *_ = lx.training.split_model(model)
    step, evaluate = lx.training.make_train_step(task, graphdef, optimizer), lx.training.make_evaluate(task, graphdef)
    state = lx.training.initial_train_state(model, task, optimizer, batch_size=32, key=rngs())
    for position in range(epochs * len(train)):
        state, metrics = step(state, train.batch(position))
        print(f"\rbatch {position + 1} of {epochs * len(train)}, loss {float(metrics['loss']):.4f}", end="")
    return evaluate(state.params, state.other, test)["accuracy"]


if __name__ == "__main__":
    print("\naccuracy", tyro.cli(main))
