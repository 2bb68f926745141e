"""Learn to tag tokens: parts of speech, named entities, chunks.

Usage: python -m experiments.tag --train FILE [--dev FILE] [--test FILE] [--out DIR] ...
       python -m experiments.tag --checkpoint DIR --predict FILE [--out FILE]; see --help.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from experiments import cli, settings, study
from experiments.tag import answers, predictions, sentences
from lstmjax import checks, data, spans, training
from lstmjax.data import words
from lstmjax.data.labels import Labels
from lstmjax.data.tagged import Sentences
from lstmjax.data.tagged_sets import TAGGED_SETS
from lstmjax.data.tokens import TokenVocabulary, save_tokens
from lstmjax.errors import InputError
from lstmjax.models import Tagger, TaggerConfig

DESCRIPTION = """Learn to tag the tokens of sentences: parts of speech, named entities, chunks.

Trains on a file (CoNLL-U, or columns with blank lines between sentences; packed or not) or a named set, and baselines
beside it; chooses by the dev part, looks at the test part once. Writes checkpoints, metrics, figures, a report by tag
and a summary into one folder. Ctrl-C saves and says how to go on. Another file, tagged by a trained model, is written
by --checkpoint DIR --predict FILE, which has options of its own (--checkpoint DIR --help). Exit codes: 0 done, 1 failed
on the way, 2 the command or its input can't be used, 130 stopped."""


@dataclasses.dataclass(frozen=True)
class TagConfig(settings.EpochsConfig, sentences.FilesConfig):
    """Every setting of a run."""

    data: str | None = None
    """One of the named sets, in place of --train, --dev and --test: ud-ewt, wnut17."""
    train: Path | None = None
    """The file to learn from."""
    dev: Path | None = None
    """A file to choose the model by; without it, a part of the training data."""
    test: Path | None = None
    """A file to look at once, at the end; without it, a part of the training data."""
    dev_fraction: float = 0.1
    """Share of the training data kept to choose by where no file is, in (0, 1)."""
    test_fraction: float = 0.1
    """Share of the training data kept for the test where no file is, in (0, 1)."""
    min_count: int = 1
    """How often a word must occur in the training data to have a symbol of its own."""
    longest_word: int = 20
    """W: of longer words only the first and the last W / 2 characters are read; even."""
    longest_sentence: int = 256
    """Tokens after which sentences are cut in pieces, each read by itself."""
    vectors: Path | None = None
    """Pretrained vectors of words, a text file as GloVe and word2vec write them."""
    num_buckets: int = 8
    """At most so many lengths of batches, so that sentences are batched with others of nearly their length."""
    choose_by: Literal["auto", "loss", "accuracy", "f1"] = "auto"
    """Which figure of the dev part the best model is chosen by; auto: f1 where tags write spans, else accuracy."""
    baselines: bool = True
    """Train the simple models too that this one should beat."""
    quick: bool = False
    """A look in about a minute: at most 500 sentences to train on and 3 epochs."""
    epochs: int = 15
    """Passes over the training data."""
    patience: int | None = 6
    """Stop early after so many epochs in a row without a better dev score."""
    model: TaggerConfig = dataclasses.field(default_factory=TaggerConfig)
    optimizer: training.OptimizerConfig = dataclasses.field(
        default_factory=lambda: training.OptimizerConfig(learning_rate=2e-3, beta2=0.999)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        sentences.FilesConfig.__post_init__(self)
        for name in ("dev_fraction", "test_fraction"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)}")
        for name in ("min_count", "longest_sentence", "num_buckets"):
            checks.positive_int(name, getattr(self, name))
        if checks.index("longest_word", self.longest_word, 2) % 2:
            raise ValueError(f"longest_word must be even, got {self.longest_word}")
        checks.one_of("choose_by", self.choose_by, ("auto", "loss", "accuracy", "f1"))
        if self.data is not None and self.data not in TAGGED_SETS:
            raise ValueError(f"data must be one of {', '.join(TAGGED_SETS)}, got {self.data!r}; files go to --train")
        if self.data is not None and (self.train or self.dev or self.test):
            raise ValueError("data has parts of its own, so train, dev and test must not be given")

    def cadence(self, train: Any) -> training.Cadence:
        epochs = min(self.epochs, 3) if self.quick else self.epochs
        return training.Cadence.of_epochs(epochs, train, self.log_every, self.patience)

    def score(self, figures: dict[str, float]) -> float:
        by = self.choose_by
        if by == "auto":
            by = "f1" if "f1" in figures else "accuracy"
        return figures["loss"] if by == "loss" else 1.0 - figures[by]


