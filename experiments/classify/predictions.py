"""What a trained sequence-to-one model says of sequences: arrays, and a CSV file."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx

from experiments import cli
from experiments.classify import files, sequences
from lstmjax import checks
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import SequenceClassifier, SequenceRegressor
from lstmjax.models.sequence_config import Answer
from lstmjax.saved import load_model
from lstmjax.training import RunFolder, split_model


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What to read, with which model, and where to write."""

    checkpoint: Path
    """The folder of a trained run."""
    predict: Path
    """The file to say something of, of the format that the model was trained on; labels in it are not looked at."""
    out: Path | None = None
    """The CSV file to write; without it, FILE-predictions.csv in this folder."""
    step: int | None = None
    """Which checkpoint; without it, the best."""
    text_column: str | None = None
    """Of .tsv and .csv: the column with the text, by name or counted from 1; without it, the one it was in training."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Of .tsv and .csv: whether the first row names the columns; auto: if its names are those of training."""
    batch_size: int = 256
    """Sequences at a time."""

    def __post_init__(self) -> None:
        checks.positive_int("batch_size", self.batch_size)
        if self.step is not None:
            checks.index("step", self.step, 0)
        if self.out is not None and self.out.resolve() == self.predict.resolve():
            raise ValueError(f"out must be another file than the one to predict, {self.predict}")


def run(arguments: Sequence[str], description: str) -> int:
    """Read a file, answer each of its sequences, and write the answers; returns the exit code."""
    config = cli.parse(PredictConfig, description, arguments)
    out = config.out or Path(f"{config.predict.stem}-predictions.csv")
    cli.check_out(out)
    cli.check_backend()
    model, meaning = load_model(config.checkpoint, "best" if config.step is None else config.step)
    if not isinstance(model, SequenceClassifier | SequenceRegressor):
        raise InputError(
            f"{config.checkpoint} holds a {type(model).__name__}; expected a SequenceClassifier or a SequenceRegressor"
        )
    settings = RunFolder(config.checkpoint).read_config()
    encoding = sequences.Encoding.with_meaning(meaning, files.model_config(settings))
    labelled = files.read_like(config.predict, settings, config.text_column, config.header)
    inputs = [sequence[: settings["longest"]] for sequence in encoding.inputs(labelled)]
    answers = predict(model, encoding.answer, inputs, config.batch_size)
    names = None if encoding.labels is None else encoding.labels.names
    replace_text(out, table(encoding.answer, labelled.places, answers, names, settings["label_separator"]))
    print(f"{len(answers):,} predictions in {out}")
    return 0


def predict(
    model: nnx.Module, answer: Answer, inputs: Sequence[np.ndarray], batch_size: int, num_buckets: int = 8
) -> np.ndarray:
    """Probabilities [N, C] of one class or of each, or numbers [N, K], in the order of the inputs."""
    graphdef, params, other = split_model(model)

    @jax.jit
    def answers_of(params: Any, other: Any, batch: Any) -> Any:
        scores = nnx.merge(graphdef, params, other)(batch.inputs, lengths=batch.lengths)
        if answer == "number":
            return scores
        return jax.nn.softmax(scores, axis=1) if answer == "class" else jax.nn.sigmoid(scores)

    source = sequences.batches(inputs, np.arange(len(inputs)), batch_size, num_buckets, seed=None)
    found: list[Any] = [None] * len(inputs)
    for position in range(len(source)):
        batch = source.batch(position)
        answers = np.asarray(answers_of(params, other, batch))
        for row, said, counts in zip(batch.targets, answers, batch.weights, strict=True):
            if counts:
                found[row] = said
    return np.stack(found)


def table(
    answer: Answer, places: Sequence[str], answers: np.ndarray, names: Sequence[str] | None, separator: str
) -> str:
    """The answers as CSV: where each sequence stands, what is said of it, and with which probabilities."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if names is None:
        columns = ["prediction"] if answers.shape[1] == 1 else [f"prediction_{k + 1}" for k in range(answers.shape[1])]
        writer.writerow(["place", *columns])
        writer.writerows([place, *map(_digits, row)] for place, row in zip(places, answers, strict=True))
        return text.getvalue()
    writer.writerow(["place", "prediction", *(f"probability_{name}" for name in names)])
    for place, row in zip(places, answers, strict=True):
        said = [names[row.argmax()]] if answer == "class" else [n for n, p in zip(names, row, strict=True) if p > 0.5]
        writer.writerow([place, separator.join(said), *map(_digits, row)])
    return text.getvalue()


def _digits(value: float) -> str:
    return f"{value:.9g}"  # all that float32 knows
