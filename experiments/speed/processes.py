"""Contenders' processes, seen from the one that asks."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from experiments.speed.contenders import REFERENCE, Contender
from experiments.speed.spec import Row

ROOT = Path(__file__).parents[2]


class ContenderError(RuntimeError):
    """A contender could not do what it was asked; the message is its own sentence."""


class Process:
    """One contender in a process of its own; it is idle but for the time between a request and its answer."""

    def __init__(self, contender: Contender, device: str = "cpu") -> None:
        self.contender = contender
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.speed.worker", contender.name, device],
            cwd=ROOT,
            env=environment(contender, device, os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def wait_until_ready(self) -> None:
        """Its library is imported; raises ContenderError where that failed."""
        self._read()

    def prepare(self, row: Row, mode: str, dtype: str) -> dict[str, Any]:
        return self.ask("prepare", row=dataclasses.asdict(row), mode=mode, dtype=dtype)

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """See `worker.Worker`; raises ContenderError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ContenderError(self._last_words()) from error
        return self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # a request that was never read
                    stream.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ContenderError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContenderError(answer["error"])
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"its process ended with code {code}{': ' + lines[-1][:300] if lines else ''}"


def environment(contender: Contender, device: str, around: Mapping[str, str]) -> dict[str, str]:
    """What surrounds a process: ours, XLA_FLAGS included, and what its library must know before it is imported."""
    own = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": device, "TF_CPP_MIN_LOG_LEVEL": "2"}
    if device != "cpu":
        own["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # there are several processes on one device
    if contender is REFERENCE:
        own["JAX_ENABLE_X64"] = "1"
    return {**around, **own}
