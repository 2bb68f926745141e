"""One answer from a whole sequence: which class it is of, which classes, or a number."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax import cells, checks, layers, losses, metrics, regularizers
from lstmjax.data.labels import Labels, load_labels
from lstmjax.data.source import SequenceBatch
from lstmjax.data.text import Vocabulary, load_vocabulary
from lstmjax.initializers import Chrono
from lstmjax.layers.pooling import Pooling
from lstmjax.layers.recurrent import Layer
from lstmjax.tasks import Mean, Task
from lstmjax.types import Array, Bool, Cell, Float, Int, Key

Answer = Literal["class", "classes", "number"]
CELLS = ("lstm", "gru", "elman", "none")
POOLINGS = ("last", "mean", "max", "attention", "flatten")
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
}


@dataclasses.dataclass(frozen=True)
class SequenceToOneConfig:
    """Sizes and regularisation of a `SequenceClassifier` or a `SequenceRegressor`."""

    cell: Literal["lstm", "gru", "elman", "none"] = "lstm"
    """What the layers are made of; none leaves them out, and what is pooled are the inputs themselves."""
    hidden_features: tuple[int, ...] = (128,)
    """The width of each recurrent layer, bottom first."""
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
    """How much each class counts in the loss; None counts all the same."""

    def __post_init__(self) -> None:
        for name, allowed in (("cell", CELLS), ("pooling", POOLINGS), ("activation", tuple(ACTIVATIONS))):
            checks.one_of(name, getattr(self, name), allowed)
        checks.one_of("dtype", self.dtype, ("float32", "bfloat16"))
        for name in ("hidden_features", "dense_features"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a list, where it comes from JSON
            for width in getattr(self, name):
                checks.index(name, width, 1, 2**29 - 1)
        for name in ("in_features", "vocab_size", "num_outputs", "window", "embed_features"):
            if getattr(self, name) is not None:
                checks.positive_int(name, getattr(self, name))
        for field in dataclasses.fields(self):
            if field.name.endswith("dropout") or field.name in ("weight_drop", "zoneout"):
                checks.rate(field.name, getattr(self, field.name))
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", tuple(self.class_weights))
        self._check_together()

    def _check_together(self) -> None:
        """What one option asks of another; nothing that is given is left unused."""
        recurrent = ("bidirectional", "hidden_dropout", "recurrent_dropout", "weight_drop", "zoneout", "longest_memory")
        if self.cell == "none":
            for name in recurrent:
                if getattr(self, name):
                    raise ValueError(f"{name} acts on recurrent layers, so it needs a cell, got cell 'none'")
        elif not self.hidden_features:
            raise ValueError("hidden_features must have a width for at least one recurrent layer, got none")
        if self.hidden_dropout and len(self.hidden_features) < 2:
            raise ValueError("hidden_dropout acts between recurrent layers, so it needs two widths in hidden_features")
        if self.longest_memory is not None and self.cell not in ("lstm", "gru"):
            raise ValueError(f"longest_memory needs a cell with gates, lstm or gru, got {self.cell!r}")


class SequenceEncoder(nnx.Module):
    """One vector from a whole sequence: recurrent layers over it, pooled over its steps, then dense layers.

        v = dense(pool(recurrent(embed(x))))

    Args:
      recurrent: any layer, in one direction or both; None pools what `embed` gives.
      pool: one vector from all steps, `(ys, *, lengths, mask) -> [B, F]`: `lstmjax.layers.last_step` or another
        function or module of that room.
      embed: before the layers: an `nnx.Embed` or `regularizers.EmbeddingDropout` for symbols, a `layers.Standardize`
        for numbers; None takes numbers as they come.
      dense: dense layers [F] -> [G], each followed by `activation`.
      activation: of the dense layers.
      input_dropout: on what the lowest layer reads.
      output_dropout: on what every dense layer and whoever is above them reads.

    >>> encoder = SequenceEncoder(lx.LSTM(3, 5, rngs=nnx.Rngs(0)), lx.layers.last_step)
    >>> encoder(jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4])).shape
    (2, 5)
    """

    def __init__(
        self,
        recurrent: Layer | None,
        pool: Pooling,
        *,
        embed: Callable[..., Array] | None = None,
        dense: Sequence[nnx.Linear] = (),
        activation: Callable[[Array], Array] = jax.nn.relu,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
    ) -> None:
        self.embed, self.recurrent, self.pool = embed, recurrent, pool
        self.dense, self.activation = nnx.List(dense), activation
        self.input_dropout = regularizers.locked_dropout(input_dropout)
        self.output_dropout = regularizers.Dropout(output_dropout)

    def __call__(
        self,
        inputs: Array,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B F"]:
        """Read whole sequences.

        Args:
          inputs: numbers [B, T, I], or symbols [B, T].
          lengths: integers [B] in 0..T, for sequences of different lengths.
          mask: booleans [B, T], True at valid steps.
          key: switches dropout on and draws it; None, as at evaluation, means none.
        """
        keys = _keys(key, 3 + len(self.dense))
        ys = self.outputs(inputs, lengths=lengths, mask=mask, key=keys[0])
        pooled = self.pool(ys, lengths=lengths, mask=mask)
        for layer, drop in zip(self.dense, keys[3:], strict=True):
            pooled = self.activation(layer(self.output_dropout(pooled, key=drop)))
        return self.output_dropout(pooled, key=keys[1])

    def outputs(
        self,
        inputs: Array,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B T H"]:
        """What is pooled: the top recurrent layer's outputs, float32; arguments as above."""
        key_embed, key_in, key_recurrent = _keys(key, 3)
        xs = self.input_dropout(self._embedded(inputs, key_embed), key=key_in)
        if self.recurrent is not None:
            xs, _ = self.recurrent(xs, lengths=lengths, mask=mask, key=key_recurrent)
        return xs.astype(jnp.float32)

    def _embedded(self, inputs: Array, key: Key[Array, ""] | None) -> Float[Array, "B T I"]:
        if isinstance(self.embed, regularizers.EmbeddingDropout):
            return self.embed(inputs, key=key)
        return jnp.asarray(inputs) if self.embed is None else self.embed(inputs)


