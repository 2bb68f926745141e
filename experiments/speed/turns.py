"""Libraries that work in turn, each in a process of its own, idle while another one works."""

import dataclasses
import gc
import multiprocessing
import os
import signal
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import jax
import numpy as np

from lstmjax import checks

OURS = "lstmjax"
"""The name that the others are compared with."""

Times = dict[str, list[float]]
"""Seconds a run of each library, one number a round."""

# Threads of a library go on looking for work for some milliseconds after it is done.
PAUSE_SECONDS = 0.02


@dataclasses.dataclass(frozen=True)
class Timing:
    """How to time."""

    rounds: int = 7
    """How many turns each contender has, at least 1."""
    seconds: float = 0.1
    """The least length of a turn, above 0; one run where that takes longer."""

    def __post_init__(self) -> None:
        checks.positive_int("rounds", self.rounds)
        checks.positive("seconds", self.seconds)


class LibraryError(RuntimeError):
    """A library could not do what it was asked; the message is its own sentence."""


class Prepared(NamedTuple):
    """What a library does with a problem, made ready.

    Args:
      runs: kinds of work by their names, each called to be timed.
      check: what it computes, a tree of NumPy arrays, to be compared with what others do.
      about: what else there is to say of it.
    """

    runs: Mapping[str, Callable[[], Any]]
    check: Callable[[], Any]
    about: Mapping[str, Any] = {}


class Process(ProcessPoolExecutor):
    """A process that prepares something, then works on it; between two requests it is idle.

    Args:
      threads: cores that it may use; None: all.
    """

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(1, multiprocessing.get_context("spawn"), _start, (threads,))

    def prepare(self, function: Callable[..., Prepared], *arguments: Any) -> dict[str, Any]:
        """Make something ready, in place of the last, and return its `about`; LibraryError where that fails."""
        return self._do(_prepare, function, *arguments)  # type: ignore[no-any-return]

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(prepared, *arguments)`, of a module's function; LibraryError where that fails."""
        return self._do(_ask, function, *arguments)

    def _do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise LibraryError("its process ended; what it said last is above") from error


_prepared: list[Prepared] = []
"""In a library's process: what it works on."""


def _start(threads: int | None) -> None:
    """Ctrl-C ends the process at once; libraries may print what they like: their stdout is our stderr."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.dup2(2, 1)
    if threads is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _prepare(function: Callable[..., Prepared], *arguments: Any) -> dict[str, Any]:
    _prepared.clear()
    gc.collect()
    _prepared.append(_said(function, *arguments))
    return dict(_prepared[0].about)


def _ask(function: Callable[..., Any], *arguments: Any) -> Any:
    return _said(function, *_prepared, *arguments)


def _said(function: Callable[..., Any], *arguments: Any) -> Any:
    """What goes wrong as one sentence, for a library's own exceptions may not survive the way to another process."""
    try:
        return function(*arguments)
    except Exception as error:
        traceback.print_exc()
        sentence = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise LibraryError(sentence) from None


def check(prepared: Prepared) -> Any:
    return prepared.check()


def time_in_turn(processes: Mapping[str, Process], kind: str, timing: Timing) -> Times:
    """What each takes for a kind of work, once a round; first all is compiled."""
    for process in processes.values():
        process.ask(time_run, kind, 0.0)
    times: Times = {name: [] for name in processes}
    for name in turns(list(processes), timing.rounds):
        times[name].append(processes[name].ask(time_run, kind, timing.seconds))
    return times


def time_run(prepared: Prepared, kind: str, seconds: float) -> float:
    """Seconds a run of one kind of work."""
    return seconds_a_run(prepared.runs[kind], seconds)


def seconds_a_run(run: Callable[[], Any], seconds: float) -> float:
    """Seconds a run, of as many as fit; a first one warms the caches, and is the only one if it takes that long."""
    begin = time.perf_counter()
    run()
    first = time.perf_counter() - begin
    if first >= seconds:
        return first
    runs, begin = 0, time.perf_counter()
    while runs == 0 or time.perf_counter() - begin < seconds:
        run()
        runs += 1
    return (time.perf_counter() - begin) / runs


def turns(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Everyone's name once a round, each round another one first, after a pause.

    >>> "".join(turns("abc", 3))
    'abcbcacab'
    """
    for number in range(rounds):
        first = number % max(len(names), 1)
        for name in [*names[first:], *names[:first]]:
            time.sleep(PAUSE_SECONDS)
            yield name


def paired_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """The median of their time over ours, round by round: what slows the machine for a while slows both.

    >>> paired_ratio([2.0, 40.0, 3.0], [1.0, 10.0, 2.0])
    2.0
    """
    return statistics.median(t / o for t, o in zip(theirs, ours, strict=True))


def difference(mine: Any, other: Any) -> float:
    """The largest difference of two trees of arrays.

    Of numbers it is a share of the largest one in their array; of symbols, the share of those that differ: one near
    tie changes all that comes after.

    >>> difference({"a": np.array([1.0, 4.0])}, {"a": np.array([2.0, 4.0])})
    0.25
    """
    return float(np.max(jax.tree.leaves(jax.tree.map(_difference, mine, other))))  # unlike max(), NaN if one is


def _difference(mine: np.ndarray, other: np.ndarray) -> float:
    mine, other = np.asarray(mine), np.asarray(other)
    if mine.shape != other.shape:
        raise ValueError(f"answers must have shape {other.shape}, got {mine.shape}")
    if np.issubdtype(other.dtype, np.integer):
        return float(np.mean(mine != other))
    apart = np.max(np.abs(mine.astype(np.float64) - other))
    return float(apart / max(np.max(np.abs(other)), 1e-30))
