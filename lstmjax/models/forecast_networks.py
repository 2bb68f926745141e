"""What a forecaster makes of a window: numbers for each step to come, from those of the history, all steps at once.

Every network takes `values` [N, L, F], what is known of each step of the history; `observed` [N, L], False where a step
has no value; `known` [N, H, K], what is known of the steps to come; and a key that switches dropout on. It gives
[N, H, O]. Steps are read in segments: one step of the recurrence takes `segment` steps of the series.
"""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks, layers, regularizers
from lstmjax.layers.recurrent import Layer
from lstmjax.types import Array, Bool, Float, Key

Network = Callable[..., Float[Array, "N H O"]]


class DirectNetwork(nnx.Module):
    """A recurrent encoder; one linear layer from its last output and the known covariates to all steps to come.

        h = recurrent(values)[last observed],    outputs = W [drop(h); known] + b

    Args:
      recurrent: any layer, of `segment * F` inputs.
      horizon: H.
      known_features: K.
      out_features: O, numbers for each step to come.
      segment: steps read at a time; it divides L.
      dropout: on what the matrix reads of the recurrence, in [0, 1).
      rngs: draws the initial parameters.

    >>> network = DirectNetwork(lx.LSTM(2 * 3, 5, rngs=nnx.Rngs(0)), 6, 1, 2, segment=3, rngs=nnx.Rngs(1))
    >>> network(jnp.ones((4, 9, 2)), jnp.ones((4, 9), bool), jnp.ones((4, 6, 1))).shape
    (4, 6, 2)
    """

    def __init__(
        self,
        recurrent: Layer,
        horizon: int,
        known_features: int,
        out_features: int,
        *,
        segment: int = 1,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.recurrent, self.segment = recurrent, checks.positive_int("segment", segment)
        self.shape = (checks.positive_int("horizon", horizon), checks.positive_int("out_features", out_features))
        self.dropout = regularizers.Dropout(dropout)
        self.head = nnx.Linear(recurrent.out_shape[-1] + horizon * known_features, horizon * out_features, rngs=rngs)

    def __call__(
        self,
        values: Float[Array, "N L F"],
        observed: Bool[Array, "N L"],
        known: Float[Array, "N H K"],
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "N H O"]:
        """See the module."""
        key_recurrent, key_out = regularizers.split_key(key, 2)
        mask = segments(observed[:, :, None], self.segment).any(axis=2)
        ys, _ = self.recurrent(segments(values, self.segment), mask=mask, key=key_recurrent)
        last = self.dropout(layers.last_step(ys.astype(jnp.float32), mask=mask), key=key_out)
        return self.head(_beside(last, known)).reshape(len(values), *self.shape)


class DecoderNetwork(nnx.Module):
    """An encoder and a decoder: a second recurrence runs over the steps to come, from where the first one ended.

        state = encoder(values),    y = decoder([e; known], state),    outputs = W drop(y) + b

    with a learned vector e[k] for each segment to come, by which the decoder knows which one it writes.

    Args:
      encoder: any layer, of `segment * F` inputs.
      decoder: a layer whose state is of the encoder's kind, of `lead_features + segment * K` inputs.
      horizon: H, a multiple of `segment`.
      lead_features: size of the vectors e.
      out_features: O, numbers for each step to come.
      segment: steps read and written at a time; it divides L.
      dropout: on what the matrix reads, in [0, 1).
      rngs: draws the initial parameters.

    >>> encoder, decoder = (lx.LSTM(size, 5, rngs=nnx.Rngs(0)) for size in (2, 4))
    >>> network = DecoderNetwork(encoder, decoder, 6, 3, 2, rngs=nnx.Rngs(1))
    >>> network(jnp.ones((4, 9, 2)), jnp.ones((4, 9), bool), jnp.ones((4, 6, 1))).shape
    (4, 6, 2)
    """

    def __init__(
        self,
        encoder: Layer,
        decoder: Layer,
        horizon: int,
        lead_features: int,
        out_features: int,
        *,
        segment: int = 1,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.encoder, self.decoder, self.segment = encoder, decoder, checks.positive_int("segment", segment)
        self.lead = nnx.Embed(horizon // segment, lead_features, rngs=rngs)
        self.dropout = regularizers.Dropout(dropout)
        self.head = nnx.Linear(decoder.out_shape[-1], segment * out_features, rngs=rngs)

    def __call__(
        self,
        values: Float[Array, "N L F"],
        observed: Bool[Array, "N L"],
        known: Float[Array, "N H K"],
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "N H O"]:
        """See the module."""
        key_encoder, key_decoder, key_out = regularizers.split_key(key, 3)
        mask = segments(observed[:, :, None], self.segment).any(axis=2)
        _, state = self.encoder(segments(values, self.segment), mask=mask, key=key_encoder)
        leads = self.lead(jnp.arange(self.lead.num_embeddings))
        leads = jnp.broadcast_to(leads[None], (len(values), *leads.shape))
        inputs = jnp.concatenate([leads, segments(known, self.segment)], axis=2)
        ys, _ = self.decoder(inputs, state=state, key=key_decoder)
        return self.head(self.dropout(ys.astype(jnp.float32), key=key_out)).reshape(*known.shape[:2], -1)


class WindowNetwork(nnx.Module):
    """No recurrence: the whole window side by side, and dense layers; without hidden ones a linear map.

    With a moving average the window is split into its trend, which is that average, and the remainder; each has weights
    of its own, as in DLinear.

    Args:
      input_length: L.
      in_features: F.
      horizon: H.
      known_features: K.
      out_features: O.
      hidden_features: the width of each hidden layer, each followed by a relu; none for a linear map.
      moving_average: how many steps the trend is a mean over, odd; None leaves the window as it is.
      dropout: on what every layer but the lowest reads, in [0, 1).
      rngs: draws the initial parameters.

    Source: Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?" (NLinear, DLinear).

    >>> network = WindowNetwork(9, 1, 6, 0, 1, moving_average=3, rngs=nnx.Rngs(0))
    >>> network(jnp.ones((4, 9, 1)), jnp.ones((4, 9), bool), jnp.ones((4, 6, 0))).shape
    (4, 6, 1)
    """

    def __init__(
        self,
        input_length: int,
        in_features: int,
        horizon: int,
        known_features: int,
        out_features: int,
        *,
        hidden_features: Sequence[int] = (),
        moving_average: int | None = None,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.shape, self.moving_average = (horizon, out_features), moving_average
        parts = 1 if moving_average is None else 2
        widths = [parts * input_length * in_features + horizon * known_features, *hidden_features]
        self.hidden = nnx.List(nnx.Linear(below, above, rngs=rngs) for below, above in itertools.pairwise(widths))
        self.dropout = regularizers.Dropout(dropout)
        self.head = nnx.Linear(widths[-1], horizon * out_features, rngs=rngs)

    def __call__(
        self,
        values: Float[Array, "N L F"],
        observed: Bool[Array, "N L"],
        known: Float[Array, "N H K"],
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "N H O"]:
        """See the module; what stands where nothing was observed is read like all else."""
        if self.moving_average is not None:
            trend = trend_of(values, self.moving_average)
            values = jnp.concatenate([trend, values - trend], axis=2)
        x = _beside(values.reshape(len(values), -1), known)
        for layer, drop in zip(self.hidden, regularizers.split_key(key, len(self.hidden)), strict=True):
            x = self.dropout(jax.nn.relu(layer(x)), key=drop)
        return self.head(x).reshape(len(values), *self.shape)


def segments(x: Float[Array, "N L F"], size: int) -> Float[Array, "N M F2"]:
    """`size` steps side by side: [N, L, F] as [N, L / size, size * F].

    >>> segments(jnp.arange(4.0).reshape(1, 4, 1), 2).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    batch, steps, features = x.shape
    return x.reshape(batch, steps // size, size * features)


def trend_of(x: Float[Array, "N L F"], size: int) -> Float[Array, "N L F"]:
    """The mean of `size` steps around each, an odd number; beyond the ends the first and last step stand again.

    >>> trend_of(jnp.array([[[0.0], [3.0], [6.0]]]), 3).tolist()
    [[[1.0], [3.0], [5.0]]]
    """
    half = size // 2
    wide = jnp.pad(x, ((0, 0), (half, half), (0, 0)), mode="edge")
    sums: Array = jax.lax.reduce_window(wide, 0.0, jax.lax.add, (1, size, 1), (1, 1, 1), "VALID")
    return sums / size


def _beside(x: Float[Array, "N F"], known: Float[Array, "N H K"]) -> Float[Array, "N F2"]:
    return jnp.concatenate([x, known.reshape(len(known), -1)], axis=1)
