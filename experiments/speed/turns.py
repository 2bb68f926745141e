"""Libraries that are timed in turn, each in a process of its own, idle while another works."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments.speed.rounds import PAUSE_SECONDS


class Prepared(NamedTuple):
    """What a library does with a problem.

    Args:
      check: what it computes, in arrays, to be compared with what others do.
      runs: kinds of work by their names, each called to be timed.
    """

    check: Callable[[], Any]
    runs: Mapping[str, Callable[[], Any]]


class Process:
    """A process that prepares a problem, then answers requests, and is idle between them.

    Args:
      prepare: from the problem to what is done with it; a function of a module, for the process looks it up.
      problem: sent to the process.
      threads: cores that it may use; None: all.
    """

    def __init__(self, prepare: Callable[[Any], Prepared], problem: Any, threads: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._answers, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, prepare, problem, threads), daemon=True)
        self._process.start()
        far.close()

    def ask(self, request: str, seconds: float = 0.0) -> Any:
        """ "check", or a kind of work to be timed for so many seconds: seconds a run."""
        self._answers.send((request, seconds))
        return self._answers.recv()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def _serve(requests: Any, prepare: Callable[[Any], Prepared], problem: Any, threads: int | None) -> None:
    """Until there are no more requests."""
    if threads is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    prepared = prepare(problem)
    with contextlib.suppress(EOFError):
        while True:
            request, seconds = requests.recv()
            requests.send(prepared.check() if request == "check" else seconds_a_run(prepared.runs[request], seconds))


def seconds_a_run(run: Callable[[], Any], seconds: float) -> float:
    """Seconds of a run, of as many runs as it takes."""
    runs, begin = 0, time.perf_counter()
    while runs == 0 or time.perf_counter() - begin < seconds:
        run()
        runs += 1
    return (time.perf_counter() - begin) / runs


def in_turn(kind: str, processes: Mapping[str, Process], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds a run of a kind of work, each library's once a round; first all is compiled and warm."""
    found: dict[str, list[float]] = {name: [] for name in processes}
    for process in processes.values():
        process.ask(kind)
    for number in range(rounds):
        for name in sorted(processes, reverse=number % 2 == 1):
            time.sleep(PAUSE_SECONDS)
            found[name].append(processes[name].ask(kind, seconds))
    return found
