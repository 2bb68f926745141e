"""The process of one contender: a request as a JSON object on each line of stdin, an answer on each of stdout.

Usage: python -m experiments.speed.worker CONTENDER DEVICE. It keeps one prepared case at a time, and while it waits for
a line it does nothing. Requests: `Worker.requests` below. What goes wrong is answered as {"error": sentence}.
"""

import ctypes
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from experiments.speed.contenders import Contender, contender_named
from experiments.speed.contenders.case import Case, Request, difference
from experiments.speed.spec import row_from_json

_STATUS = Path("/proc/self/status")


class Worker:
    """What a process can be asked for, by the name in "do"."""

    def __init__(self, contender: Contender, device: str) -> None:
        self._contender, self._device = contender, device
        self._module = contender.load()
        self._case: Case | None = None
        self._mode = ""
        self._last_seconds = 0.0
        self.requests: dict[str, Callable[..., dict[str, Any]]] = {
            "prepare": self.prepare,
            "answer": self.answer,
            "check": self.check,
            "time": self.time,
            "peak": self.peak,
            "machine": self.machine,
        }

    def prepare(self, row: dict[str, Any], mode: str, dtype: str) -> dict[str, Any]:
        """Make a case ready, in place of the last."""
        self._case = None
        gc.collect()
        request = Request(row_from_json(row), mode, dtype, self._device, self._contender.option)
        self._case, self._mode = self._module.prepare(request), mode
        names = ("compile_seconds", "program_bytes", "note", "backend")
        return {name: getattr(self._ready, name) for name in names}

    def answer(self, path: str) -> dict[str, Any]:
        """Run, and write what came out to a file."""
        answers = self._ready.answers(self._ready.run())
        np.savez(path, **answers)  # type: ignore[arg-type]
        return {}

    def check(self, path: str) -> dict[str, Any]:
        """Run, and say how far what came out is from what is in the file."""
        with np.load(path) as reference:
            return {"difference": difference(self._ready.answers(self._run()), dict(reference), self._mode)}

    def time(self, seconds: float) -> dict[str, Any]:
        """Run for so many seconds and at least once: seconds a run. If runs are short, caches are warmed first."""
        if self._last_seconds < seconds:
            self._run()
        calls, begin = 0, time.perf_counter()
        while calls == 0 or time.perf_counter() - begin < seconds:
            self._ready.run()
            calls += 1
        self._last_seconds = (time.perf_counter() - begin) / calls
        return {"seconds": self._last_seconds}

    def peak(self) -> dict[str, Any]:
        """By how much the process grows while a case runs for the first time; None where the system doesn't say."""
        gc.collect()
        before = _reset_peak()
        self._run()
        return {"peak_bytes": None if before is None else _status_bytes("VmHWM") - before}

    def machine(self) -> dict[str, Any]:
        from experiments.speed import machine

        return machine.measure()

    @property
    def _ready(self) -> Case:
        if self._case is None:
            raise ValueError("nothing is prepared")
        return self._case

    def _run(self) -> Any:
        begin = time.perf_counter()
        result = self._ready.run()
        self._last_seconds = time.perf_counter() - begin
        return result


def serve(worker: Worker, requests: TextIO, answers: TextIO) -> None:
    """Until there are no more requests."""
    for line in requests:
        request = json.loads(line)
        try:
            answer = worker.requests[request.pop("do")](**request)
        except Exception as error:  # a contender may fail in any way; the others go on
            traceback.print_exc()
            answer = {"error": _sentence(error)}
        print(json.dumps(answer), file=answers, flush=True)


def _sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _reset_peak() -> int | None:
    """The process's size now, which from here on counts as its largest too; what is free goes back to the system."""
    if not _STATUS.exists():
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Libraries may print what they like: their stdout is our stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contender = contender_named(sys.argv[1])
    worker = Worker(contender, sys.argv[2])
    if contender.on_jax:
        from experiments.speed.contenders.jax_case import warm_up

        warm_up()
    print(json.dumps({}), file=answers, flush=True)
    serve(worker, sys.stdin, answers)


if __name__ == "__main__":
    main()
