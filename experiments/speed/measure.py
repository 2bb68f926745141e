"""A row, all contenders on it: each prepared and checked, then timed in turn, round by round.

Processes are fresh for each row, and idle while another one works.
"""

import contextlib
import ctypes
import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.peers.common import gradients_in
from experiments.speed import on_jax
from experiments.speed.contenders import Contender
from experiments.speed.problem import Request
from experiments.speed.results import Measurement
from experiments.speed.rows import DType, Mode, Row, bar
from experiments.speed.turns import LibraryError, Prepared, Process, Timing, check, difference, time_run, turns


class Task(NamedTuple):
    """One row with one dtype, and who takes part."""

    row: Row
    modes: tuple[Mode, ...]
    dtype: DType
    contenders: tuple[Contender, ...]


def measure(task: Task, timing: Timing, device: str) -> Iterator[Measurement]:
    """Everything about a row; what a contender fails at is in its measurement's `error`.

    Raises:
      LibraryError: the reference itself failed.
    """
    row, modes, dtype, contenders = task
    with contextlib.ExitStack() as stack:
        processes = {one.name: stack.enter_context(Process()) for one in contenders}
        reference = stack.enter_context(Process())
        for mode in modes:
            request, able = Request(row, mode, dtype, device), [one for one in contenders if one.can(row, mode, dtype)]
            if mode in ("compile", "memory"):
                yield from (_of_program(request, one) for one in able)
                continue
            reference.prepare(on_jax.prepare_reference, request)
            answers = reference.ask(check)
            found = {one.name: _checked(request, one, processes[one.name], answers) for one in able}
            time_in_turn(found, processes, timing)
            yield from found.values()


def _checked(request: Request, contender: Contender, process: Process, reference: Mapping[str, Any]) -> Measurement:
    one = Measurement(request.row.name, request.mode, request.dtype, contender.name)
    try:
        one.backend = process.prepare(contender.prepare, request).get("backend", "")
        one.difference = difference(process.ask(check), expected(contender, reference))
    except (LibraryError, ValueError) as error:
        one.error = str(error)
    else:
        if not one.difference <= bar(request.mode, request.dtype, request.device):  # NaN too
            one.error = f"it computes something else: {one.difference:.1e} from the reference"
    return one


def expected(contender: Contender, reference: Mapping[str, Any]) -> dict[str, Any]:
    """The reference's answers, with gradients in the contender's layout."""
    layout = contender.layout
    if layout is None or "d_weights" not in reference:
        return dict(reference)
    return {**reference, "d_weights": [[gradients_in(layout, one) for one in both] for both in reference["d_weights"]]}


def time_in_turn(found: Mapping[str, Measurement], processes: Mapping[str, Process], timing: Timing) -> None:
    """As `turns.time_in_turn`, of those without an error; what fails now becomes one."""
    for name in turns([name for name, one in found.items() if not one.error], timing.rounds):
        one = found[name]
        try:
            one.seconds.append(processes[name].ask(time_run, one.mode, timing.seconds))
        except LibraryError as error:
            one.error = str(error)


def _of_program(request: Request, contender: Contender) -> Measurement:
    """In a fresh process: how long compiling takes, or what memory the compiler plans and a first run takes."""
    one = Measurement(request.row.name, request.mode, request.dtype, contender.name)
    with Process() as process:
        try:
            program = process.prepare(contender.prepare, request._replace(mode="forward+backward"))
            if request.mode == "compile":
                one.seconds = [program["compile_seconds"]]
            else:
                one.planned_bytes = program.get("planned_bytes")
                one.peak_bytes = process.ask(peak_bytes, "forward+backward")
        except LibraryError as error:
            one.error = str(error)
    return one


def peak_bytes(prepared: Prepared, kind: str) -> int | None:
    """By how much the process grows while something runs for the first time; None where the system doesn't say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # what is free goes back to the system
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the size now counts as the largest so far
    before = _kilobytes(status, "VmRSS")
    prepared.runs[kind]()
    return 1024 * (_kilobytes(status, "VmHWM") - before)


def _kilobytes(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
