"""The temperature twelve hours ahead, from five days of weather: one LSTM.

The program of Keras' `timeseries_weather_forecasting.py`. It reads `jena_climate_2009_2016.csv`; without the file, data
of the same form are made up.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import made_up
import matplotlib.pyplot as plt
import numpy as np
import optax
import tyro
from flax import nnx

import lstmjax as lx

COLUMNS = (1, 2, 5, 7, 8, 10, 11)  # pressure, temperature, saturation, deficit, humidity, air density, wind
TEMPERATURE = 1


class Forecaster(nnx.Module):
    def __init__(self, hidden: int, rngs: nnx.Rngs):
        self.lstm = lx.LSTM(len(COLUMNS), hidden, rngs=rngs)
        self.head = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(self, xs: jax.Array) -> jax.Array:
        _, (state,) = self.lstm(xs)
        return self.head(state.h)[:, 0]


def loss_of(model: Forecaster, xs: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.mean(optax.squared_error(model(xs), targets))


@nnx.jit
def train_step(model: Forecaster, optimizer: nnx.Optimizer, xs: jax.Array, targets: jax.Array) -> jax.Array:
    loss, gradients = nnx.value_and_grad(loss_of)(model, xs, targets)
    optimizer.update(model, gradients)
    return loss


def main(
    file: Path | None = None,
    out: Path = Path("weather.png"),
    past: int = 720,
    future: int = 72,
    every: int = 6,
    hidden: int = 32,
    batch_size: int = 256,
    epochs: int = 10,
    rate: float = 0.001,
) -> float:
    """Train, draw five forecasts, and return the best squared error on the last part of the file."""
    table = np.loadtxt(file or made_up.weather(), delimiter=",", skiprows=1, usecols=COLUMNS, dtype=np.float32)
    cut = int(0.715 * len(table))
    table = (table - table[:cut].mean(axis=0)) / table[:cut].std(axis=0)
    train, test = np.arange(cut - past - future), np.arange(cut, len(table) - past - future)

    def window(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return table[starts[:, None] + np.arange(0, past, every)], table[starts + past + future, TEMPERATURE]

    model, evaluate = Forecaster(hidden, nnx.Rngs(0)), nnx.jit(loss_of)
    optimizer = nnx.Optimizer(model, optax.adam(rate), wrt=nnx.Param)
    best, waited = np.inf, 0
    for epoch in range(epochs):
        for first in range(0, len(train), batch_size):
            train_step(model, optimizer, *window(train[first : first + batch_size]))
        errors = [
            evaluate(model, *window(test[first : first + batch_size])) for first in range(0, len(test), batch_size)
        ]
        error = float(np.mean(errors))
        print(f"epoch {epoch + 1}: squared error {error:.4f} on the last part")
        best, waited = (error, 0) if error < best else (best, waited + 1)
        if waited == 0:
            kept = jax.tree.map(jnp.copy, nnx.state(model))
        if waited == 5:
            break
    nnx.update(model, kept)
    draw(out, *window(test[:: len(test) // 5][:5]), model)
    return best


def draw(out: Path, xs: np.ndarray, targets: np.ndarray, model: Forecaster) -> None:
    figure, axes = plt.subplots(len(xs), figsize=(8, 12), layout="constrained")
    for axis, history, target, forecast in zip(axes, xs, targets, model(xs), strict=True):
        axis.plot(np.arange(-len(history), 0), history[:, TEMPERATURE], ".-", label="history")
        axis.plot(12, target, "rx", label="what came")
        axis.plot(12, forecast, "go", label="forecast")
    axes[0].legend()
    figure.savefig(out)
    plt.close(figure)


if __name__ == "__main__":
    tyro.cli(main)
