"""How fast convolutional LSTMs run and learn, beside Keras on JAX: `python -m experiments.speed.conv_lstm`.

Both start from the same weights, and first it is checked that they give the same outputs, loss and gradients. Each
works in a process of its own, idle while the other works; all is compiled before. Training is the gradient of the mean
squared error with respect to all weights. A line shows the median of each one's times and of their ratios in a round.
"""

import dataclasses
import json
import statistics
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lstmjax as lx
from experiments import cli
from experiments.peers.keras_layers import keras_on_jax, seeds
from experiments.speed.beside import BesideConfig, compare
from experiments.speed.turns import OURS, Prepared, paired_ratio
from lstmjax.files import replace_text

LARGEST_DIFFERENCE = 1e-3
"""Of any number, as a share of the largest in its array."""


class Problem(NamedTuple):
    """A stack of layers of so many filters, one a kernel size, over videos [batch, steps, *grid, channels]."""

    batch: int
    steps: int
    grid: tuple[int, ...]
    channels: int
    filters: int
    kernels: tuple[int, ...]


PROBLEMS = {
    "1d": Problem(4, 10, (128,), 4, 32, (5, 3)),
    "2d-small": Problem(1, 5, (32, 32), 1, 32, (3, 3)),
    "2d": Problem(1, 4, (64, 64), 1, 64, (5, 3, 1)),
    "3d": Problem(1, 4, (8, 16, 16), 2, 16, (3,)),
}
"""2d: the layers of Keras's example of next-frame prediction; it has five clips of nineteen frames in a batch."""


@dataclasses.dataclass(frozen=True)
class ConvLSTMSpeedConfig(BesideConfig):
    """What to time, and how."""

    problems: tuple[Literal["1d", "2d-small", "2d", "3d"], ...] = ("2d-small", "2d", "1d", "3d")
    """Which ones."""


def main(config: ConvLSTMSpeedConfig) -> int:
    """Print a line for each problem and kind of work."""
    if config.out is not None:
        cli.check_out(config.out)
    figures: dict[str, Any] = {}
    for name in config.problems:
        print(f"{name}: {PROBLEMS[name]}", flush=True)
        libraries = {OURS: prepare_ours, "keras": prepare_keras}
        found = compare(libraries, PROBLEMS[name], ("forward", "training"), config, LARGEST_DIFFERENCE)
        figures[name] = {"difference": max(found.differences["keras"].values()), **found.times}
        for kind, times in found.times.items():
            ours, theirs = (1e3 * statistics.median(times[library]) for library in libraries)
            ratio = paired_ratio(times["keras"], times[OURS])
            print(f"  {kind}: lstmjax {ours:.1f} ms, Keras {theirs:.1f} ms, {ratio:.1f} times as long", flush=True)
    if config.out is not None:
        replace_text(config.out, json.dumps(figures, indent=2) + "\n")
    return 0


def prepare_ours(problem: Problem) -> Prepared:
    """This library's layers, unrolled one on another."""
    cells = [
        lx.cells.ConvLSTM(w_x.shape[-2], problem.filters, spatial_shape=problem.grid, kernel_size=w_x.shape[:-2])
        for w_x, _, _ in weights(problem)
    ]

    def apply(params: Any, xs: Any) -> Any:
        for cell, arrays in zip(cells, params, strict=True):
            xs, _ = lx.unroll(cell, lx.LSTMParams(*arrays), xs)
        return xs

    return _prepared(problem, apply)


def prepare_keras(problem: Problem) -> Prepared:
    """Keras's layers with their default settings, through `stateless_call`."""
    keras = keras_on_jax()
    kind = getattr(keras.layers, f"ConvLSTM{len(problem.grid)}D")
    layers = []
    for arrays in weights(problem):
        layer = kind(problem.filters, arrays[0].shape[0], padding="same", return_sequences=True)
        layer.build((problem.batch, problem.steps, *problem.grid, arrays[0].shape[-2]))
        layers.append(layer)

    def apply(params: Any, xs: Any) -> Any:
        for layer, arrays in zip(layers, params, strict=True):
            xs, _ = layer.stateless_call(arrays, seeds(layer), xs)
        return xs

    return _prepared(problem, apply)


def weights(problem: Problem) -> list[list[np.ndarray]]:
    """`w_x`, `w_h` and `b` of each layer; both libraries have the gates in one order."""
    rng, found, channels = np.random.default_rng(0), [], problem.channels
    for size in problem.kernels:
        kernel, width = (size,) * len(problem.grid), 4 * problem.filters
        shapes = (*kernel, channels, width), (*kernel, problem.filters, width), (width,)
        found.append([(rng.normal(size=s) / np.sqrt(np.prod(s[:-1]))).astype(np.float32) for s in shapes])
        channels = problem.filters
    return found


def _prepared(problem: Problem, apply: Callable[[Any, Any], Any]) -> Prepared:
    params = jax.tree.map(jnp.asarray, weights(problem))
    rng = np.random.default_rng(1)
    xs, targets = (
        jnp.asarray(rng.random((problem.batch, problem.steps, *problem.grid, channels)), jnp.float32)
        for channels in (problem.channels, problem.filters)
    )

    def loss(params: Any, xs: Any, targets: Any) -> Any:
        return jnp.mean(jnp.square(apply(params, xs) - targets))

    forward, gradient = jax.jit(apply), jax.jit(jax.value_and_grad(loss))
    runs: dict[str, Callable[[], Any]] = {
        "forward": lambda: jax.block_until_ready(forward(params, xs)),  # type: ignore[no-untyped-call]
        "training": lambda: jax.block_until_ready(gradient(params, xs, targets)),  # type: ignore[no-untyped-call]
    }

    def check() -> Any:
        return {kind: jax.tree.map(np.asarray, run()) for kind, run in runs.items()}

    return Prepared(runs, check)


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(ConvLSTMSpeedConfig, __doc__)))
