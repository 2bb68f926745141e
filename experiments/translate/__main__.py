"""Learn to translate, or to make any other text of a text.

Usage: python -m experiments.translate --train-source FILE --train-target FILE [--dev-source ...] [--out DIR] ...
       python -m experiments.translate --checkpoint DIR [--translate FILE] [--beam 5] ...; see --help.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

from experiments import cli, settings, study
from experiments.translate import answers, pairs, predictions
from lstmjax import checks, training
from lstmjax.data.parallel import ParallelText, read_parallel
from lstmjax.data.parallel_sets import TRANSLATION_SETS
from lstmjax.data.symbol_pairs import PairVocabulary, save_pair
from lstmjax.errors import InputError
from lstmjax.models import Seq2SeqConfig

DESCRIPTION = """Learn to translate, or to make any other text of a text.

Trains on two files of one sentence a line (UTF-8, packed or not), or on a named set, and baselines beside it; chooses
by the dev part, looks at the test part once. Writes checkpoints, metrics, figures, translations and a summary into one
folder. Ctrl-C saves and says how to go on. A trained model translates a file or standard input by --checkpoint DIR
[--translate FILE], which has options of its own (--checkpoint DIR --help). Exit codes: 0 done, 1 failed on the way, 2
the command or its input can't be used, 130 stopped."""

SIDES = [f"{part}_{side}" for part in ("train", "dev", "test") for side in ("source", "target")]


@dataclasses.dataclass(frozen=True)
class TranslateConfig(settings.EpochsConfig):
    """Every setting of a run."""

    data: str | None = None
    """One of the named sets, in place of files: addition, dates, multi30k-de-en."""
    train_source: Path | None = None
    """The sentences to learn from, one a line."""
    train_target: Path | None = None
    """Their translations, line by line."""
    dev_source: Path | None = None
    """Sentences to choose the model by; without them, a part of the training data."""
    dev_target: Path | None = None
    """Their translations."""
    test_source: Path | None = None
    """Sentences to look at once, at the end; without them, a part of the training data."""
    test_target: Path | None = None
    """Their translations."""
    dev_fraction: float = 0.05
    """Share of the training data kept to choose by where no files are, in (0, 1)."""
    test_fraction: float = 0.05
    """Share of the training data kept for the test where no files are, in (0, 1)."""
    symbols: Literal["auto", "subwords", "words", "characters"] = "auto"
    """What texts are read and written in; auto: characters for addition and dates, else subwords."""
    vocabulary_size: int = 6000
    """Of subwords: at most how many."""
    min_count: int = 2
    """Of words: how often one must occur to have a symbol."""
    share_symbols: bool = True
    """One vocabulary for both sides."""
    longest: int = 100
    """Training pairs with more symbols on a side are left out."""
    num_buckets: int = 10
    """At most so many lengths of batches, so that pairs are batched with others of nearly their length."""
    choose_by: Literal["loss", "accuracy", "exact"] = "accuracy"
    """Which figure of the dev part the best model is chosen by: loss; accuracy, of symbols, the true ones before them
    given; or exact, the share of texts of which every symbol is right."""
    beam: int = 5
    """Hypotheses kept in decoding the test part."""
    length_penalty: float = 0.6
    """Exponent of the length that log probabilities are divided by, as in GNMT; 0 favours short translations."""
    baselines: bool = True
    """Train the simple models too that this one should beat."""
    quick: bool = False
    """A look in about a minute: at most 2000 pairs to train on and 3 epochs."""
    batch_size: int = 64
    """B, pairs of a batch."""
    epochs: int = 20
    """Passes over the training data."""
    patience: int | None = 6
    """Stop early after so many epochs in a row without a better dev score."""
    model: Seq2SeqConfig = dataclasses.field(default_factory=Seq2SeqConfig)
    optimizer: training.OptimizerConfig = dataclasses.field(
        default_factory=lambda: training.OptimizerConfig(learning_rate=1e-3, beta2=0.999)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dev_fraction", "test_fraction"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)}")
        for name in ("vocabulary_size", "min_count", "longest", "num_buckets", "beam"):
            checks.positive_int(name, getattr(self, name))
        checks.one_of("symbols", self.symbols, ("auto", "subwords", "words", "characters"))
        checks.one_of("choose_by", self.choose_by, ("loss", "accuracy", "exact"))
        checks.finite("length_penalty", self.length_penalty)
        self._check_files()

    def _check_files(self) -> None:
        given = [name for name in SIDES if getattr(self, name) is not None]
        if self.data is not None and self.data not in TRANSLATION_SETS:
            named = ", ".join(TRANSLATION_SETS)
            raise ValueError(f"data must be one of {named}, got {self.data!r}; files go to --train-source and -target")
        if self.data is not None and given:
            raise ValueError(f"data has parts of its own, so {given[0]} must not be given")
        for source, target in zip(SIDES[::2], SIDES[1::2], strict=True):
            if (source in given) != (target in given):
                raise ValueError(f"{source} and {target} must be given together")

    def cadence(self, train: Any) -> training.Cadence:
        epochs = min(self.epochs, 3) if self.quick else self.epochs
        return training.Cadence.of_epochs(epochs, train, self.log_every, self.patience)

    def score(self, figures: dict[str, float]) -> float:
        return figures["loss"] if self.choose_by == "loss" else 1.0 - figures[self.choose_by]


