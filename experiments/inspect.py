"""Look inside a trained language model: what each unit does at each symbol of a text.

Ranks all units by what they keep track of in the text (quotes, brackets, lines, words, ...): chosen on the first half
of what is read, and reported on the second, which the choice has not seen. Writes one page that needs nothing else
and opens in any browser, and beside it tracked.png, with the text coloured by the units that track quotes and lines.
Exit codes: 0 done, 1 failed on the way, 2 the command or its input can't be used.

Usage: python -m experiments.inspect --checkpoint DIR --text FILE [--out FILE.html] ...
"""

import base64
import dataclasses
import importlib.resources
import itertools
import json
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import cli, inspect_pictures, trained
from experiments.ranges import Checked, Index, Positive, at_least
from lstmjax import cells, inspection
from lstmjax.data.text import ByteVocabulary, Vocabulary, read_text
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import LanguageModel

SIGNALS = ("c", "tanh c", "h", "i", "f", "g", "o")
CHUNK = 1024
FEWEST = 100
QUOTES = ("inside double quotes", "inside single quotes", "inside backquotes")
LINES = ("characters since the line began", "characters until the line ends")


@dataclasses.dataclass(frozen=True)
class InspectConfig(Checked):
    """What to look at."""

    checkpoint: Path
    """Folder of a training run, as python -m experiments.train leaves it."""
    text: Path
    """UTF-8 text to read, of at least 100 symbols; best one that the model was not trained on."""
    out: Path | None = None
    """The page to write, FILE.html; without it, inspect.html in the checkpoint's folder."""
    read: Annotated[int, at_least(FEWEST)] = 40_000
    """Symbols to read, from the text's start; units are ranked over all of them."""
    length: Positive = 4000
    """Symbols to show, from the middle of what was read on. The page has 8 bytes for each symbol and unit."""
    units: Positive = 112
    """Units to show, of all layers: those that track any feature best. The defaults make a page of about 4 MB."""
    step: Index | None = None
    """Take the checkpoint of this step instead of the one with the lowest validation loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out is not None and self.out.suffix not in (".html", ".htm"):
            raise ValueError(f"out must be an HTML file, such as inspect.html, got {str(self.out)!r}")

    @property
    def page(self) -> Path:
        return self.checkpoint / "inspect.html" if self.out is None else self.out


class Passage(NamedTuple):
    """N symbols: their ids [N], how each is shown, and features [N, K] of the text after each, by name."""

    ids: np.ndarray
    pieces: list[str]
    features: np.ndarray
    names: list[str]


class Seen(NamedTuple):
    """What all U units of all layers did: sums over each half, and over the S symbols shown their signals [S, 7, U].

    `units` are their (layer, number); `first` is where the shown symbols start; `likely` [S, 3] are the ids that the
    model finds likeliest to come next, and `chances` [S, 3] how likely.
    """

    units: list[tuple[int, int]]
    halves: list[inspection.Moments]
    first: int
    signals: np.ndarray
    likely: np.ndarray
    chances: np.ndarray


class Ranking(NamedTuple):
    """For each unit and feature [U, K]: the unit's best signal by the first half, and its correlation on each half."""

    signal: np.ndarray
    found: np.ndarray
    held_out: np.ndarray

    def order(self, feature: int) -> list[int]:
        """The units, best first, as the first half has it."""
        ranked: list[int] = np.argsort(-np.abs(self.found[:, feature]), kind="stable").tolist()
        return ranked


def main() -> int:
    config = cli.parse(InspectConfig, __doc__)
    cli.check_backend()
    model, vocabulary = load_lstm(config)
    passage, unknown = read_passage(config, vocabulary)
    cli.check_out(config.page)
    if unknown:
        print(f"the model has never seen {unknown!r:.80}; it reads one symbol for all of them", file=sys.stderr)
    print(f"reading {len(passage.ids):,} symbols ...", flush=True)
    seen = look(model, passage, config.length)
    ranking = rank(seen.halves)
    page = page_data(config, passage, seen, ranking, vocabulary) | {"unknown": unknown[:80]}
    write_page(config.page, page)
    picture = config.page.with_name("tracked.png")
    inspect_pictures.draw(picture, tracked(passage, seen, ranking))
    print(f"of {len(seen.units)} units the best, found on the first half of {len(passage.ids)} symbols:")
    for feature, name in enumerate(passage.names):
        print(f"  {name}: {best_unit(seen, ranking, feature)}")
    print(f"saved: {config.page} ({config.page.stat().st_size / 1e6:.1f} MB), {picture}")
    return 0


