"""The symbols of both sides of a sequence-to-sequence model, kept in one file."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from lstmjax.data.subwords import Subwords
from lstmjax.data.symbols import Characters, Symbols, Words
from lstmjax.data.text import saved
from lstmjax.errors import InputError
from lstmjax.files import replace_text


@dataclasses.dataclass(frozen=True)
class PairVocabulary:
    """The symbols of the source and those of the target; one object for both where they are the same.

    >>> both = Characters.train(["12", "21"])
    >>> PairVocabulary(both, both).shared, PairVocabulary(both, Words.train(["one two"])).shared
    (True, False)
    """

    source: Symbols
    target: Symbols

    @property
    def shared(self) -> bool:
        """Both sides have the same symbols, so a model may have one table of embeddings for both."""
        return self.source is self.target


def save_pair(vocabulary: PairVocabulary, path: str | Path) -> None:
    """Write it as JSON, what is shared once."""
    sides = {"source": vocabulary.source, "target": vocabulary.target}
    written = {"shared": vocabulary.source} if vocabulary.shared else sides
    content = {side: symbols.to_json() for side, symbols in written.items()}
    replace_text(path, json.dumps(content, ensure_ascii=False) + "\n")


def load_pair(path: str | Path) -> PairVocabulary:
    """Read what `save_pair` wrote; what was shared is shared again.

    Raises:
      InputError: the file is missing or is something else, or it has subwords and the library tokenizers is missing.
    """
    with saved(path, "vocabulary of two sides") as content:
        match content:
            case {"shared": both, **rest} if not rest:
                symbols = _symbols("shared", both)
                return PairVocabulary(symbols, symbols)
            case {"source": source, "target": target, **rest} if not rest:
                return PairVocabulary(_symbols("source", source), _symbols("target", target))
    raise InputError(f"{path} is not a vocabulary of two sides: expected source and target, or shared")


def _symbols(side: str, written: Any) -> Symbols:
    match written:
        case {"kind": "subwords", "tokenizer": str(tokenizer), "characters": str(characters)}:
            return Subwords(tokenizer, characters)
        case {"kind": "words", "known": [*known]}:
            return Words(tuple(known))
        case {"kind": "characters", "known": [*known]}:
            return Characters(tuple(known))
    raise InputError(f"its {side} must be of kind 'subwords', 'words' or 'characters', got {written!r:.60}")
