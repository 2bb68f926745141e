"""How good a model is beside simpler ones: figures by part, baselines trained by the same code, a table, a summary."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flax import nnx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from experiments import cli, study
from lstmjax import training

Figures = dict[str, float]


def evaluate(run: study.Run, model: nnx.Module) -> dict[str, Figures]:
    """The task's own figures of the validation and of the test part."""
    graphdef, params, other = training.split_model(model)
    figures_of = training.make_evaluate(run.task, graphdef)
    sources: dict[str, Any] = {"validation": run.data.validation, "test": run.data.test}
    return {part: figures_of(params, other, source) for part, source in sources.items()}


def by_name(parts: Mapping[str, Mapping[str, float]]) -> Figures:
    """The figures of each part by their plain names.

    >>> by_name({"validation": {"loss": 2.0}, "test": {"loss": 3.0}})
    {'validation_loss': 2.0, 'test_loss': 3.0}
    """
    return {f"{part}_{name}": float(value) for part, figures in parts.items() for name, value in figures.items()}


def measure(run: study.Run, model: nnx.Module, companion: Any) -> Figures:
    """The same by their plain names, as a study's `finish`."""
    return by_name(evaluate(run, model))


def train(run: study.Run, name: str, model: Any, finish: Callable[[study.Run, Any, Any], Figures] = measure) -> Figures:
    """A model of another config on a run's data, by the same code, in a folder of its own; its summary."""
    print(f"\nbaseline {name}:")
    folder = training.RunFolder(run.folder.path / "baselines" / name)
    config = dataclasses.replace(run.config, out=folder.path, resume=folder.holds_a_run())
    kind = dataclasses.replace(run.study, finish=finish)
    return study.complete(kind, config, run.data._replace(model=model), folder)


def summary(found: Mapping[str, Figures], *, all_figures: bool = False) -> Figures:
    """All figures of the model, which comes first, and the test figures of its baselines, or all of theirs.

    >>> summary({"lstm": {"test_loss": 1.0}, "gru": {"validation_loss": 2.0, "test_loss": 3.0}})
    {'test_loss': 1.0, 'baseline_gru_test_loss': 3.0}
    """
    own, *others = found
    beside = by_name({f"baseline_{name}": found[name] for name in others})
    return found[own] | {name: value for name, value in beside.items() if all_figures or "_test_" in name}


def print_figures(found: Mapping[str, Figures], title: str = "") -> None:
    """A column for each model, a row for each figure of the first one."""
    names = next(iter(found.values()))
    print_table(title, list(found), {name: [figures.get(name) for figures in found.values()] for name in names})


def print_models(found: Mapping[str, Figures], names: Sequence[str], title: str = "", digits: str = ".4f") -> None:
    """A row for each model, a column for each of the figures named."""
    rows = {model: [figures.get(name) for name in names] for model, figures in found.items()}
    print_table(title, names, rows, digits)


def print_table(
    title: str, columns: Sequence[str], rows: Mapping[str, Sequence[float | None]], digits: str = ".4g"
) -> None:
    """Numbers under the names of columns and beside those of rows; nothing for None."""
    heads = [Column(name.replace("_", " "), justify="right") for name in columns]
    table = Table(Column(title, no_wrap=True), *heads, box=SIMPLE_HEAD, padding=0)
    for name, values in rows.items():
        table.add_row(name.replace("_", " "), *("" if value is None else f"{value:{digits}}" for value in values))
    Console(highlight=False).print(table)


def print_saved(run: study.Run, purpose: str, *arguments: str, module: str | None = None) -> None:
    """Where everything lies, and the command, by default the study's own, that uses the model for something."""
    folder = run.folder.path
    files = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    print(f"saved in {folder}: {', '.join(files)}, and the newest and best checkpoints in checkpoints/")
    print(f"{purpose}: {cli.command(module or run.study.module, '--checkpoint', folder, *arguments)}")


def conclude(
    run: study.Run, found: Mapping[str, Figures], purpose: str, *arguments: str, all_figures: bool = False
) -> Figures:
    """Print every figure, and what `print_saved` does; returns the `summary`."""
    print_figures(found)
    print_saved(run, purpose, *arguments)
    return summary(found, all_figures=all_figures)