def load(config: TranslateConfig) -> study.Data:
    """Read the parts; what the model must know of them goes into its config."""
    texts, omissions = _texts(config)
    kind = config.symbols
    if kind == "auto":
        kind = "characters" if config.data in ("addition", "dates") else "subwords"
    vocabulary = pairs.vocabulary_of(texts[0], kind, config.vocabulary_size, config.min_count, config.share_symbols)
    train, validation, test = (pairs.encode_part(text, vocabulary) for text in texts)
    parts = pairs.Parts(pairs.without_long(train, config.longest), validation, test)
    num_buckets = min(config.num_buckets, 2) if config.quick else config.num_buckets  # each takes its time to compile
    sources = [
        pairs.batches(part, config.batch_size, num_buckets, seed)
        for part, seed in zip(parts, (config.seed, None, None), strict=True)
    ]
    return study.Data(
        train=sources[0],
        validation=sources[1],
        test=sources[2],
        model=_model(config, vocabulary),
        save_companion=lambda folder: save_pair(vocabulary, folder.vocabulary),
        identity={"pairs": [text.pairs for text in texts], "sha256": pairs.digest(texts)},
        symbols_per_step=round(sum(map(len, parts.train.targets)) / len(sources[0])),
        description="\n".join([_described(texts, parts, sources[0], vocabulary, kind), *omissions]),
        parts=parts,
    )


Texts = tuple[ParallelText, ParallelText, ParallelText]


def _texts(config: TranslateConfig) -> tuple[Texts, list[str]]:
    """What to learn from, what to choose a model by, what to look at once; and what was left out of the files."""
    omissions: list[str] = []
    if config.data is not None:
        train, dev, test = TRANSLATION_SETS[config.data].read()
    else:
        train, dev, test = _files(config, omissions)
    if config.quick:
        train, dev, test = (
            pairs.take(text, range(min(most, text.pairs))) for text, most in ((train, 2000), (dev, 200), (test, 200))
        )
    return (train, dev, test), omissions


def _files(config: TranslateConfig, omissions: list[str]) -> Texts:
    def read(source: Path, target: Path) -> ParallelText:
        text = read_parallel(source, target)
        if text.omissions:
            omissions.append(text.omissions)
        return text

    if config.train_source is None or config.train_target is None:
        named = ", ".join(TRANSLATION_SETS)
        raise InputError(f"--train-source and --train-target must name files, or --data one of {named}")
    train = read(config.train_source, config.train_target)
    if config.test_source is None or config.test_target is None:
        train, test = pairs.split(train, config.test_fraction, config.seed)
    else:
        test = read(config.test_source, config.test_target)
    if config.dev_source is None or config.dev_target is None:
        train, dev = pairs.split(train, config.dev_fraction, config.seed + 1)
    else:
        dev = read(config.dev_source, config.dev_target)
    return train, dev, test


def _model(config: TranslateConfig, vocabulary: PairVocabulary) -> Seq2SeqConfig:
    """The model's config with all that the data decide."""
    decided: Seq2SeqConfig = settings.decided_by_data(
        config, source_vocab_size=len(vocabulary.source), target_vocab_size=len(vocabulary.target)
    )
    if config.model.share_embeddings and not vocabulary.shared:
        raise InputError("--model.share-embeddings needs one vocabulary for both sides, see --share-symbols")
    return decided


def _described(texts: Texts, parts: pairs.Parts, train: Any, vocabulary: PairVocabulary, kind: str) -> str:
    """What the data are, how they are batched, and what was left out of them."""
    sizes = f"{len(vocabulary.source):,}"
    if not vocabulary.shared:
        sizes = f"{sizes} and {len(vocabulary.target):,}"
    lines = [
        f"pairs: {texts[0].pairs:,} to learn from, {texts[1].pairs:,} to choose by, {texts[2].pairs:,} to test on",
        f"symbols: {sizes} {kind}, {sum(map(len, parts.train.targets)) / len(parts.train.targets):.1f} a target",
        f"batches: {len(train.shapes)} lengths, so as many compilations; {train.padding:.0%} of the steps are padding",
    ]
    long = texts[0].pairs - parts.train.text.pairs
    if long:
        lines.append(f"{long:,} pairs to learn from are too long and left out, see --longest")
    return "\n".join(lines)


STUDY: study.Study[TranslateConfig] = study.Study(
    module="experiments.translate",
    description=DESCRIPTION,
    family="seq2seq",
    config=TranslateConfig,
    name=lambda config: config.data or Path(str(config.train_source)).name.split(".")[0],
    load=load,
    finish=lambda run, model, vocabulary: answers.finish(STUDY, run, model, vocabulary),
)


def main() -> int:
    if any(argument.split("=")[0] in ("--checkpoint", "--translate") for argument in sys.argv[1:]):
        return predictions.run(sys.argv[1:], DESCRIPTION)
    return study.run(STUDY, sys.argv[1:])


if __name__ == "__main__":
    cli.run(main)
