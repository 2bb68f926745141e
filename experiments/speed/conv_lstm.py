"""How fast convolutional LSTMs run and learn, beside Keras on JAX: `python -m experiments.speed.conv_lstm`.

Both start from the same weights, and first it is checked that they give the same outputs, loss and gradients. Each
works in a process of its own, idle while the other works; all is compiled before. Training is the gradient of the mean
squared error with respect to all weights. A line shows the median of each one's times and of their ratios in a round.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lstmjax as lx
from experiments import cli
from experiments.speed.ratios import paired_ratio
from experiments.speed.turns import Prepared, Process, in_turn
from lstmjax import checks
from lstmjax.errors import InputError
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
class ConvLSTMSpeedConfig:
    """What to time, and how."""

    problems: tuple[Literal["1d", "2d-small", "2d", "3d"], ...] = ("2d-small", "2d", "1d", "3d")
    """Which ones."""
    rounds: int = 5
    """How often each library is timed."""
    seconds: float = 0.5
    """The least time of a turn."""
    threads: int | None = None
    """Cores that each library may use; without it, all."""
    out: Path | None = None
    """A JSON file for all figures."""

    def __post_init__(self) -> None:
        checks.positive_int("rounds", self.rounds)
        checks.positive("seconds", self.seconds)
        for name in self.problems:
            checks.one_of("problems", name, tuple(PROBLEMS))
        if self.threads is not None:
            checks.positive_int("threads", self.threads)


def main(config: ConvLSTMSpeedConfig) -> int:
    """Print a line for each problem and kind of work."""
    if config.out is not None:
        cli.check_out(config.out)
    found: dict[str, Any] = {}
    for name in config.problems:
        print(f"{name}: {PROBLEMS[name]}", flush=True)
        found[name] = measure(PROBLEMS[name], config)
    if config.out is not None:
        replace_text(config.out, json.dumps(found, indent=2) + "\n")
    return 0


def measure(problem: Problem, config: ConvLSTMSpeedConfig) -> dict[str, Any]:
    """How far the two are apart in what they compute, and seconds a run of each kind of work.

    Raises:
      InputError: they do not compute the same.
    """
    with contextlib.ExitStack() as stack:
        libraries = {"lstmjax": prepare_ours, "keras": prepare_keras}
        processes = {
            name: stack.enter_context(Process(prepare, problem, config.threads)) for name, prepare in libraries.items()
        }
        apart = _difference(*(each.ask("check") for each in processes.values()))
        if not apart <= LARGEST_DIFFERENCE:  # NaN too
            raise InputError(f"lstmjax and Keras compute different things: {apart}")
        times = {kind: in_turn(kind, processes, config.rounds, config.seconds) for kind in ("forward", "training")}
    for kind, found in times.items():
        ours, theirs = (1e3 * statistics.median(found[name]) for name in libraries)
        ratio = paired_ratio(found["keras"], found["lstmjax"])
        print(f"  {kind}: lstmjax {ours:.1f} ms, Keras {theirs:.1f} ms, {ratio:.1f} times as long", flush=True)
    return {"difference": apart, **times}


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

    return _prepared(problem, [[jnp.asarray(array) for array in arrays] for arrays in weights(problem)], apply)


def prepare_keras(problem: Problem) -> Prepared:
    """Keras's layers with their default settings, through `stateless_call`."""
    os.environ["KERAS_BACKEND"] = "jax"
    keras: Any = importlib.import_module("keras")
    kind = getattr(keras.layers, f"ConvLSTM{len(problem.grid)}D")
    layers = []
    for arrays in weights(problem):
        layer = kind(problem.filters, arrays[0].shape[0], padding="same", return_sequences=True)
        layer.build((problem.batch, problem.steps, *problem.grid, arrays[0].shape[-2]))
        layer.set_weights(arrays)
        layers.append(layer)

    def apply(params: Any, xs: Any) -> Any:
        for layer, arrays in zip(layers, params, strict=True):
            xs, _ = layer.stateless_call(arrays, [one.value for one in layer.non_trainable_variables], xs)
        return xs

    return _prepared(problem, [[one.value for one in layer.trainable_variables] for layer in layers], apply)


def weights(problem: Problem) -> list[list[np.ndarray]]:
    """`w_x`, `w_h` and `b` of each layer; both libraries have the gates in one order."""
    rng, found, channels = np.random.default_rng(0), [], problem.channels
    for size in problem.kernels:
        kernel, width = (size,) * len(problem.grid), 4 * problem.filters
        shapes = (*kernel, channels, width), (*kernel, problem.filters, width), (width,)
        found.append([(rng.normal(size=s) / np.sqrt(np.prod(s[:-1]))).astype(np.float32) for s in shapes])
        channels = problem.filters
    return found


def _prepared(problem: Problem, params: Any, apply: Callable[[Any, Any], Any]) -> Prepared:
    rng = np.random.default_rng(1)
    xs, targets = (
        jnp.asarray(rng.random((problem.batch, problem.steps, *problem.grid, channels)), jnp.float32)
        for channels in (problem.channels, problem.filters)
    )

    def loss(params: Any, xs: Any, targets: Any) -> Any:
        return jnp.mean(jnp.square(apply(params, xs) - targets))

    forward, gradient = jax.jit(apply), jax.jit(jax.value_and_grad(loss))
    runs: dict[str, Callable[[], Any]] = {
        "forward": lambda: forward(params, xs),
        "training": lambda: gradient(params, xs, targets),
    }

    def ready(run: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: jax.block_until_ready(run())  # type: ignore[no-untyped-call]

    def check() -> list[np.ndarray]:
        return [np.asarray(leaf) for run in runs.values() for leaf in jax.tree.leaves(run())]

    return Prepared(check, {kind: ready(run) for kind, run in runs.items()})


def _difference(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """The largest of any array, as a share of the largest number in it."""
    pairs = zip(ours, theirs, strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(ConvLSTMSpeedConfig, __doc__)))
