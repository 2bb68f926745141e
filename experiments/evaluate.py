"""Score a text with a trained language model: nats, bits and perplexity of a symbol.

One state carried through the text is always scored; --block-length, --dynamic and --cache-size each add another way.
Settings of the last two should be chosen on validation text. Exit codes: 0 done, 1 failed on the way, 2 the command or
its input can't be used.

Usage: python -m experiments.evaluate --checkpoint DIR --text FILE [--block-length 256] [--dynamic] ...
"""

import dataclasses
import functools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from experiments import cli, trained
from experiments.ranges import Amount, Checked, Index, Positive
from lstmjax import checks, text_scores
from lstmjax.data import text
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.metrics import bits_per_symbol, perplexity
from lstmjax.models import LanguageModel

SYMBOLS: dict[type[Any], str] = {text.CharVocabulary: "character", text.ByteVocabulary: "byte"}


@dataclasses.dataclass(frozen=True)
class EvaluateConfig(Checked):
    """What to score, and how."""

    checkpoint: Path
    """Folder of a training run, as python -m experiments.train leaves it."""
    text: Path
    """UTF-8 text, packed where its name ends in .gz."""
    last_fraction: float = 1.0
    """Share of the text, at its end, that is scored, in (0, 1]; 0.1 is what training validates on by default."""
    block_length: Positive | None = None
    """Also in blocks of so many predictions, each from an empty state."""
    dynamic: bool = False
    """Also with parameters that follow what was just read (dynamic evaluation)."""
    learning_rate: Amount = 1e-3
    """Of dynamic: how far an update goes, at least 0."""
    decay: Amount = 1e-3
    """Of dynamic: how strongly parameters are drawn back to the trained ones, at least 0."""
    chunk_length: Positive = 20
    """Of dynamic: symbols between updates."""
    cache_size: Positive | None = None
    """Also with a cache of so many of the last outputs and what came after them."""
    cache_weight: Annotated[float, checks.rate] = 0.1
    """Of the cache: its share of the probability, in [0, 1)."""
    cache_flatness: Amount = 0.3
    """Of the cache: how much more alike outputs count, at least 0."""
    out: Path | None = None
    """A JSON file for the figures."""
    step: Index | None = None
    """Take the checkpoint of this step instead of the one with the lowest validation loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.last_fraction <= 1.0:
            raise ValueError(f"last_fraction must be in (0, 1], got {self.last_fraction}")
        self._check_used()

    def _check_used(self) -> None:
        """No setting of a way that is not asked for."""
        ways = {
            "dynamic": (self.dynamic, ("learning_rate", "decay", "chunk_length")),
            "cache_size": (self.cache_size is not None, ("cache_weight", "cache_flatness")),
        }
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for way, (is_asked, names) in ways.items():
            for name in names:
                if not is_asked and getattr(self, name) != defaults[name]:
                    raise ValueError(f"{name} needs {way}")


def main() -> int:
    config = cli.parse(EvaluateConfig, __doc__)
    cli.check_backend()
    if config.out is not None:
        cli.check_out(config.out)
    model, vocabulary = trained.load(config.checkpoint, config.step, LanguageModel)
    ids = read_ids(config, vocabulary)
    symbol = SYMBOLS.get(type(vocabulary), "word")
    print(f"{len(ids):,} {symbol}s, of which {len(ids) - 1:,} are predicted")
    found = {}
    for way, losses, seconds in scored(config, model, ids):
        found[way] = each = figures(losses, seconds)
        print(
            f"{way:12} {each['nats']:.4f} nats, {each['bits']:.4f} bits per {symbol}, "
            f"perplexity {each['perplexity']:.3f} ({each['seconds']:.0f} s)",
            flush=True,
        )
    if config.out is not None:
        about = {"checkpoint": str(config.checkpoint), "text": str(config.text), "per": symbol, "symbols": len(ids)}
        replace_text(config.out, json.dumps(about | found, indent=2) + "\n")
    return 0


def read_ids(config: EvaluateConfig, vocabulary: text.Vocabulary) -> np.ndarray:
    """The symbols to score; says which of them the model has never seen."""
    whole = text.read_text(config.text)
    part = whole if config.last_fraction == 1.0 else text.split(whole, config.last_fraction)[1]
    ids = vocabulary.encode(part)
    if len(ids) < 2:
        raise InputError(f"{config.text} has {len(ids)} symbols to score; expected at least 2")
    unknown = vocabulary.unknown(part)
    if unknown:
        print(f"symbols that the model has never seen, scored as unknown ones: {unknown[:60]!r}")
    return ids


def scored(config: EvaluateConfig, model: LanguageModel, ids: np.ndarray) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yields each way's name with its nats and the seconds it took."""
    ways = {"carried": functools.partial(text_scores.carried, model, ids)}
    if config.block_length is not None:
        ways["blocks"] = functools.partial(text_scores.in_blocks, model, ids, config.block_length)
    if config.cache_size is not None:
        settings = {"weight": config.cache_weight, "flatness": config.cache_flatness}
        ways["cache"] = functools.partial(text_scores.with_cache, model, ids, size=config.cache_size, **settings)
    if config.dynamic:
        settings = {"learning_rate": config.learning_rate, "decay": config.decay}
        ways["dynamic"] = functools.partial(
            text_scores.dynamic, model, ids, chunk_length=config.chunk_length, **settings
        )
    for way, score in ways.items():
        start = time.monotonic()
        losses = score()
        yield way, losses, time.monotonic() - start


def figures(losses: np.ndarray, seconds: float) -> dict[str, float]:
    """The mean loss in all its units."""
    nats = float(np.mean(losses))
    return {"nats": nats, "bits": bits_per_symbol(nats), "perplexity": perplexity(nats), "seconds": seconds}


if __name__ == "__main__":
    cli.run(main)
