"""What taggers are trained to do, their figures, and what their inputs mean."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from lstmjax import spans
from lstmjax.data.source import SequenceBatch
from lstmjax.data.tokens import TokenVocabulary, load_tokens
from lstmjax.models.config_parts import check_size
from lstmjax.models.tagger import Tagger
from lstmjax.models.tagger_config import TaggerConfig
from lstmjax.tasks import Mean, Task


def read_meaning(folder: Path) -> TokenVocabulary:
    """Read what stands beside a trained model."""
    return load_tokens(folder / "vocabulary.json")


def with_meaning(config: TaggerConfig, vocabulary: TokenVocabulary) -> TaggerConfig:
    """The config, once it is sure that it belongs with its vocabulary.

    Raises:
      ValueError: they have other sizes than the config says.
    """
    check_size("vocab_size", config.vocab_size, vocabulary.num_words, "words in its vocabulary")
    if config.spelling != "none":
        check_size("num_characters", config.num_characters, vocabulary.num_characters, "characters in its vocabulary")
    return config


def task(config: TaggerConfig) -> Task:
    """Tag every token, from batches of `SequenceBatch`: `inputs` [B, T, 1 + W] as `TokenVocabulary` encodes them.

    Args:
      config: says which tags there are, and whether they write spans.

    Returns:
      a task. The loss is `-log p(tags | sentence)` over the number of tokens, in nats. At evaluation also accuracy;
      unknown_accuracy, that of words without a symbol, where there are some; and of spans precision, recall and f1, as
      conlleval counts them.
    """
    if config.tags is None:
        raise ValueError("tags must be set")
    return Task(functools.partial(_loss, config), summary=_figures)


def _loss(
    config: TaggerConfig, model: Tagger, batch: SequenceBatch, carry: tuple[()], key: Any
) -> tuple[dict[str, Any], tuple[()]]:
    tags, weights = jnp.asarray(batch.targets), jnp.asarray(batch.weights)
    words, characters = read(batch.inputs, config)
    lengths = jnp.full(tags.shape[0], tags.shape[1], jnp.int32) if batch.lengths is None else jnp.asarray(batch.lengths)
    emissions = model(words, characters, lengths=lengths, key=key)
    log_likelihood = model.tags.log_likelihood(emissions, tags, lengths=lengths)
    loss = Mean(-jnp.sum(weights * log_likelihood), jnp.sum(weights * lengths.astype(weights.dtype)))
    if key is not None:  # decoding the best tags takes time that training has no use for
        return {"loss": loss}, carry
    predicted = model.tags.decode(emissions, lengths=lengths)
    places = jnp.arange(tags.shape[1], dtype=lengths.dtype)
    is_counted = (places[None, :] < lengths[:, None]) & (weights[:, None] > 0)
    hits = predicted == tags
    sums: dict[str, Any] = {
        "loss": loss,
        "accuracy": Mean.of(hits, is_counted),
        "unknown_accuracy": Mean.of(hits, is_counted & (words == 1)),
    }
    if config.scheme is not None and config.tags is not None:
        counted = jnp.where(weights > 0, lengths, 0)
        sums["spans"] = spans.span_counts(predicted, tags, config.tags, lengths=counted)
    return sums, carry


def read(inputs: Any, config: TaggerConfig) -> tuple[Any, Any]:
    """The words [B, T], and their characters [B, T, W] where a model reads them, of inputs [B, T, 1 + W]."""
    inputs = jnp.asarray(inputs)
    return inputs[:, :, 0], None if config.spelling == "none" else inputs[:, :, 1:]


def _figures(sums: Mapping[str, Any]) -> dict[str, float]:
    figures = {name: float(mean.value) for name, mean in sums.items() if isinstance(mean, Mean) and mean.weight > 0}
    if "spans" in sums:
        score = spans.SpanScore(*np.asarray(sums["spans"]).sum(axis=0).tolist())
        figures |= {"precision": score.precision, "recall": score.recall, "f1": score.f1}
    return figures
