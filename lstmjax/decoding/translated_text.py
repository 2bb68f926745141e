"""What sequence-to-sequence models write, as text."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lstmjax import checks
from lstmjax.data.symbol_pairs import PairVocabulary
from lstmjax.data.symbols import END
from lstmjax.decoding.search import Beams
from lstmjax.decoding.translation import BeamSettings, as_members, translate, vocabulary_sizes
from lstmjax.models import Seq2Seq


class Translation(NamedTuple):
    """What was written for a source: its text, its symbols without the end, and how it ranks."""

    text: str
    symbols: np.ndarray
    score: float
    log_probability: float


def translate_text(
    models: Seq2Seq | Sequence[Seq2Seq],
    vocabulary: PairVocabulary,
    lines: Sequence[str],
    *,
    settings: BeamSettings = BeamSettings(),
    batch_size: int = 64,
) -> list[list[Translation]]:
    """The best translations of each text, the best first; a blank text has one blank translation.

    Texts are read together with others of nearly their length, and a text's translation does not depend on the others.

    Args:
      models: see `translate`.
      vocabulary: the symbols of both sides, as `load_model` gives it with a model.
      lines: any number of texts.
      settings: how they are searched.
      batch_size: texts at a time.

    Raises:
      TypeError: one text instead of several, or what is no text.
      ValueError: a vocabulary of other sizes than the models'; see also `translate`.
    """
    members = as_members(models)
    _check_vocabulary(members[0], vocabulary)
    found: list[list[Translation]] = [[Translation("", np.zeros(0, np.int32), 0.0, 0.0)] for _ in lines]
    for rows, padded, lengths in by_length(vocabulary, lines, batch_size):
        beams = translate(members, padded, lengths=lengths, settings=settings)
        beams = jax.tree.map(np.asarray, beams)
        for place, row in enumerate(rows):
            found[row] = _hypotheses(beams, place, vocabulary)
    return found


def by_length(
    vocabulary: PairVocabulary, lines: Sequence[str], batch_size: int
) -> Iterator[tuple[list[int], Any, Any]]:
    """The texts that are not blank, in batches of nearly one length: which they are, their symbols [B, S], lengths [B].

    Raises:
      TypeError: one text instead of several, or what is no text.
    """
    _check_lines(lines)
    checks.positive_int("batch_size", batch_size)
    sources = {row: np.append(vocabulary.source.encode(line), END) for row, line in enumerate(lines) if line.strip()}
    rows = sorted(sources, key=lambda row: len(sources[row]))
    for first in range(0, len(rows), batch_size):
        some = rows[first : first + batch_size]
        yield some, *together([sources[row] for row in some], min(batch_size, len(rows)))


def together(sequences: Sequence[np.ndarray], batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences as one array [B, S] and their lengths [B]; B is `batch_size`, the last one repeated, and S is rounded.

    S is up to the next multiple of 8, or above 64 to the next power of two, so that little is compiled.

    >>> together([np.array([4, 5, 3])], 2)[0].shape, together([np.ones(70, int)], 1)[0].shape
    ((2, 8), (1, 128))
    """
    longest = max(map(len, sequences))
    steps = -(-longest // 8) * 8 if longest <= 64 else 2 ** (longest - 1).bit_length()
    padded = np.zeros((batch_size, steps), np.int32)
    rows = [*sequences, *[sequences[-1]] * (batch_size - len(sequences))]
    for row, sequence in zip(padded, rows, strict=True):
        row[: len(sequence)] = sequence
    return padded, np.array([len(row) for row in rows], np.int32)


def _hypotheses(beams: Beams, row: int, vocabulary: PairVocabulary) -> list[Translation]:
    found = []
    for symbols, length, score, log_probability in zip(*(leaf[row] for leaf in beams), strict=True):
        if score > -np.inf:
            symbols = symbols[:length]
            text = vocabulary.target.decode(symbols)
            found.append(Translation(text, symbols, float(score), float(log_probability)))
    return found


def _check_lines(lines: Sequence[str]) -> None:
    if isinstance(lines, str):
        raise TypeError("lines must be several texts, got one")
    for number, line in enumerate(lines):
        if not isinstance(line, str):
            raise TypeError(f"lines[{number}] must be a text, got {type(line).__name__}")


def _check_vocabulary(model: Seq2Seq, vocabulary: PairVocabulary) -> None:
    wanted, came = vocabulary_sizes(model), (len(vocabulary.source), len(vocabulary.target))
    if came != wanted:
        raise ValueError(
            f"vocabulary must have the models' {wanted[0]} and {wanted[1]} symbols, got {came[0]} and {came[1]}"
        )
