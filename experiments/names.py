"""Invent names: a language model of characters, trained on whole names.

Usage: python -m experiments.names [--data FILE] [--out DIR] [--resume] ...
"""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from experiments import baselines, cli, settings, study
from experiments.ngrams import kneser_ney
from experiments.observers import plot_curves
from experiments.parts import Parts, digest
from experiments.ranges import Fraction, Positive, Seed
from lstmjax.data import text
from lstmjax.data.downloads import find
from lstmjax.data.source import Ordered, Shuffled
from lstmjax.decoding import generate
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import LanguageModel, LanguageModelConfig

SEPARATOR = "\n"
"""The symbol before a name's first character and after its last."""


@dataclasses.dataclass(frozen=True)
class NamesConfig(settings.StepsConfig, settings.HeldOutConfig):
    """Every setting of a run."""

    data: Path | None = None
    """UTF-8 text, one name a line; without it, the 32,033 given names of makemore."""
    test_fraction: Fraction = 0.1
    split_seed: Seed = 0
    """Fixes which names are in which part."""
    longest: Positive = 40
    """Characters that a name may have."""
    invent: Positive = 1000
    """How many names to invent at the end."""
    baselines: bool = True
    """Score the test part by counts of two and three characters in a row, too."""
    quick: bool = False
    """A look in under a minute: at most 300 steps, at most 5,000 names."""
    steps: settings.Steps = 3000
    eval_every: Positive = 300
    batch_size: Positive = 128
    model: LanguageModelConfig = dataclasses.field(
        default_factory=lambda: LanguageModelConfig(32, 192, 1, input_dropout=0.1, output_dropout=0.3)
    )
    quick_steps: ClassVar[int] = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation_fraction + self.test_fraction >= 1.0:
            raise ValueError("validation_fraction and test_fraction must leave names to train on")


Names = Parts[list[str]]


def load(config: NamesConfig) -> study.Data:
    """Read and split the names; every distinct one is in one part alone, so that none is known before it is tested."""
    everything = read_names(find("names/names.txt") if config.data is None else config.data, config.longest)
    distinct = sorted(set(everything))
    order = np.random.default_rng(config.split_seed).permutation(len(distinct))[: 5000 if config.quick else None]
    names = _split([distinct[k] for k in order], config)
    vocabulary = text.CharVocabulary.of(SEPARATOR + "".join(distinct))
    longest = max(map(len, distinct))
    parts = [whole_sequences(vocabulary, part, longest) for part in names]
    return study.Data(
        train=Shuffled(parts[0], config.batch_size, config.seed),
        validation=Ordered(parts[1], 256),
        test=Ordered(parts[2], 256),
        model=dataclasses.replace(config.model, vocab_size=len(vocabulary)),
        save_companion=lambda folder: text.save_vocabulary(vocabulary, folder.vocabulary),
        identity={"names": len(everything), "sha256": digest(["\n".join(everything).encode()])},
        symbols_per_step=round(config.batch_size * float(np.mean([len(name) + 1 for name in names.train]))),
        description=(
            f"names: {len(everything):,}, of which {len(distinct):,} are distinct; {len(names.train):,} to train on, "
            f"{len(names.validation):,} to validate on, {len(names.test):,} to test on\n"
            f"losses: nats per character, a name's end counted as one"
        ),
        parts=names,
    )


def read_names(path: Path, longest: int) -> list[str]:
    """The names of a file, one a line, without blanks around them; empty lines are none.

    Raises:
      InputError: it can't be read, has fewer than 10 distinct names, or has one longer than `longest`.
    """
    names = [line.strip() for line in text.read_text(path).splitlines()]
    for number, name in enumerate(names, 1):
        if len(name) > longest:
            raise InputError(f"{path}, line {number}: expected a name of at most {longest} characters, got {len(name)}")
    names = [name for name in names if name]
    if len(set(names)) < 10:
        raise InputError(f"{path} has {len(set(names))} distinct names; expected at least 10")
    return names


def _split(names: list[str], config: NamesConfig) -> Names:
    test = max(1, round(len(names) * config.test_fraction))
    validation = max(1, round(len(names) * config.validation_fraction))
    held = test + validation
    if held >= len(names):
        raise InputError(f"{len(names)} distinct names are too few to learn from and to hold {held} of them out")
    return Parts(names[held:], names[test:held], names[:test])


