"""Learn which notes come next in polyphonic music, step by step, and write music.

Trains on Bach's chorales or on files of your own, and simpler models beside it; chooses by the validation part, looks
at the test part once, and writes samples as MIDI. A trained model goes on from an opening, or from silence, by --sample
--checkpoint DIR.

Usage: python -m experiments.music [--data jsb-chorales | FILE.json | DIR of MIDI] [--out DIR] ...
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from experiments import cli, settings, study
from experiments.baselines import Figures
from experiments.music import answers, writing
from experiments.parts import Parts, complete, described, digest
from experiments.ranges import Fraction, Positive, at_least
from lstmjax import training
from lstmjax.data import examples, music
from lstmjax.data.examples import Labelled
from lstmjax.data.music import Keyboard
from lstmjax.data.source import SequenceBatch, Source
from lstmjax.errors import InputError
from lstmjax.models import PianoRollConfig

CHORALES = "jsb-chorales"
Semitones = Annotated[int, at_least(0, 127)]


@dataclasses.dataclass(frozen=True)
class MusicConfig(settings.EpochsConfig, settings.HeldOutConfig):
    """Every setting of a run."""

    data: str = CHORALES
    """jsb-chorales, a JSON file of pieces (train, valid and test, or one list), or a folder of MIDI files."""
    grid: Annotated[int, at_least(1, 480)] = 1
    """Of MIDI: steps a quarter note."""
    validation_fraction: Fraction = 0.15
    test_fraction: Fraction = 0.15
    longest_piece: Annotated[int, at_least(2)] = 512
    """Steps after which pieces are cut; each part is read by itself."""
    transpose_down: Semitones = 0
    """In training, pieces are moved down by at most so many semitones, drawn anew each time."""
    transpose_up: Semitones = 0
    """In training, pieces are moved up by at most so many semitones."""
    num_buckets: Positive = 2
    """At most so many lengths of batches, each of which takes its time to compile."""
    sample_steps: Positive = 64
    """Steps of each sample at the end."""
    quick: bool = False
    """A look in under a minute: at most 40 pieces to train on, 3 epochs, one simple model to train."""
    epochs: Positive = 30
    patience: Positive | None = 8
    batch_size: Positive = 8
    model: PianoRollConfig = dataclasses.field(default_factory=PianoRollConfig)
    optimizer: training.OptimizerConfig = training.OptimizerConfig(learning_rate=1e-2)

    def score(self, figures: Figures) -> float:
        return figures["nll"]


def load(config: MusicConfig) -> study.Data:
    """Read the parts; how many keys the model has follows from them."""
    for name in ("num_notes", "most_notes"):
        if not config.resume and getattr(config.model, name) is not None:
            raise InputError(f"--model.{name.replace('_', '-')} is for the data to decide; leave it out")
    labelled = _read(config)
    keyboard = Keyboard.of([roll for part in labelled for roll in part.sequences], config.grid)
    parts = Parts(
        *(_cut([keyboard.cut(np.asarray(roll)) for roll in part.sequences], config.longest_piece) for part in labelled)
    )
    most = max(int(roll.sum(axis=1).max()) for part in parts for roll in part)
    train: Source[SequenceBatch] = answers.batches(parts.train, config, config.seed)
    if config.transpose_down or config.transpose_up:
        train = music.Transposed(train, -config.transpose_down, config.transpose_up, config.seed)
    return study.Data(
        train=train,
        validation=answers.batches(parts.validation, config, None),
        test=answers.batches(parts.test, config, None),
        model=dataclasses.replace(config.model, num_notes=len(keyboard), most_notes=most),
        save_companion=lambda folder: music.save_keyboard(keyboard, folder.path / "keyboard.json"),
        identity={"pieces": [len(part.sequences) for part in labelled], "sha256": digest(_pieces(labelled))},
        symbols_per_step=round(config.batch_size * float(np.mean([len(roll) for roll in parts.train]))),
        description=_described(config, labelled, parts, keyboard),
        prepare=functools.partial(_prepare, parts.train),
        parts=parts,
    )


def _prepare(train: list[np.ndarray], model: Any) -> None:
    """Before it has learnt anything, each note is as likely as it is frequent."""
    model.notes.start_from(answers.shares(np.concatenate(train)))


def _read(config: MusicConfig) -> Sequence[Labelled]:
    """The pieces to learn from, to choose a model by, and to look at once."""
    found = music.jsb_chorales() if config.data == CHORALES else music.read_music(config.data, config.grid)
    parts = complete(*found, examples.split, config.fractions, config.seed)
    for part in parts:
        if all(len(roll) < 2 for roll in part.sequences):
            raise InputError(f"{part.file} has no piece of two steps, so there is nothing to predict")
    if not config.quick:
        return parts
    return [part.take(range(min(len(part.sequences), most))) for part, most in zip(parts, (40, 16, 16), strict=True)]


def _cut(rolls: list[np.ndarray], longest: int) -> list[np.ndarray]:
    return [roll[start : start + longest] for roll in rolls for start in range(0, len(roll), longest)]


def _pieces(parts: Sequence[Labelled]) -> Iterator[bytes]:
    """What tells these pieces, in these parts, from others."""
    for part in parts:
        for roll in part.sequences:
            yield f"{len(roll)} ".encode() + np.packbits(np.asarray(roll)).tobytes()
        yield b"|"


def _described(
    config: MusicConfig, labelled: Sequence[Labelled], parts: Parts[answers.Rolls], keyboard: Keyboard
) -> str:
    steps = [sum(map(len, part)) for part in parts]
    counts = [len(part.sequences) for part in labelled]
    lines = [
        f"{described('pieces', counts)}; {steps[0]:,}, {steps[1]:,} and {steps[2]:,} steps",
        f"keys: {keyboard.name(keyboard.lowest)} to {keyboard.name(keyboard.highest)}; losses: nats a step",
    ]
    cuts = sum(map(len, parts)) - sum(counts)
    if cuts:
        lines.append(f"long pieces are read in parts: {cuts} cuts, see --longest-piece")
    if config.data != CHORALES and not config.data.lower().endswith((".json", ".json.gz")):
        lines.append(f"MIDI: {config.grid} steps a quarter note (--grid); channel 10, percussion, is left out")
    return "\n".join(lines)


STUDY: study.Study[MusicConfig] = study.Study(
    module="experiments.music",
    description=__doc__,
    family="piano-roll",
    config=MusicConfig,
    name=lambda config: Path(config.data).name.split(".")[0],
    load=load,
    finish=answers.finish,
    use=study.Use(writing.SampleConfig, writing.run, "--sample", writing.DESCRIPTION),
)
main = STUDY.main


if __name__ == "__main__":
    cli.run(main)
