"""What models of clips are trained to do, their figures, and what their outputs mean."""

import functools
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from lstmjax import losses, metrics
from lstmjax.data.labels import Labels, load_labels
from lstmjax.data.source import SequenceBatch
from lstmjax.models.cnn_lstm import CNNLSTM, StackedCNN
from lstmjax.models.cnn_lstm_config import CNNLSTMConfig
from lstmjax.models.config_parts import check_size
from lstmjax.models.sequence_task import class_figures
from lstmjax.tasks import Task


def read_meaning(folder: Path) -> Labels:
    """Read what stands beside a trained model: its classes by name."""
    return load_labels(folder / "labels.json")


def with_meaning(config: CNNLSTMConfig, labels: Labels) -> CNNLSTMConfig:
    """The config, once it is sure that it belongs with its labels.

    Raises:
      ValueError: there are not as many as the config says.
    """
    check_size("num_classes", config.num_classes, len(labels), "labels")
    return config


def task(config: CNNLSTMConfig) -> Task:
    """Classify clips, or each of their frames, from batches of `SequenceBatch`: `inputs` [B, T, H, W, C].

    Rows of weight 0 count as clips without frames, so that they reach no statistics of a batch normalisation.

    Args:
      config: says whether `targets` are [B], or [B, T], one a frame.

    Returns:
      a task: cross-entropy after a softmax; figures loss, accuracy and f1 (macro), of clips or of frames.
    """
    return Task(functools.partial(_loss, config), summary=class_figures)


def _loss(
    config: CNNLSTMConfig, model: CNNLSTM | StackedCNN, batch: SequenceBatch, carry: tuple[()], key: Any
) -> tuple[dict[str, Any], tuple[()]]:
    clips, targets, weights = (jnp.asarray(array) for array in (batch.inputs, batch.targets, batch.weights))
    full = jnp.full(len(clips), clips.shape[1], jnp.int32)
    lengths = jnp.where(weights > 0, full if batch.lengths is None else jnp.asarray(batch.lengths), 0)
    logits = model(clips, lengths=lengths, key=key)
    counted: Any = {"weights": weights} | ({"lengths": lengths} if config.each_frame else {})
    loss = losses.sparse_categorical_cross_entropy(logits, targets, **counted)
    predicted = jnp.argmax(logits, axis=-1)
    return {"loss": loss, "confusion": metrics.confusion_matrix(predicted, targets, logits.shape[-1], **counted)}, carry
