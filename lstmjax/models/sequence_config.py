"""Sequence-to-one models from a config alone."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks, layers, regularizers
from lstmjax.initializers import Chrono
from lstmjax.layers.pooling import Pooling
from lstmjax.models.config_parts import CELLS, check_fields, check_recurrent, embedding
from lstmjax.models.sequence_to_one import SequenceClassifier, SequenceEncoder, SequenceRegressor
from lstmjax.types import Array, Cell

Answer = Literal["class", "classes", "number"]


@dataclasses.dataclass(frozen=True)
class SequenceToOneConfig:
    """Sizes and regularisation of a `SequenceClassifier` or a `SequenceRegressor`."""

    cell: Literal["lstm", "gru", "elman", "none"] = "lstm"
    """What the layers are made of; none leaves them out, and what is pooled are the inputs themselves."""
    hidden_features: tuple[int, ...] = (128,)
    """The width of each recurrent layer, bottom first; unused where there is no cell."""
    bidirectional: bool = False
    """Two cells a layer, one in each direction."""
    pooling: Literal["last", "mean", "max", "attention", "flatten"] = "last"
    """How the outputs of all steps become one vector; in both directions, last is where each has read everything."""
    dense_features: tuple[int, ...] = ()
    """The width of each dense layer between pooling and answer."""
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    """Of the dense layers."""
    embed_features: int = 100
    """D, size of a symbol's embedding, where inputs are symbols."""
    train_embedding: bool = True
    """Whether the embedding is trained; pretrained vectors may be left as they are."""
    embedding_dropout: float = 0.0
    """Share of symbols that lose their embedding everywhere in a batch, in [0, 1)."""
    input_dropout: float = 0.0
    """Locked dropout on what the lowest layer reads, in [0, 1)."""
    hidden_dropout: float = 0.0
    """Dropout between recurrent layers, in [0, 1); needs two of them."""
    recurrent_dropout: float = 0.0
    """Dropout on what enters the recurrent product, one mask a sequence, in [0, 1)."""
    weight_drop: float = 0.0
    """Dropout on recurrent weights, in [0, 1)."""
    zoneout: float = 0.0
    """Probability that a unit keeps its state at a step, in [0, 1)."""
    output_dropout: float = 0.0
    """Dropout on what each dense layer, the last one above all, reads, in [0, 1)."""
    longest_memory: int | None = None
    """Chrono initialisation: gates that start out remembering for up to so many steps, at least 3; LSTM and GRU."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What recurrent layers compute in."""
    answer: Answer | None = None
    """One class, any number of classes, or numbers; None leaves this and what follows to the data."""
    in_features: int | None = None
    """I, numbers a step; None where inputs are symbols."""
    vocab_size: int | None = None
    """V, how many symbols there are; None where inputs are numbers."""
    num_outputs: int | None = None
    """How many classes, or numbers, an answer is about."""
    window: int | None = None
    """How many steps pooling by flatten sees."""
    class_weights: tuple[float, ...] | None = None
    """How much each class counts in the loss, above 0; None counts all the same."""

    def __post_init__(self) -> None:
        check_fields(self, {"longest_memory": 3})
        check_recurrent(self, "bidirectional", "recurrent_dropout", "weight_drop", "zoneout", "longest_memory")
        if self.window is not None and self.pooling != "flatten":
            raise ValueError(f"window is what pooling by flatten sees, got pooling {self.pooling!r}")
        if self.in_features is not None and self.vocab_size is not None:
            raise ValueError("in_features is for numbers and vocab_size for symbols; only one of them can be given")
        if self.longest_memory is not None and self.cell not in ("lstm", "gru"):
            raise ValueError(f"longest_memory needs a cell with gates, lstm or gru, got {self.cell!r}")
        self._check_class_weights()

    def _check_class_weights(self) -> None:
        if self.class_weights is None:
            return
        if self.answer == "number":
            raise ValueError("class_weights are for classes, which an answer of numbers has none of")
        for weight in self.class_weights:
            checks.positive("class_weights", weight)
        if self.num_outputs not in (None, len(self.class_weights)):
            raise ValueError(f"class_weights must be {self.num_outputs}, one a class, got {len(self.class_weights)}")


