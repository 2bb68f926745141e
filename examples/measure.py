"""How long a program takes to its first training step, and per step after that, in a process of its own.

    python examples/measure.py --library nnx --steps 30 examples/addition.py
    KERAS_BACKEND=jax python examples/measure.py --library keras --steps 30 path/to/addition_rnn.py
    python examples/measure.py --library http --steps 300 examples/serving.py

Programs are run as they are. What ends a training step is watched from outside, and waited for: the end of a function
called `train_step` or `train_epoch` under `jax.jit` or `nnx.jit`, of a batch in Keras' `fit`, of PyTorch's `backward`;
or the answer of a server on port 8000. After `--steps` of them the program is stopped. What is printed, as JSON: the
seconds from the start of the process to the end of the first step, with imports, data and compilation; and the median
and the mean of the milliseconds from step to step after that.
"""

import argparse
import contextlib
import functools
import itertools
import json
import os
import runpy
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

ends: list[float] = []


def step_ended(limit: int) -> None:
    ends.append(time.time())
    if len(ends) == limit:
        gaps = [1000 * (after - before) for before, after in itertools.pairwise(ends)] or [0.0]
        found = {"first_step_s": ends[0] - float(os.environ["MEASURE_START"])}
        found |= {"step_ms": statistics.median(gaps), "mean_ms": statistics.mean(gaps)}
        print("\n" + json.dumps({name: round(value, 3) for name, value in found.items()}), flush=True)
        if "MEASURE_SERVER" in os.environ:
            os.kill(int(os.environ["MEASURE_SERVER"]), signal.SIGKILL)
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

    plain = jax.jit

    def of_flax(real: Callable[..., Any]) -> Callable[..., Any]:
        def jit(*args: Any, **options: Any) -> Any:
            jax.jit = plain  # which Flax calls within its own: a step ends once
            try:
                return real(*args, **options)
            finally:
                jax.jit = watched(plain)

        return jit

    jax.jit, nnx.jit = watched(plain), watched(of_flax(nnx.jit))


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


def ask(command: list[str], limit: int) -> None:
    """Start a server and time its answers; the first is waited for from the start of its process."""
    body = json.dumps([[(37 * step) % 1000 for step in range(100)]]).encode()
    with subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL) as server:
        os.environ["MEASURE_SERVER"] = str(server.pid)
        while server.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen("http://127.0.0.1:8000", body).read()
                step_ended(limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=("nnx", "keras", "torch", "http"), required=True, help="what to watch")
    parser.add_argument("--steps", type=int, default=30, help="stop after so many")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="its path and its arguments")
    args = parser.parse_args()
    if args.library == "http":
        os.environ["MEASURE_START"] = str(time.time())
        ask(args.program, args.steps)
    if "MEASURE_START" not in os.environ:
        command = [sys.executable, *sys.argv]
        sys.exit(subprocess.run(command, env=os.environ | {"MEASURE_START": str(time.time())}).returncode)
    {"nnx": watch_nnx, "keras": watch_keras, "torch": watch_torch}[args.library](args.steps)
    sys.argv = args.program
    sys.path[0] = os.path.dirname(os.path.abspath(args.program[0]))
    runpy.run_path(args.program[0], run_name="__main__")


if __name__ == "__main__":
    main()
