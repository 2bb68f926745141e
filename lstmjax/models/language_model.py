"""A recurrent language model: the next symbol from all symbols before it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import cells, checks
from lstmjax.data.text import Batch, Vocabulary
from lstmjax.layers import Recurrent, Stacked
from lstmjax.losses import sparse_categorical_cross_entropy
from lstmjax.sampled_softmax import sample_symbols, sampled_softmax_losses
from lstmjax.metrics import bits_per_symbol, perplexity
from lstmjax.positions import counted
from lstmjax.regularizers import locked_dropout
from lstmjax.tasks import Mean, Task
from lstmjax.types import Array, Bool, Float, Int, Key


@dataclasses.dataclass(frozen=True)
class LanguageModelConfig:
    """Sizes and regularisation of a `LanguageModel`."""

    embed_features: int = 128
    """D, size of a symbol's embedding."""
    hidden_features: int = 256
    """H, size of the hidden state of every LSTM layer."""
    num_layers: int = 2
    """L, how many LSTM layers are stacked."""
    input_dropout: float = 0.0
    """Locked dropout on the embedded symbols, in [0, 1)."""
    hidden_dropout: float = 0.0
    """Locked dropout between LSTM layers, in [0, 1); needs num_layers of at least 2."""
    output_dropout: float = 0.0
    """Locked dropout on the last layer's outputs, in [0, 1)."""
    tie_embeddings: bool = False
    """Use the embedding as the output projection too; needs embed_features = hidden_features."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the LSTM layers compute in; parameters, cell states, sums and scores are float32 either way."""
    sampled_symbols: int | None = None
    """In training, estimate each softmax's sum from so many of the symbols; None takes all, as evaluation does."""
    vocab_size: int | None = None
    """V, how many symbols there are; None leaves it to the data."""

    def __post_init__(self) -> None:
        for name in ("embed_features", "hidden_features", "num_layers"):
            checks.index(name, getattr(self, name), 1, 2**29 - 1)  # the gates' 4H is a size that JAX can hold
        if self.vocab_size is not None:
            checks.positive_int("vocab_size", self.vocab_size)
        if self.sampled_symbols is not None:
            checks.index("sampled_symbols", self.sampled_symbols, 4)
        checks.boolean("tie_embeddings", self.tie_embeddings)
        for name in ("input_dropout", "hidden_dropout", "output_dropout"):
            checks.rate(name, getattr(self, name))
        checks.one_of("dtype", self.dtype, ("float32", "bfloat16"))
        if self.hidden_dropout > 0.0 and self.num_layers == 1:
            raise ValueError(f"hidden_dropout needs num_layers of at least 2, got hidden_dropout {self.hidden_dropout}")
        if self.tie_embeddings and self.embed_features != self.hidden_features:
            raise ValueError(
                f"tie_embeddings needs embed_features = hidden_features, "
                f"got {self.embed_features} and {self.hidden_features}"
            )


