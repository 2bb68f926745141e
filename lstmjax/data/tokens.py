"""Tokens as numbers: a symbol for the word, and one for each of its characters."""

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lstmjax import checks
from lstmjax.data.text import saved
from lstmjax.data.words import SPECIAL
from lstmjax.errors import InputError
from lstmjax.files import replace_text


@dataclasses.dataclass(frozen=True)
class TokenVocabulary:
    """Symbols of words and of characters; in both, 0 is for padding and 1 stands for what is not known.

    A word is looked up as it is written, then in lower case; where neither has a symbol, it is unknown. Of a word with
    more than `longest` characters the first and the last `longest / 2` are read.

    Args:
      words: distinct; `words[k]` has the symbol k + 2.
      characters: distinct, one character each, numbered alike.
      longest: W, how many characters of a word are read, even.

    Raises:
      ValueError: words or characters that are repeated, `characters` of several each, or a `longest` that is odd or
        below 2.

    >>> vocabulary = TokenVocabulary.of([("The", "cat", "sat"), ("the", "mat")], longest=4)
    >>> vocabulary.words, "".join(vocabulary.characters)
    (('The', 'cat', 'mat', 'sat', 'the'), 'taehTcms')
    >>> vocabulary.ids(("THE", "The", "dog")).tolist(), vocabulary.encode(("Mats",)).tolist()
    ([6, 2, 1], [[1, 1, 3, 2, 9]])
    """

    words: tuple[str, ...]
    characters: tuple[str, ...]
    longest: int = 20

    def __post_init__(self) -> None:
        for name, symbols in (("words", self.words), ("characters", self.characters)):
            if len(set(symbols)) != len(symbols):
                raise ValueError(f"{name} must be distinct")
        if any(len(character) != 1 for character in self.characters):
            raise ValueError("characters must be one character each")
        if checks.index("longest", self.longest, 2) % 2:
            raise ValueError(f"longest must be even, got {self.longest}")

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], min_count: int = 1, longest: int = 20) -> "TokenVocabulary":
        """The words and characters of sentences, the most frequent first, equally frequent ones in alphabetical order.

        Args:
          sentences: tuples of tokens.
          min_count: how often a word must occur to have a symbol, at least 1; characters always have one.
          longest: see the class.

        Raises:
          TypeError, ValueError: see the class; a `min_count` that is not whole, or below 1.
        """
        checks.positive_int("min_count", min_count)
        words = Counter(token for sentence in sentences for token in sentence)
        characters: Counter[str] = Counter()
        for word, count in words.items():
            characters.update({character: count * word.count(character) for character in set(word)})
        frequent = {word: count for word, count in words.items() if count >= min_count}
        return cls(_ranked(frequent), _ranked(characters), longest)

    @functools.cached_property
    def _word_symbols(self) -> dict[str, int]:
        return {word: symbol for symbol, word in enumerate(self.words, SPECIAL)}

    @functools.cached_property
    def _character_symbols(self) -> dict[str, int]:
        return {character: symbol for symbol, character in enumerate(self.characters, SPECIAL)}

    @property
    def num_words(self) -> int:
        """V, padding and the unknown word counted."""
        return len(self.words) + SPECIAL

    @property
    def num_characters(self) -> int:
        """Padding and the unknown character counted."""
        return len(self.characters) + SPECIAL

    def ids(self, tokens: Sequence[str]) -> np.ndarray:
        """The symbols of T words, int32 [T]; 1 for those unknown; TypeError for a single text."""
        if isinstance(tokens, str):
            raise TypeError(f"tokens must be several, as a tuple or list, got one text, {tokens!r:.40}")
        known = self._word_symbols
        return np.array([known.get(token, known.get(token.lower(), 1)) for token in tokens], np.int32)

    def encode(self, tokens: Sequence[str]) -> np.ndarray:
        """T tokens, int32 [T, 1 + W]: the word's symbol, then those of its characters, 0 after its end."""
        known, half = self._character_symbols, self.longest // 2
        encoded = np.zeros((len(tokens), 1 + self.longest), np.int32)
        encoded[:, 0] = self.ids(tokens)
        for row, token in zip(encoded, tokens, strict=True):
            read = token if len(token) <= self.longest else token[:half] + token[-half:]
            row[1 : 1 + len(read)] = [known.get(character, 1) for character in read]
        return encoded

    def batch(self, sentences: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What a `Tagger` reads: words [B, T], characters [B, T, W], lengths [B], all int32, 0 after the ends.

        >>> words, characters, lengths = TokenVocabulary(("a",), ("a", "b"), 4).batch([["a", "ab"], ["a"]])
        >>> words.tolist(), characters[0].tolist(), lengths.tolist()
        ([[2, 1], [2, 0]], [[2, 0, 0, 0], [2, 3, 0, 0]], [2, 1])
        """
        lengths = np.array([len(tokens) for tokens in sentences], np.int32)
        encoded = np.zeros((len(sentences), max([1, *lengths]), 1 + self.longest), np.int32)
        for row, tokens in zip(encoded, sentences, strict=True):
            row[: len(tokens)] = self.encode(tokens)
        return encoded[:, :, 0], encoded[:, :, 1:], lengths


def _ranked(counts: dict[str, int]) -> tuple[str, ...]:
    return tuple(sorted(counts, key=lambda symbol: (-counts[symbol], symbol)))


def save_tokens(vocabulary: TokenVocabulary, path: str | Path) -> None:
    """Write it as JSON."""
    fields = {"words": vocabulary.words, "characters": vocabulary.characters, "longest": vocabulary.longest}
    replace_text(path, json.dumps(fields, ensure_ascii=False) + "\n")


def load_tokens(path: str | Path) -> TokenVocabulary:
    """Read what `save_tokens` wrote.

    Raises:
      InputError: the file is missing or is something else.
    """
    with saved(path, "vocabulary of tokens") as content:
        match content:
            case {"words": [*words], "characters": [*characters], "longest": int(longest)} if all(
                isinstance(symbol, str) for symbol in (*words, *characters)
            ):
                return TokenVocabulary(tuple(words), tuple(characters), longest)
    raise InputError(f"{path} does not hold a vocabulary of tokens")
