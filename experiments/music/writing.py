"""Music that a trained model writes, as MIDI: samples of a run, and `--sample`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from experiments import cli
from lstmjax import checks
from lstmjax.data.midi import write_midi
from lstmjax.data.music import Keyboard, read_music
from lstmjax.decoding.rolls import sample_rolls
from lstmjax.errors import InputError
from lstmjax.models import PianoRoll
from lstmjax.saved import load_model

DESCRIPTION = """Write music with a trained model: from silence, or going on from an opening. What is written is the
opening and what follows it. Exit codes: 0 done, 1 failed on the way, 2 the command or its input can't be used."""

OPENING = 16


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """What to write, with which model, and where to."""

    checkpoint: Path
    """The folder of a trained run."""
    out: Path
    """The MIDI file to write."""
    opening: Path | None = None
    """A MIDI or JSON file whose first piece is gone on from; without it, music begins from silence."""
    opening_steps: int | None = None
    """How many of its steps to take; without it, all."""
    steps: int = 128
    """Steps to add."""
    temperature: float = 1.0
    """At least 0: 1 draws as the model says, less is safer, more is wilder, 0 takes what is likelier than not."""
    seed: int = 0
    """The same seed writes the same music."""
    tempo: float = 90.0
    """Quarter notes a minute, in 4..1000."""
    program: int = 0
    """The instrument, in 0..127, as MIDI counts them; 0 is a grand piano, 19 a church organ."""
    repeated: Literal["held", "struck"] = "held"
    """A note that sounds in steps one after another is held, or struck anew at each."""
    step: int | None = None
    """Take the checkpoint of this step instead of the one with the lowest validation loss."""

    def __post_init__(self) -> None:
        checks.positive_int("steps", self.steps)
        if self.opening_steps is not None:
            checks.positive_int("opening_steps", self.opening_steps)
        if self.opening_steps is not None and self.opening is None:
            raise ValueError("opening_steps needs an opening to take them from")
        if self.step is not None:
            checks.index("step", self.step, 0)
        checks.index("seed", self.seed, 0, 2**32 - 1)
        checks.index("program", self.program, 0, 127)
        checks.at_least_zero("temperature", self.temperature)
        checks.finite("tempo", self.tempo)
        if not 4.0 <= self.tempo <= 1000.0:
            raise ValueError(f"tempo must be in [4, 1000], got {self.tempo}")
        if self.out.suffix.lower() not in (".mid", ".midi"):
            raise ValueError(f"out must be a name that ends in .mid or .midi, got {str(self.out)!r}")
        if self.opening is not None and self.opening.resolve() == self.out.resolve():
            raise ValueError(f"out must be another file than the opening, {self.opening}")


def run(arguments: Sequence[str]) -> int:
    """Write one piece; returns the exit code."""
    config = cli.parse(SampleConfig, DESCRIPTION, arguments)
    cli.check_out(config.out)
    cli.check_backend()
    model, keyboard = load_model(config.checkpoint, "best" if config.step is None else config.step)
    if not isinstance(model, PianoRoll):
        raise InputError(f"{config.checkpoint} holds a {type(model).__name__}; expected a PianoRoll")
    opening = _opening(config, keyboard)
    key = jax.random.key(config.seed)
    (new,) = sample_rolls(model, opening[None], length=config.steps, key=key, temperature=config.temperature)
    roll = keyboard.whole(np.concatenate([opening, new]))
    write_midi(
        config.out, roll, grid=keyboard.grid, tempo=config.tempo, program=config.program, repeated=config.repeated
    )
    print(f"{len(opening)} steps of opening and {len(new)} new ones in {config.out}")
    return 0


def _opening(config: SampleConfig, keyboard: Keyboard) -> np.ndarray:
    """The keys [S, P] to go on from, none without a file."""
    if config.opening is None:
        return np.zeros((0, len(keyboard)), bool)
    pieces = read_music(config.opening, keyboard.grid).train
    roll = np.asarray(pieces.sequences[0])[: config.opening_steps]
    return keyboard.cut(roll, pieces.places[0])


class Written(NamedTuple):
    """The names of the files of samples, and rolls [T, P] worth a look by what they are."""

    files: list[str]
    rolls: dict[str, np.ndarray]


def write_samples(folder: Path, model: PianoRoll, keyboard: Keyboard, piece: np.ndarray, config: Any) -> Written:
    """A test piece, what the model makes of its opening, and what it writes from silence, as MIDI in samples/."""
    (folder / "samples").mkdir(exist_ok=True)
    key, steps = jax.random.key(config.seed), config.sample_steps
    opening = piece[: min(OPENING, len(piece) // 2)]
    (new,) = sample_rolls(model, opening[None], length=steps, key=key)
    silence = np.zeros((3, 0, len(keyboard)), bool)
    fresh = sample_rolls(model, silence, length=steps, key=key)
    rolls = {"test-piece": piece, "continued": np.concatenate([opening, new])}
    rolls |= {f"from-silence-{number}": roll for number, roll in enumerate(fresh, 1)}
    for name, roll in rolls.items():
        write_midi(folder / "samples" / f"{name}.mid", keyboard.whole(roll), grid=keyboard.grid)
    shown = len(opening) + steps
    titles = {
        f"A test piece, its first {min(shown, len(piece))} steps": piece[:shown],
        f"The same opening, {len(opening)} steps, continued by the model": rolls["continued"],
        "Written by the model from silence": fresh[0],
    }
    return Written([f"samples/{name}.mid" for name in rolls], titles)
