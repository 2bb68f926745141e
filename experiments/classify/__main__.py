"""Learn to say what whole sequences are: their class, any number of classes, or numbers.

Trains on a file (.tsv, .csv: texts; .ts; .npz) or a named set, and baselines beside it; chooses by the validation part,
looks at the test part once. What a trained model makes of another file is written by --checkpoint DIR
--predict FILE.

Usage: python -m experiments.classify --data FILE|NAME [--test FILE] [--out DIR] ...
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments import cli, settings, study, vectors
from experiments.classify import answers, files, predictions, sequences
from experiments.parts import Parts, complete, digest, in_batches
from experiments.ranges import Positive
from lstmjax import training
from lstmjax.data import Labelled, datasets, examples, words
from lstmjax.data.labels import save_labels
from lstmjax.data.text import save_vocabulary
from lstmjax.errors import InputError
from lstmjax.models import SequenceToOneConfig


@dataclasses.dataclass(frozen=True)
class ClassifyConfig(settings.EpochsConfig, settings.HeldOutConfig, files.FilesConfig):
    """Every setting of a run."""

    data: str | None = None
    """A file, or one of the named sets: japanese-vowels, sst2, names, mnist-rows, mnist-pixels, mnist-permuted."""
    test: Path | None = None
    """A file to look at once, at the end; without it, a part of the data."""
    validation: Path | None = None
    """A file to choose the model by; without it, a part of the data."""
    tokenizer: Literal["words", "whitespace", "characters"] | None = None
    """What texts are cut into; without it, words, and the set names into characters."""
    min_count: Positive = 1
    """How often a word must occur in the training texts to have a symbol of its own."""
    max_words: Positive | None = None
    """At most how many words have one, the most frequent first."""
    longest: Positive | None = None
    """Steps after which sequences are cut; without it, none is."""
    vectors: Path | None = None
    """Pretrained vectors of words, a text file as GloVe and word2vec write them."""
    num_buckets: Positive = 4
    """At most so many lengths of batches, so that sequences are batched with others of nearly their length."""
    balance: bool = False
    """Count every class the same in the loss, however rare it is."""
    choose_by: Literal["loss", "accuracy", "f1"] = "loss"
    """Which figure of the validation part the best model is chosen by."""
    quick: bool = False
    """A look in under a minute: at most 500 training sequences and 3 epochs."""
    patience: Positive | None = 5
    model: SequenceToOneConfig = dataclasses.field(default_factory=SequenceToOneConfig)
    optimizer: training.OptimizerConfig = training.OptimizerConfig(learning_rate=2e-3, beta2=0.999)

    def __post_init__(self) -> None:
        super().__post_init__()
        settings.keep_findable(self, self.data, datasets.DATASETS)
        if self.task == "regression" and (self.balance or self.choose_by != "loss"):
            raise ValueError("balance and choose_by are about classes, which --task regression has none of")
        if self.balance and self.model.class_weights is not None:
            raise ValueError("balance makes its own model.class_weights; only one of them can be given")

    def score(self, figures: dict[str, float]) -> float:
        return figures["loss"] if self.choose_by == "loss" else 1.0 - figures[self.choose_by]


def load(config: ClassifyConfig) -> study.Data:
    """Read and split the data; what the model must know of them goes into its config."""
    whole, splits, header = _splits(config)
    tokenizer = config.tokenizer or ("characters" if config.data == "names" else "words")
    answer = files.TASKS[config.task]
    encoding = sequences.Encoding.of(splits.train, whole, answer, tokenizer, config.min_count, config.max_words)
    inputs = Parts(*([sequence[: config.longest] for sequence in encoding.inputs(part)] for part in splits))
    targets = Parts(*map(encoding.targets, splits))
    num_buckets = 1 if config.quick else config.num_buckets  # each takes its time to compile
    sources = in_batches(
        Parts(*zip(inputs, targets, strict=True)),
        lambda part, seed: sequences.batches(*part, config.batch_size, num_buckets, seed),
        config.seed,
    )
    lengths = [len(sequence) for part in inputs for sequence in part]
    return study.Data(
        *sources,
        model=_model(config, encoding, targets.train, max(map(len, inputs.train))),
        save_companion=lambda folder: _save_meaning(encoding, folder),
        identity={
            "sequences": [len(part) for part in inputs],
            "sha256": digest(piece for part in splits for piece in sequences.pieces(part)),
            "header": header,
            "width": files.width_of(config.data),
        },
        symbols_per_step=round(config.batch_size * float(np.mean([len(sequence) for sequence in inputs.train]))),
        description=(
            f"sequences: {len(inputs[0]):,} to train on, {len(inputs[1]):,} to validate on, {len(inputs[2]):,} to test "
            f"on; {min(lengths)} to {max(lengths)} steps, {_described(encoding)}"
            f"{_header_told(config, header)}"
        ),
        prepare=functools.partial(_prepare, config, encoding, inputs.train, targets.train),
    )


def _splits(config: ClassifyConfig) -> tuple[Labelled, Parts[Labelled], list[str] | None]:
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
    splits = complete(train, validation, test, examples.split, config.fractions, config.seed)
    if config.quick:
        splits = Parts(*(sequences.some(part, 500, config.seed) for part in splits))
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
    config: ClassifyConfig, encoding: sequences.Encoding, inputs: list[np.ndarray], targets: np.ndarray, model: Any
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
        if not isinstance(encoding.vocabulary, words.WordVocabulary):
            raise InputError("--vectors are for texts, and the data hold numbers")
        embedding = model.encoder.embed.embed.embedding
        vectors.start_from(config.vectors, embedding, encoding.vocabulary.words, "--model.embed-features")


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
    what = f"{encoding.in_features} numbers a step"
    if encoding.vocabulary is not None:
        what = f"{len(encoding.vocabulary):,} symbols"
    return f"{what}; {encoding.num_outputs} {'classes' if encoding.labels else 'numbers to say'}"


STUDY: study.Study[ClassifyConfig] = study.Study(
    module="experiments.classify",
    description=__doc__,
    family="sequence-to-one",
    config=ClassifyConfig,
    name=lambda config: Path(str(config.data)).stem,
    load=load,
    finish=answers.finish,
    use=study.Use(predictions.PredictConfig, predictions.run),
)
main = STUDY.main


if __name__ == "__main__":
    cli.run(main)
