"""Music that a trained model writes, as MIDI: samples of a run, and `--sample`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np

from experiments import cli, trained
from experiments.ranges import Amount, Checked, Index, Positive, Seed, at_least
from lstmjax import checks
from lstmjax.data.midi import write_midi
from lstmjax.data.music import Keyboard, read_music
from lstmjax.decoding.rolls import sample_rolls
from lstmjax.models import PianoRoll

DESCRIPTION = """Write music with a trained model: from silence, or going on from an opening. What is written is the
opening and what follows it. Exit codes: 0 done, 1 failed on the way, 2 the command or its input can't be used."""

OPENING = 16


@dataclasses.dataclass(frozen=True)
class SampleConfig(Checked):
    """What to write, with which model, and where to."""

    checkpoint: Path
    """The folder of a trained run."""
    out: Path
    """The MIDI file to write."""
    sample: bool = False
    """That this is what is asked for, which --checkpoint says, too."""
    opening: Path | None = None
    """A MIDI or JSON file whose first piece is gone on from; without it, music begins from silence."""
    opening_steps: Positive | None = None
    """How many of its steps to take; without it, all."""
    steps: Positive = 128
    """Steps to add."""
    temperature: Amount = 1.0
    """At least 0: 1 draws as the model says, less is safer, more is wilder, 0 takes what is likelier than not."""
    seed: Seed = 0
    """The same seed writes the same music."""
    tempo: Annotated[float, checks.finite] = 90.0
    """Quarter notes a minute, in 4..1000."""
    program: Annotated[int, at_least(0, 127)] = 0
    """The instrument, in 0..127, as MIDI counts them; 0 is a grand piano, 19 a church organ."""
    repeated: Literal["held", "struck"] = "held"
    """A note that sounds in steps one after another is held, or struck anew at each."""
    step: Index | None = None
    """Take the checkpoint of this step instead of the one with the lowest validation loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.opening_steps is not None and self.opening is None:
            raise ValueError("opening_steps needs an opening to take them from")
        if not 4.0 <= self.tempo <= 1000.0:
            raise ValueError(f"tempo must be in [4, 1000], got {self.tempo}")
        if self.out.suffix.lower() not in (".mid", ".midi"):
            raise ValueError(f"out must be a name that ends in .mid or .midi, got {str(self.out)!r}")
        if self.opening is not None and self.opening.resolve() == self.out.resolve():
            raise ValueError(f"out must be another file than the opening, {self.opening}")


def run(config: SampleConfig) -> None:
    """Write one piece."""
    cli.check_out(config.out)
    model, keyboard = trained.load(config.checkpoint, config.step, PianoRoll)
    opening = _opening(config, keyboard)
    key = jax.random.key(config.seed)
    (new,) = sample_rolls(model, opening[None], length=config.steps, key=key, temperature=config.temperature)
    roll = keyboard.whole(np.concatenate([opening, new]))
    write_midi(
        config.out, roll, grid=keyboard.grid, tempo=config.tempo, program=config.program, repeated=config.repeated
    )
    print(f"{len(opening)} steps of opening and {len(new)} new ones in {config.out}")


def _opening(config: SampleConfig, keyboard: Keyboard) -> np.ndarray:
    """The keys [S, P] to go on from, none without a file."""
    if config.opening is None:
        return np.zeros((0, len(keyboard)), bool)
    pieces = read_music(config.opening, keyboard.grid).train
    roll = np.asarray(pieces.sequences[0])[: config.opening_steps]
    return keyboard.cut(roll, pieces.places[0])


def write_samples(
    folder: Path, model: PianoRoll, keyboard: Keyboard, piece: np.ndarray, config: Any
) -> dict[str, np.ndarray]:
    """A test piece, what the model makes of its opening, and what it writes from silence, as MIDI in samples/.

    Returns:
      rolls [T, P] worth a look, by what they are.
    """
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
    return {
        f"A test piece, its first {min(shown, len(piece))} steps": piece[:shown],
        f"The same opening, {len(opening)} steps, continued by the model": rolls["continued"],
        "Written by the model from silence": fresh[0],
    }
