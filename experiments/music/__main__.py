"""Learn which notes come next in polyphonic music, and write music.

Usage: python -m experiments.music [--data jsb-chorales | FILE.json | DIR of MIDI] [--out DIR] ...
       python -m experiments.music --sample --checkpoint DIR [--opening FILE] [--out FILE.mid] ...; see --help.
"""

import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import cli, settings, study
from experiments.music import answers, writing
from experiments.music.answers import Figures, Parts
from lstmjax import checks, training
from lstmjax.data import examples, music
from lstmjax.data.examples import Labelled
from lstmjax.data.music import Keyboard
from lstmjax.data.source import SequenceBatch, Source
from lstmjax.errors import InputError
from lstmjax.models import PianoRollConfig

DESCRIPTION = """Learn which notes come next in polyphonic music, step by step, and write music.

Trains on Bach's chorales or on files of your own, and simpler models beside it; chooses by the validation part, looks
at the test part once. Writes checkpoints, metrics, figures, samples as MIDI and a summary into one folder. Ctrl-C saves
and says how to go on. With --sample a trained model goes on from an opening, or from silence, with options of its own
(--sample --help). Exit codes: 0 done, 1 failed on the way, 2 the command or its input can't be used, 130 stopped."""

CHORALES = "jsb-chorales"


@dataclasses.dataclass(frozen=True)
class MusicConfig(settings.EpochsConfig):
    """Every setting of a run."""

    data: str = CHORALES
    """jsb-chorales, a JSON file of pieces (train, valid and test, or one list), or a folder of MIDI files."""
    grid: int = 1
    """Of MIDI: steps a quarter note."""
    validation_fraction: float = 0.15
    """Share of the pieces kept to choose by where no part is, in (0, 1)."""
    test_fraction: float = 0.15
    """Share of the pieces kept for the test where no part is, in (0, 1)."""
    longest_piece: int = 512
    """Steps after which pieces are cut; each part is read by itself."""
    transpose_down: int = 0
    """In training, pieces are moved down by at most so many semitones, drawn anew each time."""
    transpose_up: int = 0
    """In training, pieces are moved up by at most so many semitones."""
    num_buckets: int = 2
    """At most so many lengths of batches, each of which takes its time to compile."""
    sample_steps: int = 64
    """Steps of each sample at the end."""
    baselines: bool = True
    """Train the simple models too that this one should beat."""
    quick: bool = False
    """A look in under a minute: at most 40 pieces to train on, 3 epochs, one simple model to train."""
    epochs: int = 30
    """Passes over the training data."""
    patience: int | None = 8
    """Stop early after so many epochs in a row without a better validation score."""
    batch_size: int = 8
    """B, pieces in a batch."""
    model: PianoRollConfig = dataclasses.field(default_factory=PianoRollConfig)
    optimizer: training.OptimizerConfig = dataclasses.field(
        default_factory=lambda: training.OptimizerConfig(learning_rate=1e-2)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("validation_fraction", "test_fraction"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)}")
        checks.index("grid", self.grid, 1, 480)
        checks.index("longest_piece", self.longest_piece, 2)
        for name in ("transpose_down", "transpose_up"):
            checks.index(name, getattr(self, name), 0, 127)
        for name in ("num_buckets", "sample_steps"):
            checks.positive_int(name, getattr(self, name))

    def cadence(self, train: Source[Any]) -> training.Cadence:
        epochs = min(self.epochs, 3) if self.quick else self.epochs
        return training.Cadence.of_epochs(epochs, train, self.log_every, self.patience)

    def score(self, figures: Figures) -> float:
        return figures["nll"]


