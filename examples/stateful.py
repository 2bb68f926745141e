"""A moving average of two values, one value a call: only what remembers the call before can know it.

The program of Keras' `lstm_stateful.py`: the same LSTM with its state kept from call to call, and without. An epoch
is one compiled loop over its calls.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import tyro
from flax import nnx

import lstmjax as lx


def make_model(hidden: int, stateful: bool) -> nnx.Sequential:
    rngs = nnx.Rngs(0)
    layer = lx.LSTM(1, hidden, rngs=rngs)
    return nnx.Sequential(
        lx.Stateful(layer, batch_size=1) if stateful else lx.Outputs(layer), nnx.Linear(hidden, 1, rngs=rngs)
    )


def loss_of(model: nnx.Sequential, x: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.squeeze(optax.squared_error(model(x.reshape(1, 1, 1)), target.reshape(1, 1, 1)))


@nnx.jit
@nnx.scan(in_axes=(nnx.Carry, 0, 0), out_axes=(nnx.Carry, 0))
def train_epoch(
    trained: tuple[nnx.Sequential, nnx.Optimizer], x: jax.Array, target: jax.Array
) -> tuple[tuple[nnx.Sequential, nnx.Optimizer], jax.Array]:
    model, optimizer = trained
    loss, gradients = nnx.value_and_grad(loss_of)(model, x, target)
    optimizer.update(model, gradients)
    return trained, loss


@nnx.jit
@nnx.scan(in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))
def predict(model: nnx.Sequential, x: jax.Array) -> tuple[nnx.Sequential, jax.Array]:
    return model, model(x.reshape(1, 1, 1))[0, 0, 0]


def main(out: Path = Path("stateful.png"), length: int = 1000, hidden: int = 20, epochs: int = 10) -> dict[str, float]:
    """Train both, draw their errors, and return the squared error of each on the last fifth."""
    values = np.random.default_rng(0).uniform(-0.1, 0.1, length + 1).astype(np.float32)
    xs, targets, cut = values[1:], (values[1:] + values[:-1]) / 2, 4 * length // 5
    errors, figures = {}, {}
    for name in ("stateful", "stateless"):
        model = make_model(hidden, stateful=name == "stateful")
        optimizer = nnx.Optimizer(model, optax.adam(0.001), wrt=nnx.Param)
        for epoch in range(epochs):
            if name == "stateful":
                model.layers[0].reset()
            _, losses = train_epoch((model, optimizer), xs[:cut], targets[:cut])
            print(f"{name}, epoch {epoch + 1}: squared error {jnp.mean(losses):.2e}")
        errors[name] = np.asarray(predict(model, xs[cut:])[1]) - targets[cut:]
        figures[name] = float(np.mean(np.square(errors[name][1:])))
        print(f"{name}: squared error {figures[name]:.2e} on values that were not learned")
    figure, axes = plt.subplots(3, layout="constrained")
    for axis, (name, line) in zip(axes, {"expected": targets[cut:], **errors}.items(), strict=True):
        axis.plot(line)
        axis.set_title(name if name == "expected" else f"{name}: predicted less expected")
    figure.savefig(out)
    plt.close(figure)
    return figures


if __name__ == "__main__":
    tyro.cli(main)