def load(config: TagConfig) -> study.Data:
    """Read the parts; what the model must know of them goes into its config."""
    whole, parts = _parts(config)
    assert whole.tags is not None
    scheme = spans.scheme_of(whole.tags)
    if config.choose_by == "f1" and scheme is None:
        raise InputError(f"--choose-by f1 is for tags that write spans, which those of {whole.file} do not")
    vocabulary = TokenVocabulary.of(parts[0].tokens, config.min_count, config.longest_word)
    labels = Labels.of(tag for tags in whole.tags for tag in tags)
    encoded = sentences.Parts(*(sentences.encode(part, vocabulary, labels, config.longest_sentence) for part in parts))
    num_buckets = 1 if config.quick else config.num_buckets  # each takes its time to compile
    sources = [
        sentences.batches(part, config.batch_size, num_buckets, seed)
        for part, seed in zip(encoded, (config.seed, None, None), strict=True)
    ]
    return study.Data(
        train=sources[0],
        validation=sources[1],
        test=sources[2],
        model=_model(config, vocabulary, labels, scheme),
        save_companion=lambda folder: save_tokens(vocabulary, folder.vocabulary),
        identity={
            "sentences": [len(part.tokens) for part in parts],
            "sha256": sentences.digest(parts),
        },
        symbols_per_step=round(config.batch_size * float(np.mean([len(each) for each in encoded[0].inputs]))),
        description=_described(encoded, sources[0], vocabulary, labels),
        prepare=lambda model: _prepare(model, config, vocabulary, encoded.train),
        parts=encoded,
    )


def _parts(config: TagConfig) -> tuple[Sentences, tuple[Sentences, Sentences, Sentences]]:
    """The training file, which knows all tags, and what to learn from, to choose a model by, and to look at once."""
    paths = _paths(config)
    whole, dev, test = (None if path is None else sentences.read(path, config) for path in paths)
    assert whole is not None
    train = whole
    if test is None:
        train, test = sentences.split(train, config.test_fraction, config.seed)
    if dev is None:
        train, dev = sentences.split(train, config.dev_fraction, config.seed + 1)
    if not config.quick:
        return whole, (train, dev, test)
    return whole, (sentences.some(train, 500), sentences.some(dev, 200), sentences.some(test, 200))


def _paths(config: TagConfig) -> tuple[Path, Path | None, Path | None]:
    """The files of the three parts."""
    if config.data is not None:
        return TAGGED_SETS[config.data].paths()
    if config.train is None:
        raise InputError(f"--train must name a file, or --data one of {', '.join(TAGGED_SETS)}")
    return config.train, config.dev, config.test


def _model(config: TagConfig, vocabulary: TokenVocabulary, labels: Labels, scheme: str | None) -> TaggerConfig:
    """The model's config with all that the data decide."""
    decided: TaggerConfig = settings.decided_by_data(
        config,
        vocab_size=vocabulary.num_words,
        num_characters=None if config.model.spelling == "none" else vocabulary.num_characters,
        tags=labels.names,
        scheme=scheme,
    )
    return decided


def _prepare(model: Any, config: TagConfig, vocabulary: TokenVocabulary, train: sentences.Encoded) -> None:
    """How often each word occurs, and pretrained vectors, go into the model."""
    assert isinstance(model, Tagger)
    ids = np.concatenate([encoded[:, 0] for encoded in train.inputs])
    model.unknown.count[...] = jnp.asarray(np.bincount(ids, minlength=vocabulary.num_words), jnp.float32)
    if config.vectors is not None:
        _start_from(config.vectors, model, vocabulary)


def _start_from(vectors_file: Path, model: Tagger, vocabulary: TokenVocabulary) -> None:
    """Pretrained vectors take the place of the embeddings of their words, or of those in lower case."""
    lower = [word.lower() for word in vocabulary.words]
    vectors, found = words.read_vectors(vectors_file, [*vocabulary.words, *lower])
    (as_is, of_lower), (is_there, lower_is_there) = np.split(vectors, 2), np.split(found, 2)
    embedding = model.words.embedding
    if vectors.shape[1] != embedding.shape[1]:
        width, option = vectors.shape[1], f"--model.word-features is {embedding.shape[1]}"
        raise InputError(f"{vectors_file} has vectors of {width} numbers; {option}")
    rows = np.array(embedding[...])
    has_one = is_there | lower_is_there
    rows[words.SPECIAL :][has_one] = np.where(is_there[:, None], as_is, of_lower)[has_one]
    embedding[...] = jnp.asarray(rows)
    print(f"vectors: {has_one.sum():,} of {len(has_one):,} words have one")


def _described(parts: sentences.Parts, train: data.Bucketed, vocabulary: TokenVocabulary, labels: Labels) -> str:
    """What the data are, how they are batched, and what was done to them."""
    count = [sum(map(len, part.sentences.tokens)) for part in parts]
    lines = [
        f"tokens: {count[0]:,} to learn from, {count[1]:,} to choose by, {count[2]:,} to test on",
        f"{len(vocabulary.words):,} words, {len(vocabulary.characters):,} characters, {len(labels)} tags",
        f"batches: {len(train.shapes)} lengths, so as many compilations; {train.padding:.0%} of the steps are padding",
    ]
    cuts = sum(len(part.inputs) - len(part.sentences.tokens) for part in parts)
    if cuts:
        lines.append(f"long sentences are read in pieces: {cuts} cuts, see --longest-sentence")
    return "\n".join(lines)


STUDY: study.Study[TagConfig] = study.Study(
    module="experiments.tag",
    description=DESCRIPTION,
    family="tagger",
    config=TagConfig,
    name=lambda config: config.data or Path(str(config.train)).name.split(".")[0],
    load=load,
    finish=lambda run, model, vocabulary: answers.finish(STUDY, run, model, vocabulary),
)


def main() -> int:
    if any(argument.split("=")[0] in ("--checkpoint", "--predict") for argument in sys.argv[1:]):
        return predictions.run(sys.argv[1:], DESCRIPTION)
    return study.run(STUDY, sys.argv[1:])


if __name__ == "__main__":
    cli.run(main)
