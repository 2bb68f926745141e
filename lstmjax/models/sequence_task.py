"""What sequence-to-one models are trained to do, their figures, and what their inputs and outputs mean."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lstmjax import losses, metrics
from lstmjax.data.labels import Labels, load_labels
from lstmjax.data.source import SequenceBatch
from lstmjax.data.text import Vocabulary, load_vocabulary
from lstmjax.models.config_parts import check_size
from lstmjax.models.sequence_config import SequenceToOneConfig
from lstmjax.models.sequence_to_one import SequenceClassifier, SequenceRegressor
from lstmjax.tasks import Mean, Task
from lstmjax.types import Array


class Meaning(NamedTuple):
    """What a trained model's inputs and outputs mean: its vocabulary, if it reads symbols; its labels, if any."""

    vocabulary: Vocabulary | None
    labels: Labels | None


def read_meaning(folder: Path) -> Meaning:
    """Read what stands beside a trained model."""
    vocabulary, labels = folder / "vocabulary.json", folder / "labels.json"
    return Meaning(
        load_vocabulary(vocabulary) if vocabulary.exists() else None, load_labels(labels) if labels.exists() else None
    )


def with_meaning(config: SequenceToOneConfig, meaning: Meaning) -> SequenceToOneConfig:
    """The config, once it is sure that it belongs with its vocabulary and labels.

    Raises:
      ValueError: they have other sizes than the config says.
    """
    symbols, labels = (None if table is None else len(table) for table in meaning)
    check_size("vocab_size", config.vocab_size, symbols, "symbols in its vocabulary")
    num_classes = None if config.answer == "number" else config.num_outputs
    check_size("num_outputs", num_classes, labels, "labels")
    return config


def task(config: SequenceToOneConfig) -> Task:
    """Classify sequences, or predict numbers from them, from batches of `SequenceBatch`.

    Args:
      config: says what an answer is, and what each class counts.

    Returns:
      a task. Of one class: cross-entropy after a softmax; figures loss, accuracy, f1 (macro). Of any number of classes:
      the mean of each class's own cross-entropy after a sigmoid; loss, accuracy (of all classes' yes and no), f1
      (macro), micro_f1. Of numbers: squared error in standard deviations; loss, mse and mae in the targets' own units.
    """
    match config.answer:
        case "class":
            return Task(functools.partial(_one_class, config), summary=class_figures)
        case "classes":
            return Task(functools.partial(_any_classes, config), summary=_classes_figures)
        case "number":
            return Task(_numbers, summary=_number_figures)
    raise ValueError("answer must be set")


def _one_class(
    config: SequenceToOneConfig, model: SequenceClassifier, batch: SequenceBatch, carry: tuple[()], key: Any
) -> tuple[dict[str, Any], tuple[()]]:
    logits, targets = _read(model, batch, key), jnp.asarray(batch.targets)
    of_class = None if config.class_weights is None else jnp.array(config.class_weights, jnp.float32)
    loss = losses.sparse_categorical_cross_entropy(logits, targets, class_weights=of_class, weights=batch.weights)
    predicted = jnp.argmax(logits, axis=1)
    counts = metrics.confusion_matrix(predicted, targets, logits.shape[1], weights=batch.weights)
    return {"loss": loss, "confusion": counts}, carry


def class_figures(sums: Mapping[str, Any]) -> dict[str, float]:
    """Loss, accuracy and macro F1, from the sums of an evaluation: `loss` and counts `confusion` [C, C]."""
    confusion = np.asarray(sums["confusion"])
    return {
        "loss": float(sums["loss"].value),
        "accuracy": float(np.trace(confusion) / np.sum(confusion)),
        "f1": macro_f1(confusion),
    }


def macro_f1(confusion: np.ndarray) -> float:
    """The mean F1 of the classes that occur or were predicted, from counts [C, C]; what scikit-learn calls macro."""
    there = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return float(np.mean(np.asarray(metrics.f1(confusion, average=None))[there]))


def _any_classes(
    config: SequenceToOneConfig, model: SequenceClassifier, batch: SequenceBatch, carry: tuple[()], key: Any
) -> tuple[dict[str, Any], tuple[()]]:
    logits, targets = _read(model, batch, key), jnp.asarray(batch.targets, jnp.float32)
    rows = jnp.broadcast_to(jnp.asarray(batch.weights)[:, None], targets.shape)
    weights = rows
    if config.class_weights is not None:
        of_class = jnp.broadcast_to(jnp.array(config.class_weights, jnp.float32), targets.shape)
        weights = rows * jnp.where(targets > 0, of_class, 1)
    loss = losses.binary_cross_entropy(logits, targets, weights=weights)
    predicted = (logits > 0).astype(jnp.float32)
    outcomes = [truth * answer for truth in (1 - targets, targets) for answer in (1 - predicted, predicted)]
    return {"loss": loss, "of_class": jnp.stack([jnp.sum(rows * each, axis=0) for each in outcomes], axis=1)}, carry


def _classes_figures(sums: Mapping[str, Any]) -> dict[str, float]:
    """From each class's own counts of true negatives, false positives, false negatives and true positives."""
    neither, wrong, missed, hit = np.asarray(sums["of_class"]).T
    return {
        "loss": float(sums["loss"].value),
        "accuracy": float((neither + hit).sum() / (neither + wrong + missed + hit).sum()),
        "f1": float(np.mean(_f1(hit, wrong, missed))),
        "micro_f1": float(_f1(hit.sum(), wrong.sum(), missed.sum())),
    }


def _f1(hit: Any, wrong: Any, missed: Any) -> Any:
    return 2 * hit / np.maximum(2 * hit + wrong + missed, 1)


def _numbers(
    model: SequenceRegressor, batch: SequenceBatch, carry: tuple[()], key: Any
) -> tuple[dict[str, Any], tuple[()]]:
    predicted = _read(model.standardized, batch, key)
    targets = jnp.asarray(batch.targets, jnp.float32)
    own = model.targets.inverse(predicted)
    means: dict[str, Mean] = {
        "loss": losses.mean_squared_error(predicted, model.targets(targets), weights=batch.weights),
        "mse": losses.mean_squared_error(own, targets, weights=batch.weights),
        "mae": losses.mean_absolute_error(own, targets, weights=batch.weights),
    }
    return means, carry


def _number_figures(sums: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(sums[name].value) for name in ("loss", "mse", "mae")}


def _read(model: Callable[..., Array], batch: SequenceBatch, key: Any) -> Array:
    return model(jnp.asarray(batch.inputs), lengths=batch.lengths, key=key)