def load_lstm(config: InspectConfig) -> tuple[LanguageModel, Vocabulary]:
    """A language model of LSTM cells, and its vocabulary."""
    model, vocabulary = trained.load(config.checkpoint, config.step, LanguageModel)
    for layer in model.recurrent.layers:
        own: Any = getattr(layer, "cell", layer)
        if not isinstance(getattr(own, "cell", own), cells.LSTM):  # a regularised cell has the plain one inside
            raise InputError(f"{config.checkpoint} holds layers of {type(own).__name__}; expected LSTM")
    return model, vocabulary


def read_passage(config: InspectConfig, vocabulary: Vocabulary) -> tuple[Passage, str]:
    """The symbols to read, with the features that change in both halves; and what the model does not know."""
    text = read_text(config.text)
    ids = vocabulary.encode(text)[: config.read]
    if len(ids) < FEWEST:
        raise InputError(f"{config.text} has {len(ids)} symbols; expected at least {FEWEST}, to find units and check")
    pieces = cut(vocabulary, ids, text)
    ends = np.cumsum([len(piece) for piece in pieces]) - 1
    features = {name: values[ends] for name, values in inspection.text_features("".join(pieces)).items()}
    middle = len(ids) // 2
    names = [name for name, all_ in features.items() if np.ptp(all_[:middle]) > 0 and np.ptp(all_[middle:]) > 0]
    return Passage(ids, pieces, np.stack([features[name] for name in names], axis=1), names), vocabulary.unknown(text)


def cut(vocabulary: Vocabulary, ids: np.ndarray, text: str) -> list[str]:
    """What to show for each symbol of a text; for all bytes but the last of one character, a dot."""
    if isinstance(vocabulary, ByteVocabulary):
        return [piece for c in text[: len(ids)] for piece in ["·"] * (len(c.encode()) - 1) + [c]][: len(ids)]
    names = names_of(vocabulary, ids)
    return [names[i] for i in ids.tolist()]


def names_of(vocabulary: Vocabulary, ids: np.ndarray) -> dict[int, str]:
    """Each symbol's text, all decoded in one go, as a vocabulary of words would be long about it one by one."""
    between = vocabulary.encode("\n")
    line_break = vocabulary.decode(between)
    others = np.setdiff1d(ids, between)
    texts = vocabulary.decode(np.insert(others, np.arange(1, len(others) + 1), between)).split(line_break)
    return {int(between[0]): line_break} | dict(zip(others.tolist(), texts[:-1], strict=True))


