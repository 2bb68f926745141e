"""How far gradients reach, how long a network remembers and how much.

How far gradients reach back in untrained networks (gradients), how long networks remember (adding, copy) and how much
(many), cell by cell. A run ends once the mean over 25 batches that were drawn afresh says that its task is solved:
adding by a squared error below 0.01, copy and many by 99% of the symbols asked for. It is written down once it has
ended. What is measured on a batch before its step is measured on sequences that were never seen.

Usage: python -m experiments.memory_tasks [--tasks gradients adding copy many] [--out DIR] ...
"""

import dataclasses
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from experiments import cli
from experiments.interrupts import STOPPED, StopOnSignal
from experiments.memory_tasks.results import Results, read_results, report, said, written
from experiments.memory_tasks.runs import CAUTION, CELLS, EVERY, Record, Run, learn, measure
from experiments.ranges import Checked, Positive
from lstmjax import checks
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.training.run_folder import RunFolder, check_writable

LEARNERS = ("elman", "irnn", "indrnn", "gru", "gru_chrono", "lstm", "lstm_chrono")
UNTRAINED = ("elman_uniform", "elman", "gru", "gru_chrono", "lstm_forget_0", "lstm", "lstm_chrono")
RECALLERS = ("elman", "gru", "lstm", "lstm_attention")


def _known(name: str, cell: str) -> None:
    checks.one_of(name, cell, tuple(CELLS))


def _one_layer(name: str, cell: str) -> None:
    checks.one_of(name, cell, tuple(known for known in CELLS if known not in ("indrnn", "lstm_attention")))


@dataclasses.dataclass(frozen=True)
class Grid(Checked):
    """Runs of one task: each size with each cell and each width."""

    sizes: tuple[Positive, ...]
    """T, steps (of copy, blanks), or of many K, facts."""
    cells: tuple[Annotated[str, _known], ...]
    """Networks, by their names in the table."""
    hidden: tuple[Positive, ...] = (32,)
    """H."""
    steps: int = 2000
    """Optimisation steps after which a run counts as not solved."""
    learning_rate: Annotated[float, checks.positive] = 0.01
    """Of Adam, constant, a tenth of it for irnn and three for indrnn; gradients are scaled down to a norm of 1."""
    seeds: Positive = 1
    """Runs of the first size, each with weights and data of its own; there is one of each other size."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("sizes", "cells", "hidden"):
            _check_each_once(name, getattr(self, name))
        if self.steps % EVERY or self.steps < EVERY:
            raise ValueError(f"steps must be a multiple of {EVERY}, got {self.steps}")


@dataclasses.dataclass(frozen=True)
class Measured(Checked):
    """Untrained networks to measure gradients in."""

    size: Positive = 500
    """T, steps."""
    cells: tuple[Annotated[str, _one_layer], ...] = UNTRAINED
    """Networks, by their names in the table."""
    hidden: Positive = 32
    """H."""
    seeds: Positive = 5
    """Networks of each kind."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_each_once("cells", self.cells)


def _check_each_once(name: str, values: tuple[object, ...]) -> None:
    if len(set(values)) != len(values) or not values:
        raise ValueError(f"{name} must name at least one, and each once, got {' '.join(map(str, values)) or 'none'}")


@dataclasses.dataclass(frozen=True)
class MemoryTasksConfig(Checked):
    """Which tasks, and each one's runs."""

    out: Path = Path("runs/memory-tasks")
    """Folder for what is measured, tables and figures."""
    resume: bool = False
    """Keep the runs that --out has, and do those that it lacks."""
    quick: bool = False
    """A look in under a minute: in place of what is asked for, a small size of each task, GRU and LSTM, 100 steps."""
    tasks: tuple[Literal["gradients", "adding", "copy", "many"], ...] = ("gradients", "adding", "copy", "many")
    """What to do, in this order."""
    batch_size: Positive = 32
    """B, sequences of a batch."""
    gradients: Measured = dataclasses.field(default_factory=Measured)
    adding: Grid = dataclasses.field(default_factory=lambda: Grid((100, 200, 400, 600), LEARNERS, seeds=3))
    copy: Grid = dataclasses.field(default_factory=lambda: Grid((100, 200, 500), LEARNERS, (64,), steps=6000))
    many: Grid = dataclasses.field(default_factory=lambda: Grid((1, 2, 4, 8, 16, 32), RECALLERS, (16, 64), steps=6000))

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_each_once("tasks", self.tasks)
        if min(self.adding.sizes) < 2:
            raise ValueError(f"adding.sizes must be at least 2, two numbers to add, got {self.adding.sizes}")
        if "lstm_attention" in self.adding.cells + self.copy.cells:
            raise ValueError("lstm_attention is for many alone, got it for adding or copy")
        if self.quick:
            self._make_quick()

    def _make_quick(self) -> None:
        few = ("gru", "lstm")
        object.__setattr__(self, "gradients", dataclasses.replace(self.gradients, size=50, cells=few, seeds=1))
        for task, size in (("adding", 10), ("copy", 5), ("many", 2)):
            grid = dataclasses.replace(getattr(self, task), sizes=(size,), cells=few, hidden=(16,), steps=100, seeds=1)
            object.__setattr__(self, task, grid)


