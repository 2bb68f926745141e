"""Subwords: frequent words as one symbol, rare ones in pieces, any text exactly. Made by the library tokenizers."""

import dataclasses
import functools
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from lstmjax import checks
from lstmjax.data.symbols import SPECIAL
from lstmjax.data.text import UNKNOWN
from lstmjax.errors import InputError

BYTES = 256


@dataclasses.dataclass(frozen=True)
class Subwords:
    """Byte pair encoding: from the bytes of UTF-8 on, the pair of symbols that comes most often becomes a symbol too.

    As every byte has a symbol, any text is encoded and `decode(encode(text)) == text`: nothing is unknown, and id 1
    never comes. `unknown` gives the characters that training never saw. No pair crosses the border between words,
    numbers and punctuation, and a word has its blank in front. Ids 0 to 3 are padding, unknown, start and end.

    Args:
      tokenizer: what `tokenizers.Tokenizer.to_str` gave; its symbol k has the id k + 4.
      characters: those of the training text, distinct, in ascending order.

    Raises:
      ValueError: a `tokenizer` that is something else than such an encoding, or `characters` repeated or out of order.
      InputError: the library tokenizers is not installed.

    Paper: Sennrich, Haddow, Birch, Neural machine translation of rare words with subword units (2016),
    https://aclanthology.org/P16-1162. Of bytes: Radford et al., Language models are unsupervised multitask learners
    (2019).

    >>> vocabulary = Subwords.train(["ein Hund und ein Hund", "und ein Kind"], size=300)
    >>> ids = vocabulary.encode("ein Hund rennt")
    >>> len(vocabulary), vocabulary.pieces(ids)
    (267, ['ein', ' Hund', ' ', 'r', 'e', 'n', 'n', 't'])
    >>> vocabulary.decode(ids), vocabulary.unknown("ein Hund rennt")
    ('ein Hund rennt', 'rt')
    """

    tokenizer: str
    characters: str

    def __post_init__(self) -> None:
        if list(self.characters) != sorted(set(self.characters)):
            raise ValueError("characters must be distinct and in ascending order")
        known = self._known
        if _outline(self._library) != _outline(_untrained()) or not set(_alphabet()) <= set(known):
            raise ValueError("tokenizer must be a byte pair encoding with every byte and nothing around it")

    @classmethod
    def train(cls, lines: Iterable[str], size: int) -> "Subwords":
        """The subwords of a text; the same text gives the same ones.

        Pairs that come only once are left alone, so a text that has too few others gives fewer than `size`.

        Args:
          lines: any number of texts, those for training alone.
          size: V, at most how many symbols, at least 260: the special ones and all bytes.

        Raises:
          TypeError: one text instead of several.
          InputError: the library tokenizers is not installed.
        """
        checks.index("size", size, len(SPECIAL) + BYTES)
        if isinstance(lines, str):
            raise TypeError("lines must be several texts, got one")
        tokenizer, lines = _untrained(), list(lines)
        trainer = _tokenizers().trainers.BpeTrainer(
            vocab_size=size - len(SPECIAL), min_frequency=2, initial_alphabet=_alphabet(), show_progress=False
        )
        tokenizer.train_from_iterator(lines, trainer)
        return cls(tokenizer.to_str(), "".join(sorted(set().union(*lines))))

    @functools.cached_property
    def _library(self) -> Any:
        library = _tokenizers()
        try:
            return library.Tokenizer.from_str(self.tokenizer)
        except Exception as error:  # the library has no kind of its own
            raise ValueError(f"tokenizer must be what the library tokenizers wrote: {error}") from error

    @functools.cached_property
    def _known(self) -> list[str]:
        """The library's symbols by their number there, one character a byte."""
        places = self._library.get_vocab(with_added_tokens=False)
        if sorted(places.values()) != list(range(len(places))):
            raise ValueError("tokenizer must have symbols that are numbered from 0, each number once")
        return sorted(places, key=places.__getitem__)

    @functools.cached_property
    def _texts(self) -> tuple[str | None, ...]:
        """What the library decodes for each symbol, None where it is left out."""
        return (None, UNKNOWN, None, None, *self._known)

    def __len__(self) -> int:
        return len(self._known) + len(SPECIAL)

    def encode(self, text: str) -> np.ndarray:
        """Ids, int32 [N], all at least 4, without start and end.

        Raises:
          ValueError: half a surrogate pair in `text`, which no UTF-8 stands for.
        """
        text.encode("utf-8")  # the library would call that another type
        return np.array(self._library.encode(text).ids, np.int32) + np.int32(len(SPECIAL))

    def decode(self, ids: np.ndarray) -> str:
        """The text of integer ids [N] in 0..V-1; 0, 2 and 3 are left out, 1 and what is no UTF-8 become U+FFFD."""
        checks.within("ids", np.asarray(ids), 0, len(self) - 1)
        symbols = (self._texts[i] for i in np.asarray(ids).tolist())
        text: str = self._library.decoder.decode([symbol for symbol in symbols if symbol is not None])
        return text

    def unknown(self, text: str) -> str:
        """The distinct characters of `text` that the training text had none of: they have symbols, but no meaning."""
        return "".join(sorted(set(text) - set(self.characters)))

    def pieces(self, ids: np.ndarray) -> list[str]:
        """What each of integer ids [N] in 0..V-1 stands for, with the blank in front of words.

        For the first four see `SPECIAL`; a symbol that is part of a character is U+FFFD.
        """
        ids = np.asarray(ids)
        return [SPECIAL[i] if i < len(SPECIAL) else self.decode(ids[n : n + 1]) for n, i in enumerate(ids.tolist())]

    def to_json(self) -> dict[str, str]:
        return {"kind": "subwords", "tokenizer": self.tokenizer, "characters": self.characters}


def _tokenizers() -> Any:
    """The library, which only subwords need."""
    try:
        import tokenizers
    except ImportError:
        missing = "subwords are made by the library tokenizers, which is not installed"
        raise InputError(f"{missing}: pip install 'lstmjax[experiments]'") from None
    return tokenizers


def _alphabet() -> list[str]:
    """The character that stands for each byte, in one order always."""
    return sorted(_tokenizers().pre_tokenizers.ByteLevel.alphabet())


def _untrained() -> Any:
    library = _tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    return tokenizer


def _outline(tokenizer: Any) -> dict[str, Any]:
    """All that a tokenizer is but its symbols and their pairs."""
    whole: dict[str, Any] = json.loads(tokenizer.to_str())
    whole["model"] = {name: value for name, value in whole["model"].items() if name not in ("vocab", "merges")}
    return whole
