"""A row, all contenders on it: each prepared and checked, then timed in turn, round by round.

Processes are fresh for each row, and idle while another one works. Each round begins with another contender.
"""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from experiments.speed.contenders import REFERENCE, Contender
from experiments.speed.processes import ContenderError, Process
from experiments.speed.results import Measurement
from experiments.speed.spec import RUN_MODES, Row, bar

# Threads of a library go on looking for work for some milliseconds after it is done.
PAUSE_SECONDS = 0.02

Advance = Callable[[str], None]
"""Told what was done, one unit of work: see `units`."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """How to time: rounds, the least seconds of a turn, and on what device."""

    rounds: int = 7
    seconds: float = 0.1
    device: str = "cpu"


def units(row: Row, modes: Sequence[str], contenders: Sequence[Contender], timing: Timing) -> int:
    """How often `measure` will call `advance`."""
    turns = {mode: 1 + (timing.rounds if mode in modes else 0) for mode in _prepared(modes) if row.runs}
    turns |= {"memory": 1} if "memory" in modes else {}
    return sum(turns[mode] for one in contenders for mode in turns if one.does(mode))


def measure(
    row: Row, modes: Sequence[str], dtype: str, contenders: Sequence[Contender], timing: Timing, advance: Advance
) -> list[Measurement]:
    """Everything about a row; what a contender fails at is in its measurement's `error`."""
    found: list[Measurement] = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = _prepared(modes) if row.runs else []
        references = _answer(row, prepared, dtype, Path(folder), timing.device)
        with _started(contenders if prepared else [], timing.device) as (processes, failed):
            for mode in prepared:
                able = [process for process in processes if process.contender.does(mode)]
                unable = {one.name: why for one, why in failed.items() if one.does(mode)}
                table = _measure_mode(row, mode, dtype, able, unable, references[mode], timing, modes, advance)
                found += _kept(table, mode, modes)
    if "memory" in modes:
        found += [_memory(row, dtype, one, timing.device, advance) for one in contenders if one.does("memory")]
    return found


def _prepared(modes: Sequence[str]) -> list[str]:
    """The modes to prepare, gradients first: their compile time is that of a fresh process."""
    wanted = [mode for mode in RUN_MODES if mode in modes or (mode == "forward+backward" and "compile" in modes)]
    return sorted(wanted, key=lambda mode: mode != "forward+backward")


def _kept(table: dict[str, Measurement], mode: str, modes: Sequence[str]) -> Iterator[Measurement]:
    for one in table.values():
        if mode in modes:
            yield one
        if mode == "forward+backward" and "compile" in modes and one.compile_seconds is not None:
            yield dataclasses.replace(one, mode="compile", seconds=[], difference=None)


def _answer(row: Row, modes: Sequence[str], dtype: str, folder: Path, device: str) -> dict[str, Path]:
    """What should come out, in float64, in a file for each mode.

    Raises:
      ContenderError: the reference itself failed.
    """
    paths = {mode: folder / f"{number}.npz" for number, mode in enumerate(modes)}
    if not paths:
        return paths
    with Process(REFERENCE, device) as reference:
        reference.wait_until_ready()
        for mode, path in paths.items():
            reference.prepare(row, mode, "float64")
            reference.ask("answer", path=str(path))
    return paths


@contextlib.contextmanager
def _started(contenders: Sequence[Contender], device: str) -> Iterator[tuple[list[Process], dict[Contender, str]]]:
    """All processes that came up, and what the others said."""
    with contextlib.ExitStack() as stack:
        ready, failed = [], {}
        for process in [stack.enter_context(Process(one, device)) for one in contenders]:
            try:
                process.wait_until_ready()
                ready.append(process)
            except ContenderError as error:
                failed[process.contender] = str(error)
        yield ready, failed


def _measure_mode(
    row: Row,
    mode: str,
    dtype: str,
    processes: Sequence[Process],
    failed: dict[str, str],
    reference: Path,
    timing: Timing,
    modes: Sequence[str],
    advance: Advance,
) -> dict[str, Measurement]:
    table = {name: Measurement(row.name, mode, dtype, name, error=error) for name, error in failed.items()}
    for name in failed:
        advance(f"{row.name}, {mode}: {name} failed")
    for process in processes:
        table[process.contender.name] = _prepare(row, mode, dtype, process, reference, timing.device)
        advance(f"{row.name}, {mode}: {process.contender.name} prepared")
    _time_in_turn(table, processes, timing, timing.rounds if mode in modes else 0, advance)
    return table


def _time_in_turn(
    table: dict[str, Measurement], processes: Sequence[Process], timing: Timing, rounds: int, advance: Advance
) -> None:
    able = [process for process in processes if not table[process.contender.name].error]
    for number in range(rounds):
        for process in rotated(able, number):
            one = table[process.contender.name]
            _turn(one, process, timing.seconds)
            advance(f"{one.row}, {one.mode}: round {number + 1} of {rounds}")
        for one in table.values():
            if one.contender not in [process.contender.name for process in able]:
                advance(f"{one.row}, {one.mode}: {one.contender} is out")


def _prepare(row: Row, mode: str, dtype: str, process: Process, reference: Path, device: str) -> Measurement:
    one = Measurement(row.name, mode, dtype, process.contender.name)
    try:
        one = dataclasses.replace(one, **process.prepare(row, mode, dtype))
        one.difference = process.ask("check", path=str(reference))["difference"]
    except ContenderError as error:
        one.error = str(error)
    else:
        if not one.difference <= bar(mode, dtype, device):  # NaN too
            one.error = f"it computes something else: {one.difference:.1e} from the reference"
    return one


def _turn(one: Measurement, process: Process, seconds: float) -> None:
    if one.error:
        return
    time.sleep(PAUSE_SECONDS)
    try:
        one.seconds.append(process.ask("time", seconds=seconds)["seconds"])
    except ContenderError as error:
        one.error, one.seconds = str(error), []


def _memory(row: Row, dtype: str, contender: Contender, device: str, advance: Advance) -> Measurement:
    """In a fresh process, by the compiler's account and by the process's growth in its first run."""
    mode = "forward+backward" if row.kind == "layer" else "generate"
    one = Measurement(row.name, "memory", dtype, contender.name)
    try:
        with Process(contender, device) as process:
            process.wait_until_ready()
            ready = process.prepare(row, mode, dtype)
            one.compile_seconds, one.program_bytes = ready["compile_seconds"], ready["program_bytes"]
            one.peak_bytes = process.ask("peak")["peak_bytes"] if row.runs else None
    except ContenderError as error:
        one.error = str(error)
    advance(f"{row.name}, memory: {contender.name}")
    return one


def rotated(processes: Sequence[Process], by: int) -> list[Process]:
    """Another one first each time."""
    by = by % len(processes) if processes else 0
    return [*processes[by:], *processes[:by]]
