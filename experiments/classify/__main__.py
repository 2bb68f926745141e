"""Learn to say what whole sequences are: their class, their classes, or numbers.

Usage: python -m experiments.classify --data FILE|NAME [--test FILE] [--out DIR] ...
       python -m experiments.classify --checkpoint DIR --predict FILE [--out FILE]; see --help.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from experiments import cli, settings, study
from experiments.classify import answers, files, predictions, sequences
from lstmjax import checks, training
from lstmjax.data import Labelled, datasets, words
from lstmjax.data.labels import save_labels
from lstmjax.data.text import save_vocabulary
from lstmjax.errors import InputError
from lstmjax.models import SequenceToOneConfig

DESCRIPTION = """Learn to say what whole sequences are: their class, any number of classes, or numbers.

Trains on a file (.tsv, .csv: texts; .ts; .npz) or a named set, and baselines beside it; chooses by the validation part,
looks at the test part once. Writes checkpoints, metrics, figures and a summary into one folder. Ctrl-C saves and says
how to go on. What a trained model makes of another file is written by --checkpoint DIR --predict FILE, which has
options of its own (--checkpoint DIR --help). Exit codes: 0 done, 1 failed on the way, 2 the command or its input can't
be used, 130 stopped."""


@dataclasses.dataclass(frozen=True)
class ClassifyConfig(settings.EpochsConfig, files.FilesConfig):
    """Every setting of a run."""

    data: str | None = None
    """A file, or one of the named sets: japanese-vowels, sst2, names, mnist-rows, mnist-pixels, mnist-permuted."""
    test: Path | None = None
    """A file to look at once, at the end; without it, a part of the data."""
    validation: Path | None = None
    """A file to choose the model by; without it, a part of the data."""
    validation_fraction: float = 0.1
    """Share of the training data kept for validation where no file is, in (0, 1)."""
    test_fraction: float = 0.2
    """Share of the data kept for the test where no file is, in (0, 1)."""
    tokenizer: Literal["words", "whitespace", "characters"] | None = None
    """What texts are cut into; without it, words, and the set names into characters."""
    min_count: int = 1
    """How often a word must occur in the training texts to have a symbol of its own."""
    max_words: int | None = None
    """At most how many words have one, the most frequent first."""
    longest: int | None = None
    """Steps after which sequences are cut; without it, none is."""
    vectors: Path | None = None
    """Pretrained vectors of words, a text file as GloVe and word2vec write them."""
    num_buckets: int = 4
    """At most so many lengths of batches, so that sequences are batched with others of nearly their length."""
    balance: bool = False
    """Count every class the same in the loss, however rare it is."""
    choose_by: Literal["loss", "accuracy", "f1"] = "loss"
    """Which figure of the validation part the best model is chosen by."""
    baselines: bool = True
    """Train the simple models too that this one should beat."""
    quick: bool = False
    """A look in under a minute: at most 500 training sequences and 3 epochs."""
    patience: int | None = 5
    """Stop early after so many epochs in a row without a better validation score."""
    model: SequenceToOneConfig = dataclasses.field(default_factory=SequenceToOneConfig)
    optimizer: training.OptimizerConfig = dataclasses.field(
        default_factory=lambda: training.OptimizerConfig(learning_rate=2e-3, beta2=0.999)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        files.FilesConfig.__post_init__(self)
        for name in ("validation_fraction", "test_fraction"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)}")
        for name in ("min_count", "num_buckets", "max_words", "longest"):
            if getattr(self, name) is not None:
                checks.positive_int(name, getattr(self, name))
        if self.tokenizer is not None:
            checks.one_of("tokenizer", self.tokenizer, tuple(words.TOKENIZERS))
        checks.one_of("choose_by", self.choose_by, ("loss", "accuracy", "f1"))
        if self.data is not None and self.data not in datasets.DATASETS:
            object.__setattr__(self, "data", str(Path(self.data).absolute()))  # where a resumed run finds it again
        self._check_together()

    def _check_together(self) -> None:
        """What one option asks of another."""
        if self.task == "regression" and (self.balance or self.choose_by != "loss"):
            raise ValueError("balance and choose_by are about classes, which --task regression has none of")
        if self.balance and self.model.class_weights is not None:
            raise ValueError("balance makes its own model.class_weights; only one of them can be given")

    def cadence(self, train: Any) -> training.Cadence:
        epochs = min(self.epochs, 3) if self.quick else self.epochs
        return training.Cadence.of_epochs(epochs, train, self.log_every, self.patience)

    def score(self, figures: dict[str, float]) -> float:
        return figures["loss"] if self.choose_by == "loss" else 1.0 - figures[self.choose_by]


def load(config: ClassifyConfig) -> study.Data:
    """Read and split the data; what the model must know of them goes into its config."""
    whole, splits, header = _splits(config)
    tokenizer = config.tokenizer or ("characters" if config.data == "names" else "words")
    answer = files.TASKS[config.task]
    encoding = sequences.Encoding.of(splits.train, whole, answer, tokenizer, config.min_count, config.max_words)
    inputs = [[sequence[: config.longest] for sequence in encoding.inputs(part)] for part in splits]
    targets = [encoding.targets(part) for part in splits]
    lengths = [len(sequence) for part in inputs for sequence in part]

    def source(part: int, seed: int | None) -> Any:
        num_buckets = 1 if config.quick else config.num_buckets  # each takes its time to compile
        return sequences.batches(inputs[part], targets[part], config.batch_size, num_buckets, seed)

    return study.Data(
        train=source(0, config.seed),
        validation=source(1, None),
        test=source(2, None),
        model=_model(config, encoding, targets[0], max(map(len, inputs[0]))),
        save_companion=lambda folder: _save_meaning(encoding, folder),
        identity={
            "sequences": [len(part) for part in inputs],
            "sha256": sequences.digest(splits),
            "header": header,
            "width": files.width_of(config.data),
        },
        symbols_per_step=round(config.batch_size * float(np.mean([len(sequence) for sequence in inputs[0]]))),
        description=(
            f"sequences: {len(inputs[0]):,} to train on, {len(inputs[1]):,} to validate on, {len(inputs[2]):,} to test "
            f"on; {min(lengths)} to {max(lengths)} steps, {_described(encoding)}"
            f"{_header_told(config, header)}"
        ),
        prepare=lambda model: _prepare(model, config, inputs[0], targets[0], encoding),
    )


def _splits(config: ClassifyConfig) -> tuple[Labelled, sequences.Splits, list[str] | None]:
    """All that --data holds to learn from, the three parts, and the names in the header of a table."""
    if config.data is None:
        raise InputError(f"--data must name a file, or one of {', '.join(datasets.DATASETS)}")
    header = None
    if config.data in datasets.DATASETS:
        train, validation, test = datasets.DATASETS[config.data]()
    elif not Path(config.data).exists():
        raise InputError(f"--data {config.data} is neither a file nor one of {', '.join(datasets.DATASETS)}")
    else:
        train, validation, test = files.read(Path(config.data), config), None, None
        header = files.header_of(Path(config.data), train)
    whole = train
    if config.validation is not None:
        validation = files.read_more(config.validation, config, header)
    if config.test is not None:
        test = files.read_more(config.test, config, header)
    splits = sequences.split(train, validation, test, (config.validation_fraction, config.test_fraction), config.seed)
    if config.quick:
        splits = sequences.Splits(*(sequences.some(part, 500, config.seed) for part in splits))
    return whole, splits, header


def _model(
    config: ClassifyConfig, encoding: sequences.Encoding, targets: np.ndarray, longest: int
) -> SequenceToOneConfig:
    """The model's config with all that the data decide."""
    decided: dict[str, Any] = {
        "answer": encoding.answer,
        "in_features": encoding.in_features,
        "vocab_size": None if encoding.vocabulary is None else len(encoding.vocabulary),
        "num_outputs": encoding.num_outputs,
    }
    for name, value in decided.items():
        given, option = getattr(config.model, name), f"--model.{name.replace('_', '-')}"
        if given is not None and given != value:
            expected = "is not for these data" if value is None else f"must be the data's {value}"
            raise InputError(f"{option} {expected}, got {given}")
    window = config.model.window or (longest if config.model.pooling == "flatten" else None)
    weights = _balanced(targets, encoding) if config.balance else config.model.class_weights
    try:
        return dataclasses.replace(config.model, **decided, window=window, class_weights=weights)
    except ValueError as error:
        raise InputError(f"--model: {error}") from error


