"""Running text in words: lines of them, the way word-level language models are compared."""

import dataclasses
import functools
from typing import Any

import numpy as np

from lstmjax import checks
from lstmjax.data.words import WordVocabulary, whitespace

EOS, UNK = "<eos>", "<unk>"


@dataclasses.dataclass(frozen=True)
class LineVocabulary:
    """Running text in words: one symbol for what stands between blanks, and `<eos>` for each line's end.

    This is how word-level language models are compared: `<unk>`, id 1, stands for every unknown word and is itself a
    word that texts may have, as may be `<eos>`, id 0. Texts decoded piece by piece are the text.

    Args:
      words: all others, distinct and without blanks, the most frequent first; `words[k]` has the id k + 2.

    Raises:
      TypeError: words that are no tuple of texts.
      ValueError: words that are repeated, or that the text would be cut at.

    >>> vocabulary = LineVocabulary.of("to be or not\\n to be\\n", max_size=3)
    >>> vocabulary.words, len(vocabulary), vocabulary.encode("to  do\\nor be").tolist()
    (('be', 'to', 'not'), 5, [3, 1, 0, 1, 2])
    >>> vocabulary.decode(np.array([3, 2, 0, 1])), vocabulary.unknown("to do <unk>")
    ('to be \\n<unk> ', 'do')
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.words, tuple) or not all(isinstance(word, str) for word in self.words):
            raise TypeError(f"words must be a tuple of texts, got {self.words!r:.60}")
        if len(self._places) != len(self):
            raise ValueError(f"words must be distinct, and without {EOS} and {UNK}")
        if any(word.split() != [word] for word in self.words):
            raise ValueError("words must have no blanks in them, and at least one character")

    @classmethod
    def of(cls, text: str, min_count: int = 1, max_size: int | None = None) -> "LineVocabulary":
        """The words of a text, the most frequent first, equally frequent ones in alphabetical order.

        Args:
          text: what to count words in.
          min_count: how often a word must occur, at least 1.
          max_size: how many words to keep, at least 1, not counting `<eos>` and `<unk>`; None keeps all.

        Raises:
          TypeError, ValueError: a number that is not whole, or below 1.
        """
        found = WordVocabulary.of([text], whitespace, min_count).words
        size = None if max_size is None else checks.positive_int("max_size", max_size)
        return cls(tuple(word for word in found if word not in (EOS, UNK))[:size])

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate((EOS, UNK, *self.words))}

    def __len__(self) -> int:
        return len(self.words) + 2

    def encode(self, text: str) -> np.ndarray:
        """Ids, int32 [N], one for each word and one for each line's end."""
        return np.array([self._places.get(word, 1) for word in _line_words(text)], np.int32)

    def decode(self, ids: np.ndarray) -> str:
        """The text of integer ids [N] in 0..V-1: a blank after each word, a new line for each `<eos>`."""
        checks.within("ids", np.asarray(ids), 0, len(self) - 1)
        table = ("\n", *(f"{word} " for word in (UNK, *self.words)))
        return "".join(table[i] for i in np.asarray(ids).tolist())

    def unknown(self, text: str) -> str:
        """The distinct words of `text` that have no id of their own, blanks between."""
        return " ".join(sorted(set(_line_words(text)) - self._places.keys()))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "lines", "words": list(self.words)}


def _line_words(text: str) -> list[str]:
    return text.replace("\n", f" {EOS} ").split()
