"""How good a trained tagger is, beside the simple ones it should beat."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments import baselines, figures, study
from experiments.baselines import Figures
from experiments.observers import plot_curves
from experiments.parts import Parts
from experiments.tag import pictures, predictions
from experiments.tag.sentences import Encoded
from lstmjax import layers, metrics, spans, training
from lstmjax.data.tokens import TokenVocabulary
from lstmjax.files import replace_text
from lstmjax.models import Tagger, TaggerConfig

Tags = Sequence[Sequence[str]]


def finish(run: study.Run, model: Any, vocabulary: TokenVocabulary) -> Figures:
    """Test once, train the baselines, draw the figures, and say how good all are and where everything lies."""
    folder, scheme = run.folder, run.data.model.scheme
    said = tag_parts(run, model)
    found = {name_of(run.data.model): figures_of(run, model, said)}
    found["most_frequent"] = measure_most_frequent(run.data.parts, scheme)
    if run.config.baselines:
        simpler = baseline_configs(run.data.model)
        found |= {name: baselines.train(run, name, config, measure) for name, config in simpler.items()}
    scored = "accuracy" if scheme is None else "f1"
    plot_curves(folder.metrics, folder.curve, folder.path.name, {"loss": "loss, nats a token", scored: scored})
    draw_and_report(run, model, said["test"], scored)
    return baselines.conclude(run, found, "tag another file", "--predict", "FILE")


def measure(run: study.Run, model: Any, vocabulary: TokenVocabulary) -> Figures:
    """Every figure of a baseline, of the validation and of the test part."""
    return figures_of(run, model, tag_parts(run, model))


def tag_parts(run: study.Run, model: Any) -> dict[str, Tags]:
    """What a model says of the validation and of the test part."""
    parts: Parts[Encoded] = run.data.parts
    names, batch_size = run.data.model.tags, run.config.batch_size
    return {name: predictions.tag(model, getattr(parts, name), names, batch_size) for name in ("validation", "test")}


def figures_of(run: study.Run, model: Any, said: dict[str, Tags]) -> Figures:
    """Every figure of the validation and of the test part, from what a model said of them."""
    scheme = run.data.model.scheme
    return baselines.by_name(
        {
            part: {"loss": taught["loss"]} | score(getattr(run.data.parts, part), said[part], scheme)
            for part, taught in baselines.evaluate(run, model).items()
        }
    )


def score(part: Encoded, said: Tags, scheme: str | None) -> Figures:
    """Accuracy, over all tokens and over those whose word is unknown; of spans, what conlleval says."""
    assert part.sentences.tags is not None
    hits = np.array(
        [a == b for pair in zip(said, part.sentences.tags, strict=True) for a, b in zip(*pair, strict=True)]
    )
    is_unknown = np.concatenate([encoded[:, 0] == 1 for encoded in part.inputs])
    found = {"accuracy": float(hits.mean())}
    if is_unknown.any():
        found["unknown_accuracy"] = float(hits[is_unknown].mean())
    if scheme is not None:
        overall = spans.span_scores(part.sentences.tags, said).overall
        found |= {"precision": overall.precision, "recall": overall.recall, "f1": overall.f1}
    return found


def measure_most_frequent(parts: Parts[Encoded], scheme: str | None) -> Figures:
    """The figures of each word's most frequent tag, and for unknown words that of the words which occur once."""
    sentences = parts.train.sentences
    assert sentences.tags is not None
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for tokens, tags in zip(sentences.tokens, sentences.tags, strict=True):
        for token, tag in zip(tokens, tags, strict=True):
            counts[token][tag] += 1
    best = {token: tags.most_common(1)[0][0] for token, tags in counts.items()}
    rare = Counter(best[token] for token, tags in counts.items() if tags.total() == 1) or Counter(best.values())
    unknown = rare.most_common(1)[0][0]

    def figures_of(part: Encoded) -> Figures:
        said = [[best.get(token, best.get(token.lower(), unknown)) for token in each] for each in part.sentences.tokens]
        return score(part, said, scheme)

    return baselines.by_name({"validation": figures_of(parts.validation), "test": figures_of(parts.test)})


def name_of(model: TaggerConfig) -> str:
    """What a model is called in the table, such as lstm_crf."""
    return model.cell if model.output == "softmax" else f"{model.cell}_crf"


def baseline_configs(model: TaggerConfig) -> dict[str, TaggerConfig]:
    """What this kind of model should beat: each token by itself, words alone, simpler cells, the other output."""
    found: dict[str, TaggerConfig] = {}
    if model.cell != "none":
        found["no_context"] = dataclasses.replace(model, cell="none", hidden_dropout=0.0, recurrent_dropout=0.0)
    if model.spelling != "none":
        found["words_alone"] = dataclasses.replace(model, spelling="none", num_characters=None)
    for cell in ("elman", "gru"):
        if model.cell not in (cell, "none"):
            found[cell] = dataclasses.replace(model, cell=cell)
    other = dataclasses.replace(model, output="crf" if model.output == "softmax" else "softmax")
    return found | {name_of(other): other}


def draw_and_report(run: study.Run, model: Tagger, said: Tags, scored: str) -> None:
    """Pictures and a report by tag of the test part."""
    folder, part, names = run.folder.path, run.data.parts.test, run.data.model.tags
    number = {name: place for place, name in enumerate(names)}
    true, predicted = (np.array([number[tag] for tags in each for tag in tags]) for each in (part.sentences.tags, said))
    confusion = np.asarray(metrics.confusion_matrix(jnp.asarray(predicted), jnp.asarray(true), len(names)))
    figures.plot_confusion(folder / "confusion.png", confusion, names)
    replace_text(folder / "report.txt", report(confusion, names, part.sentences.tags, said, run.data.model.scheme))
    if isinstance(model.tags, layers.CRF):
        pictures.plot_transitions(folder / "transitions.png", model.tags.transitions, names)
    words_alone = training.RunFolder(folder / "baselines" / "words_alone")
    if words_alone.metrics.exists():
        curves = {"words and characters": run.folder.metrics, "words alone": words_alone.metrics}
        pictures.plot_learning(folder / "characters.png", curves, scored)


def report(confusion: np.ndarray, names: Sequence[str], true: Tags, said: Tags, scheme: str | None) -> str:
    """Precision, recall and F1 of each tag, and of each kind of span, as a table of text."""
    each = (np.asarray(of(confusion, average=None)) for of in (metrics.precision, metrics.recall, metrics.f1))
    rows = zip(names, *each, confusion.sum(axis=1).astype(int), strict=True)
    text = _table("tag", "tokens", [(name, p, r, f, str(count)) for name, p, r, f, count in rows])
    if scheme is None:
        return text
    scores = spans.span_scores(true, said)
    by_label = {"all spans": scores.overall, **scores.by_label}
    spans_of = [(name, s.precision, s.recall, s.f1, str(s.true)) for name, s in by_label.items()]
    return text + "\n" + _table("span", "spans", spans_of)


def _table(what: str, support: str, rows: Sequence[tuple[str, float, float, float, str]]) -> str:
    width = max(len(what), *(len(row[0]) for row in rows))
    lines = [f"{what:{width}}  precision  recall      f1  {support:>7}"]
    lines += [f"{name:{width}}  {p:9.4f}  {r:6.4f}  {f:6.4f}  {count:>7}" for name, p, r, f, count in rows]
    return "\n".join(lines) + "\n"