class SequenceClassifier(nnx.Module):
    """A score for each class from a whole sequence.

        logits = W v + b,    v from a `SequenceEncoder`

    A softmax of the logits says which class it is; a sigmoid of each, whether it is of that class, where it may be of
    several. A sequence without steps is scored by what the dense layers make of zeros.

    Args:
      encoder: gives v.
      features: its size, F.
      num_classes: C.
      rngs: draws the initial parameters (stream "params").

    >>> encoder = SequenceEncoder(lx.LSTM(3, 5, bidirectional=True, rngs=nnx.Rngs(0)), lx.layers.both_ends)
    >>> model = lx.models.SequenceClassifier(encoder, 10, num_classes=4, rngs=nnx.Rngs(1))
    >>> model(jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4])).shape
    (2, 4)
    """

    def __init__(self, encoder: SequenceEncoder, features: int, num_classes: int, *, rngs: nnx.Rngs) -> None:
        self.encoder = encoder
        self.head = nnx.Linear(features, checks.positive_int("num_classes", num_classes), rngs=rngs)

    def __call__(
        self,
        inputs: Array,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B C"]:
        """Logits [B, C], float32; arguments as in `SequenceEncoder`."""
        logits: Array = self.head(self.encoder(inputs, lengths=lengths, mask=mask, key=key))
        return logits


class SequenceRegressor(nnx.Module):
    """Numbers from a whole sequence.

        prediction = mean + scale * (W v + b),    v from a `SequenceEncoder`

    where mean and scale are those of the training targets, measured by `targets.adapt`, 0 and 1 before.

    Args:
      encoder: gives v.
      features: its size, F.
      num_targets: how many numbers, K.
      rngs: draws the initial parameters (stream "params").

    >>> encoder = SequenceEncoder(lx.LSTM(3, 5, rngs=nnx.Rngs(0)), lx.layers.last_step)
    >>> lx.models.SequenceRegressor(encoder, 5, num_targets=1, rngs=nnx.Rngs(1))(jnp.ones((2, 7, 3))).shape
    (2, 1)
    """

    def __init__(self, encoder: SequenceEncoder, features: int, num_targets: int, *, rngs: nnx.Rngs) -> None:
        self.encoder = encoder
        self.head = nnx.Linear(features, checks.positive_int("num_targets", num_targets), rngs=rngs)
        self.targets = layers.Standardize(num_targets)

    def __call__(
        self,
        inputs: Array,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B K"]:
        """Predictions [B, K], float32, in the targets' own units; arguments as in `SequenceEncoder`."""
        return self.targets.inverse(self.standardized(inputs, lengths=lengths, mask=mask, key=key))

    def standardized(
        self,
        inputs: Array,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B K"]:
        """Predictions in standard deviations from the mean of the training targets."""
        prediction: Array = self.head(self.encoder(inputs, lengths=lengths, mask=mask, key=key))
        return prediction


def build(config: SequenceToOneConfig, rngs: nnx.Rngs) -> SequenceClassifier | SequenceRegressor:
    """The model that a config describes.

    Raises:
      ValueError: the config leaves open what the data decide.

    >>> config = SequenceToOneConfig(vocab_size=50, answer="class", num_outputs=3)
    >>> lx.models.sequence_to_one.build(config, nnx.Rngs(0))(jnp.ones((2, 7), int)).shape
    (2, 3)
    """
    if (
        config.answer is None
        or config.num_outputs is None
        or (config.vocab_size is None) == (config.in_features is None)
    ):
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
    dense = []
    for width in config.dense_features:
        dense.append(nnx.Linear(features, width, rngs=rngs))
        features = width
    encoder = SequenceEncoder(
        recurrent,
        pool,
        embed=embed,
        dense=dense,
        activation=ACTIVATIONS[config.activation],
        input_dropout=config.input_dropout,
        output_dropout=config.output_dropout,
    )
    kind = SequenceRegressor if config.answer == "number" else SequenceClassifier
    return kind(encoder, features, config.num_outputs, rngs=rngs)


def _embedding(config: SequenceToOneConfig, rngs: nnx.Rngs) -> tuple[Callable[..., Array], int]:
    """What makes numbers of the inputs, and how many."""
    if config.vocab_size is None:
        assert config.in_features is not None
        return layers.Standardize(config.in_features), config.in_features
    embed = nnx.Embed(config.vocab_size, config.embed_features, rngs=rngs)
    if not config.train_embedding:
        embed.embedding = nnx.Variable(embed.embedding[...])  # not a Param, so not trained
    return regularizers.EmbeddingDropout(embed, config.embedding_dropout), config.embed_features


def _cell(config: SequenceToOneConfig, in_features: int, hidden_features: int) -> Cell[Any, Any]:
    dtype = jnp.dtype(config.dtype)
    cell: Any
    if config.cell == "lstm" and config.longest_memory is not None:
        bias = Chrono(config.longest_memory)
        cell = cells.LSTM(in_features, hidden_features, bias_init=bias, forget_bias=0.0, dtype=dtype)
    elif config.cell == "lstm":
        cell = cells.LSTM(in_features, hidden_features, dtype=dtype)
    elif config.cell == "gru" and config.longest_memory is not None:
        cell = cells.GRU(in_features, hidden_features, bias_init=Chrono(config.longest_memory, "rzn"), dtype=dtype)
    elif config.cell == "gru":
        cell = cells.GRU(in_features, hidden_features, dtype=dtype)
    else:
        cell = cells.ElmanRNN(in_features, hidden_features, dtype=dtype)
    if config.recurrent_dropout:
        cell = regularizers.RecurrentDropout(cell, config.recurrent_dropout)
    if config.weight_drop:
        cell = regularizers.WeightDrop(cell, config.weight_drop)
    return regularizers.Zoneout(cell, config.zoneout) if config.zoneout else cell


def _pooling(config: SequenceToOneConfig, features: int, rngs: nnx.Rngs) -> tuple[Pooling, int]:
    """The pooling, and how many features it gives."""
    match config.pooling:
        case "flatten":
            if config.window is None:
                raise ValueError("window must be set for pooling by flatten")
            return layers.Flatten(config.window), config.window * features
        case "attention":
            return layers.AttentionPooling(features, rngs=rngs), features
        case "last":
            return (layers.both_ends if config.bidirectional else layers.last_step), features
        case "mean":
            return layers.mean_over_time, features
    return layers.max_over_time, features


class Meaning(NamedTuple):
    """What a trained model's inputs and outputs mean: its vocabulary, if it reads symbols; its labels, if it gives any."""

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
    sizes = (
        ("vocab_size", config.vocab_size, meaning.vocabulary, "symbols in its vocabulary"),
        ("num_outputs", None if config.answer == "number" else config.num_outputs, meaning.labels, "labels"),
    )
    for name, size, table, what in sizes:
        found = None if table is None else len(table)
        if size != found:
            raise ValueError(f"its {name} is {size}, and there are {found} {what}")
    return config


def task(config: SequenceToOneConfig) -> Task:
    """Say what a sequence is, from batches of `SequenceBatch`.

    Args:
      config: says what an answer is, and what each class counts.

    Returns:
      a task. Of one class: cross-entropy after a softmax; figures loss, accuracy, f1 (macro). Of any number of classes:
      the mean of each class's own cross-entropy after a sigmoid; loss, accuracy (of all classes' yes and no), f1
      (macro), micro_f1. Of numbers: squared error in standard deviations; loss, mse and mae in the targets' own units.
    """
    losses_of = {"class": _one_class, "classes": _any_classes, "number": _numbers}
    summaries = {"class": _class_figures, "classes": _classes_figures, "number": _number_figures}
    if config.answer is None:
        raise ValueError("answer must be set")
    return Task(functools.partial(losses_of[config.answer], config), summary=summaries[config.answer])


def _one_class(
    config: SequenceToOneConfig, model: SequenceClassifier, batch: SequenceBatch, carry: tuple[()], key: Any
) -> tuple[dict[str, Any], tuple[()]]:
    logits = model(batch.inputs, lengths=batch.lengths, key=key)
    of_class = None if config.class_weights is None else jnp.array(config.class_weights, jnp.float32)
    loss = losses.sparse_categorical_cross_entropy(logits, batch.targets, class_weights=of_class, weights=batch.weights)
    predicted = jnp.argmax(logits, axis=1)
    counts = metrics.confusion_matrix(predicted, batch.targets, logits.shape[1], weights=batch.weights)
    return {"loss": loss, "confusion": counts}, carry


def _class_figures(sums: Mapping[str, Any]) -> dict[str, float]:
    confusion = np.asarray(sums["confusion"])
    return {
        "loss": float(sums["loss"].value),
        "accuracy": float(np.trace(confusion) / np.sum(confusion)),
        "f1": float(metrics.f1(confusion)),
    }


def _any_classes(
    config: SequenceToOneConfig, model: SequenceClassifier, batch: SequenceBatch, carry: tuple[()], key: Any
) -> tuple[dict[str, Any], tuple[()]]:
    logits = model(batch.inputs, lengths=batch.lengths, key=key)
    targets = jnp.asarray(batch.targets, jnp.float32)
    weights = jnp.broadcast_to(jnp.asarray(batch.weights)[:, None], targets.shape)
    if config.class_weights is not None:
        of_class = jnp.broadcast_to(jnp.array(config.class_weights, jnp.float32), targets.shape)
        weights = weights * jnp.where(targets > 0, of_class, 1)
    loss = losses.binary_cross_entropy(logits, targets, weights=weights)
    said, true = (logits > 0).astype(jnp.float32), targets
    amounts = jnp.broadcast_to(jnp.asarray(batch.weights)[:, None], targets.shape)
    cells_of = jnp.stack([(1 - true) * (1 - said), (1 - true) * said, true * (1 - said), true * said], axis=-1)
    return {"loss": loss, "of_class": jnp.sum(cells_of * amounts[:, :, None], axis=0)}, carry


def _classes_figures(sums: Mapping[str, Any]) -> dict[str, float]:
    """From each class's own counts: no and rightly so, wrongly yes, wrongly no, yes and rightly so."""
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
    config: SequenceToOneConfig, model: SequenceRegressor, batch: SequenceBatch, carry: tuple[()], key: Any
) -> tuple[dict[str, Any], tuple[()]]:
    predicted = model.standardized(batch.inputs, lengths=batch.lengths, key=key)
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


def _keys(key: Key[Array, ""] | None, count: int) -> Sequence[Any]:
    return [None] * count if key is None else list(jax.random.split(key, count))
