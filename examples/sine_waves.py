"""Sine waves, each of a phase of its own: learned one step ahead, then continued from the model's own outputs.

The program of PyTorch's `time_sequence_prediction`: two LSTM layers, trained by L-BFGS on all waves at once.
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


class Wave(nnx.Module):
    def __init__(self, hidden: int, rngs: nnx.Rngs):
        self.lstm = lx.LSTM(1, hidden, num_layers=2, rngs=rngs)
        self.head = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(self, xs: jax.Array) -> jax.Array:
        return self.head(self.lstm(xs)[0])

    def step(self, x: jax.Array, state: tuple[lx.LSTMState, ...]) -> tuple[jax.Array, tuple[lx.LSTMState, ...]]:
        y, state = self.lstm.step(x, state)
        return self.head(y), state


@nnx.jit
def train_step(model: Wave, optimizer: nnx.Optimizer, waves: jax.Array) -> jax.Array:
    def loss_of(model: Wave) -> jax.Array:
        return jnp.mean(optax.squared_error(model(waves[:, :-1]), waves[:, 1:]))

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


def main(
    out: Path = Path("waves.png"),
    waves: int = 100,
    length: int = 1000,
    hidden: int = 51,
    steps: int = 15,
    future: int = 1000,
) -> float:
    """Train, draw how three waves that were not learned go on, and return the squared error on these."""
    shifts = np.random.default_rng(2).integers(-80, 80, (waves, 1))
    data = jnp.asarray(np.sin((np.arange(length) + shifts) / 20), jnp.float32)[:, :, None]
    train, test = data[3:], data[:3]
    model = Wave(hidden, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.lbfgs(0.8, memory_size=20, linesearch=None), wrt=nnx.Param)
    for step in range(steps):
        for _ in range(20):
            loss = train_step(model, optimizer, train)
        error = jnp.mean(optax.squared_error(model(test[:, :-1]), test[:, 1:]))
        print(f"step {step}: loss {loss:.6f}, of waves that were not learned {error:.6f}")
    _, state = model.lstm(test[:, :-1])
    ahead, _ = lx.unroll_feedback(model.step, test[:, -1], state, num_steps=future)
    draw(out, test[..., 0], ahead[..., 0])
    return float(error)


def draw(out: Path, known: np.ndarray, ahead: np.ndarray) -> None:
    figure, axis = plt.subplots(figsize=(12, 4), layout="constrained")
    for color, wave, forecast in zip("rgb", known, ahead, strict=True):
        axis.plot(wave, color)
        axis.plot(np.arange(len(wave), len(wave) + len(forecast)), forecast, color + ":")
    axis.set_title("solid: known; dotted: the model on its own outputs")
    figure.savefig(out)
    plt.close(figure)


if __name__ == "__main__":
    tyro.cli(main)
