"""What sequence-to-sequence models looked at in a source as they wrote, symbol by symbol."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from lstmjax.data.symbol_pairs import PairVocabulary
from lstmjax.data.symbols import END, START
from lstmjax.decoding.translated_text import by_length, together
from lstmjax.decoding.translation import as_members
from lstmjax.models import Seq2Seq
from lstmjax.types import Array, Float, Int


class Alignment(NamedTuple):
    """S pieces of a source, T pieces of a target, each with its end, and float32 weights [T, S], each row's sum 1."""

    source: list[str]
    target: list[str]
    weights: Float[np.ndarray, "T S"]


def alignments(
    models: Seq2Seq | Sequence[Seq2Seq],
    vocabulary: PairVocabulary,
    sources: Sequence[str],
    targets: Sequence[str | Int[np.ndarray, "N"]],
    *,
    batch_size: int = 64,
) -> list[Alignment]:
    """How much of each piece of its source every piece of a target is made from, given the pieces before it.

    Args:
      models: one, or several over the same symbols, whose weights are averaged.
      vocabulary: the symbols of both sides.
      sources: any number of texts; a blank one has an alignment without pieces.
      targets: what each becomes: a text, or symbols without the end, such as a `Translation` has.
      batch_size: texts at a time.

    Raises:
      TypeError: one source instead of several.
      ValueError: not as many targets as sources; no model, or models of different vocabularies.

    >>> both = lx.data.Characters.train(["abc"])
    >>> config = lx.models.Seq2SeqConfig(source_vocab_size=len(both), target_vocab_size=len(both))
    >>> model = lx.models.seq2seq_config.build(config, nnx.Rngs(0))
    >>> (found,) = alignments(model, PairVocabulary(both, both), ["cab"], ["ab"])
    >>> found.source, found.target, found.weights.shape
    (['c', 'a', 'b', '</s>'], ['a', 'b', '</s>'], (3, 4))
    """
    members = as_members(models)
    if len(targets) != len(sources):
        raise ValueError(f"targets must be as many as sources, {len(sources)}, got {len(targets)}")
    found = [Alignment([], [], np.zeros((0, 0), np.float32)) for _ in sources]
    for rows, padded, lengths in by_length(vocabulary, sources, batch_size):
        chosen = [targets[row] for row in rows]
        written = [vocabulary.target.encode(target) if isinstance(target, str) else target for target in chosen]
        inputs, counts = together([np.insert(symbols, 0, START) for symbols in written], len(padded))
        weights = np.mean([_weights(model, padded, inputs, lengths) for model in members], axis=0)
        for place, row in enumerate(rows):
            pieces = vocabulary.source.pieces(padded[place, : lengths[place]])
            own = weights[place, : counts[place], : lengths[place]]
            found[row] = Alignment(pieces, vocabulary.target.pieces(np.append(written[place], END)), own)
    return found


@jax.jit
def _weights(model: Seq2Seq, source: Array, inputs: Array, lengths: Array) -> Float[Array, "B T S"]:
    return model.with_alignments(source, inputs, lengths=lengths)[1]
