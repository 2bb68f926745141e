"""Words: texts cut into them, vocabularies of them, and vectors for them from elsewhere."""

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lstmjax import checks
from lstmjax.data.examples import any_number, finite_numbers
from lstmjax.data.text import UNKNOWN, opened
from lstmjax.errors import InputError

Tokenizer = Callable[[str], list[str]]
PIECE = re.compile(r"\d+(?:[.,]\d+)*(?!\w)|\w+(?:['\N{RIGHT SINGLE QUOTATION MARK}]\w+)*|[^\w\s]")
SPECIAL = 2
"""Ids that are no word's: 0 for padding, 1 for every unknown word."""


def words(text: str) -> list[str]:
    """Words, numbers and single punctuation marks, in lower case.

    >>> words("Don't pay $3.50, Zoë!")
    ["don't", 'pay', '$', '3.50', ',', 'zoë', '!']
    """
    return PIECE.findall(text.lower())


def whitespace(text: str) -> list[str]:
    """What stands between blanks, as it is.

    >>> whitespace("It 's  Zoë.")
    ['It', "'s", 'Zoë.']
    """
    return text.split()


def characters(text: str) -> list[str]:
    """Each character, as it is.

    >>> characters("Zoë")
    ['Z', 'o', 'ë']
    """
    return list(text)


TOKENIZERS: dict[str, Tokenizer] = {"words": words, "whitespace": whitespace, "characters": characters}
"""Those that a saved vocabulary finds again by itself."""


@dataclasses.dataclass(frozen=True)
class WordVocabulary:
    """One symbol a word; id 0 is for padding, id 1 stands for every unknown word.

    Args:
      words: distinct texts; `words[k]` has the id k + 2.
      tokenize: cuts a text into words.

    Raises:
      TypeError: words that are no tuple of texts, or a `tokenize` that is no function.
      ValueError: words that are repeated.

    >>> vocabulary = WordVocabulary.of(["to be or not to be", "to do"], max_size=3)
    >>> vocabulary.words, len(vocabulary), vocabulary.encode("To be is to do").tolist()
    (('to', 'be', 'do'), 5, [2, 3, 1, 2, 4])
    >>> vocabulary.decode(np.array([2, 4, 1, 0, 0])), vocabulary.unknown("to be, or not")
    ('to do \ufffd', ', not or')
    """

    words: tuple[str, ...]
    tokenize: Tokenizer = TOKENIZERS["words"]

    def __post_init__(self) -> None:
        checks.function("tokenize", self.tokenize)
        if not isinstance(self.words, tuple) or not all(isinstance(word, str) for word in self.words):
            raise TypeError(f"words must be a tuple of texts, got {self.words!r:.60}")
        if len(self._places) != len(self.words):
            raise ValueError("words must be distinct")

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        tokenize: Tokenizer = TOKENIZERS["words"],
        min_count: int = 1,
        max_size: int | None = None,
    ) -> "WordVocabulary":
        """The words of `texts`, the most frequent first, equally frequent ones in alphabetical order.

        Args:
          texts: any number of them.
          tokenize: cuts a text into words.
          min_count: how often a word must occur, at least 1.
          max_size: how many words to keep, at least 1; None keeps all.

        Raises:
          TypeError, ValueError: one text instead of several, a number that is not whole, or below 1.
        """
        checks.positive_int("min_count", min_count)
        if isinstance(texts, str):
            raise TypeError("texts must be several texts, got one")
        counts = Counter(word for text in texts for word in tokenize(text))
        frequent = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        size = None if max_size is None else checks.positive_int("max_size", max_size)
        return cls(tuple(word for _, word in frequent[:size]), tokenize)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words, SPECIAL)}

    def __len__(self) -> int:
        return len(self.words) + SPECIAL

    def encode(self, text: str) -> np.ndarray:
        """Ids, int32 [N], one for each of the N words; never 0."""
        return np.array([self._places.get(word, 1) for word in self.tokenize(text)], np.int32)

    def decode(self, ids: np.ndarray) -> str:
        """The words of integer ids [N] in 0..V-1, blanks between; id 0 is left out and id 1 becomes U+FFFD."""
        checks.within("ids", np.asarray(ids), 0, len(self) - 1)
        table = ("", UNKNOWN, *self.words)
        between = "" if self.tokenize is characters else " "
        return between.join(table[i] for i in np.asarray(ids).tolist() if i > 0)

    def unknown(self, text: str) -> str:
        """The distinct words of `text` that have no id of their own, blanks between."""
        return " ".join(sorted(set(self.tokenize(text)) - self._places.keys()))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "words", "words": list(self.words), "tokenize": _name(self.tokenize)}


