"""Pairs of texts as arrays."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from experiments.parts import held_out
from lstmjax import checks
from lstmjax.data.parallel import ParallelText
from lstmjax.data.source import Bucketed
from lstmjax.data.subwords import Subwords
from lstmjax.data.symbol_pairs import PairVocabulary
from lstmjax.data.symbols import END, Characters, Symbols, Words
from lstmjax.errors import InputError

Kind = Literal["subwords", "words", "characters"]


class Part(NamedTuple):
    """Pairs in symbols, each text with the end symbol after it, and the text they are from."""

    text: ParallelText
    sources: list[np.ndarray]
    targets: list[np.ndarray]


def take(text: ParallelText, rows: Sequence[int] | np.ndarray) -> ParallelText:
    """Those of the pairs given by number; what the file left out is not theirs to tell."""
    return text._replace(
        source=[text.source[row] for row in rows],
        target=[text.target[row] for row in rows],
        lines=[text.lines[row] for row in rows],
        left_out=[],
    )


def split(text: ParallelText, fraction: float, seed: int) -> tuple[ParallelText, ParallelText]:
    """Hold a random part out; both parts keep the order of the file.

    Raises:
      InputError: one of them would be empty.
    """
    rest, held = held_out(text.pairs, fraction, seed, f"{text.source_file}: too few pairs")
    return take(text, rest), take(text, held)


def vocabulary_of(text: ParallelText, kind: Kind, size: int, min_count: int, shared: bool) -> PairVocabulary:
    """The symbols of both sides of the training text, in one vocabulary or one each."""

    def symbols(lines: Sequence[str]) -> Symbols:
        if kind == "subwords":
            return Subwords.train(lines, size)
        return Words.train(lines, min_count) if kind == "words" else Characters.train(lines)

    if shared:
        both = symbols([*text.source, *text.target])
        return PairVocabulary(both, both)
    return PairVocabulary(symbols(text.source), symbols(text.target))


def encode(lines: Sequence[str], symbols: Symbols) -> list[np.ndarray]:
    """Each text in symbols, with the end symbol after it."""
    return [np.append(symbols.encode(line), np.int32(END)) for line in lines]


def encode_part(text: ParallelText, vocabulary: PairVocabulary) -> Part:
    """Both sides of every pair in symbols."""
    return Part(text, encode(text.source, vocabulary.source), encode(text.target, vocabulary.target))


def without_long(part: Part, longest: int) -> Part:
    """The pairs of which no side has more than `longest` symbols.

    Raises:
      InputError: there is none.
    """
    checks.positive_int("longest", longest)
    sides = zip(part.sources, part.targets, strict=True)
    rows = [row for row, pair in enumerate(sides) if max(map(len, pair)) <= longest]
    if not rows:
        raise InputError(f"{part.text.source_file}: no pair has at most {longest} symbols a side, see --longest")
    return Part(take(part.text, rows), [part.sources[row] for row in rows], [part.targets[row] for row in rows])


def batches(part: Part, batch_size: int, num_buckets: int, seed: int | None) -> Bucketed:
    """Batches of pairs of nearly one length."""
    return Bucketed(part.sources, part.targets, batch_size, num_buckets, seed)
