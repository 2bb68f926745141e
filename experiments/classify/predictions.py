"""What a trained sequence-to-one model says of sequences: arrays, and a CSV file."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from experiments import cli, trained
from experiments.classify import files, sequences
from experiments.ranges import Checked, Index, Positive
from lstmjax.files import replace_text
from lstmjax.models import SequenceClassifier, SequenceRegressor, SequenceToOneConfig
from lstmjax.models.sequence_config import Answer
from lstmjax.training import RunFolder


@dataclasses.dataclass(frozen=True)
class PredictConfig(Checked):
    """What to read, with which model, and where to write."""

    checkpoint: Path
    """The folder of a trained run."""
    predict: Path
    """The file to say something of, of the format that the model was trained on; labels in it are not looked at."""
    out: Path | None = None
    """The CSV file to write; without it, FILE-predictions.csv in this folder."""
    step: Index | None = None
    """Which checkpoint; without it, the best."""
    text_column: str | None = None
    """Of .tsv and .csv: the column with the text, by name or counted from 1; without it, the one it was in training."""
    header: files.Header = "auto"
    """Of .tsv and .csv: whether the first row names the columns; auto: if its names are those of training."""
    batch_size: Positive = 256
    """Sequences at a time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out is not None and self.out.resolve() == self.predict.resolve():
            raise ValueError(f"out must be another file than the one to predict, {self.predict}")


def run(config: PredictConfig) -> None:
    """Read a file, answer each of its sequences, and write the answers."""
    out = config.out or Path(f"{config.predict.stem}-predictions.csv")
    cli.check_out(out)
    model, meaning = trained.load(config.checkpoint, config.step, SequenceClassifier, SequenceRegressor)
    settings = RunFolder(config.checkpoint).read_config()
    encoding = sequences.Encoding.with_meaning(meaning, SequenceToOneConfig(**settings["model"]))
    labelled = files.read_like(config.predict, settings, config.text_column, config.header)
    inputs = [sequence[: settings["longest"]] for sequence in encoding.inputs(labelled)]
    answers = predict(model, encoding.answer, inputs, config.batch_size)
    names = None if encoding.labels is None else encoding.labels.names
    replace_text(out, table(encoding.answer, labelled.places, answers, names, settings["label_separator"]))
    print(f"{len(answers):,} predictions in {out}")


def predict(
    model: nnx.Module, answer: Answer, inputs: Sequence[np.ndarray], batch_size: int, num_buckets: int = 8
) -> np.ndarray:
    """Probabilities [N, C] of one class or of each, or numbers [N, K], in the order of the inputs."""

    def answers_of(model: Any, inputs: Any, lengths: Any) -> Any:
        scores = model(inputs, lengths=lengths)
        if answer == "number":
            return scores
        return jax.nn.softmax(scores, axis=1) if answer == "class" else jax.nn.sigmoid(scores)

    say = trained.compiled(model, answers_of)
    source = sequences.batches(inputs, np.arange(len(inputs)), batch_size, num_buckets, seed=None)
    return np.stack(trained.in_order(source, lambda batch: np.asarray(say(batch.inputs, batch.lengths))))


def table(
    answer: Answer, places: Sequence[str], answers: np.ndarray, names: Sequence[str] | None, separator: str
) -> str:
    """The answers as CSV: where each sequence stands, what is said of it, and with which probabilities."""
    numbers = [list(map(trained.digits, row)) for row in answers]
    if names is None:
        count = answers.shape[1]
        columns = ["prediction"] if count == 1 else [f"prediction_{k}" for k in range(1, count + 1)]
        rows = ([place, *row] for place, row in zip(places, numbers, strict=True))
        return trained.csv_table(["place", *columns], rows)
    said = [separator.join(_classes(answer, row, names)) for row in answers]
    rows = ([place, one, *row] for place, one, row in zip(places, said, numbers, strict=True))
    return trained.csv_table(["place", "prediction", *(f"probability_{name}" for name in names)], rows)


def _classes(answer: Answer, probabilities: np.ndarray, names: Sequence[str]) -> list[str]:
    """The likeliest class, or each that is likelier than not."""
    if answer == "class":
        return [names[int(probabilities.argmax())]]
    return [name for name, probability in zip(names, probabilities, strict=True) if probability > 0.5]