def _balanced(targets: np.ndarray, encoding: sequences.Encoding) -> tuple[float, ...]:
    """Weights by which every class counts the same, 1 on average; of several classes, its yes as much as its no."""
    if encoding.answer == "classes":
        positive = targets.sum(axis=0)
        return tuple((np.maximum(len(targets) - positive, 1) / np.maximum(positive, 1)).tolist())
    counts = np.bincount(targets, minlength=encoding.num_outputs)
    return tuple((len(targets) / (len(counts) * np.maximum(counts, 1))).tolist())


def _prepare(
    model: Any, config: ClassifyConfig, inputs: Sequence[np.ndarray], targets: np.ndarray, encoding: sequences.Encoding
) -> None:
    """Means and scales of the training data, and pretrained vectors, go into the model."""
    try:
        if encoding.in_features is not None:
            model.encoder.embed.adapt(inputs)
        if encoding.answer == "number":
            model.targets.adapt(targets)
    except ValueError as error:
        raise InputError(f"--data {config.data} can't be standardised: {error}") from error
    if config.vectors is not None:
        _start_from(config.vectors, model, encoding)


def _start_from(vectors_file: Path, model: Any, encoding: sequences.Encoding) -> None:
    """Pretrained vectors take the place of the embeddings of their words."""
    if not isinstance(encoding.vocabulary, words.WordVocabulary):
        raise InputError("--vectors are for texts, and the data hold numbers")
    vectors, found = words.read_vectors(vectors_file, encoding.vocabulary.words)
    embedding = model.encoder.embed.embed.embedding
    if vectors.shape[1] != embedding.shape[1]:
        width, option = vectors.shape[1], f"--model.embed-features is {embedding.shape[1]}"
        raise InputError(f"{vectors_file} has vectors of {width} numbers; {option}")
    rows = np.array(embedding[...])
    rows[words.SPECIAL :][found] = vectors[found]  # the first symbols are for padding and for unknown words
    embedding[...] = jax.numpy.asarray(rows)
    print(f"vectors: {found.sum():,} of {len(found):,} words have one")


