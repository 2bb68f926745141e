"""Decoders: recurrent cells that write one symbol at a time and look back at what an encoder read, or do not."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.attention import Memory
from lstmjax.models.decoder_steps import Decoder, DecoderState, Looking, ReadyCells, step_cells
from lstmjax.types import Array, Cell, Float, Int


class LuongDecoder(Decoder):
    """The state after the step looks back; what it finds is fed in with the next symbol.

        h_t = cells([x_t; a_{t-1}])
        c_t, w_t = attention(h_t, memory)
        a_t = tanh(W_h h_t + W_c c_t + b)

    Args:
      cells: recurrent cells, bottom first; the lowest takes D features of a symbol and, with input feeding, A more.
      looking: attention of queries of H features.
      memory_features: M, what the encoder gives at each step.
      out_features: A.
      input_feeding: whether a_{t-1} is fed in.
      dropout: between cells, in [0, 1).
      rngs: draws the initial parameters (stream "params").

    Raises:
      ValueError: sizes that do not fit one another.

    Source: Luong, Pham and Manning 2015, "Effective Approaches to Attention-based Neural Machine Translation".

    >>> rngs = nnx.Rngs(0)
    >>> attention = lx.attention.GeneralAttention(5, 6, rngs=rngs)
    >>> looking = Looking(attention, query_features=5, rngs=rngs)
    >>> decoder = LuongDecoder([lx.cells.LSTM(3 + 4, 5)], looking, 6, 4, rngs=rngs)
    >>> memory = decoder.remember(jnp.ones((2, 7, 6)), jnp.array([7, 4]))
    >>> state = lx.models.decoder_steps.first_state(decoder, decoder.initial_recurrent(2), memory)
    >>> state = decoder.step(decoder.ready(2), memory, state, jnp.ones((2, 3)))
    >>> state.features.shape, bool(jnp.all(state.weights[1, 4:] == 0))
    ((2, 4), True)
    """

    def __init__(
        self,
        cells: Sequence[Cell[Any, Any]],
        looking: Looking,
        memory_features: int,
        out_features: int,
        *,
        input_feeding: bool = True,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(cells, out_features, dropout, rngs=rngs)
        self.looking = looking
        checks.boolean("input_feeding", input_feeding)
        self.input_feeding = input_feeding
        self.of_state = nnx.Linear(self.hidden_features, out_features, rngs=rngs)
        self.of_context = nnx.Linear(memory_features, out_features, use_bias=False, rngs=rngs)

    def remember(self, encoded: Float[Array, "B S M"], lengths: Int[Array, "B"] | None) -> Memory:
        """What it looks back at: W_c is applied here, once, for W_c sum_s w_s m_s = sum_s w_s W_c m_s."""
        memory = self.looking.attention.memory(encoded, lengths=lengths)
        return memory._replace(values=self.of_context(memory.values))

    def step(self, cells: ReadyCells, memory: Memory, state: DecoderState, x: Float[Array, "R D"]) -> DecoderState:
        """One step over the symbols' embeddings."""
        if self.input_feeding:
            x = jnp.concatenate([x, state.features], axis=1)
        recurrent, h = step_cells(cells, state.recurrent, x)
        context, weights = self.looking(h, memory, state)
        features = jnp.tanh(self.of_state(h) + context)
        return state.after(recurrent, features, weights)