class LanguageModel(nnx.Module):
    """Embedding, stacked LSTM, projection to a score for each symbol.

        p(x[t+1] | x[..t]) = softmax(W drop(LSTM(drop(E[x[..t]]))) + b)

    The recurrent state goes in and comes out, so one model serves truncated backpropagation over contiguous chunks,
    evaluation of a whole text, and generation one symbol at a time. With tied embeddings, W is E transposed and there
    is no b.

    Args:
      vocab_size: V, how many symbols there are.
      config: sizes and dropout rates.
      rngs: draws the initial parameters (stream "params").

    Source: Zaremba et al. 2014; locked dropout: Gal and Ghahramani 2016; tied embeddings: Press and Wolf 2017.

    >>> model = lx.models.LanguageModel(10, lx.models.LanguageModelConfig(8, 16), rngs=nnx.Rngs(0))
    >>> logits, state = model(jnp.array([[1, 2, 3]]))
    >>> logits.shape, len(state)
    ((1, 3, 10), 2)
    """

    def __init__(self, vocab_size: int, config: LanguageModelConfig, *, rngs: nnx.Rngs) -> None:
        checks.positive_int("vocab_size", vocab_size)
        if config.vocab_size not in (None, vocab_size):
            raise ValueError(f"vocab_size must be the config's {config.vocab_size}, got {vocab_size}")
        self.vocab_size = vocab_size
        self.config = dataclasses.replace(config, vocab_size=vocab_size)
        features, hidden = config.embed_features, config.hidden_features
        widths = [features] + [hidden] * (config.num_layers - 1)
        stack = [cells.LSTM(width, hidden, dtype=jnp.dtype(config.dtype)) for width in widths]
        self.embed = nnx.Embed(vocab_size, features, rngs=rngs)
        self.recurrent = Stacked([Recurrent(c, rngs=rngs) for c in stack], locked_dropout(config.hidden_dropout))
        self.head = None if config.tie_embeddings else nnx.Linear(hidden, vocab_size, rngs=rngs)
        self.input_dropout = locked_dropout(config.input_dropout)
        self.output_dropout = locked_dropout(config.output_dropout)

    def initial_state(self, batch_size: int) -> tuple[cells.LSTMState, ...]:
        """Every layer's state before the first symbol."""
        return self.recurrent.initial_state(batch_size)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        state: Sequence[cells.LSTMState] | None = None,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[Float[Array, "B T V"], tuple[Any, ...]]:
        """Score what follows each symbol.

        Args:
          tokens: symbol ids [B, T], integers in 0..V-1, in the padding too.
          state: what an earlier call returned, to go on from there; None starts anew.
          lengths: integers [B] in 0..T, for sequences of different lengths.
          mask: booleans [B, T], True at valid steps.
          key: switches dropout on and draws its masks; None, as at evaluation, means no dropout.

        Returns:
          logits [B, T, V], float32, where `logits[b, t]` scores the symbol after `tokens[b, t]`; and the new state.

        Raises:
          TypeError: tokens that are not integers.
          ValueError: tokens that are not [B, T], or (outside `jit`) not in 0..V-1.
        """
        ys, state = self.hidden(tokens, state, lengths=lengths, mask=mask, key=key)
        return self.score(ys), state

    def hidden(
        self,
        tokens: Int[Array, "B T"],
        state: Sequence[cells.LSTMState] | None = None,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[Float[Array, "B T H"], tuple[Any, ...]]:
        """What the scores are made from: the top layer's outputs, float32, and the new state; arguments as above."""
        tokens = checks.whole_numbers("tokens", tokens, ("B", "T"), 0, self.vocab_size - 1)
        key_in, key_between, key_out = (None, None, None) if key is None else jax.random.split(key, 3)
        xs = self.input_dropout(self.embed(tokens), key=key_in)
        ys, state = self.recurrent(xs, state=state, lengths=lengths, mask=mask, key=key_between)
        return self.output_dropout(ys.astype(jnp.float32), key=key_out), state

    def score(self, ys: Float[Array, "*batch H"]) -> Float[Array, "*batch V"]:
        """A score for each symbol to come next, from what `hidden` gives."""
        return self.embed.attend(ys) if self.head is None else self.head(ys)

    def score_some(self, ys: Float[Array, "*batch H"], ids: Int[Array, "S"]) -> Float[Array, "*batch S"]:
        """The scores of the symbols `ids` alone."""
        table, bias = self._rows(ids)
        return ys @ table.T + jnp.broadcast_to(bias, (*ys.shape[:-1], *bias.shape))

    def score_each(self, ys: Float[Array, "*batch H"], ids: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
        """The score of one symbol for each of `ys`."""
        table, bias = self._rows(ids)
        return jnp.sum(ys * table, axis=-1) + bias

    def _rows(self, ids: Int[Array, "*some"]) -> tuple[Float[Array, "*some H"], Float[Array, "*some"]]:
        """What symbols are scored with."""
        if self.head is None:
            return self.embed(ids), jnp.zeros(ids.shape, jnp.float32)
        assert self.head.bias is not None
        return self.head.kernel[...].T[ids], self.head.bias[...][ids]


def with_vocabulary(config: LanguageModelConfig, vocabulary: Vocabulary) -> LanguageModelConfig:
    """The config with the vocabulary's size.

    Raises:
      ValueError: it has another.
    """
    if config.vocab_size not in (None, len(vocabulary)):
        raise ValueError(f"its vocab_size is {config.vocab_size}, and its vocabulary has {len(vocabulary)} symbols")
    return dataclasses.replace(config, vocab_size=len(vocabulary))


def task(config: LanguageModelConfig) -> Task:
    """Predict each symbol from all before it, by truncated backpropagation through time over contiguous streams.

        loss = mean of -log p(target[b, t]) over the predictions that count,   in nats

    Args:
      config: any; the task is the same for all.

    Returns:
      a task over `lstmjax.data.text.Batch`es. It carries the layers' states from batch to batch; where a stream starts,
      they start from the model's initial state. Its figures: loss (nats per symbol), perplexity, bits_per_symbol.
    """
    return Task(_loss, LanguageModel.initial_state, _figures)


def _loss(
    model: LanguageModel, batch: Batch, carry: tuple[Any, ...], key: Key[Array, ""] | None
) -> tuple[dict[str, Mean], tuple[Any, ...]]:
    rows = len(batch.inputs)

    def start(fresh: Array, carried: Array) -> Array:
        is_start = jnp.asarray(batch.is_start).reshape(rows, *[1] * (carried.ndim - 1))
        return jnp.where(is_start, fresh, carried)

    carry = jax.tree.map(start, model.initial_state(rows), carry)
    mask = None if batch.mask is None else jnp.asarray(batch.mask)
    inputs, targets = jnp.asarray(batch.inputs), jnp.asarray(batch.targets)
    ys, carry = model.hidden(inputs, carry, mask=mask, key=key)
    size = model.config.sampled_symbols
    if key is None or size is None:
        loss = sparse_categorical_cross_entropy(model.score(ys), targets, mask=mask, weights=batch.weights)
    else:
        losses = _sampled_losses(model, ys, targets, jax.random.fold_in(key, size), size)
        loss = Mean.of(losses, counted(losses.shape, None, mask, batch.weights))
    return {"loss": loss}, carry


def _sampled_losses(
    model: LanguageModel, ys: Float[Array, "B T H"], targets: Int[Array, "B T"], key: Key[Array, ""], size: int
) -> Float[Array, "B T"]:
    ids, log_weights = sample_symbols(key, model.vocab_size, size)
    is_target = jnp.expand_dims(targets, -1) == jnp.broadcast_to(ids.astype(targets.dtype), (*targets.shape, len(ids)))
    return sampled_softmax_losses(model.score_some(ys, ids), model.score_each(ys, targets), is_target, log_weights)


def _figures(means: Mapping[str, Mean]) -> dict[str, float]:
    loss = float(means["loss"].value)
    return {"loss": loss, "perplexity": perplexity(loss), "bits_per_symbol": bits_per_symbol(loss)}
