"""Tagged sentences: read in every known format, split in parts, turned into arrays and batches."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from experiments.parts import held_out
from experiments.ranges import Checked
from lstmjax.data import tagged
from lstmjax.data.examples import numbered_lines
from lstmjax.data.labels import Labels
from lstmjax.data.source import Bucketed
from lstmjax.data.tagged import Sentences
from lstmjax.data.tokens import TokenVocabulary
from lstmjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class FilesConfig(Checked):
    """How files are read."""

    file_format: Literal["auto", "conllu", "columns"] = "auto"
    """CoNLL-U, or columns with blank lines between sentences; auto: CoNLL-U where the name ends in .conllu."""
    token_column: int = 0
    """Of columns: that of the tokens, counted from 0; -1 is the last."""
    tag_column: str | None = None
    """Of columns: that of the tags, counted likewise; without it, -1. Of CoNLL-U: upos, xpos, feats or deprel; without
    it, upos."""

    def format_of(self, path: Path) -> tagged.Format:
        """The format of a file to learn from."""
        if self.file_format != "auto":
            return self.file_format
        return "conllu" if tagged.is_treebank(path) else "columns"

    @property
    def treebank_tag(self) -> str:
        """The column of the tags in CoNLL-U.

        Raises:
          InputError: it is none of those that hold tags.
        """
        tag = "upos" if self.tag_column is None else self.tag_column
        if tag not in tagged.CONLLU_TAGS:
            raise InputError(f"--tag-column of CoNLL-U must be one of {', '.join(tagged.CONLLU_TAGS)}, got {tag}")
        return tag

    @property
    def tag_number(self) -> int:
        """The column of the tags in other files.

        Raises:
          InputError: it is no whole number.
        """
        try:
            return -1 if self.tag_column is None else int(self.tag_column)
        except ValueError as error:
            wanted = "counted from 0, or -1 for the last"
            raise InputError(f"--tag-column of columns must be a number, {wanted}, got {self.tag_column}") from error


def read(path: Path, config: FilesConfig) -> Sentences:
    """Read a file to learn from.

    Raises:
      InputError: it is not what its format says.
    """
    if config.format_of(path) == "conllu":
        return tagged.read_conllu(path, tag=config.treebank_tag)
    return tagged.read_columns(path, token_column=config.token_column, tag_column=config.tag_number)


def take(sentences: Sentences, rows: Sequence[int] | np.ndarray) -> Sentences:
    """Those of the sentences given by number."""
    tags = None if sentences.tags is None else [sentences.tags[row] for row in rows]
    tokens = [sentences.tokens[row] for row in rows]
    return Sentences(tokens, tags, [sentences.lines[row] for row in rows], sentences.file)


def split(sentences: Sentences, fraction: float, seed: int) -> tuple[Sentences, Sentences]:
    """Hold a random part out; both parts keep the order of the file.

    Raises:
      InputError: one of them would be empty.
    """
    rest, held = held_out(len(sentences.tokens), fraction, seed, f"{sentences.file}: too few sentences")
    return take(sentences, rest), take(sentences, held)


class Encoded(NamedTuple):
    """A part as arrays: its sentences, cut where they are too long, as tokens [T_n, 1 + W] and tags [T_n].

    `owners` [N]: the number of the sentence that each piece is of.
    """

    sentences: Sentences
    inputs: list[np.ndarray]
    targets: list[np.ndarray]
    owners: np.ndarray

    def joined(self, pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What was said of the pieces, sentence by sentence."""
        of_sentence: list[list[np.ndarray]] = [[] for _ in self.sentences.tokens]
        for owner, piece in zip(self.owners, pieces, strict=True):
            of_sentence[owner].append(piece)
        return [np.concatenate(each) for each in of_sentence]


def encode(sentences: Sentences, vocabulary: TokenVocabulary, labels: Labels | None, longest: int) -> Encoded:
    """Arrays of sentences, in pieces of at most `longest` tokens; without labels, all tags are 0.

    Raises:
      InputError: a tag that is not among the labels.
    """
    inputs, targets, owners = [], [], []
    for number, tokens in enumerate(sentences.tokens):
        encoded, tags = vocabulary.encode(tokens), np.zeros(len(tokens), np.int32)
        if labels is not None:
            assert sentences.tags is not None
            places = [f"{sentences.file}, line {line}" for line in sentences.lines[number]]
            tags = labels.encode(sentences.tags[number], places)
        for first in range(0, len(tokens), longest):
            inputs.append(encoded[first : first + longest])
            targets.append(tags[first : first + longest])
            owners.append(number)
    return Encoded(sentences, inputs, targets, np.array(owners))


def batches(part: Encoded, batch_size: int, num_buckets: int, seed: int | None) -> Bucketed:
    """Batches of sentences of nearly one length; at most a batch's rows where there are fewer."""
    count = len(part.inputs)
    num_buckets = min(num_buckets, -(-count // batch_size))
    return Bucketed(part.inputs, part.targets, min(batch_size, count), num_buckets, seed)


def some(sentences: Sentences, count: int) -> Sentences:
    """The first ones, at most so many."""
    return take(sentences, range(min(count, len(sentences.tokens))))


def width(path: Path) -> int:
    """How many columns a file has, by its first token's row; 0 where it has none."""
    _, rows = tagged.parted(line for line in numbered_lines(path) if not tagged.is_break(line[1]))
    return len(rows[0].cells) if rows else 0