def whole_sequences(vocabulary: text.CharVocabulary, names: list[str], longest: int) -> text.Batch:
    """All names as one batch: each from an empty state, its characters and its end to be predicted."""
    inputs = np.zeros((len(names), longest + 1), np.int32)
    targets = np.zeros_like(inputs)
    for row, name in enumerate(names):
        ids = vocabulary.encode(f"{SEPARATOR}{name}{SEPARATOR}")
        inputs[row, : len(ids) - 1], targets[row, : len(ids) - 1] = ids[:-1], ids[1:]
    lengths = np.array([len(name) + 1 for name in names])
    return text.Batch(inputs, targets, np.ones(len(names), bool), np.arange(longest + 1) < lengths[:, None])


def finish(run: study.Run, model: Any, vocabulary: text.CharVocabulary) -> dict[str, float]:
    """Draw the curve, look at the test names, invent names and say how many of them are new."""
    folder, config, names = run.folder, run.config, run.data.parts
    plot_curves(folder.metrics, folder.curve, "Names", {"loss": "loss (nats per character)"})
    nll = {part: figures["loss"] for part, figures in baselines.evaluate(run, model).items()}
    summary = {"validation_nll": nll["validation"], **_per_name("", nll["test"], names.test)}
    if config.baselines:
        for order, name in ((2, "bigram"), (3, "trigram")):
            summary |= _per_name(f"baseline_{name}_", counted_nll(vocabulary, names, order), names.test)
    for name, value in summary.items():
        print(f"{name}: {value:.4f}")
    invented = invent(model, vocabulary, config.invent, max(map(len, names.train)) + 1, jax.random.key(config.seed))
    replace_text(folder.path / "names.txt", "\n".join(invented) + "\n")
    shares = novelty(invented, names)
    print(f"\n{' '.join(invented[:20])}\n")
    print(f"of {len(invented)} invented names ", end="")
    print(", ".join(f"{name.removesuffix('_share')} {value:.1%}" for name, value in shares.items()))
    baselines.print_saved(run, "more names", module="experiments.sample")
    return summary | shares


def _per_name(prefix: str, nll: float, names: list[str]) -> dict[str, float]:
    """Of a mean over characters and ends, that and the mean over names."""
    return {
        f"{prefix}test_nll": nll,
        f"{prefix}test_nll_per_name": nll * float(np.mean([len(name) + 1 for name in names])),
    }


def counted_nll(vocabulary: text.CharVocabulary, names: Names, order: int) -> float:
    """Nats per character of the test names, by counts of so many in a row."""

    def in_rows(part: list[str]) -> np.ndarray:
        padded = [vocabulary.encode(SEPARATOR * (order - 1) + name + SEPARATOR) for name in part]
        return np.concatenate([np.lib.stride_tricks.sliding_window_view(ids, order) for ids in padded])

    return -float(np.mean(np.log(kneser_ney(in_rows(names.train), in_rows(names.test), len(vocabulary)))))


def invent(
    model: LanguageModel, vocabulary: text.CharVocabulary, count: int, longest: int, key: jax.Array
) -> list[str]:
    """Names drawn from the model as it is, temperature 1; what does not end within `longest` is cut there."""
    end = vocabulary.encode(SEPARATOR)
    prompts = np.broadcast_to(end, (count, 1))
    ids, lengths = generate(model, prompts, length=longest, key=key, stop=end.tolist())
    return [vocabulary.decode(row[:length]) for row, length in zip(ids, lengths, strict=True)]


def novelty(invented: list[str], names: Names) -> dict[str, float]:
    """Shares of the invented names: not among those trained on, among those tested on, and the same as another one.

    >>> novelty(["ann", "bo", "cy", "cy"], Parts(train=["ann"], validation=[], test=["bo"]))
    {'novel_share': 0.75, 'in_test_share': 0.25, 'duplicate_share': 0.25}
    """
    known, tested = set(names.train), set(names.test)
    return {
        "novel_share": float(np.mean([name not in known for name in invented])),
        "in_test_share": float(np.mean([name in tested for name in invented])),
        "duplicate_share": 1.0 - len(set(invented)) / len(invented),
    }


STUDY = study.Study(
    module="experiments.names",
    description=__doc__,
    family="language-model",
    config=NamesConfig,
    name=lambda config: "names" if config.data is None else config.data.stem,
    load=load,
    finish=finish,
)


main = STUDY.main


if __name__ == "__main__":
    cli.run(main)
