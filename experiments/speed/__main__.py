"""Measure how fast our layers are beside other libraries', and write the results as JSON.

Usage: python -m experiments.speed [--rows NAME ...] [--contenders NAME ...] ...; see --help. Then
python -m experiments.speed.report makes the tables and the plot.
"""

import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import track

from experiments import cli
from experiments.speed import machine, results
from experiments.speed.contenders import DEFAULT, contender_named
from experiments.speed.measure import Task, measure
from experiments.speed.results import Results
from experiments.speed.rows import MODES, ROWS, DType, Mode, row_named
from experiments.speed.summary import summary
from experiments.speed.turns import OURS, LibraryError, Process, Timing
from lstmjax.errors import InputError

DESCRIPTION = """Measure how fast our layers are beside other libraries', and write the results as JSON.

Each library runs in a process of its own, one at a time, round by round; what it computes is checked against float64
first. The last line on stdout is a JSON object with the summary. The environment's XLA_FLAGS reach every process and
are kept in the results. Exit codes: 0 done, 1 something of lstmjax failed, 2 the command can't be used, 130 stopped."""


@dataclasses.dataclass(frozen=True)
class SpeedConfig(Timing):
    """What to measure, and where to write."""

    rows: tuple[str, ...] = tuple(ROWS)
    """Rows by name, or shapes TxBxIxH."""
    modes: tuple[Mode, ...] = MODES
    """What to measure, as far as it is for a row."""
    contenders: tuple[str, ...] = DEFAULT
    """Who takes part; lstmjax chooses its backend itself, lstmjax-fused, -scan and -cudnn are ours with that one."""
    dtypes: tuple[DType, ...] = ("float32",)
    """bfloat16 is for lstmjax and torch."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where everyone computes."""
    out: Path = Path("runs/speed.json")
    """The file to write; it is written anew after each row."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rows", "modes", "contenders", "dtypes"):
            if not getattr(self, name):
                raise ValueError(f"{name} must hold at least one name, got none")


def tasks_of(config: SpeedConfig) -> list[Task]:
    """Everything a command line asks for, in order.

    Raises:
      InputError: it asks for nothing, for a row or a contender there isn't, or for one that is not installed.
    """
    contenders, tasks = [contender_named(name) for name in config.contenders], []
    for row in map(row_named, config.rows):
        modes = tuple(mode for mode in row.modes if mode in config.modes)
        for dtype in config.dtypes:
            able = tuple(one for one in contenders if any(one.can(row, mode, dtype) for mode in modes))
            if able:
                tasks.append(Task(row, modes, dtype, able))
    for contender in {one.name: one for task in tasks for one in task.contenders}.values():
        contender.check_installed()
    if not tasks:
        raise InputError("there is nothing to measure: no contender takes part in any of these rows, modes and dtypes")
    return tasks


def main(arguments: Sequence[str]) -> int:
    config = cli.parse(SpeedConfig, DESCRIPTION, arguments)
    cli.check_out(config.out)
    tasks = tasks_of(config)
    found = Results()
    try:
        with Process() as process:
            found.machine = machine.describe() | process.ask(machine.rate, config.device)
        for task in track(tasks, "measuring rows", console=Console(stderr=True)):
            found.add(measure(task, config, config.device))
            results.write(found, config.out)
    except LibraryError as error:  # of the reference: without it nothing can be said
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("".join(f"{failure}\n" for failure in found.failures), end="", file=sys.stderr)
    print(json.dumps({"out": str(config.out), "summary": summary(found)}))
    return int(any(one.error and one.contender == OURS for one in found.measurements))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.run(lambda: main(sys.argv[1:]))