def load(config: MusicConfig) -> study.Data:
    """Read the parts; how many keys the model has follows from them."""
    for name in ("num_notes", "most_notes"):
        if not config.resume and getattr(config.model, name) is not None:
            raise InputError(f"--model.{name.replace('_', '-')} is for the data to decide; leave it out")
    labelled = _labelled(config)
    keyboard = Keyboard.of([roll for part in labelled for roll in part.sequences], config.grid)
    rolls = [
        _cut([keyboard.cut(np.asarray(roll)) for roll in part.sequences], config.longest_piece) for part in labelled
    ]
    parts = Parts(rolls[0], rolls[1], rolls[2], keyboard)
    most = max(int(roll.sum(axis=1).max()) for part in rolls for roll in part)
    train: Source[SequenceBatch] = answers.batches(parts.train, config, config.seed)
    if config.transpose_down or config.transpose_up:
        train = music.Transposed(train, -config.transpose_down, config.transpose_up, config.seed)
    return study.Data(
        train=train,
        validation=answers.batches(parts.validation, config, None),
        test=answers.batches(parts.test, config, None),
        model=dataclasses.replace(config.model, num_notes=len(keyboard), most_notes=most),
        save_companion=lambda folder: music.save_keyboard(keyboard, folder.path / "keyboard.json"),
        identity={"pieces": [len(part.sequences) for part in labelled], "sha256": _digest(labelled)},
        symbols_per_step=round(config.batch_size * float(np.mean([len(roll) for roll in parts.train]))),
        description=_described(config, labelled, parts),
        prepare=lambda model: _prepare(model, parts.train),
        parts=parts,
    )


def _prepare(model: Any, train: list[np.ndarray]) -> None:
    """Before it has learnt anything, each note is as likely as it is frequent."""
    model.notes.start_from(answers.shares(np.concatenate(train)))


def _labelled(config: MusicConfig) -> list[Labelled]:
    """The pieces to learn from, to choose a model by, and to look at once."""
    found = music.jsb_chorales() if config.data == CHORALES else music.read_music(config.data, config.grid)
    train, validation, test = found
    if test is None:
        train, test = examples.split(train, config.test_fraction, config.seed)
    if validation is None:
        train, validation = examples.split(train, config.validation_fraction, config.seed + 1)
    for part in (train, validation, test):
        if all(len(roll) < 2 for roll in part.sequences):
            raise InputError(f"{part.file} has no piece of two steps, so there is nothing to predict")
    if not config.quick:
        return [train, validation, test]
    some = ((train, 40), (validation, 16), (test, 16))
    return [part.take(range(min(len(part.sequences), most))) for part, most in some]


def _cut(rolls: list[np.ndarray], longest: int) -> list[np.ndarray]:
    return [roll[start : start + longest] for roll in rolls for start in range(0, len(roll), longest)]


def _digest(parts: Sequence[Labelled]) -> str:
    """Tells these pieces, in these parts, from others."""
    digest = hashlib.sha256()
    for part in parts:
        for roll in part.sequences:
            digest.update(f"{len(roll)} ".encode() + np.packbits(np.asarray(roll)).tobytes())
        digest.update(b"|")
    return digest.hexdigest()


def _described(config: MusicConfig, labelled: Sequence[Labelled], parts: Parts) -> str:
    steps = [sum(map(len, part)) for part in parts[:3]]
    counts = [len(part.sequences) for part in labelled]
    keyboard = parts.keyboard
    lines = [
        f"pieces: {counts[0]:,} to learn from, {counts[1]:,} to choose by, {counts[2]:,} to test on; "
        f"{steps[0]:,}, {steps[1]:,} and {steps[2]:,} steps",
        f"keys: {keyboard.name(keyboard.lowest)} to {keyboard.name(keyboard.highest)}; losses: nats a step",
    ]
    cuts = sum(map(len, parts[:3])) - sum(counts)
    if cuts:
        lines.append(f"long pieces are read in parts: {cuts} cuts, see --longest-piece")
    if config.data != CHORALES and not config.data.lower().endswith((".json", ".json.gz")):
        lines.append(f"MIDI: {config.grid} steps a quarter note (--grid); channel 10, percussion, is left out")
    return "\n".join(lines)


STUDY: study.Study[MusicConfig] = study.Study(
    module="experiments.music",
    description=DESCRIPTION,
    family="piano-roll",
    config=MusicConfig,
    name=lambda config: Path(config.data).name.split(".")[0],
    load=load,
    finish=lambda run, model, keyboard: answers.finish(STUDY, run, model, keyboard),
)


def main() -> int:
    if any(argument.split("=")[0] in ("--checkpoint", "--sample") for argument in sys.argv[1:]):
        return writing.run([argument for argument in sys.argv[1:] if argument != "--sample"])
    return study.run(STUDY, sys.argv[1:])


if __name__ == "__main__":
    cli.run(main)
