"""One answer from a whole sequence: recurrent layers, pooled over time, then dense layers; classifiers, regressors."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks, layers, regularizers
from lstmjax.layers.pooling import Pooling
from lstmjax.layers.recurrent import Layer, check_layer, check_rngs
from lstmjax.types import Array, Bool, Float, Int, Key


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
        if recurrent is not None:
            check_layer("recurrent", recurrent)
        checks.function("pool", pool)
        checks.function("activation", activation)
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

        Raises:
          TypeError, ValueError: inputs, lengths or mask of another shape or dtype; symbols that the embedding has not
            (seen outside `jit` only).
        """
        keys = regularizers.split_key(key, 3 + len(self.dense))
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
        key_embed, key_in, key_recurrent = regularizers.split_key(key, 3)
        xs = self.input_dropout(self._embedded(inputs, key_embed), key=key_in)
        if self.recurrent is not None:
            xs, _ = self.recurrent(xs, lengths=lengths, mask=mask, key=key_recurrent)
        return xs.astype(jnp.float32)

    def _embedded(self, inputs: Array, key: Key[Array, ""] | None) -> Float[Array, "B T I"]:
        if isinstance(self.embed, regularizers.EmbeddingDropout):
            return self.embed(_symbols(inputs, self.embed.embed), key=key)
        if isinstance(self.embed, nnx.Embed):
            return self.embed(_symbols(inputs, self.embed))
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
        _check_parts(encoder, features, rngs)
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
        _check_parts(encoder, features, rngs)
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


def _check_parts(encoder: SequenceEncoder, features: int, rngs: nnx.Rngs) -> None:
    checks.instance("encoder", encoder, SequenceEncoder)
    checks.positive_int("features", features)
    check_rngs("rngs", rngs)


def _symbols(inputs: Array, embed: nnx.Embed) -> Int[Array, "B T"]:
    return checks.whole_numbers("inputs", inputs, ("B", "T"), 0, embed.num_embeddings - 1)
