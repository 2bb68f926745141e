"""From one sequence to another: an encoder reads the source, a decoder writes the target and looks back."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from lstmjax import checks, regularizers
from lstmjax.attention import Memory
from lstmjax.layers.recurrent import Layer, check_layer, check_rngs
from lstmjax.models.decoder_steps import Decoder, DecoderState, first_state, run_decoder
from lstmjax.types import Array, Float, Int, Key


class Encoded(NamedTuple):
    """A source that has been read: what the decoder looks back at, and the state it starts from."""

    memory: Memory
    state: DecoderState


class Seq2Seq(nnx.Module):
    """An encoder, a bridge, and a decoder that writes one symbol after another.

        m = encoder(E x),    s_0 = tanh(W_b [last states of the encoder] + b_b)
        s_t = decoder(E' y_{t-1}, s_{t-1}, m),    p(y_t | y_<t, x) = softmax(W a_t + b)

    where a_t are the features of s_t. Training reads all the true y at once (teacher forcing); decoding calls `step`.

    Args:
      source_embed: embedding of the source's symbols.
      encoder: any layer, nearly always a bidirectional one.
      decoder: a `LuongDecoder`, `BahdanauDecoder` or `PlainDecoder`.
      target_embed: embedding of the target's V symbols; it may be the same object as `source_embed`.
      tie_output: W is `target_embed`, which then has as many features as the decoder gives, and there is no b.
      word_dropout: fraction of symbols that lose their embedding everywhere in a batch, in [0, 1).
      input_dropout: locked dropout on embeddings, of both sides, in [0, 1).
      memory_dropout: locked dropout on what the encoder gives, in [0, 1).
      output_dropout: locked dropout on the features that symbols are scored from, in [0, 1).
      rngs: draws the initial parameters (stream "params").

    Raises:
      TypeError: a part of another kind.
      ValueError: a rate outside [0, 1), or sizes that do not fit one another.

    Source: Sutskever, Vinyals and Le 2014; Bahdanau, Cho and Bengio 2015; Luong, Pham and Manning 2015.

    >>> config = lx.models.Seq2SeqConfig(source_vocab_size=20, target_vocab_size=30)
    >>> model = lx.models.seq2seq_config.build(config, nnx.Rngs(0))
    >>> source, target = jnp.ones((2, 7), int), jnp.ones((2, 5), int)
    >>> model(source, target, lengths=jnp.array([7, 4])).shape
    (2, 5, 30)
    """

    def __init__(
        self,
        source_embed: nnx.Embed,
        encoder: Layer,
        decoder: Decoder,
        target_embed: nnx.Embed,
        *,
        tie_output: bool = False,
        word_dropout: float = 0.0,
        input_dropout: float = 0.0,
        memory_dropout: float = 0.0,
        output_dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        check_layer("encoder", encoder)
        check_rngs("rngs", rngs)
        checks.instance("source_embed", source_embed, nnx.Embed)
        checks.instance("decoder", decoder, Decoder)
        checks.instance("target_embed", target_embed, nnx.Embed)
        self.source_embed = regularizers.EmbeddingDropout(source_embed, word_dropout)
        self.target_embed = regularizers.EmbeddingDropout(target_embed, word_dropout)
        self.encoder, self.decoder = encoder, decoder
        last, first = encoder.initial_state(1), decoder.initial_recurrent(1)
        self.bridge = nnx.Linear(state_size(last), state_size(first), rngs=rngs)
        self.input_dropout = regularizers.locked_dropout(input_dropout)
        self.memory_dropout = regularizers.locked_dropout(memory_dropout)
        self.output_dropout = regularizers.locked_dropout(output_dropout)
        self.vocab_size = target_embed.num_embeddings
        features = decoder.out_features
        checks.boolean("tie_output", tie_output)
        if tie_output and target_embed.features != features:
            came = f"{target_embed.features} for an embedding, {features} for the decoder"
            raise ValueError(f"tie_output needs embeddings of as many features as the decoder gives, got {came}")
        self.head = None if tie_output else nnx.Linear(features, self.vocab_size, rngs=rngs)

    def __call__(
        self,
        source: Int[Array, "B S"],
        inputs: Int[Array, "B T"],
        *,
        lengths: Int[Array, "B"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B T V"]:
        """Score every symbol of the target, given the true ones before it.

        Args:
          source: symbols [B, S], in the padding too.
          inputs: what the decoder reads: the start symbol, then the target without its end.
          lengths: integers [B] in 0..S, of the sources.
          key: switches dropout on and draws its masks; None, as at evaluation, means no dropout.

        Returns:
          logits [B, T, V]: `logits[b, t]` scores what follows `inputs[b, t]`. Those after a target's end mean nothing.

        Raises:
          TypeError, ValueError: symbols that are no integers of the vocabulary (seen outside `jit`), or lengths out of
            range.
        """
        return self.with_alignments(source, inputs, lengths=lengths, key=key)[0]

    def with_alignments(
        self,
        source: Int[Array, "B S"],
        inputs: Int[Array, "B T"],
        *,
        lengths: Int[Array, "B"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[Float[Array, "B T V"], Float[Array, "B T S"]]:
        """The scores as above, and each step's attention weights over the source, all 0 without attention."""
        key_read, key_word, key_in, key_write, key_out = regularizers.split_key(key, 5)
        memory, state = self.encode(source, lengths=lengths, key=key_read)
        sources = memory.is_there.shape[0]
        inputs = checks.whole_numbers("inputs", inputs, (sources, "T"), 0, self.vocab_size - 1)
        xs = self.input_dropout(self.target_embed(inputs, key=key_word), key=key_in)
        features, weights = run_decoder(self.decoder, memory, state, xs, key_write)
        return self.score(self.output_dropout(features, key=key_out)), weights

    def encode(
        self,
        source: Int[Array, "B S"],
        *,
        lengths: Int[Array, "B"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Encoded:
        """Read sources; arguments as above."""
        source = checks.whole_numbers("source", source, ("B", "S"), 0, self.source_embed.embed.num_embeddings - 1)
        key_word, key_in, key_encoder, key_memory = regularizers.split_key(key, 4)
        xs = self.input_dropout(self.source_embed(source, key=key_word), key=key_in)
        encoded, last = self.encoder(xs, lengths=lengths, key=key_encoder)
        memory = self.decoder.remember(self.memory_dropout(encoded, key=key_memory), lengths)
        return Encoded(memory, first_state(self.decoder, self._bridged(last, len(source)), memory))

    def step(
        self, memory: Memory, symbols: Int[Array, "R"], state: DecoderState
    ) -> tuple[Float[Array, "R V"], DecoderState]:
        """Scores of what follows the symbols, and the state after them.

        R is B, or B * K where each of the B sources has K rows, which stand together.
        """
        x = self.target_embed(symbols, key=None)
        state = self.decoder.step(self.decoder.ready(len(symbols)), memory, state, x)
        return self.score(state.features), state

    def score(self, features: Float[Array, "*batch A"]) -> Float[Array, "*batch V"]:
        """A score for each symbol to come next."""
        return self.target_embed.embed.attend(features) if self.head is None else self.head(features)

    def mixed_inputs(
        self,
        source: Int[Array, "B S"],
        inputs: Int[Array, "B T"],
        share: Float[Array, ""],
        *,
        lengths: Int[Array, "B"] | None = None,
        key: Key[Array, ""],
    ) -> Int[Array, "B T"]:
        """Scheduled sampling: the true inputs, each kept with probability `share`, else what the model writes there.

        What it writes is drawn from its own distribution, step by step, each step reading what came of the one before.
        No gradient goes through it.

        Source: Bengio et al. 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks".
        """
        memory, state = self.encode(source, lengths=lengths)
        key_keep, key_draw = jax.random.split(key)
        is_kept = jax.random.bernoulli(key_keep, share, inputs.T.shape)

        def step(carry: tuple[DecoderState, Array], now: tuple[Array, Array, Array]) -> tuple[Any, Array]:
            (state, written), (true, keep, draw) = carry, now
            read = jnp.where(keep, true, written)
            logits, state = self.step(memory, read, state)
            return (state, jax.random.categorical(draw, logits).astype(true.dtype)), read

        steps = (inputs.T, is_kept, jax.random.split(key_draw, inputs.shape[1]))
        _, read = lax.scan(step, (state, inputs[:, 0]), steps)
        return read.T

    def _bridged(self, last: Any, rows: int) -> tuple[Any, ...]:
        """The decoder's first recurrent state, from the encoder's last one."""
        flat = jnp.tanh(self.bridge(jnp.concatenate(jax.tree.leaves(last), axis=1)))
        leaves, structure = jax.tree.flatten(self.decoder.initial_recurrent(rows))
        ends = np.cumsum([leaf.shape[1] for leaf in leaves])[:-1]
        pieces = jnp.split(flat, ends.tolist(), axis=1)
        states: tuple[Any, ...] = jax.tree.unflatten(
            structure, [piece.astype(leaf.dtype) for piece, leaf in zip(pieces, leaves, strict=True)]
        )
        return states


def state_size(state: Any) -> int:
    """How many numbers a row of a state has."""
    return sum(leaf.shape[1] for leaf in jax.tree.leaves(state))