def runs_of(config: MemoryTasksConfig) -> list[Run]:
    """Every run that a config asks for, task by task, small sizes first."""
    return [run for task in config.tasks for run in _runs_of(config, task)]


def _runs_of(config: MemoryTasksConfig, task: str) -> list[Run]:
    if task == "gradients":
        size, names, hidden, seeds = dataclasses.astuple(config.gradients)
        pairs = itertools.product(names, range(seeds))
        return [Run(task, size, cell, hidden, seed, config.batch_size, 0, 0.0) for cell, seed in pairs]
    grid: Grid = getattr(config, task)
    found = []
    for size, cell, hidden in itertools.product(grid.sizes, grid.cells, grid.hidden):
        seeds = grid.seeds if size == grid.sizes[0] else 1
        rest = (config.batch_size, grid.steps, grid.learning_rate * CAUTION.get(cell, 1.0))
        found += [Run(task, size, cell, hidden, seed, *rest) for seed in range(seeds)]
    return found


def main() -> int:
    config = cli.parse(MemoryTasksConfig, __doc__)
    cli.check_backend()
    folder = RunFolder(config.out)
    if config.resume and not folder.metrics.exists():
        raise InputError(f"{folder.path} holds no runs to add to; leave --resume out")
    check_writable(folder.path)
    with folder.lock():
        if folder.metrics.exists() and not config.resume:
            raise InputError(f"{folder.path} already holds runs; add --resume to add to them, or choose another --out")
        results = read_results(folder.metrics)
        lines = [json.dumps(written(run, record)) for run, records in results.items() for record in records]
        replace_text(folder.metrics, "".join(f"{line}\n" for line in lines))  # without runs that were cut off
        if not do_all([run for run in runs_of(config) if run not in results], folder, results):
            print("stopped; the runs that had ended are saved. To go on:")
            arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
            print(f"  {cli.command('experiments.memory_tasks', *arguments, '--resume')}")
            return STOPPED
        report(folder.path, results)
    print(f"folder: {folder.path}")
    return 0


def do_all(runs: list[Run], folder: RunFolder, results: Results) -> bool:
    """Do runs one after another, each written down and added to the results at its end; False if stopped before."""
    columns = (BarColumn(bar_width=12), TextColumn("{task.description}"), TimeRemainingColumn(), TextColumn("left"))
    done, total = 0, sum(map(work_of, runs))
    with StopOnSignal() as stop, Progress(*columns, console=Console(highlight=False)) as progress:
        line = progress.add_task("", total=total)
        for number, run in enumerate(runs, start=1):
            title = f"{number}/{len(runs)}  {run.name}"
            progress.update(line, description=f"{title}, compiling")
            start, records = time.perf_counter(), list[Record]()
            for record in measure(run) if run.task == "gradients" else learn(run):
                if stop.is_set():
                    return False
                records.append(record)
                progress.update(line, completed=done + work_of(run, record["step"]), description=_note(title, record))
            results[run] = _save(run, records, folder, time.perf_counter() - start)
            progress.print(f"{run.name}  {said(records[-1])}  {records[-1]['seconds']} s")
            done += work_of(run, records[-1]["step"])
            total -= work_of(run) - work_of(run, records[-1]["step"])
            progress.update(line, total=total)
    return True


def work_of(run: Run, steps: int | None = None) -> int:
    """Steps of the network in so many steps of training; at most, where it is not said in how many."""
    return run.size * (run.steps if steps is None else steps)


def _save(run: Run, records: list[Record], folder: RunFolder, seconds: float) -> list[Record]:
    records[-1]["seconds"] = round(seconds, 1)
    with folder.metrics.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(written(run, record)) + "\n" for record in records))
    return records


def _note(title: str, record: Record) -> str:
    loss = record.get("loss")
    return f"{title}  step {record['step']}" + ("" if loss is None else f"  loss {loss:.4f}")


if __name__ == "__main__":
    cli.run(main)
