"""Symbols of text for sequence-to-sequence models: words and characters, and where a sentence starts and ends.

Subwords, with the same methods, are in `subwords.py`; the vocabularies of both sides together are in `symbol_pairs.py`.
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from lstmjax import checks
from lstmjax.data import words
from lstmjax.data.text import UNKNOWN, Vocabulary

PADDING = 0
UNKNOWN_SYMBOL = 1
START = 2
END = 3
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
"""How `pieces` shows the symbols that are no text, those four, by their number."""


class Symbols(Vocabulary, Protocol):
    """A vocabulary in which 0 is padding, 1 unknown, 2 the start and 3 the end; no text encodes to 0, 2 or 3."""

    def pieces(self, ids: np.ndarray) -> list[str]: ...


@dataclasses.dataclass(frozen=True)
class _Listed:
    """A symbol for each of a list of texts; `known[k]` has the id k + 4."""

    known: tuple[str, ...]

    kind: ClassVar[str]
    by: ClassVar[str]
    """What makes such texts of a whole one, of `words.TOKENIZERS`."""
    between: ClassVar[str]
    """What stands between them."""

    def __post_init__(self) -> None:
        if not isinstance(self.known, tuple) or not all(isinstance(text, str) for text in self.known):
            raise TypeError(f"known must be a tuple of texts, got {self.known!r:.60}")
        if len(self._places) != len(self.known):
            raise ValueError("known must be distinct")

    @classmethod
    def train(cls, lines: Iterable[str], min_count: int = 1) -> Self:
        """Those of a text, the most frequent first, equally frequent ones in alphabetical order.

        Args:
          lines: any number of texts.
          min_count: how often one must occur to have a symbol, at least 1.

        Raises:
          TypeError, ValueError: one text instead of several, a number that is not whole, or below 1.
        """
        return cls(words.WordVocabulary.of(lines, words.TOKENIZERS[cls.by], min_count).words)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {text: place for place, text in enumerate(self.known, len(SPECIAL))}

    def _cut(self, text: str) -> list[str]:
        return words.TOKENIZERS[self.by](text)

    def __len__(self) -> int:
        return len(self.known) + len(SPECIAL)

    def encode(self, text: str) -> np.ndarray:
        """Ids, int32 [N], without start and end; 1 for what is unknown."""
        return np.array([self._places.get(one, UNKNOWN_SYMBOL) for one in self._cut(text)], np.int32)

    def decode(self, ids: np.ndarray) -> str:
        """The text of integer ids [N] in 0..V-1; 0, 2 and 3 are left out, and 1 becomes U+FFFD."""
        checks.within("ids", np.asarray(ids), 0, len(self) - 1)
        table = (None, UNKNOWN, None, None, *self.known)
        texts = (table[i] for i in np.asarray(ids).tolist())
        return self.between.join(text for text in texts if text is not None)

    def unknown(self, text: str) -> str:
        """What in `text` has no symbol of its own, each once: words with blanks between them, or characters."""
        return self.between.join(sorted(set(self._cut(text)) - self._places.keys()))

    def pieces(self, ids: np.ndarray) -> list[str]:
        """What each of integer ids [N] in 0..V-1 stands for; for the first four see `SPECIAL`."""
        checks.within("ids", np.asarray(ids), 0, len(self) - 1)
        table = (*SPECIAL, *self.known)
        return [table[i] for i in np.asarray(ids).tolist()]

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "known": list(self.known)}


class Words(_Listed):
    """One symbol for what stands between blanks, as it is written.

    Ids 0 to 3 are padding, the unknown word, start and end. A decoded text has one blank between words.

    Args:
      known: distinct words; `known[k]` has the id k + 4.

    Raises:
      TypeError: no tuple of texts.
      ValueError: words that are repeated.

    >>> vocabulary = Words.train(["ein Hund", "ein Hund rennt", "ein Kind"], min_count=2)
    >>> vocabulary.known, vocabulary.encode("ein  Kind").tolist(), vocabulary.unknown("Ein Hund .")
    (('ein', 'Hund'), [4, 1], '. Ein')
    >>> ids = np.array([2, 4, 1, 5, 3, 0])
    >>> vocabulary.decode(ids), vocabulary.pieces(ids)
    ('ein \ufffd Hund', ['<s>', 'ein', '<unk>', 'Hund', '</s>', '<pad>'])
    """

    kind = "words"
    by = "whitespace"
    between = " "


class Characters(_Listed):
    """One symbol a character, blanks too.

    Ids 0 to 3 are padding, the unknown character, start and end. What has no unknown ones is decoded as it was.

    Args:
      known: distinct characters; `known[k]` has the id k + 4.

    Raises:
      TypeError: no tuple of texts.
      ValueError: characters that are repeated, or texts that are not of one character.

    >>> vocabulary = Characters.train(["12+1"])
    >>> vocabulary.known, vocabulary.encode("1+3").tolist(), vocabulary.unknown("1-3")
    (('1', '+', '2'), [4, 5, 1], '-3')
    >>> vocabulary.decode(np.array([2, 4, 1, 6, 3, 0]))
    '1\ufffd2'
    """

    kind = "characters"
    by = "characters"
    between = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(len(text) != 1 for text in self.known):
            raise ValueError("known must be texts of one character each")