def build(config: SequenceToOneConfig, rngs: nnx.Rngs) -> SequenceClassifier | SequenceRegressor:
    """The model that a config describes.

    Raises:
      ValueError: the config leaves open what the data decide.

    >>> config = SequenceToOneConfig(vocab_size=50, answer="class", num_outputs=3)
    >>> lx.models.sequence_config.build(config, nnx.Rngs(0))(jnp.ones((2, 7), int)).shape
    (2, 3)
    """
    lacks_inputs = config.vocab_size is None and config.in_features is None
    if config.answer is None or config.num_outputs is None or lacks_inputs:
        raise ValueError("answer, num_outputs, and either vocab_size or in_features must be set")
    embed, features = _embedding(config, rngs)
    recurrent = None
    if config.cell != "none":
        recurrent = layers.stack(
            functools.partial(_cell, config),
            features,
            config.hidden_features,
            bidirectional=config.bidirectional,
            dropout=config.hidden_dropout,
            rngs=rngs,
        )
        features = recurrent.out_shape[-1]
    pool, features = _pooling(config, features, rngs)
    widths = (features, *config.dense_features)
    encoder = SequenceEncoder(
        recurrent,
        pool,
        embed=embed,
        dense=[nnx.Linear(below, above, rngs=rngs) for below, above in itertools.pairwise(widths)],
        activation=getattr(jax.nn, config.activation),
        input_dropout=config.input_dropout,
        output_dropout=config.output_dropout,
    )
    kind = SequenceRegressor if config.answer == "number" else SequenceClassifier
    return kind(encoder, widths[-1], config.num_outputs, rngs=rngs)


def _embedding(config: SequenceToOneConfig, rngs: nnx.Rngs) -> tuple[Callable[..., Array], int]:
    """What makes numbers of the inputs, and how many."""
    if config.vocab_size is None:
        assert config.in_features is not None
        return layers.Standardize(config.in_features), config.in_features
    embed = embedding(config.vocab_size, config.embed_features, config.train_embedding, rngs)
    return regularizers.EmbeddingDropout(embed, config.embedding_dropout), config.embed_features


def _cell(config: SequenceToOneConfig, in_features: int, hidden_features: int) -> Cell[Any, Any]:
    """One layer's cell, with the noise that the config asks for around it."""
    kind = CELLS[config.cell]
    options: dict[str, Any] = {"dtype": jnp.dtype(config.dtype)}
    if config.longest_memory is not None:
        options["bias_init"] = Chrono(config.longest_memory, kind.gate_order)
        if config.cell == "lstm":
            options["forget_bias"] = 0.0  # it would be added to the bias that Chrono draws
    cell: Cell[Any, Any] = kind(in_features, hidden_features, **options)
    if config.recurrent_dropout:
        cell = regularizers.RecurrentDropout(cell, config.recurrent_dropout)
    if config.weight_drop:
        cell = regularizers.WeightDrop(cell, config.weight_drop)
    return regularizers.Zoneout(cell, config.zoneout) if config.zoneout else cell


def _pooling(config: SequenceToOneConfig, features: int, rngs: nnx.Rngs) -> tuple[Pooling, int]:
    """The pooling, and how many features it gives."""
    if config.pooling == "flatten":
        if config.window is None:
            raise ValueError("window must be set for pooling by flatten")
        return layers.Flatten(config.window), config.window * features
    if config.pooling == "attention":
        return layers.AttentionPooling(features, rngs=rngs), features
    last = layers.both_ends if config.bidirectional else layers.last_step
    return {"last": last, "mean": layers.mean_over_time, "max": layers.max_over_time}[config.pooling], features