class BahdanauDecoder(Decoder):
    """The state before the step looks back, and the step reads what it finds.

        c_t, w_t = attention(h_{t-1}, memory)
        h_t = cells([x_t; c_t])
        a_t = tanh(W [h_t; c_t] + b)

    Args:
      cells: recurrent cells, bottom first; the lowest takes D features of a symbol and M of what is found.
      looking: attention of queries of H features.
      memory_features: M, what the encoder gives at each step.
      out_features: A.
      dropout: between cells, in [0, 1).
      rngs: draws the initial parameters (stream "params").

    Raises:
      ValueError: sizes that do not fit one another.

    Source: Bahdanau, Cho and Bengio 2015, "Neural Machine Translation by Jointly Learning to Align and Translate".

    >>> rngs = nnx.Rngs(0)
    >>> attention = lx.attention.AdditiveAttention(5, 6, 8, rngs=rngs)
    >>> looking = Looking(attention, query_features=5, rngs=rngs)
    >>> decoder = BahdanauDecoder([lx.cells.GRU(3 + 6, 5)], looking, 6, 4, rngs=rngs)
    >>> memory = decoder.remember(jnp.ones((2, 7, 6)), jnp.array([7, 4]))
    >>> state = lx.models.decoder_steps.first_state(decoder, decoder.initial_recurrent(2), memory)
    >>> decoder.step(decoder.ready(2), memory, state, jnp.ones((2, 3))).features.shape
    (2, 4)
    """

    def __init__(
        self,
        cells: Sequence[Cell[Any, Any]],
        looking: Looking,
        memory_features: int,
        out_features: int,
        *,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(cells, out_features, dropout, rngs=rngs)
        self.looking = looking
        self.combine = nnx.Linear(self.hidden_features + memory_features, out_features, rngs=rngs)

    def remember(self, encoded: Float[Array, "B S M"], lengths: Int[Array, "B"] | None) -> Memory:
        """What it looks back at."""
        return self.looking.attention.memory(encoded, lengths=lengths)

    def step(self, cells: ReadyCells, memory: Memory, state: DecoderState, x: Float[Array, "R D"]) -> DecoderState:
        """One step over the symbols' embeddings."""
        context, weights = self.looking(state.recurrent[-1].h, memory, state)
        recurrent, h = step_cells(cells, state.recurrent, jnp.concatenate([x, context], axis=1))
        features = jnp.tanh(self.combine(jnp.concatenate([h, context], axis=1)))
        return state.after(recurrent, features, weights)


class PlainDecoder(Decoder):
    """No looking back: all it knows of the source is the state it starts from.

        h_t = cells(x_t),    a_t = tanh(W h_t + b)

    Args:
      cells: recurrent cells, bottom first; the lowest takes D features of a symbol.
      out_features: A.
      dropout: between cells, in [0, 1).
      rngs: draws the initial parameters (stream "params").

    Source: Sutskever, Vinyals and Le 2014, "Sequence to Sequence Learning with Neural Networks".

    >>> decoder = PlainDecoder([lx.cells.LSTM(3, 5)], 4, rngs=nnx.Rngs(0))
    >>> memory = decoder.remember(jnp.ones((2, 7, 6)), None)
    >>> state = lx.models.decoder_steps.first_state(decoder, decoder.initial_recurrent(2), memory)
    >>> float(decoder.step(decoder.ready(2), memory, state, jnp.ones((2, 3))).weights.sum())
    0.0
    """

    def __init__(
        self, cells: Sequence[Cell[Any, Any]], out_features: int, *, dropout: float = 0.0, rngs: nnx.Rngs
    ) -> None:
        super().__init__(cells, out_features, dropout, rngs=rngs)
        self.combine = nnx.Linear(self.hidden_features, out_features, rngs=rngs)

    def remember(self, encoded: Float[Array, "B S M"], lengths: Int[Array, "B"] | None) -> Memory:
        """Nothing of it is looked at."""
        nothing = jnp.zeros((*encoded.shape[:2], 0), encoded.dtype)
        return Memory(nothing, nothing, jnp.zeros(encoded.shape[:2], bool))

    def step(self, cells: ReadyCells, memory: Memory, state: DecoderState, x: Float[Array, "R D"]) -> DecoderState:
        """One step over the symbols' embeddings."""
        recurrent, h = step_cells(cells, state.recurrent, x)
        return state.after(recurrent, jnp.tanh(self.combine(h)), state.weights)