def _name(tokenize: Tokenizer) -> str:
    """That in `TOKENIZERS`, or for another function "module:name"."""
    own = f"{tokenize.__module__}:{getattr(tokenize, '__qualname__', type(tokenize).__qualname__)}"
    return next((name for name, function in TOKENIZERS.items() if function is tokenize), own)


def tokenizer(name: str, given: Tokenizer | None) -> Tokenizer:
    """The function that a saved vocabulary names; one that is not in `TOKENIZERS` has to be given.

    Raises:
      InputError: it is not given, or another one is.

    >>> tokenizer("whitespace", None)("to be")
    ['to', 'be']
    """
    if name in TOKENIZERS:
        if given not in (None, TOKENIZERS[name]):
            raise InputError(f"its words are made by {name!r}, so tokenize must be None, got {_name(given)}")
        return TOKENIZERS[name]
    if given is None:
        raise InputError(f"its words are made by {name}, which load_vocabulary must be given as tokenize")
    return given


def read_vectors(path: str | Path, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of words, such as GloVe's or word2vec's, from a text file of one word and D numbers a row.

    The file is read row by row, and only the vectors asked for are kept. A first row of two whole numbers says how many
    rows follow and D; else D is what the first row has. A word may have blanks in it: the last D are the numbers. Of
    several rows for one word the first counts.

    Args:
      path: a UTF-8 file, packed where its name ends in `.gz`.
      words: the N words.

    Returns:
      the vectors, float32 [N, D], zeros for words that are not there; and which ones are there, booleans [N].

    Raises:
      InputError: a file that can't be read, is no such table, or has none of the words.

    Source: https://nlp.stanford.edu/projects/glove, https://code.google.com/archive/p/word2vec.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "vectors.txt")
    ...     _ = path.write_text("the 0.5 1\\nof -1 0\\n")
    ...     vectors, found = read_vectors(path, ["of", "off"])
    >>> vectors.tolist(), found.tolist()
    ([[-1.0, 0.0], [0.0, 0.0]], [True, False])
    """
    wanted = {word.encode("utf-8", errors="surrogatepass") for word in words}
    vectors: dict[bytes, np.ndarray] = {}
    for place, word, numbers in _entries(path):
        if word in wanted and word not in vectors:
            written = [number.decode("ascii", errors="replace") for number in numbers]
            vectors[word] = finite_numbers(place, written)
    if not vectors:
        raise InputError(f"{path} has a vector for none of the {len(words)} words asked for")
    none = np.zeros_like(next(iter(vectors.values())))
    keys = [word.encode("utf-8", errors="surrogatepass") for word in words]
    return np.stack([vectors.get(key, none) for key in keys]), np.array([key in vectors for key in keys])


def _entries(path: str | Path) -> Iterator[tuple[str, bytes, list[bytes]]]:
    """For each row where it stands, its word and its D numbers as they are written."""
    promised, size, count = None, 0, 0
    with opened(path) as file:
        for row, line in enumerate(file, 1):
            pieces = line.rstrip(b" \r\n").split(b" ")
            if row == 1 and len(pieces) == 2 and all(map(bytes.isdigit, pieces)):
                promised, size = map(int, pieces)
            elif pieces != [b""]:
                size = size or len(pieces) - 1
                place = f"{path}, row {row}"
                yield place, _word(place, pieces, size), pieces[-size:]
                count += 1
    if promised not in (None, count):
        raise InputError(f"{path} has {count} rows of vectors; expected {promised}, as its first row says")


def _word(place: str, pieces: list[bytes], size: int) -> bytes:
    word = pieces[:-size] if size else []
    last = any_number(word[-1].decode("ascii", errors="replace")) if len(word) > 1 else None
    if not word or (last is not None and math.isfinite(last)):  # a number too many for the vector
        raise InputError(f"{place}: expected a word and {size or 'its'} numbers, got {len(pieces) - 1} after the word")
    return b" ".join(word)
