"""How long a program takes to its first training step, and per step after that, in a process of its own.

    python examples/measure.py --steps 30 --library nnx examples/addition.py
    KERAS_BACKEND=jax python examples/measure.py --steps 30 --library keras path/to/addition_rnn.py

Programs are run as they are: what ends a training step is watched from outside. That is the end of a function called
`train_step` under `nnx.jit`, of a batch in Keras' `fit`, or of `step` of an optimiser of PyTorch (or, where there is
none, of `clip_grad_norm_`). Each step is waited for. After `--steps` of them the program is stopped. What is printed,
as JSON: the seconds from the start of the process to the end of the first step, with imports, data and compilation;
and the median of the milliseconds from step to step after that.
"""

import argparse
import functools
import itertools
import json
import os
import runpy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

ends: list[float] = []


def step_ended(limit: int) -> None:
    ends.append(time.time())
    if len(ends) == limit:
        gaps = [1000 * (after - before) for before, after in itertools.pairwise(ends)]
        first = ends[0] - float(os.environ["MEASURE_START"])
        sys.stdout.flush()
        print(
            "\n"
            + json.dumps(
                {
                    "first_step_s": round(first, 2),
                    "step_ms": round(statistics.median(gaps or [0.0]), 3),
                    "mean_ms": round(statistics.mean(gaps or [0.0]), 3),
                }
            )
        )
        sys.stdout.flush()
        os._exit(0)


def watch_nnx(limit: int) -> None:
    import jax
    from flax import nnx

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
            if function is None:
                return functools.partial(jit, **options)
            compiled = real(function, **options)
            if getattr(function, "__name__", "") not in ("train_step", "train_epoch"):
                return compiled

            def timed(*args: Any, **kwargs: Any) -> Any:
                result = jax.block_until_ready(compiled(*args, **kwargs))
                step_ended(limit)
                return result

            return timed

        return jit

    jax.jit, nnx.jit = watched(jax.jit), watched(nnx.jit)


def watch_keras(limit: int) -> None:
    import keras

    real = keras.callbacks.CallbackList.on_train_batch_end

    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:
        for value in (logs or {}).values():
            float(value)  # which waits for it
        real(self, batch, logs)
        step_ended(limit)

    keras.callbacks.CallbackList.on_train_batch_end = on_train_batch_end


def watch_torch(limit: int) -> None:
    import torch

    real = torch.Tensor.backward

    def backward(self: Any, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        step_ended(limit)

    torch.Tensor.backward = backward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=("nnx", "keras", "torch"), required=True, help="what to watch")
    parser.add_argument("--steps", type=int, default=30, help="stop after so many")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="its path and its arguments")
    args = parser.parse_args()
    if "MEASURE_START" not in os.environ:
        command = [sys.executable, *sys.argv]
        sys.exit(subprocess.run(command, env=os.environ | {"MEASURE_START": str(time.time())}).returncode)
    {"nnx": watch_nnx, "keras": watch_keras, "torch": watch_torch}[args.library](args.steps)
    sys.argv = args.program
    sys.path[0] = os.path.dirname(os.path.abspath(args.program[0]))
    runpy.run_path(args.program[0], run_name="__main__")


if __name__ == "__main__":
    main()
