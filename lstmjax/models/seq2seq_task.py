"""What sequence-to-sequence models are trained to do, their figures, and what their symbols mean."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lstmjax.attention import coverage_loss
from lstmjax.data.source import SequenceBatch
from lstmjax.data.symbol_pairs import PairVocabulary, load_pair
from lstmjax.data.symbols import START
from lstmjax.losses import sparse_categorical_cross_entropy
from lstmjax.metrics import perplexity
from lstmjax.models.seq2seq import Seq2Seq
from lstmjax.models.seq2seq_config import Seq2SeqConfig
from lstmjax.tasks import Mean, Task, no_carry, ratios
from lstmjax.types import Array, Float, Int, Key


def read_meaning(folder: Path) -> PairVocabulary:
    """Read what stands beside a trained model."""
    return load_pair(folder / "vocabulary.json")


def with_meaning(config: Seq2SeqConfig, vocabulary: PairVocabulary) -> Seq2SeqConfig:
    """The config, once it is sure that it belongs with its vocabulary.

    Raises:
      ValueError: they have other sizes than the config says, or are two where it shares one.
    """
    sizes = (config.source_vocab_size, config.target_vocab_size)
    if sizes != (len(vocabulary.source), len(vocabulary.target)):
        came = f"{len(vocabulary.source)} and {len(vocabulary.target)} symbols"
        raise ValueError(f"its vocabularies are of {sizes[0]} and {sizes[1]} symbols, and those beside it of {came}")
    if config.share_embeddings and not vocabulary.shared:
        raise ValueError("share_embeddings needs one vocabulary for both sides, and those beside it are two")
    return config


def task(config: Seq2SeqConfig) -> Task:
    """Write the target, from batches of `SequenceBatch`: `inputs` [B, S], `targets` [B, T] with the end symbol.

        loss = mean over symbols of -log p(y_t | y_<t, x)

    Args:
      config: label smoothing, the weight of the coverage loss, and scheduled sampling.

    Returns:
      a task. Its figures: loss, in nats a symbol; perplexity; accuracy, of symbols, the true ones before them given;
      exact, the share of targets of which every symbol is right, which are those that greedy decoding writes exactly.
      With scheduled sampling it carries how many batches there have been.
    """
    carry = no_carry if config.sampling == "none" else _no_batches
    return Task(functools.partial(_loss, config), carry, _figures)


def share_of_truth(config: Seq2SeqConfig) -> Callable[[Int[Array, ""]], Float[Array, ""]]:
    """Scheduled sampling: from how many batches there have been to the share of true symbols that the decoder reads.

    >>> share = share_of_truth(Seq2SeqConfig(sampling="linear", sampling_steps=100, sampling_least=0.5))
    >>> [float(share(jnp.array(step))) for step in (0, 50, 100, 1000)]
    [1.0, 0.75, 0.5, 0.5]
    """
    steps, least = config.sampling_steps, config.sampling_least
    schedules: dict[str, Callable[[Any], Any]] = {
        "none": optax.constant_schedule(1.0),
        "linear": optax.linear_schedule(1.0, least, steps),
        "exponential": lambda step: jnp.exp(-step / steps),
        "inverse_sigmoid": lambda step: jax.nn.sigmoid(jnp.log(float(steps)) - step / steps),
    }
    return lambda step: jnp.maximum(schedules[config.sampling](step.astype(jnp.float32)), least)


def shifted(targets: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """What the decoder reads to write the targets: the start symbol, then all but the last.

    >>> shifted(jnp.array([[7, 8, 3]])).tolist()
    [[2, 7, 8]]
    """
    return jnp.concatenate([jnp.full_like(targets[:, :1], START), targets[:, :-1]], axis=1)


def _no_batches(model: Seq2Seq, batch_size: int) -> Int[Array, "B"]:
    return jnp.zeros(batch_size, jnp.int32)


def _loss(
    config: Seq2SeqConfig, model: Seq2Seq, batch: SequenceBatch, carry: Any, key: Key[Array, ""] | None
) -> tuple[dict[str, Mean], Any]:
    source, targets, weights = (jnp.asarray(array) for array in (batch.inputs, batch.targets, batch.weights))
    inputs = shifted(targets)
    lengths: Any = batch.lengths
    counted: Any = {"lengths": jnp.asarray(batch.target_lengths), "weights": weights}
    if key is None:
        return _means(model(source, inputs, lengths=lengths), targets, counted), carry
    if config.sampling != "none":
        key, key_sampling = jax.random.split(key)
        share = share_of_truth(config)(carry[0])
        inputs = model.mixed_inputs(source, inputs, share, lengths=lengths, key=key_sampling)
        carry = carry + 1
    logits, attention = model.with_alignments(source, inputs, lengths=lengths, key=key)
    smoothing = config.label_smoothing
    loss = sparse_categorical_cross_entropy(logits, targets, label_smoothing=smoothing, **counted)
    if config.coverage_loss:
        twice = coverage_loss(attention, **counted)
        loss = Mean(loss.total + config.coverage_loss * twice.total, loss.weight)
    return {"loss": loss}, carry


def _means(logits: Float[Array, "B T V"], targets: Int[Array, "B T"], counted: Any) -> dict[str, Mean]:
    hits = jnp.argmax(logits, axis=-1).astype(targets.dtype) == targets
    places = jnp.arange(targets.shape[1], dtype=jnp.int32)
    is_there = places[None, :] < counted["lengths"][:, None]
    weights = counted["weights"]
    return {
        "loss": sparse_categorical_cross_entropy(logits, targets, **counted),
        "accuracy": Mean.of(hits, is_there & (weights[:, None] > 0)),
        "exact": Mean.of(jnp.all(hits | ~is_there, axis=1), weights),
    }


def _figures(means: Mapping[str, Any]) -> dict[str, float]:
    figures = ratios(means)
    return figures | {"perplexity": perplexity(figures["loss"])}
