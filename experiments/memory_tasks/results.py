"""What the runs found: a line a record, a summary by plain names, and tables."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.memory_tasks import pictures
from experiments.memory_tasks.runs import CELLS, KINDS, Record, Run
from experiments.observers import read_records
from lstmjax.errors import InputError
from lstmjax.files import replace_text

Results = dict[Run, list[Record]]

LAGS = (10, 50, 100, 200, 499)
"""Steps back at which gradients are written into tables."""


def written(run: Run, record: Record) -> Record:
    """A record as its line in the metrics file has it: what was run, then what was found."""
    return {run.letter if name == "size" else name: value for name, value in run._asdict().items()} | record


def read_results(path: Path) -> Results:
    """The runs of a metrics file that had ended, with their records; none where there is no file.

    Raises:
      InputError: another program's file.
    """
    found: Results = {}
    for record in read_records(path):
        letter = "K" if "K" in record else "T"
        try:
            run = Run(*(record.pop(letter if name == "size" else name) for name in Run._fields))
        except KeyError as error:
            raise InputError(f"{path} is not a metrics file of memory tasks: a record has no {error}") from error
        found.setdefault(run, []).append(record)
    return {run: records for run, records in found.items() if "solved" in records[-1]}


def report(folder: Path, results: Results) -> None:
    """Write a summary and figures, and tables, which are printed, too."""
    replace_text(folder / "summary.json", json.dumps(summary_of(results), indent=2) + "\n")
    tables = [table_of_gradients(results), *(table_of(task, results) for task in KINDS)]
    text = "\n\n".join(table for table in tables if table)
    replace_text(folder / "table.md", text + "\n")
    print(text)
    pictures.draw_all(folder, results)


def summary_of(results: Results) -> dict[str, float | None]:
    """Every figure by its plain name; the steps to solve a task are null where a run did not."""
    summary: dict[str, float | None] = {}
    for run, records in results.items():
        end = records[-1]
        parts = [part for part in ("h", "c") if part in end and run.task == "gradients"]
        summary |= {f"{run.name}_{part}_norm_{lag}_back": end[part][lag] for part in parts for lag in lags(run.size)}
        if run.task in KINDS:
            summary[f"{run.name}_steps_to_solve"] = end["step"] if end["solved"] else None
            summary |= {f"{run.name}_{name}": end[name] for name in ("loss", "accuracy") if name in end}
            summary[f"baseline_no_memory_{run.task}_{run.size}_loss"] = KINDS[run.task].baseline(run.size)
    return summary


def lags(steps: int) -> list[int]:
    """Those of the lags that sequences of so many steps have."""
    return [lag for lag in LAGS if lag < steps]


def table_of(task: str, results: Results) -> str:
    """Steps to solve a task by cell and size, one number a seed, or how far a run came; nothing without runs."""
    runs = [run for run in results if run.task == task]
    sizes = sorted({run.size for run in runs})
    places = {name: place for place, name in enumerate(CELLS)}
    rows = sorted({(places[run.cell], run.cell, run.hidden) for run in runs})
    cells = [
        [
            ", ".join(said(results[r][-1]) for r in runs if (r.cell, r.hidden, r.size) == (cell, hidden, size))
            for size in sizes
        ]
        for _, cell, hidden in rows
    ]
    names = [f"{cell}, H = {hidden}" for _, cell, hidden in rows]
    return markdown([task, *(f"{KINDS[task].letter} = {size}" for size in sizes)], names, cells)


def said(end: Record) -> str:
    """How a run ended: the step at which its task was solved, or where it stood after the last."""
    if end["solved"] is None:
        return "measured"
    if end["solved"]:
        return str(end["step"])
    if end["loss"] is None:
        return f"NaN at {end['step']}"
    reached = f"{end['accuracy']:.1%}" if "accuracy" in end else f"{end['loss']:.3f}"
    return f"no: {reached} at {end['step']}"


def table_of_gradients(results: Results) -> str:
    """Geometric means over seeds of the norms so many steps back; nothing without runs."""
    norms = pictures.norms_by_cell({run: records for run, records in results.items() if run.task == "gradients"})
    shown = lags(min((each.shape[1] for each in norms.values()), default=0))
    with np.errstate(divide="ignore"):
        means = {name: np.exp(np.log(each).mean(axis=0)) for name, each in norms.items()}
    cells = [[f"{mean[lag]:.1e}" for lag in shown] for mean in means.values()]
    return markdown(["gradients", *(f"{lag} steps back" for lag in shown)], list(means), cells)


def markdown(heads: Sequence[str], names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table in Markdown whose columns stand below one another in plain text, too; nothing without rows."""
    rows = [[name, *row] for name, row in zip(names, cells, strict=True)]
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [heads, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
