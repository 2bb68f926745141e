"""Write text with a trained language model.

One sample is streamed as it comes; several are written together and printed one after another. The text on stdout is
the prompt and what follows it. Exit codes: 0 done, 1 failed on the way, 2 the command or its input can't be used.

Usage: python -m experiments.sample --checkpoint DIR [--prompt TEXT] ...
"""

import dataclasses
from pathlib import Path

import jax

from experiments import cli, trained
from experiments.ranges import Checked, Index, Positive, Seed
from lstmjax.data.text import Vocabulary
from lstmjax.decoding import Sampling, generate_text, stream_text
from lstmjax.errors import InputError
from lstmjax.models import LanguageModel


@dataclasses.dataclass(frozen=True)
class SampleConfig(Checked):
    """What to write."""

    checkpoint: Path
    """Folder of a training run, as python -m experiments.train leaves it."""
    prompt: str = "\n"
    """Text to go on from, at least one symbol; the model must know all its symbols."""
    temperature: float = 0.8
    """At least 0: 0 always takes the likeliest symbol, 1 follows the model, more is wilder."""
    top_k: int | None = None
    """At least 1: draw from the k likeliest symbols only."""
    top_p: float | None = None
    """In (0, 1]: draw from the likeliest symbols that together have this probability only."""
    length: Positive = 500
    """Symbols to write."""
    stop: str = ""
    """Text at which to stop; it is not printed. Nothing stops at the empty text."""
    seed: Seed = 0
    """The same seed writes the same text."""
    num_samples: Positive = 1
    """How many texts to write."""
    step: Index | None = None
    """Take the checkpoint of this step instead of the one with the lowest validation loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.prompt:
            raise ValueError("prompt must have at least one symbol, got none")
        self.sampling()

    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_k, self.top_p)


def main() -> int:
    config = cli.parse(SampleConfig, __doc__)
    cli.check_backend()
    model, vocabulary = trained.load(config.checkpoint, config.step, LanguageModel)
    for name, text in (("prompt", config.prompt), ("stop", config.stop)):
        if vocabulary.unknown(text):
            raise InputError(f"--{name} has symbols that the model has never seen: {vocabulary.unknown(text)!r}")
        if text and not len(vocabulary.encode(text)):
            raise InputError(f"--{name} has no word, got {text!r}")
    prompt = vocabulary.decode(vocabulary.encode(config.prompt))  # words have a blank after them
    config = dataclasses.replace(config, prompt=prompt)
    if config.num_samples == 1:
        write_one(config, model, vocabulary)
    else:
        write_several(config, model, vocabulary)
    return 0


def write_one(config: SampleConfig, model: LanguageModel, vocabulary: Vocabulary) -> None:
    print(config.prompt, end="", flush=True)
    for piece in stream_text(
        model,
        vocabulary,
        config.prompt,
        length=config.length,
        key=jax.random.key(config.seed),
        sampling=config.sampling(),
        stop=config.stop,
    ):
        print(piece, end="", flush=True)
    print()


def write_several(config: SampleConfig, model: LanguageModel, vocabulary: Vocabulary) -> None:
    texts = generate_text(
        model,
        vocabulary,
        [config.prompt] * config.num_samples,
        length=config.length,
        key=jax.random.key(config.seed),
        sampling=config.sampling(),
        stop=config.stop,
    )
    for number, text in enumerate(texts, start=1):
        print(f"--- sample {number} of {config.num_samples} ---\n{config.prompt}{text}")


if __name__ == "__main__":
    cli.run(main)
