"""A tag for every token: words and their spelling, recurrent layers over the sentence, a softmax or a CRF."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from lstmjax import checks, layers, regularizers
from lstmjax.layers.recurrent import Layer, check_layer, check_rngs
from lstmjax.masking import valid_steps
from lstmjax.types import Array, Float, Int, Key


class CharacterCNN(nnx.Module):
    """A vector from a word's characters: a convolution over them, the largest value of each feature.

        v = max_t (W [e_{t-1}; e_t; e_{t+1}] + b),    zeros outside the word

    Args:
      vocab_size: number of characters, 0 for padding with them.
      embed_features: size of a character's embedding.
      features: F, size of the vector.
      width: how many characters a filter sees, odd.
      rngs: draws the initial parameters (stream "params").

    Source: Ma and Hovy 2016, "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF".

    >>> spelling = CharacterCNN(30, 8, 16, rngs=nnx.Rngs(0))
    >>> spelling(jnp.array([[3, 4, 5, 0], [3, 4, 0, 0]]), lengths=jnp.array([3, 2])).shape
    (2, 16)
    """

    def __init__(self, vocab_size: int, embed_features: int, features: int, *, width: int = 3, rngs: nnx.Rngs) -> None:
        if checks.positive_int("width", width) % 2 == 0:
            raise ValueError(f"width must be odd, got {width}")
        self.embed = nnx.Embed(vocab_size, embed_features, rngs=rngs)
        self.convolution = nnx.Conv(embed_features, features, (width,), padding="SAME", rngs=rngs)

    def __call__(
        self, characters: Int[Array, "N W"], *, lengths: Int[Array, "N"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "N F"]:
        """Vectors of N words, zeros where a word is empty; it has no noise, so a key changes nothing."""
        characters = checks.whole_numbers("characters", characters, ("N", "W"), 0, self.embed.num_embeddings - 1)
        is_there: Any = valid_steps(lengths, None, characters.shape[1], characters.shape[0])
        embedded = jnp.where(is_there.T[..., None], self.embed(characters), 0)
        return layers.max_over_time(self.convolution(embedded), lengths=lengths)


class CharacterLSTM(nnx.Module):
    """A vector from a word's characters: where an LSTM ends in each direction.

        v = [h of the last character, read forward; h of the first character, read backward]

    Args:
      vocab_size: number of characters, 0 for padding with them.
      embed_features: size of a character's embedding.
      features: F, size of the vector, even: half for each direction.
      rngs: draws the initial parameters (stream "params").

    Source: Ling et al. 2015, "Finding Function in Form: Compositional Character Models for Open Vocabulary Word
    Representation".

    >>> spelling = CharacterLSTM(30, 8, 16, rngs=nnx.Rngs(0))
    >>> spelling(jnp.array([[3, 4, 5, 0], [3, 4, 0, 0]]), lengths=jnp.array([3, 2])).shape
    (2, 16)
    """

    def __init__(self, vocab_size: int, embed_features: int, features: int, *, rngs: nnx.Rngs) -> None:
        if checks.positive_int("features", features) % 2:
            raise ValueError(f"features must be even, half for each direction, got {features}")
        self.embed = nnx.Embed(vocab_size, embed_features, rngs=rngs)
        self.recurrent = layers.LSTM(embed_features, features // 2, bidirectional=True, rngs=rngs)

    def __call__(
        self, characters: Int[Array, "N W"], *, lengths: Int[Array, "N"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "N F"]:
        """Vectors of N words, zeros where a word is empty; it has no noise, so a key changes nothing."""
        characters = checks.whole_numbers("characters", characters, ("N", "W"), 0, self.embed.num_embeddings - 1)
        _, ((ahead, back),) = self.recurrent(self.embed(characters), lengths=lengths)
        return jnp.concatenate([ahead.h, back.h], axis=1)


class Tagger(nnx.Module):
    """A tag for every token of a sentence.

        x_t = [embedding of word t; vector of its characters]
        h = recurrent(x),    e_t = W h_t + b

    `tags` turns the emissions e into probabilities: a softmax at each token, or a CRF over the sentence.

    Args:
      words: the embedding of V words; symbol 0 is for padding.
      unknown: which words are taken for unknown ones in training.
      spelling: a vector from a word's characters, `(characters [N, W], *, lengths [N], key) -> [N, F]`, such as a
        `CharacterLSTM` or a `CharacterCNN`; None reads words alone.
      recurrent: any layer, nearly always a bidirectional one; None leaves every token to itself.
      features: what `recurrent` gives at each token, or, without it, the sizes of both vectors together.
      tags: `layers.IndependentTags` or `layers.CRF`.
      names: of the K tags, to be looked up in `model.names`; None where they have none.
      input_dropout: locked dropout on x: one mask for all tokens of a sentence.
      output_dropout: locked dropout on h.
      rngs: draws the initial parameters of W (stream "params").

    Raises:
      TypeError: a part of another kind.
      ValueError: a rate outside [0, 1), no features, or another number of names than of tags.

    Source: Ling et al. 2015, "Finding Function in Form"; Lample et al. 2016; Plank, Søgaard and Goldberg 2016.

    >>> rngs = nnx.Rngs(0)
    >>> spelling = lx.models.CharacterCNN(30, 8, 16, rngs=rngs)
    >>> recurrent = lx.LSTM(20 + 16, 32, bidirectional=True, rngs=rngs)
    >>> words, unknown = nnx.Embed(100, 20, rngs=rngs), lx.regularizers.UnknownWords(100, 0.25)
    >>> model = lx.models.Tagger(words, unknown, spelling, recurrent, 64, lx.layers.CRF(5), rngs=rngs)
    >>> model.tag(jnp.ones((2, 7), int), jnp.ones((2, 7, 10), int), lengths=jnp.array([7, 4])).shape
    (2, 7)
    """

    def __init__(
        self,
        words: nnx.Embed,
        unknown: regularizers.UnknownWords,
        spelling: CharacterLSTM | CharacterCNN | None,
        recurrent: Layer | None,
        features: int,
        tags: layers.IndependentTags | layers.CRF,
        *,
        names: Sequence[str] | None = None,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        checks.instance("words", words, nnx.Embed)
        checks.instance("unknown", unknown, regularizers.UnknownWords)
        checks.instance("tags", tags, layers.IndependentTags, layers.CRF)
        if recurrent is not None:
            check_layer("recurrent", recurrent)
        check_rngs("rngs", rngs)
        self.words, self.unknown, self.spelling, self.recurrent = words, unknown, spelling, recurrent
        self.input_dropout = regularizers.locked_dropout(input_dropout)
        self.output_dropout = regularizers.locked_dropout(output_dropout)
        self.head = nnx.Linear(checks.positive_int("features", features), tags.num_tags, rngs=rngs)
        self.tags = tags
        self.names = None if names is None else tuple(names)
        if self.names is not None and len(self.names) != tags.num_tags:
            raise ValueError(f"names must be {tags.num_tags}, one a tag, got {len(self.names)}")

    def __call__(
        self,
        words: Int[Array, "B T"],
        characters: Int[Array, "B T W"] | None = None,
        *,
        lengths: Int[Array, "B"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B T K"]:
        """Emissions: a score for every tag at every token, float32.

        Args:
          words: symbols [B, T] in 0..V-1.
          characters: symbols [B, T, W] of each word's characters, 0 after its end; None if, and only if, there is no
            `spelling`.
          lengths: integers [B] in 0..T; None where every sentence has T tokens.
          key: switches dropout and unknown words on and draws them; None, as at evaluation, means none.

        Raises:
          TypeError, ValueError: words, characters or lengths of another shape or dtype; symbols that the embedding has
            not (seen outside `jit` only).
        """
        key_unknown, key_spelling, key_in, key_recurrent, key_out = regularizers.split_key(key, 5)
        words = checks.whole_numbers("words", words, ("B", "T"), 0, self.words.num_embeddings - 1)
        xs = self.words(self.unknown(words, key=key_unknown))
        spelled = self._spelled(words, characters, lengths, key_spelling)
        xs = xs if spelled is None else jnp.concatenate([xs, spelled], axis=2)
        hs = self.input_dropout(xs, key=key_in)
        if self.recurrent is not None:
            hs, _ = self.recurrent(hs, lengths=lengths, key=key_recurrent)
        emissions: Array = self.head(self.output_dropout(hs.astype(jnp.float32), key=key_out))
        return emissions

    def tag(
        self,
        words: Int[Array, "B T"],
        characters: Int[Array, "B T W"] | None = None,
        *,
        lengths: Int[Array, "B"] | None = None,
    ) -> Int[Array, "B T"]:
        """The most probable tags, int32 [B, T], 0 after a sentence's end; arguments as above."""
        return self.tags.decode(self(words, characters, lengths=lengths), lengths=lengths)

    def _spelled(self, words: Array, characters: Array | None, lengths: Array | None, key: Any) -> Array | None:
        """A vector for each word from its characters, all words of all sentences side by side."""
        if self.spelling is None and characters is None:
            return None
        if self.spelling is None:
            raise ValueError("characters must be None, for the model reads words alone")
        if characters is None:
            raise ValueError("characters must be given, for the model reads them")
        batch, steps = words.shape
        characters = checks.whole_numbers("characters", characters, (batch, steps, "W"), 0, 2**31 - 1)
        valid = valid_steps(lengths, None, steps, batch)
        if valid is not None:
            characters = jnp.where(valid.T[..., None], characters, 0)
        by_word = characters.reshape(batch * steps, characters.shape[2])
        vectors = self.spelling(by_word, lengths=jnp.sum(by_word != 0, axis=1, dtype=jnp.int32), key=key)
        return vectors.reshape(batch, steps, vectors.shape[1])
