"""Where the text comes from."""

from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

from lstmjax.data.downloads import find
from lstmjax.data.text import read_text, split

NAMED = {
    "ptb": ("ptb/ptb.train.txt", "ptb/ptb.valid.txt", "ptb/ptb.test.txt"),
    "wikitext-2": ("wikitext-2/train.txt", "wikitext-2/valid.txt", "wikitext-2/test.txt"),
}
"""Texts by name, in the parts they are published in: to train, to validate and to test."""


class Corpus(NamedTuple):
    """A text in parts; not every one has a part to test on."""

    train: str
    validation: str
    test: str | None


def load_corpus(data: str | None, validation: Path | None, test: Path | None, validation_fraction: float) -> Corpus:
    """The text that a name, a file, or nothing stands for: the language reference that CPython carries for `help()`.

    Args:
      data: one of `NAMED`, a file, or None.
      validation, test: files of those parts; without the first, a part of the training text at its end.
      validation_fraction: how much of it, in (0, 1).
    """
    if data in NAMED:
        return Corpus(*(read_text(find(file, packed=True)) for file in NAMED[data]))
    whole = "\n\n".join(topics[name] for name in sorted(topics)) if data is None else read_text(data)
    own_test = None if test is None else read_text(test)
    if validation is not None:
        return Corpus(whole, read_text(validation), own_test)
    return Corpus(*split(whole, validation_fraction), own_test)


def beginning(corpus: Corpus, train: int, others: int) -> Corpus:
    """The first so many characters of each part."""
    test = None if corpus.test is None else corpus.test[:others]
    return Corpus(corpus.train[:train], corpus.validation[:others], test)