def look(model: LanguageModel, passage: Passage, length: int) -> Seen:
    """Read it all with one carried state; keep sums of all of it, and from its middle on, `length` symbols whole."""
    count = len(passage.ids)
    first = max(0, min(count // 2, count - length))
    halves: list[Any] = [None, None]
    kept, state = [], None
    for start in range(0, count, CHUNK):
        here = np.arange(start, min(start + CHUNK, count))
        ids = np.pad(passage.ids[here], (0, CHUNK - len(here)))  # one shape; only the last is filled up, at its end
        records, state = inspection.record(model, jnp.asarray(ids[None]), state)
        signals = signals_of(records)[: len(here)]
        flat = signals.reshape(len(here), -1)
        for half, inside in enumerate((here < count // 2, here >= count // 2)):
            sums = inspection.moments(flat[inside], passage.features[here[inside]])
            halves[half] = sums if start == 0 else halves[half].plus(sums)
        scores = model.score(records[-1].output[0, : len(here)].astype(jnp.float32))
        chances, likely = jax.lax.top_k(jax.nn.softmax(scores), min(3, model.vocab_size))
        shown = (here >= first) & (here < first + length)
        kept.append([np.asarray(values)[shown] for values in (signals, likely, chances)])
    units = [(layer, unit) for layer, r in enumerate(records, 1) for unit in range(1, r.output.shape[-1] + 1)]
    return Seen(units, halves, first, *(np.concatenate(values) for values in zip(*kept, strict=True)))


def signals_of(records: list[cells.Record]) -> np.ndarray:
    """Of a text, each of `SIGNALS` of all units of all layers [T, 7, U]."""
    layers = [(r.state.c, jnp.tanh(r.state.c), r.output, *r.gates) for r in records]
    return np.concatenate([np.stack([np.asarray(s[0], np.float32) for s in layer], axis=1) for layer in layers], axis=2)


def rank(halves: list[inspection.Moments]) -> Ranking:
    """Each unit's best signal for each feature, chosen on the first half alone."""
    found, held_out = (inspection.correlation(half) for half in halves)
    found, held_out = (r.reshape(len(SIGNALS), -1, r.shape[1]) for r in (found, held_out))
    signal = np.abs(found).argmax(axis=0)
    best = signal[None]
    return Ranking(signal, *(np.take_along_axis(correlations, best, axis=0)[0] for correlations in (found, held_out)))


def page_data(
    config: InspectConfig, passage: Passage, seen: Seen, ranking: Ranking, vocabulary: Vocabulary
) -> dict[str, Any]:
    """All that the page shows, ready for JSON.

    Memories are 16-bit shares of the unit's largest, i, f, g and o 8-bit shares of 1; h is made from them by the page.
    """
    turns = zip(*(ranking.order(feature) for feature in range(len(passage.names))), strict=True)
    units = list(dict.fromkeys(itertools.chain.from_iterable(turns)))[: config.units]
    signals = seen.signals[:, :, units].transpose(1, 2, 0)
    memory, gates = signals[0], signals[3:]
    scales = np.maximum(np.abs(memory).max(axis=1), 1e-6)
    shown = slice(seen.first, seen.first + len(seen.likely))
    names = names_of(vocabulary, seen.likely)
    features = passage.features[shown] / np.maximum(np.abs(passage.features[shown]).max(axis=0), 1e-6)
    return {
        "checkpoint": config.checkpoint.resolve().name,
        "text": config.text.name,
        "read": len(passage.ids),
        "first": seen.first,
        "all": len(seen.units),
        "pieces": passage.pieces[shown],
        "units": [seen.units[unit] for unit in units],
        "scales": scales.tolist(),
        "memory": packed(np.round(memory / scales[:, None] * 32767), "<i2"),
        "gates": packed(np.round(gates * 127), "i1"),
        "features": passage.names,
        "tracked": packed(np.round(features.T * 127), "i1"),
        "signal": ranking.signal[units].T.tolist(),
        "found": ranking.found[units].T.round(3).tolist(),
        "heldOut": ranking.held_out[units].T.round(3).tolist(),
        "likely": [[names[i] for i in row] for row in seen.likely.tolist()],
        "chances": packed(np.round(seen.chances * 100), "u1"),
    }


def packed(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode()


def write_page(file: Path, page: dict[str, Any]) -> None:
    """The template with the data inside."""
    template = importlib.resources.files("experiments").joinpath("inspect_page.html").read_text(encoding="utf-8")
    data = json.dumps(page, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")  # it may hold </script>
    replace_text(file, template.replace("{data}", data))


def best_unit(seen: Seen, ranking: Ranking, feature: int) -> str:
    unit = ranking.order(feature)[0]
    layer, number = seen.units[unit]
    signal, found, held_out = (values[unit, feature] for values in ranking)
    return f"{SIGNALS[signal]} of layer {layer}, unit {number}: r = {found:+.2f} where found, {held_out:+.2f} held out"


def tracked(passage: Passage, seen: Seen, ranking: Ranking) -> list[inspect_pictures.Panel]:
    """The best unit for quotes and the best for lines, over the symbols shown; another's where there is neither."""
    shown = slice(seen.first, seen.first + len(seen.signals))
    table = passage.features[shown]
    panels = []
    for feature in best_features(passage.names, table, ranking):
        unit = ranking.order(feature)[0]
        title = f"{passage.names[feature]}: {best_unit(seen, ranking, feature)}"
        signals = dict(zip(SIGNALS, seen.signals[:, :, unit].T, strict=True))
        name = SIGNALS[ranking.signal[unit, feature]]
        panels.append(inspect_pictures.Panel(title, passage.pieces[shown], signals, name, table[:, feature]))
    return panels


def best_features(names: list[str], table: np.ndarray, ranking: Ranking) -> list[int]:
    """Of quotes and of lines the feature that a unit tracks best, among those that change where we look."""
    changing = [feature for feature in range(len(names)) if np.ptp(table[:, feature]) > 0]
    strength = np.abs(ranking.found).max(axis=0)
    groups = ([feature for feature in changing if names[feature] in group] for group in (QUOTES, LINES))
    return [max(group, key=lambda feature: strength[feature]) for group in groups if group] or [int(strength.argmax())]


if __name__ == "__main__":
    cli.run(main)
