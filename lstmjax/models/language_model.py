"""A recurrent language model: the next symbol from all symbols before it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks, regularizers
from lstmjax.data.text import Batch
from lstmjax.layers import Recurrent, Stacked
from lstmjax.losses import sparse_categorical_cross_entropy
from lstmjax.masking import where_rows
from lstmjax.metrics import bits_per_symbol, perplexity
from lstmjax.models.language_model_config import LanguageModelConfig, cell_of
from lstmjax.positions import counted
from lstmjax.sampled_softmax import sample_symbols, sampled_softmax_losses
from lstmjax.tasks import Mean, Task
from lstmjax.types import Array, Bool, Float, Int, Key


class LanguageModel(nnx.Module):
    """Embedding, stacked recurrent layers, projection to a score for each symbol.

        p(x[t+1] | x[..t]) = softmax(W drop(LSTM(drop(E[x[..t]]))) + b)

    The recurrent state goes in and comes out, so one model serves truncated backpropagation over contiguous chunks,
    evaluation of a whole text, and generation one symbol at a time. With tied embeddings, W is E and there is no b.

    Args:
      vocab_size: V, how many symbols there are.
      config: sizes and dropout rates.
      rngs: draws the initial parameters (stream "params").

    Source: Zaremba et al. 2014; locked dropout: Gal and Ghahramani 2016; tied embeddings: Press and Wolf 2017; weight
    drop, embedding dropout, AR and TAR in one: Merity, Keskar and Socher 2018 (AWD-LSTM).

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
        self.embed = nnx.Embed(vocab_size, config.embed_features, rngs=rngs)
        stack = [Recurrent(cell_of(config, *sizes), rngs=rngs) for sizes in config.widths()]
        self.recurrent = Stacked(stack, regularizers.locked_dropout(config.hidden_dropout))
        self.head = None if config.tie_embeddings else nnx.Linear(config.output_features, vocab_size, rngs=rngs)
        self.input_dropout = regularizers.locked_dropout(config.input_dropout)
        self.output_dropout = regularizers.locked_dropout(config.output_dropout)

    def initial_state(self, batch_size: int) -> tuple[Any, ...]:
        """Every layer's state before the first symbol."""
        return self.recurrent.initial_state(batch_size)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        state: Sequence[Any] | None = None,
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
        state: Sequence[Any] | None = None,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[Float[Array, "B T H"], tuple[Any, ...]]:
        """What the scores are made from: the top layer's outputs, float32, and the new state; arguments as above."""
        _, ys, state = self._outputs(tokens, state, lengths, mask, key)
        return ys, state

    def hidden_and_penalty(
        self,
        tokens: Int[Array, "B T"],
        state: Sequence[Any] | None = None,
        *,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[Float[Array, "B T H"], tuple[Any, ...], Float[Array, ""]]:
        """What `hidden` gives, and what the config's penalties on activations (AR, TAR) add to the loss."""
        raw, ys, state = self._outputs(tokens, state, None, mask, key)
        penalty = jnp.zeros((), jnp.float32)
        if self.config.activation_penalty:
            penalty += self.config.activation_penalty * regularizers.activation_penalty(ys, mask=mask)
        if self.config.temporal_penalty:
            penalty += self.config.temporal_penalty * regularizers.temporal_activation_penalty(raw, mask=mask)
        return ys, state, penalty

    def _outputs(
        self, tokens: Array, state: Sequence[Any] | None, lengths: Array | None, mask: Array | None, key: Array | None
    ) -> tuple[Float[Array, "B T H"], Float[Array, "B T H"], tuple[Any, ...]]:
        """The top layer's outputs before and after dropout, and the new state."""
        tokens = checks.whole_numbers("tokens", tokens, ("B", "T"), 0, self.vocab_size - 1)
        key_in, key_between, key_out = regularizers.split_key(key, 3)
        xs = self.embed(tokens)
        if key is not None and self.config.embedding_dropout:
            key_embed = jax.random.fold_in(key, 0)
            xs = regularizers.EmbeddingDropout(self.embed, self.config.embedding_dropout)(tokens, key=key_embed)
        xs = self.input_dropout(xs, key=key_in)
        ys, state = self.recurrent(xs, state=state, lengths=lengths, mask=mask, key=key_between)
        raw = ys.astype(jnp.float32)
        return raw, self.output_dropout(raw, key=key_out), state

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


def task(config: LanguageModelConfig) -> Task:
    """Predict each symbol from all before it, by truncated backpropagation through time over contiguous streams.

        loss = mean of -log p(target[b, t]) over the predictions that count,   in nats

    and, in training, the config's penalties on activations. Where a batch has a `scale`, the gradient is multiplied by
    it, and the loss that is reported is not.

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
    carry = where_rows(jnp.asarray(batch.is_start), model.initial_state(len(batch.inputs)), carry)
    mask = None if batch.mask is None else jnp.asarray(batch.mask)
    inputs, targets = jnp.asarray(batch.inputs), jnp.asarray(batch.targets)
    if key is None:
        logits, carry = model(inputs, carry, mask=mask)
        return {"loss": sparse_categorical_cross_entropy(logits, targets, mask=mask, weights=batch.weights)}, carry
    ys, carry, penalty = model.hidden_and_penalty(inputs, carry, mask=mask, key=key)
    size = model.config.sampled_symbols
    if size is None:
        loss = sparse_categorical_cross_entropy(model.score(ys), targets, mask=mask, weights=batch.weights)
    else:
        losses = _sampled_losses(model, ys, targets, jax.random.fold_in(key, size), size)
        loss = Mean.of(losses, counted(losses.shape, None, mask, batch.weights))
    total = loss.total + loss.weight * penalty
    if batch.scale is not None:
        scale = jnp.asarray(batch.scale)[0].astype(total.dtype)
        total = scale * total + jax.lax.stop_gradient((1 - scale) * total)
    return {"loss": Mean(total, loss.weight)}, carry


def _sampled_losses(
    model: LanguageModel, ys: Float[Array, "B T H"], targets: Int[Array, "B T"], key: Key[Array, ""], size: int
) -> Float[Array, "B T"]:
    ids, log_weights = sample_symbols(key, model.vocab_size, size)
    is_target = jnp.expand_dims(targets, -1) == jnp.broadcast_to(ids.astype(targets.dtype), (*targets.shape, len(ids)))
    return sampled_softmax_losses(model.score_some(ys, ids), model.score_each(ys, targets), is_target, log_weights)


def _figures(means: Mapping[str, Mean]) -> dict[str, float]:
    loss = float(means["loss"].value)
    return {"loss": loss, "perplexity": perplexity(loss), "bits_per_symbol": bits_per_symbol(loss)}
