"""Train an LSTM language model on a text, and save it, its loss curve and a sample of what it writes.

Usage: python -m experiments.train [--data FILE] [--out DIR] [--resume] ...; see --help.
"""

import dataclasses
import hashlib
import sys
from pathlib import Path
from typing import Any, Literal

import jax

from experiments import cli, study
from experiments.corpora import load_corpus
from experiments.observers import plot_curves
from lstmjax import checks, training
from lstmjax.data import text
from lstmjax.decoding import Sampling, generate_text
from lstmjax.errors import InputError
from lstmjax.models import LanguageModel, LanguageModelConfig

DESCRIPTION = """Train an LSTM language model on a text, one symbol at a time.

Writes checkpoints, metrics, a loss curve and a sample of generated text into one folder. Ctrl-C saves and says how to
go on. Exit codes: 0 done, 1 failed on the way, 2 the command or its input can't be used, 130 stopped."""


@dataclasses.dataclass(frozen=True)
class TrainConfig(study.StepsConfig):
    """Every setting of a run."""

    data: Path | None = None
    """UTF-8 text to learn from; without it, Python's own language reference (what help() shows)."""
    symbols: Literal["characters", "bytes"] = "characters"
    """What the text is cut into."""
    validation_fraction: float = 0.1
    """Share of the text, at its end, that is kept for validation, in (0, 1)."""
    chunk_length: int = 64
    """T, steps of backpropagation through time in a batch."""
    sample_length: int = 400
    """Symbols to generate at the end."""
    model: LanguageModelConfig = dataclasses.field(default_factory=LanguageModelConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("symbols", self.symbols, ("characters", "bytes"))
        for name in ("chunk_length", "sample_length"):
            checks.positive_int(name, getattr(self, name))
        if not 0.0 < self.validation_fraction < 1.0:
            raise ValueError(f"validation_fraction must be in (0, 1), got {self.validation_fraction}")

    @property
    def symbol(self) -> str:
        return self.symbols.removesuffix("s")


def load(config: TrainConfig) -> study.Data:
    """Read, split and encode the text; characters that only the validation part has are unknown to the vocabulary."""
    whole = load_corpus(config.data)
    train_text, validation_text = text.split(whole, config.validation_fraction)
    vocabulary = text.CharVocabulary.of(train_text) if config.symbols == "characters" else text.ByteVocabulary()
    validation = vocabulary.encode(validation_text)
    if len(validation) < 2:
        raise InputError(f"the validation text has {len(validation)} symbols; expected at least 2")
    if not config.resume and config.model.vocab_size not in (None, len(vocabulary)):
        raise InputError(f"--model.vocab-size must be the text's {len(vocabulary)}, got {config.model.vocab_size}")
    streams = text.Streams(vocabulary.encode(train_text), config.batch_size, config.chunk_length)
    return study.Data(
        train=streams,
        validation=text.Reading(validation, text.EvaluationPlan()),
        model=dataclasses.replace(config.model, vocab_size=len(vocabulary)),
        save_companion=lambda folder: text.save_vocabulary(vocabulary, folder.vocabulary),
        identity={"characters": len(whole), "sha256": hashlib.sha256(whole.encode()).hexdigest()},
        symbols_per_step=config.batch_size * config.chunk_length,
        description=(
            f"text: {len(streams.ids):,} {config.symbols} to train on, {len(validation):,} to validate on, "
            f"{len(vocabulary)} symbols\nlosses: nats per {config.symbol}"
        ),
    )


def finish(run: study.Run, model: Any, vocabulary: text.Vocabulary) -> dict[str, float]:
    """Draw the curve, write a sample from the best checkpoint, and say how good it is and where everything lies."""
    folder, config, validation = run.folder, run.config, run.data.validation
    assert isinstance(validation, text.Reading)
    ids = validation.ids
    print("trained; everything is saved. Reading the whole validation text once more, with one carried state ...")
    plot_curves(folder.metrics, folder.curve, "Language model", {"loss": f"loss (nats per {config.symbol})"})
    graphdef, params, other = training.split_model(model)
    figures = training.make_evaluate(run.task, graphdef)(params, other, text.Reading(ids, text.EXACT))
    written = sample_text(model, vocabulary, ids, config)
    folder.sample.write_text(written + "\n", encoding="utf-8")
    print(f"\n{written}\n")
    print(
        f"best checkpoint: {figures['loss']:.4f} nats/{config.symbol} on the whole validation text, "
        f"{figures['bits_per_symbol']:.3f} bits, perplexity {figures['perplexity']:.2f}"
    )
    print(f"saved in {folder.path}: config.json, vocabulary.json, metrics.jsonl, summary.json, loss.png, sample.txt,")
    print("  and the newest and best checkpoints in checkpoints/")
    print(f"more text: {cli.command('experiments.sample', '--checkpoint', folder.path)}")
    return {
        "validation_loss": figures["loss"],
        f"bits_per_{config.symbol}": figures["bits_per_symbol"],
        "perplexity": figures["perplexity"],
    }


def sample_text(model: LanguageModel, vocabulary: text.Vocabulary, ids: Any, config: TrainConfig) -> str:
    """Text that goes on from the first line of the validation text."""
    opening = vocabulary.decode(ids[:200]).split("\n")[0] or vocabulary.decode(ids[:1])
    key = jax.random.key(config.seed)
    written = generate_text(
        model, vocabulary, [opening], length=config.sample_length, key=key, sampling=Sampling(temperature=0.8)
    )
    return opening + written[0]


STUDY = study.Study(
    module="experiments.train",
    description=DESCRIPTION,
    family="language-model",
    config=TrainConfig,
    name=lambda config: "python-reference" if config.data is None else config.data.stem,
    load=load,
    finish=finish,
)


def main() -> int:
    return study.run(STUDY, sys.argv[1:])


if __name__ == "__main__":
    cli.run(main)