def _save_meaning(encoding: sequences.Encoding, folder: training.RunFolder) -> None:
    if encoding.vocabulary is not None:
        save_vocabulary(encoding.vocabulary, folder.vocabulary)
    if encoding.labels is not None:
        save_labels(encoding.labels, folder.labels)


def _header_told(config: ClassifyConfig, header: list[str] | None) -> str:
    """What was made of a table's first row, so that nobody loses one unawares."""
    if config.data in datasets.DATASETS or not files.is_table(Path(str(config.data))):
        return ""
    return "\nno header: the first row is data" if header is None else f"\nheader: {', '.join(header)}"


def _described(encoding: sequences.Encoding) -> str:
    what = (
        f"{encoding.in_features} numbers a step"
        if encoding.vocabulary is None
        else f"{len(encoding.vocabulary):,} symbols"
    )
    return f"{what}; {encoding.num_outputs} {'classes' if encoding.labels else 'numbers to say'}"


STUDY: study.Study[ClassifyConfig] = study.Study(
    module="experiments.classify",
    description=DESCRIPTION,
    family="sequence-to-one",
    config=ClassifyConfig,
    name=lambda config: Path(str(config.data)).stem,
    load=load,
    finish=lambda run, model, meaning: answers.finish(STUDY, run, model, meaning),
)


def main() -> int:
    if any(argument.split("=")[0] in ("--checkpoint", "--predict") for argument in sys.argv[1:]):
        return predictions.run(sys.argv[1:], DESCRIPTION)
    return study.run(STUDY, sys.argv[1:])


if __name__ == "__main__":
    cli.run(main)
