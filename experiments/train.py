"""Train an LSTM language model on a text, one symbol at a time; it writes a sample of text at the end.

Usage: python -m experiments.train [--data FILE] [--out DIR] [--resume] ...
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from experiments import baselines, cli, recipes, settings, study
from experiments.baselines import Figures
from experiments.corpora import NAMED, Corpus, beginning, load_corpus
from experiments.ngrams import perplexities
from experiments.observers import plot_curves
from experiments.parts import digest
from experiments.ranges import Fraction, Positive
from lstmjax import training
from lstmjax.data import text
from lstmjax.data.lines import LineVocabulary
from lstmjax.data.varied_streams import VariedStreams
from lstmjax.decoding import Sampling, generate_text
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import LanguageModel, LanguageModelConfig

QUICK_CHARACTERS = (400_000, 40_000)
"""Of the training text, and of each other part."""


@dataclasses.dataclass(frozen=True)
class TrainConfig(settings.StepsConfig):
    """Every setting of a run."""

    recipe: Literal["tied-small", "zaremba-small", "zaremba-medium", "awd-lstm"] | None = None
    """Settings of that name, see experiments/recipes.py; options given beside it win."""
    data: str | None = None
    """UTF-8 text to learn from, or one of the named sets: ptb, wikitext-2; without it, Python's own language reference
    (what help() shows)."""
    validation: Path | None = None
    """Text to choose the model by; without it, a part of the training text."""
    test: Path | None = None
    """Text to look at once, at the end."""
    symbols: Literal["characters", "bytes", "words"] = "characters"
    """What the text is cut into; words: what stands between blanks, and <eos> for each line's end."""
    min_count: Positive = 1
    """Of words: how often one must occur in the training text; <unk> stands for others."""
    max_words: Positive | None = None
    """Of words: how many to keep, the most frequent; <unk> stands for others. None keeps all."""
    validation_fraction: Fraction = 0.1
    """Share of the text, at its end, that is kept for validation where no file is, in (0, 1)."""
    chunk_length: Positive = 64
    """T, steps of backpropagation through time in a batch."""
    vary_lengths: bool = False
    """Draw each batch's steps about chunk_length, as AWD-LSTM does."""
    sample_length: Positive = 400
    """Symbols to generate at the end."""
    baselines: bool = True
    """Score the last parts by counts of one, two and three symbols in a row, too."""
    quick: bool = False
    """A look in under a minute: at most 60 steps on the beginning of each part."""
    model: LanguageModelConfig = dataclasses.field(default_factory=LanguageModelConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        settings.keep_findable(self, self.data, NAMED)
        if self.symbols != "words" and (self.min_count > 1 or self.max_words is not None):
            raise ValueError(f"min_count and max_words need symbols words, got {self.symbols}")
        if self.data in NAMED and (self.validation or self.test):
            raise ValueError(f"{self.data} has parts of its own, so validation and test must not be given")

    @property
    def symbol(self) -> str:
        return self.symbols.removesuffix("s")


def load(config: TrainConfig) -> study.Data:
    """Read, split and encode the text; symbols that only the later parts have are unknown to the vocabulary."""
    corpus = load_corpus(config.data, config.validation, config.test, config.validation_fraction)
    if config.quick:
        corpus = beginning(corpus, *QUICK_CHARACTERS)
    vocabulary = _vocabulary(config, corpus.train)
    validation, test = _encoded(vocabulary, corpus.validation, "validation"), None
    if corpus.test is not None:
        test = _encoded(vocabulary, corpus.test, "test")
    if not config.resume and config.model.vocab_size not in (None, len(vocabulary)):
        raise InputError(f"--model.vocab-size must be the text's {len(vocabulary)}, got {config.model.vocab_size}")
    streams = _streams(config, vocabulary.encode(corpus.train))
    plan = text.EvaluationPlan(chunk_length=256 if len(vocabulary) <= 1024 else 32)  # scores of many symbols are large
    return study.Data(
        train=streams,
        validation=text.Reading(validation, plan),
        test=None if test is None else text.Reading(test, text.EXACT),
        model=dataclasses.replace(config.model, vocab_size=len(vocabulary)),
        save_companion=lambda folder: text.save_vocabulary(vocabulary, folder.vocabulary),
        identity=_identity(corpus),
        symbols_per_step=config.batch_size * config.chunk_length,
        description=(
            f"text: {len(streams.ids):,} {config.symbols} to train on, {len(validation):,} to validate on, "
            + ("" if test is None else f"{len(test):,} to test on, ")
            + f"{len(vocabulary)} symbols\nlosses: nats per {config.symbol}"
        ),
    )


def _streams(config: TrainConfig, ids: np.ndarray) -> text.Streams:
    if config.vary_lengths:
        return VariedStreams(ids, config.batch_size, config.chunk_length, config.seed)
    return text.Streams(ids, config.batch_size, config.chunk_length)


def _vocabulary(config: TrainConfig, train_text: str) -> text.Vocabulary:
    if config.symbols == "words":
        return LineVocabulary.of(train_text, config.min_count, config.max_words)
    return text.CharVocabulary.of(train_text) if config.symbols == "characters" else text.ByteVocabulary()


def _encoded(vocabulary: text.Vocabulary, part: str, name: str) -> np.ndarray:
    """A part's symbols; says how many of them the training text has never shown."""
    ids = vocabulary.encode(part)
    if len(ids) < 2:
        raise InputError(f"the {name} text has {len(ids)} symbols; expected at least 2")
    unknown = vocabulary.unknown(part)
    if unknown:
        pieces = unknown.split(" ") if isinstance(vocabulary, LineVocabulary) else list(unknown)
        first = " ".join(pieces[:8]) + (" ..." if len(pieces) > 8 else "")
        print(f"the {name} text has {len(pieces)} symbols that the vocabulary lacks: {first!r}")
    return ids


def _identity(corpus: Corpus) -> dict[str, Any]:
    """Of a text in one piece it is that of the whole, wherever it is split."""
    whole = "".join(part for part in corpus if part is not None)
    return {"characters": len(whole), "sha256": digest([whole.encode()])}


def finish(run: study.Run, model: Any, vocabulary: text.Vocabulary) -> dict[str, float]:
    """Draw the curve, write a sample from the best checkpoint, and say how good it is and where everything lies."""
    folder, config, validation = run.folder, run.config, run.data.validation
    assert isinstance(validation, text.Reading)
    print("trained; everything is saved. Reading the whole text once more, with one carried state ...")
    plot_curves(folder.metrics, folder.curve, "Language model", {"loss": f"loss (nats per {config.symbol})"})
    written = sample_text(model, vocabulary, validation.ids, config)
    replace_text(folder.sample, written + "\n")
    print(f"\n{written}\n")
    read, counted = _scored(run, model, text.Reading(validation.ids, text.EXACT), "validation")
    summary = {
        "validation_loss": read["loss"],
        "perplexity": read["perplexity"],
        f"bits_per_{config.symbol}": read["bits_per_symbol"],
        **{f"baseline_{name}_perplexity": value for name, value in counted.items()},
    }
    if run.data.test is not None:
        read, counted = _scored(run, model, run.data.test, "test")
        summary |= {f"test_{name}": value for name, value in read.items()}
        summary |= {f"baseline_{name}_test_perplexity": value for name, value in counted.items()}
    baselines.print_saved(run, "more text", module="experiments.sample")
    return summary


def _scored(run: study.Run, model: Any, reading: Any, part: str) -> tuple[Figures, Figures]:
    """A part's loss, perplexity and bits, and the baselines' perplexities, all by name; they are said, too."""
    graphdef, params, other = training.split_model(model)
    figures = training.make_evaluate(run.task, graphdef)(params, other, reading)
    print(f"the whole {part} text: {figures['loss']:.4f} nats/{run.config.symbol}, ", end="")
    print(f"{figures['bits_per_symbol']:.3f} bits, perplexity {figures['perplexity']:.2f}")
    if not run.config.baselines:
        return figures, {}
    assert isinstance(run.data.train, text.Streams)
    counted = perplexities(run.data.train.ids, reading.ids, model.vocab_size)
    print("  by counts: " + ", ".join(f"{name} {value:.2f}" for name, value in counted.items()))
    return figures, counted


def sample_text(model: LanguageModel, vocabulary: text.Vocabulary, ids: Any, config: TrainConfig) -> str:
    """Text that goes on from the first line of the validation text."""
    opening = vocabulary.decode(ids[:200]).split("\n")[0].strip() or vocabulary.decode(ids[:1])
    opening = vocabulary.decode(vocabulary.encode(opening))  # words have a blank after them
    key = jax.random.key(config.seed)
    written = generate_text(
        model, vocabulary, [opening], length=config.sample_length, key=key, sampling=Sampling(temperature=0.8)
    )
    return opening + written[0]


STUDY = study.Study(
    module="experiments.train",
    description=__doc__,
    family="language-model",
    config=TrainConfig,
    name=lambda config: "python-reference" if config.data is None else Path(config.data).stem,
    load=load,
    finish=finish,
)


def main() -> int:
    return study.run(STUDY, recipes.expanded(sys.argv[1:]))


if __name__ == "__main__":
    cli.run(main)
