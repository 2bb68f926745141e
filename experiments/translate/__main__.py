"""Learn to translate, or to make any other text of a text.

Trains on two files of one sentence a line (UTF-8, packed or not), or on a named set, and baselines beside it; chooses
by the dev part, looks at the test part once. A trained model translates a file or standard input by --checkpoint DIR
[--translate FILE].

Usage: python -m experiments.translate --train-source FILE --train-target FILE [--dev-source ...] [--out DIR] ...
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from experiments import cli, settings, study
from experiments.parts import Parts, complete, described, digest, in_batches
from experiments.ranges import Fraction, Positive
from experiments.translate import answers, pairs, predictions
from experiments.translate.options import TranslateOptions
from lstmjax import checks, training
from lstmjax.data.parallel import ParallelText, read_parallel
from lstmjax.data.parallel_sets import TRANSLATION_SETS
from lstmjax.data.symbol_pairs import PairVocabulary, save_pair
from lstmjax.errors import InputError
from lstmjax.models import Seq2SeqConfig

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
    dev_fraction: Fraction = 0.05
    """Share of the training data kept to choose by where no files are, in (0, 1)."""
    test_fraction: Fraction = 0.05
    """Share of the training data kept for the test where no files are, in (0, 1)."""
    symbols: Literal["auto", "subwords", "words", "characters"] = "auto"
    """What texts are read and written in; auto: characters for addition and dates, else subwords."""
    vocabulary_size: Positive = 6000
    """Of subwords: at most how many."""
    min_count: Positive = 2
    """Of words: how often one must occur to have a symbol."""
    share_symbols: bool = True
    """One vocabulary for both sides."""
    longest: Positive = 100
    """Training pairs with more symbols on a side are left out."""
    num_buckets: Positive = 10
    """At most so many lengths of batches, so that pairs are batched with others of nearly their length."""
    choose_by: Literal["loss", "accuracy", "exact"] = "accuracy"
    """Which figure of the dev part the best model is chosen by: loss; accuracy, of symbols, the true ones before them
    given; or exact, the share of texts of which every symbol is right."""
    beam: Positive = 5
    """Hypotheses kept in decoding the test part."""
    length_penalty: Annotated[float, checks.finite] = 0.6
    """Exponent of the length that log probabilities are divided by, as in GNMT; 0 favours short translations."""
    quick: bool = False
    """A look in about a minute: at most 2000 pairs to train on and 3 epochs."""
    batch_size: Positive = 64
    epochs: Positive = 20
    patience: Positive | None = 6
    model: Seq2SeqConfig = dataclasses.field(default_factory=Seq2SeqConfig)
    optimizer: training.OptimizerConfig = training.OptimizerConfig(learning_rate=1e-3, beta2=0.999)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in SIDES if getattr(self, name) is not None]
        if self.data is not None and self.data not in TRANSLATION_SETS:
            named = ", ".join(TRANSLATION_SETS)
            raise ValueError(f"data must be one of {named}, got {self.data!r}; files go to --train-source and -target")
        if self.data is not None and given:
            raise ValueError(f"data has parts of its own, so {given[0]} must not be given")
        for source, target in zip(SIDES[::2], SIDES[1::2], strict=True):
            if (source in given) != (target in given):
                raise ValueError(f"{source} and {target} must be given together")

    def score(self, figures: dict[str, float]) -> float:
        return figures["loss"] if self.choose_by == "loss" else 1.0 - figures[self.choose_by]


def load(config: TranslateConfig) -> study.Data:
    """Read the parts; what the model must know of them goes into its config."""
    texts, omissions = _texts(config)
    kind = config.symbols
    if kind == "auto":
        kind = "characters" if config.data in ("addition", "dates") else "subwords"
    vocabulary = pairs.vocabulary_of(texts.train, kind, config.vocabulary_size, config.min_count, config.share_symbols)
    whole = Parts(*(pairs.encode_part(text, vocabulary) for text in texts))
    parts = whole._replace(train=pairs.without_long(whole.train, config.longest))
    num_buckets = min(config.num_buckets, 2) if config.quick else config.num_buckets  # each takes its time to compile
    sources = in_batches(
        parts, lambda part, seed: pairs.batches(part, config.batch_size, num_buckets, seed), config.seed
    )
    written = (repr((text.source, text.target)).encode("utf-8", "surrogatepass") for text in texts)
    return study.Data(
        *sources,
        model=_model(config, vocabulary),
        save_companion=lambda folder: save_pair(vocabulary, folder.vocabulary),
        identity={"pairs": [text.pairs for text in texts], "sha256": digest(written)},
        symbols_per_step=round(sum(map(len, parts.train.targets)) / len(sources.train)),
        description="\n".join([_described(texts, parts, sources.train, vocabulary, kind), *omissions]),
        parts=parts,
    )


def _texts(config: TranslateConfig) -> tuple[Parts[ParallelText], list[str]]:
    """The parts, and what was left out of their files."""
    train, dev, test = _files(config) if config.data is None else TRANSLATION_SETS[config.data].read()
    omissions = [text.omissions for text in (train, dev, test) if text is not None and text.omissions]
    texts = complete(train, dev, test, pairs.split, (config.dev_fraction, config.test_fraction), config.seed)
    if not config.quick:
        return texts, omissions
    sizes = zip(texts, (2000, 200, 200), strict=True)
    return Parts(*(pairs.take(text, range(min(most, text.pairs))) for text, most in sizes)), omissions


def _files(config: TranslateConfig) -> tuple[ParallelText, ParallelText | None, ParallelText | None]:
    def read(source: Path | None, target: Path | None) -> ParallelText | None:
        return None if source is None or target is None else read_parallel(source, target)

    train = read(config.train_source, config.train_target)
    if train is None:
        named = ", ".join(TRANSLATION_SETS)
        raise InputError(f"--train-source and --train-target must name files, or --data one of {named}")
    return train, read(config.dev_source, config.dev_target), read(config.test_source, config.test_target)


def _model(config: TranslateConfig, vocabulary: PairVocabulary) -> Seq2SeqConfig:
    """The model's config with all that the data decide."""
    sizes = {"source_vocab_size": len(vocabulary.source), "target_vocab_size": len(vocabulary.target)}
    decided = settings.decided_by_data(config, config.model, **sizes)
    if config.model.share_embeddings and not vocabulary.shared:
        raise InputError("--model.share-embeddings needs one vocabulary for both sides, see --share-symbols")
    return decided


