"""How good a trained tagger is, beside the simple ones it should beat."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from experiments import cli, figures, study
from experiments.observers import plot_curves
from experiments.tag import pictures, predictions
from experiments.tag.sentences import Encoded, Parts
from lstmjax import layers, metrics, spans, training
from lstmjax.data.tokens import TokenVocabulary
from lstmjax.files import replace_text
from lstmjax.models import Tagger, TaggerConfig

Figures = dict[str, float]
Tags = Sequence[Sequence[str]]


def finish(kind: study.Study[Any], run: study.Run, model: Any, vocabulary: TokenVocabulary) -> Figures:
    """Test once, train the baselines, draw the figures, and say how good all are and where everything lies."""
    folder, scheme = run.folder, run.data.model.scheme
    said = tag_parts(run, model)
    found = {name_of(run.data.model): figures_of(run, model, said)}
    found["most_frequent"] = measure_most_frequent(run.data.parts, scheme)
    if run.config.baselines:
        found |= train_baselines(kind, run)
    scored = "accuracy" if scheme is None else "f1"
    plot_curves(folder.metrics, folder.curve, folder.path.name, {"loss": "loss, nats a token", scored: scored})
    drawn = draw_and_report(run, model, said["test"], scored)
    print_table(found)
    files = ["config.json", "vocabulary.json", "metrics.jsonl", "summary.json", folder.curve.name, *drawn]
    print(f"saved in {folder.path}: {', '.join(files)}, and the newest and best checkpoints in checkpoints/")
    print(f"tag another file: {cli.command(kind.module, '--checkpoint', folder.path, '--predict', 'FILE')}")
    own, *others = found
    beside = {f"baseline_{name}_{figure}": value for name in others for figure, value in found[name].items()}
    return found[own] | {name: value for name, value in beside.items() if "_test_" in name}


def measure(run: study.Run, model: Any, vocabulary: TokenVocabulary) -> Figures:
    """Every figure of a baseline, of the validation and of the test part."""
    return figures_of(run, model, tag_parts(run, model))


def tag_parts(run: study.Run, model: Any) -> dict[str, Tags]:
    """What a model says of the validation and of the test part."""
    parts: Parts = run.data.parts
    names, batch_size = run.data.model.tags, run.config.batch_size
    return {name: predictions.tag(model, getattr(parts, name), names, batch_size) for name in ("validation", "test")}


def figures_of(run: study.Run, model: Any, said: dict[str, Tags]) -> Figures:
    """Every figure of the validation and of the test part, from what a model said of them."""
    graphdef, params, other = training.split_model(model)
    evaluate = training.make_evaluate(run.task, graphdef)
    found: Figures = {}
    sources: dict[str, Any] = {"validation": run.data.validation, "test": run.data.test}
    for name, source in sources.items():
        scores = score(getattr(run.data.parts, name), said[name], run.data.model.scheme)
        of_part = {"loss": evaluate(params, other, source)["loss"]} | scores
        found |= {f"{name}_{figure}": value for figure, value in of_part.items()}
    return found


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


def measure_most_frequent(parts: Parts, scheme: str | None) -> Figures:
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
    found: Figures = {}
    for name in ("validation", "test"):
        part: Encoded = getattr(parts, name)
        said = [[best.get(token, best.get(token.lower(), unknown)) for token in each] for each in part.sentences.tokens]
        found |= {f"{name}_{figure}": value for figure, value in score(part, said, scheme).items()}
    return found


def train_baselines(kind: study.Study[Any], run: study.Run) -> dict[str, Figures]:
    """Simpler models on the same sentences, by the same code, each in a folder of its own."""
    found: dict[str, Figures] = {}
    for name, model in baseline_configs(run.data.model).items():
        print(f"\nbaseline {name}:")
        folder = training.RunFolder(run.folder.path / "baselines" / name)
        config = dataclasses.replace(run.config, out=folder.path, resume=folder.holds_a_run())
        baseline = dataclasses.replace(kind, finish=measure)
        found[name] = study.complete(baseline, config, run.data._replace(model=model), folder)
    return found


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


def draw_and_report(run: study.Run, model: Tagger, said: Tags, scored: str) -> list[str]:
    """Pictures and a report by tag of the test part; returns the names of the files."""
    folder, part, names = run.folder.path, run.data.parts.test, run.data.model.tags
    number = {name: place for place, name in enumerate(names)}
    true, predicted = (np.array([number[tag] for tags in each for tag in tags]) for each in (part.sentences.tags, said))
    confusion = np.asarray(metrics.confusion_matrix(jnp.asarray(predicted), jnp.asarray(true), len(names)))
    figures.plot_confusion(folder / "confusion.png", confusion, names)
    replace_text(folder / "report.txt", report(confusion, names, part.sentences.tags, said, run.data.model.scheme))
    drawn = ["report.txt", "confusion.png"]
    if isinstance(model.tags, layers.CRF):
        pictures.plot_transitions(folder / "transitions.png", model.tags.transitions, names)
        drawn.append("transitions.png")
    words_alone = training.RunFolder(folder / "baselines" / "words_alone")
    if words_alone.metrics.exists():
        curves = {"words and characters": run.folder.metrics, "words alone": words_alone.metrics}
        pictures.plot_learning(folder / "characters.png", curves, scored)
        drawn.append("characters.png")
    return drawn


def report(confusion: np.ndarray, names: Sequence[str], true: Tags, said: Tags, scheme: str | None) -> str:
    """Precision, recall and F1 of each tag, and of each kind of span, as a table of text."""
    each = (np.asarray(of(confusion, average=None)) for of in (metrics.precision, metrics.recall, metrics.f1))
    rows = zip(names, *each, confusion.sum(axis=1).astype(int), strict=True)
    text = _table("tag", "tokens", [(name, p, r, f, str(count)) for name, p, r, f, count in rows])
    if scheme is None:
        return text
    scores = spans.span_scores(true, said)
    by_label = {"all spans": scores.overall, **scores.by_label}
    return (
        text
        + "\n"
        + _table("span", "spans", [(name, s.precision, s.recall, s.f1, str(s.true)) for name, s in by_label.items()])
    )


def _table(what: str, support: str, rows: Sequence[tuple[str, float, float, float, str]]) -> str:
    width = max(len(what), *(len(row[0]) for row in rows))
    lines = [f"{what:{width}}  precision  recall      f1  {support:>7}"]
    lines += [f"{name:{width}}  {p:9.4f}  {r:6.4f}  {f:6.4f}  {count:>7}" for name, p, r, f, count in rows]
    return "\n".join(lines) + "\n"


def print_table(models: dict[str, Figures]) -> None:
    """Validation and test figures: a column for the model, first, and for each baseline."""
    table = Table(Column(no_wrap=True), *(name.replace("_", " ") for name in models), box=SIMPLE_HEAD, padding=0)
    for figure in next(iter(models.values())):
        values = [f"{found[figure]:.4f}" if figure in found else "" for found in models.values()]
        table.add_row(figure.replace("_", " "), *values)
    Console(highlight=False).print(table)
