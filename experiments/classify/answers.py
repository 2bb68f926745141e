"""How good a trained sequence-to-one model is, beside the simple ones it should beat."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments import baselines, figures, study
from experiments.baselines import Figures
from experiments.classify import predictions
from experiments.observers import plot_curves
from lstmjax import metrics
from lstmjax.data import Bucketed
from lstmjax.models import SequenceToOneConfig
from lstmjax.models.sequence_config import Answer
from lstmjax.models.sequence_task import Meaning, macro_f1


def finish(run: study.Run, model: Any, meaning: Meaning) -> Figures:
    """Test once, train the baselines, draw the figures, and say how good all are and where everything lies."""
    found = {run.data.model.cell: baselines.measure(run, model, meaning)}
    if run.config.baselines:
        found |= train_baselines(run)
    folder, test, answer = run.folder, _bucketed(run.data.test), run.data.model.answer
    shown = ("loss", "mae") if answer == "number" else ("loss", "accuracy")
    plot_curves(folder.metrics, folder.curve, folder.path.name, dict(zip(shown, shown, strict=True)))
    said = predictions.predict(model, answer, test.inputs, test.batch_size)
    figures.draw_answers(folder.path, answer, np.asarray(test.targets), said, meaning.labels)
    return baselines.conclude(run, found, "on another file", "--predict", "FILE")


def train_baselines(run: study.Run) -> dict[str, Figures]:
    """Simple models on the same data; the simplest knows no input."""
    answer = run.data.model.answer
    found = {"mean" if answer == "number" else "majority": without_inputs(run, answer)}
    longest = max(map(len, _bucketed(run.data.train).inputs))
    for name, model in baseline_configs(run.data.model, longest).items():
        found[name] = baselines.train(run, name, model)
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


def without_inputs(run: study.Run, answer: Answer) -> Figures:
    """The figures of one answer for all: the most frequent class, each class's more frequent yes or no, the mean."""
    train, validation, test = map(targets_of, (run.data.train, run.data.validation, run.data.test))
    figures_of = WITHOUT_INPUTS[answer]
    return baselines.by_name({"validation": figures_of(train, validation), "test": figures_of(train, test)})


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


WITHOUT_INPUTS: dict[Answer, Callable[[np.ndarray, np.ndarray], dict[str, Any]]] = {
    "number": _the_mean,
    "class": _the_class,
    "classes": _the_classes,
}


def targets_of(source: Any) -> np.ndarray:
    """All targets of a source, those of all steps where they are sequences."""
    targets = _bucketed(source).targets
    return targets if isinstance(targets, np.ndarray) else np.concatenate(targets)


def _bucketed(source: Any) -> Bucketed:
    assert isinstance(source, Bucketed)
    return source