def _described(
    texts: Parts[ParallelText], parts: Parts[pairs.Part], train: Any, vocabulary: PairVocabulary, kind: str
) -> str:
    """What the data are, how they are batched, and what was left out of them."""
    sizes = f"{len(vocabulary.source):,}"
    if not vocabulary.shared:
        sizes = f"{sizes} and {len(vocabulary.target):,}"
    lines = [
        described("pairs", [text.pairs for text in texts]),
        f"symbols: {sizes} {kind}, {sum(map(len, parts.train.targets)) / len(parts.train.targets):.1f} a target",
        f"batches: {len(train.shapes)} lengths, so as many compilations; {train.padding:.0%} of the steps are padding",
    ]
    long = texts.train.pairs - parts.train.text.pairs
    if long:
        lines.append(f"{long:,} pairs to learn from are too long and left out, see --longest")
    return "\n".join(lines)


STUDY: study.Study[TranslateConfig] = study.Study(
    module="experiments.translate",
    description=__doc__,
    family="seq2seq",
    config=TranslateConfig,
    name=lambda config: config.data or Path(str(config.train_source)).name.split(".")[0],
    load=load,
    finish=answers.finish,
    use=study.Use(TranslateOptions, predictions.run, "--translate"),
)
main = STUDY.main


if __name__ == "__main__":
    cli.run(main)
