"""Learn to tag the tokens of sentences: parts of speech, named entities, chunks.

Trains on a file (CoNLL-U, or columns with blank lines between sentences; packed or not) or a named set, and baselines
beside it; chooses by the dev part, looks at the test part once. Another file, tagged by a trained model, is written by
--checkpoint DIR --predict FILE.

Usage: python -m experiments.tag --train FILE [--dev FILE] [--test FILE] [--out DIR] ...
"""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np

from experiments import cli, settings, study, vectors
from experiments.parts import Parts, complete, described, digest, in_batches
from experiments.ranges import Fraction, Positive, at_least
from experiments.tag import answers, predictions, sentences
from lstmjax import data, spans, training
from lstmjax.data.labels import Labels
from lstmjax.data.tagged import Sentences
from lstmjax.data.tagged_sets import TAGGED_SETS
from lstmjax.data.tokens import TokenVocabulary, save_tokens
from lstmjax.errors import InputError
from lstmjax.models import Tagger, TaggerConfig


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
    dev_fraction: Fraction = 0.1
    """Share of the training data kept to choose by where no file is, in (0, 1)."""
    test_fraction: Fraction = 0.1
    """Share of the training data kept for the test where no file is, in (0, 1)."""
    min_count: Positive = 1
    """How often a word must occur in the training data to have a symbol of its own."""
    longest_word: Annotated[int, at_least(2)] = 20
    """W: of longer words only the first and the last W / 2 characters are read; even."""
    longest_sentence: Positive = 256
    """Tokens after which sentences are cut in pieces, each read by itself."""
    vectors: Path | None = None
    """Pretrained vectors of words, a text file as GloVe and word2vec write them."""
    num_buckets: Positive = 8
    """At most so many lengths of batches, so that sentences are batched with others of nearly their length."""
    choose_by: Literal["auto", "loss", "accuracy", "f1"] = "auto"
    """Which figure of the dev part the best model is chosen by; auto: f1 where tags write spans, else accuracy."""
    quick: bool = False
    """A look in about a minute: at most 500 sentences to train on and 3 epochs."""
    epochs: Positive = 15
    patience: Positive | None = 6
    model: TaggerConfig = dataclasses.field(default_factory=TaggerConfig)
    optimizer: training.OptimizerConfig = training.OptimizerConfig(learning_rate=2e-3, beta2=0.999)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.longest_word % 2:
            raise ValueError(f"longest_word must be even, got {self.longest_word}")
        if self.data is not None and self.data not in TAGGED_SETS:
            raise ValueError(f"data must be one of {', '.join(TAGGED_SETS)}, got {self.data!r}; files go to --train")
        if self.data is not None and (self.train or self.dev or self.test):
            raise ValueError("data has parts of its own, so train, dev and test must not be given")

    def score(self, figures: dict[str, float]) -> float:
        by = self.choose_by
        if by == "auto":
            by = "f1" if "f1" in figures else "accuracy"
        return figures["loss"] if by == "loss" else 1.0 - figures[by]


def load(config: TagConfig) -> study.Data:
    """Read the parts; what the model must know of them goes into its config."""
    whole, parts = _read(config)
    assert whole.tags is not None
    scheme = spans.scheme_of(whole.tags)
    if config.choose_by == "f1" and scheme is None:
        raise InputError(f"--choose-by f1 is for tags that write spans, which those of {whole.file} do not")
    vocabulary = TokenVocabulary.of(parts.train.tokens, config.min_count, config.longest_word)
    labels = Labels.of(tag for tags in whole.tags for tag in tags)
    encoded = Parts(*(sentences.encode(part, vocabulary, labels, config.longest_sentence) for part in parts))
    num_buckets = 1 if config.quick else config.num_buckets  # each takes its time to compile
    sources = in_batches(
        encoded, lambda part, seed: sentences.batches(part, config.batch_size, num_buckets, seed), config.seed
    )
    return study.Data(
        *sources,
        model=settings.decided_by_data(
            config,
            config.model,
            vocab_size=vocabulary.num_words,
            num_characters=None if config.model.spelling == "none" else vocabulary.num_characters,
            tags=labels.names,
            scheme=scheme,
        ),
        save_companion=lambda folder: save_tokens(vocabulary, folder.vocabulary),
        identity={
            "sentences": [len(part.tokens) for part in parts],
            "sha256": digest(repr((part.tokens, part.tags)).encode("utf-8", "surrogatepass") for part in parts),
        },
        symbols_per_step=round(config.batch_size * float(np.mean([len(each) for each in encoded.train.inputs]))),
        description=_described(encoded, sources.train, vocabulary, labels),
        prepare=functools.partial(_prepare, config, vocabulary, encoded.train),
        parts=encoded,
    )


def _read(config: TagConfig) -> tuple[Sentences, Parts[Sentences]]:
    """The training file, which knows all tags, and its parts."""
    whole, dev, test = (None if path is None else sentences.read(path, config) for path in _paths(config))
    assert whole is not None
    fractions = (config.dev_fraction, config.test_fraction)
    parts = complete(whole, dev, test, sentences.split, fractions, config.seed)
    if not config.quick:
        return whole, parts
    return whole, Parts(*(sentences.some(part, most) for part, most in zip(parts, (500, 200, 200), strict=True)))


def _paths(config: TagConfig) -> tuple[Path, Path | None, Path | None]:
    """The files of the three parts."""
    if config.data is not None:
        return TAGGED_SETS[config.data].paths()
    if config.train is None:
        raise InputError(f"--train must name a file, or --data one of {', '.join(TAGGED_SETS)}")
    return config.train, config.dev, config.test


def _prepare(config: TagConfig, vocabulary: TokenVocabulary, train: sentences.Encoded, model: Any) -> None:
    """How often each word occurs, and pretrained vectors, go into the model."""
    assert isinstance(model, Tagger)
    ids = np.concatenate([encoded[:, 0] for encoded in train.inputs])
    model.unknown.count[...] = jnp.asarray(np.bincount(ids, minlength=vocabulary.num_words), jnp.float32)
    if config.vectors is not None:
        option = "--model.word-features"
        vectors.start_from(config.vectors, model.words.embedding, vocabulary.words, option, lower=True)


def _described(
    parts: Parts[sentences.Encoded], train: data.Bucketed, vocabulary: TokenVocabulary, labels: Labels
) -> str:
    """What the data are, how they are batched, and what was done to them."""
    lines = [
        described("tokens", [sum(map(len, part.sentences.tokens)) for part in parts]),
        f"{len(vocabulary.words):,} words, {len(vocabulary.characters):,} characters, {len(labels)} tags",
        f"batches: {len(train.shapes)} lengths, so as many compilations; {train.padding:.0%} of the steps are padding",
    ]
    cuts = sum(len(part.inputs) - len(part.sentences.tokens) for part in parts)
    if cuts:
        lines.append(f"long sentences are read in pieces: {cuts} cuts, see --longest-sentence")
    return "\n".join(lines)


STUDY: study.Study[TagConfig] = study.Study(
    module="experiments.tag",
    description=__doc__,
    family="tagger",
    config=TagConfig,
    name=lambda config: config.data or Path(str(config.train)).name.split(".")[0],
    load=load,
    finish=answers.finish,
    use=study.Use(predictions.PredictConfig, predictions.run),
)
main = STUDY.main


if __name__ == "__main__":
    cli.run(main)
