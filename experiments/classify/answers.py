"""How good a trained sequence-to-one model is, beside the simple ones it should beat."""

import dataclasses
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments import cli, figures, study
from experiments.classify import predictions
from experiments.observers import plot_curves
from lstmjax import metrics, training
from lstmjax.data import Bucketed
from lstmjax.models import SequenceToOneConfig
from lstmjax.models.sequence_task import Meaning, macro_f1

Figures = dict[str, float]


def finish(kind: study.Study[Any], run: study.Run, model: Any, meaning: Meaning) -> Figures:
    """Test once, train the baselines, draw the figures, and say how good all are and where everything lies."""
    found = measure(run, model, meaning)
    others = train_baselines(kind, run) if run.config.baselines else {}
    folder, test, answer = run.folder, _parts(run)["test"], run.data.model.answer
    shown = ("loss", "mae") if answer == "number" else ("loss", "accuracy")
    plot_curves(folder.metrics, folder.curve, folder.path.name, dict(zip(shown, shown, strict=True)))
    said = predictions.predict(model, answer, test.inputs, test.batch_size)
    drawn = figures.draw_answers(folder.path, answer, np.asarray(test.targets), said, meaning.labels)
    print_table({run.data.model.cell: found, **others})
    files = ["config.json", "metrics.jsonl", "summary.json", folder.curve.name, *drawn]
    print(f"saved in {folder.path}: {', '.join(files)}, and the newest and best checkpoints in checkpoints/")
    print(f"on another file: {cli.command(kind.module, '--checkpoint', folder.path, '--predict', 'FILE')}")
    beside = {f"baseline_{name}_{figure}": value for name, each in others.items() for figure, value in each.items()}
    return found | {name: value for name, value in beside.items() if "_test_" in name}


def measure(run: study.Run, model: Any, meaning: Meaning) -> Figures:
    """Every figure of the validation and of the test part."""
    graphdef, params, other = training.split_model(model)
    evaluate = training.make_evaluate(run.task, graphdef)
    found: Figures = {}
    for part in ("validation", "test"):
        values = evaluate(params, other, _parts(run)[part])
        found |= {f"{part}_{name}": value for name, value in values.items()}
    return found


def train_baselines(kind: study.Study[Any], run: study.Run) -> dict[str, Figures]:
    """Simple models on the same data, by the same code, each in a folder of its own; the simplest knows no input."""
    found = {"mean" if run.data.model.answer == "number" else "majority": without_inputs(run)}
    longest = max(map(len, _parts(run)["train"].inputs))
    for name, model in baseline_configs(run.data.model, longest).items():
        print(f"\nbaseline {name}:")
        folder = training.RunFolder(run.folder.path / "baselines" / name)
        config = dataclasses.replace(run.config, out=folder.path, resume=folder.holds_a_run())
        baseline = dataclasses.replace(kind, finish=measure)
        found[name] = study.complete(baseline, config, run.data._replace(model=model), folder)
    return found


def baseline_configs(model: SequenceToOneConfig, longest: int) -> dict[str, SequenceToOneConfig]:
    """What this kind of model should beat: a linear one, a dense network over the window, and simpler cells."""
    plain = dataclasses.replace(
        model,
        cell="none",
        hidden_features=(),
        bidirectional=False,
        dense_features=(),
        hidden_dropout=0.0,
        recurrent_dropout=0.0,
        weight_drop=0.0,
        zoneout=0.0,
        longest_memory=None,
        window=None,
    )
    found = {
        "linear": dataclasses.replace(plain, pooling="mean"),
        "mlp": dataclasses.replace(plain, pooling="flatten", window=longest, dense_features=(128,)),
    }
    if model.cell not in ("elman", "none"):
        found["elman"] = dataclasses.replace(model, cell="elman", longest_memory=None)
    if model.cell not in ("gru", "none"):
        found["gru"] = dataclasses.replace(model, cell="gru")
    return found


def without_inputs(run: study.Run) -> Figures:
    """The figures of one answer for all: the most frequent class, each class's more frequent yes or no, the mean."""
    parts = _parts(run)
    train = np.asarray(parts["train"].targets)
    answer_of = {"number": _the_mean, "class": _the_class, "classes": _the_classes}[run.data.model.answer]
    found: Figures = {}
    for part in ("validation", "test"):
        values = answer_of(train, np.asarray(parts[part].targets))
        found |= {f"{part}_{name}": float(value) for name, value in values.items()}
    return found


def _the_mean(train: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    errors = train.mean(axis=0) - targets
    return {"mse": np.mean(np.square(errors)), "mae": np.mean(np.abs(errors))}


def _the_class(train: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    counts = np.bincount(train)
    said = np.full(len(targets), counts.argmax())
    confusion = metrics.confusion_matrix(jnp.asarray(said), jnp.asarray(targets), len(counts))
    return {"accuracy": np.mean(said == targets), "f1": macro_f1(np.asarray(confusion))}


def _the_classes(train: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    said = np.broadcast_to(train.mean(axis=0) > 0.5, targets.shape)
    hits, either = np.sum(said * targets, axis=0), np.sum(said, axis=0) + np.sum(targets, axis=0)
    return {
        "accuracy": np.mean(said == targets),
        "f1": np.mean(2 * hits / np.maximum(either, 1)),
        "micro_f1": 2 * hits.sum() / max(either.sum(), 1),
    }


def print_table(models: dict[str, Figures]) -> None:
    """Validation and test figures: a column for the model, first, and for each baseline."""
    names = [name for name in next(iter(models.values())) if name.startswith(("validation_", "test_"))]
    table = Table("", *models)
    for name in names:
        values = [figures_of.get(name) for figures_of in models.values()]
        table.add_row(name, *("" if value is None else f"{value:.4g}" for value in values))
    Console(highlight=False).print(table)


def _parts(run: study.Run) -> dict[str, Bucketed]:
    sources = {"train": run.data.train, "validation": run.data.validation, "test": run.data.test}
    return {part: cast(Bucketed, source) for part, source in sources.items()}
