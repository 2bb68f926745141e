"""How good a trained sequence-to-sequence model is, beside the simple ones it should beat."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import baselines, study
from experiments.baselines import Figures
from experiments.observers import plot_curves
from experiments.parts import Parts
from experiments.translate import pictures, scores
from experiments.translate.nearest import nearest
from experiments.translate.pairs import Part
from experiments.translate.predictions import one_line
from lstmjax.data.symbol_pairs import PairVocabulary
from lstmjax.decoding import BeamSettings, GNMTLength, alignments, translate_text
from lstmjax.files import replace_text
from lstmjax.models import Seq2Seq

BEAMS = (1, 2, 5, 10)
EXAMPLES = 100
MAPS = 5


def finish(run: study.Run, model: Any, vocabulary: PairVocabulary) -> Figures:
    """Test once, train the baselines, draw the figures, and say how good all are and where everything lies."""
    config, parts = run.config, run.data.parts
    said = translate_parts(run, model, vocabulary, config.beam)
    found = {name_of(run): figures_of(run, model, said)}
    found["nearest"] = measure_nearest(parts)
    others = {"nearest": list(nearest(parts.train, parts.test))}
    if config.baselines and run.data.model.attention != "none":
        found["no_attention"] = train_without_attention(run)
    beams = compare_beams(run, model, vocabulary)
    draw_and_write(run, model, vocabulary, said["test"], others)
    baselines.print_figures(found)
    baselines.print_figures(beams, "validation part, beam")
    print(scores.table(scores.scores(said["test"], parts.test.text.target)))
    baselines.print_saved(run, "translate", "--translate", "FILE")
    by_beam = baselines.by_name({f"validation_beam_{beam}": each for beam, each in beams.items()})
    return baselines.summary(found) | by_beam


def measure(run: study.Run, model: Any, vocabulary: PairVocabulary) -> Figures:
    """Every figure of a baseline, of the validation and of the test part."""
    return figures_of(run, model, translate_parts(run, model, vocabulary, run.config.beam))


def name_of(run: study.Run) -> str:
    """What a model is called in the table, such as lstm general."""
    return f"{run.data.model.cell} {run.data.model.attention}"


def settings_of(config: Any, beam: int) -> BeamSettings:
    """How a run's own translations are searched for."""
    return BeamSettings(beam=beam, length_penalty=GNMTLength(config.length_penalty), steps=2 * config.longest)


def translate_parts(run: study.Run, model: Seq2Seq, vocabulary: PairVocabulary, beam: int) -> dict[str, list[str]]:
    """What a model writes for the validation and for the test part."""
    return {
        name: translate_lines(model, vocabulary, getattr(run.data.parts, name), settings_of(run.config, beam))
        for name in ("validation", "test")
    }


def translate_lines(model: Seq2Seq, vocabulary: PairVocabulary, part: Part, settings: BeamSettings) -> list[str]:
    """The best translation of every source."""
    return [best.text for best, *_ in translate_text(model, vocabulary, part.text.source, settings=settings)]


def figures_of(run: study.Run, model: Any, said: dict[str, list[str]]) -> Figures:
    """Every figure of the validation and of the test part, from what a model wrote for them."""
    found = {}
    for part, taught in baselines.evaluate(run, model).items():
        own = {"loss": taught["loss"], "accuracy": taught["accuracy"], "greedy_exact": taught["exact"]}
        found[part] = own | scores.figures(said[part], getattr(run.data.parts, part).text.target)
    return baselines.by_name(found)


def measure_nearest(parts: Parts[Part]) -> Figures:
    """The figures of the translations of the likest sources in the training data."""
    asked = {"validation": parts.validation, "test": parts.test}
    return baselines.by_name(
        {name: scores.figures(nearest(parts.train, part), part.text.target) for name, part in asked.items()}
    )


def train_without_attention(run: study.Run) -> Figures:
    """The figures of the same model with a decoder that never looks back."""
    plain = dataclasses.replace(run.data.model, attention="none", window=None, coverage=False, coverage_loss=0.0)
    return baselines.train(run, "no_attention", plain, measure)


def compare_beams(run: study.Run, model: Seq2Seq, vocabulary: PairVocabulary) -> dict[str, Figures]:
    """For each beam, how good the translations of the validation part are, and how many there are a second."""
    part, found = run.data.parts.validation, {}
    for beam in BEAMS:
        settings = settings_of(run.config, beam)
        said = translate_lines(model, vocabulary, part, settings)  # and everything is compiled
        start = time.perf_counter()
        translate_lines(model, vocabulary, part, settings)
        speed = len(said) / (time.perf_counter() - start)
        found[str(beam)] = scores.figures(said, part.text.target) | {"sentences_per_second": speed}
    return found


def draw_and_write(
    run: study.Run, model: Seq2Seq, vocabulary: PairVocabulary, said: list[str], others: dict[str, list[str]]
) -> None:
    """Pictures and translations of the test part."""
    folder, part = run.folder, run.data.parts.test
    plot_curves(folder.metrics, folder.curve, folder.path.name, {"loss": "loss, nats a symbol", "accuracy": "accuracy"})
    replace_text(folder.path / "test.txt", "".join(one_line(text) + "\n" for text in said))
    replace_text(folder.path / "examples.md", examples(part, said))
    systems = {name_of(run): said, **others}
    pictures.plot_bleu_by_length(folder.path / "lengths.png", part.text.source, systems, part.text.target)
    if run.data.model.attention != "none":
        rows = _spread([len(source.split()) for source in part.text.source])
        shown = [part.text.source[row] for row in rows], [said[row] for row in rows]
        pictures.plot_attentions(folder.path / "attention.png", alignments(model, vocabulary, *shown))


def examples(part: Part, said: list[str]) -> str:
    """A hundred translations beside what they should be, evenly spaced over the part, none chosen."""
    text = part.text
    rows = np.unique(np.linspace(0, text.pairs - 1, EXAMPLES).astype(int))
    shown = [
        f"{text.lines[row]}. {text.source[row]}\n   - {text.target[row]}\n   - **{one_line(said[row])}**\n"
        for row in rows
    ]
    header = "Source, reference and, in bold, translation; the numbers are lines of the test part.\n\n"
    return header + "\n".join(shown)


def _spread(lengths: Sequence[int]) -> list[int]:
    """Rows from among the shorter half to the longest tenth, for pictures of several sizes."""
    order = np.argsort(lengths, kind="stable")
    places = np.linspace(0.3, 0.9, MAPS) * (len(order) - 1)
    return [int(order[round(place)]) for place in places]
