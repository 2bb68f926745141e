"""Pieces of music as piano rolls: from JSON and MIDI, cut to a keyboard, transposed."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lstmjax import checks
from lstmjax.data import text
from lstmjax.data.datasets import Splits
from lstmjax.data.downloads import find
from lstmjax.data.examples import Labelled
from lstmjax.data.midi import read_midi
from lstmjax.data.source import SequenceBatch, Source
from lstmjax.errors import InputError

MIDI_NOTES = 128
PARTS = ("train", "valid", "test")
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def jsb_chorales() -> Splits:
    """Chorales of J. S. Bach in quarter notes, all in C major or minor: 229 to train, 76 to validate, 77 to test.

    Sequences are rolls, booleans [T, 128]; there are no targets.

    Source: Boulanger-Lewandowski, Bengio and Vincent 2012, as https://github.com/czhuang/JSB-Chorales-dataset has them.
    """
    return read_json(find("jsb_chorales/jsb-chorales-quarter.json"))


def read_music(path: str | Path, grid: int = 1) -> Splits:
    """Pieces as piano rolls, from a JSON file, a MIDI file, or a folder of them.

    Of a folder every file that ends in `.mid` or `.midi` is read, those in its folders too, in the order of their
    names; names that begin with a dot are left out. Folders `train`, `valid` and `test` in it are its parts.

    Args:
      path: a file that ends in `.json` (or `.json.gz`), `.mid` or `.midi`, or a folder.
      grid: steps a quarter note, at least 1, that MIDI is cut into, see `read_midi`; JSON has steps of its own.

    Returns:
      the parts, None for those it has not; sequences are rolls, booleans [T, 128]; there are no targets.

    Raises:
      InputError: nothing to read, or a file that can't be read; see `read_json` and `read_midi`.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "songs.json")
    ...     _ = path.write_text("[[[60, 64], [], [67]]]")
    ...     songs = read_music(path).train
    >>> songs.sequences[0].shape, np.flatnonzero(songs.sequences[0][0]).tolist()
    ((3, 128), [60, 64])
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, grid)
    if path.name.lower().endswith((".json", ".json.gz")):
        return read_json(path)
    if is_midi(path):
        return Splits(Labelled([read_midi(path, grid)], None, [str(path)]))
    if not path.exists():
        raise InputError(f"{path} is no such file or folder")
    raise InputError(f"{path} is not known as music: expected a name that ends in .json, .mid or .midi, or a folder")


def is_midi(path: Path) -> bool:
    """Whether the file's name says that it is MIDI."""
    return path.suffix.lower() in (".mid", ".midi")


def _read_folder(folder: Path, grid: int) -> Splits:
    parts = [_read_files(folder / name, grid) if (folder / name).is_dir() else None for name in PARTS]
    train, validation, test = parts
    return Splits(_read_files(folder, grid)) if train is None else Splits(train, validation, test)


def _read_files(folder: Path, grid: int) -> Labelled:
    files = sorted(file for file in folder.rglob("*") if is_midi(file) and not file.name.startswith("."))
    if not files:
        raise InputError(f"{folder} has no files that end in .mid or .midi")
    return Labelled([read_midi(file, grid) for file in files], None, list(map(str, files)))


def read_json(path: str | Path) -> Splits:
    """Pieces from JSON: `{"train": pieces, "valid": pieces, "test": pieces}`, or the pieces alone.

    A piece is a list of steps, a step the list of the MIDI notes that sound in it, 60 for the middle C; a note that is
    there twice sounds once.

    Args:
      path: a UTF-8 file, packed where it ends in `.gz`.

    Returns:
      the parts, None for those it has not; sequences are rolls, booleans [T, 128]; there are no targets.

    Raises:
      InputError: a file that can't be read or is something else, a piece without notes, or a note that is no whole
        number in 0..127.
    """
    content = text.parse_json(str(path), text.read_text(path))
    if isinstance(content, list):
        return Splits(_pieces(content, str(path)))
    if not isinstance(content, dict) or "train" not in content or content.keys() - set(PARTS):
        came = f"an object with {', '.join(map(repr, content))}" if isinstance(content, dict) else repr(content)
        raise InputError(f"{path} must hold a list of pieces, or an object with train, valid and test; got {came:.80}")
    parts = {name: _pieces(content[name], f"{path}, {name}") for name in PARTS if name in content}
    return Splits(parts["train"], parts.get("valid"), parts.get("test"))


def _pieces(pieces: Any, place: str) -> Labelled:
    if not isinstance(pieces, list) or not pieces:
        raise InputError(f"{place} must be a list of at least one piece, got {pieces!r:.60}")
    places = [f"{place}, piece {number}" for number in range(1, len(pieces) + 1)]
    return Labelled([_roll(*each) for each in zip(pieces, places, strict=True)], None, places)


def _roll(piece: Any, place: str) -> np.ndarray:
    """A roll [T, 128] of a list of steps."""
    if not isinstance(piece, list):
        raise InputError(f"{place} must be a list of steps, got {piece!r:.60}")
    roll = np.zeros((len(piece), MIDI_NOTES), bool)
    for number, step in enumerate(piece):
        if not isinstance(step, list):
            raise InputError(f"{place}, step {number + 1} must be a list of notes, got {step!r:.60}")
        for note in step:
            if type(note) is not int or not 0 <= note < MIDI_NOTES:
                raise InputError(
                    f"{place}, step {number + 1}: expected MIDI notes, whole numbers from 0 to 127, got {note!r:.60}"
                )
        roll[number, step] = True
    if not roll.any():
        raise InputError(f"{place} has no notes; expected at least 1")
    return roll


@dataclasses.dataclass(frozen=True)
class Keyboard:
    """Which notes the keys of a roll are, and how long its steps.

    Args:
      lowest, highest: the first and the last key's MIDI notes, in 0..127; by default the 88 keys of a piano.
      grid: steps a quarter note, at least 1.

    Raises:
      TypeError, ValueError: a number out of range.

    >>> keyboard = Keyboard(60, 64)
    >>> len(keyboard), keyboard.name(60), keyboard.name(61)
    (5, 'C4', 'C#4')
    """

    lowest: int = 21
    highest: int = 108
    grid: int = 1

    def __post_init__(self) -> None:
        checks.index("lowest", self.lowest, 0, MIDI_NOTES - 1)
        checks.index("highest", self.highest, self.lowest, MIDI_NOTES - 1)
        checks.positive_int("grid", self.grid)

    @classmethod
    def of(cls, rolls: Iterable[Any], grid: int = 1) -> "Keyboard":
        """A piano's, or all 128 MIDI notes where some roll [T, 128] has one that no piano has."""
        piano, every = cls(grid=grid), cls(0, MIDI_NOTES - 1, grid)
        return piano if all(piano.has(roll) for roll in rolls) else every

    def __len__(self) -> int:
        """P, how many keys there are."""
        return self.highest - self.lowest + 1

    def has(self, roll: Any) -> bool:
        """Whether there is a key for every note of a roll [T, 128]."""
        return not (roll[:, : self.lowest].any() or roll[:, self.highest + 1 :].any())

    def cut(self, roll: Any, place: str = "the roll") -> np.ndarray:
        """The keys [T, P] of all MIDI notes [T, 128].

        Raises:
          InputError: a note sounds that has no key; the message begins with `place`.
        """
        if not self.has(roll):
            step, note = np.argwhere(np.asarray(roll) & ~self.whole(roll[:, self.lowest : self.highest + 1]))[0]
            raise InputError(
                f"{place}, step {step + 1} has the note {note}, {self.name(note)}; "
                f"expected notes from {self.lowest} to {self.highest}"
            )
        keys: np.ndarray = roll[:, self.lowest : self.highest + 1]
        return keys

    def whole(self, keys: np.ndarray) -> np.ndarray:
        """All MIDI notes [T, 128] of the keys [T, P]."""
        return np.pad(keys, ((0, 0), (self.lowest, MIDI_NOTES - 1 - self.highest)))

    def name(self, note: int) -> str:
        """A MIDI note's name: C4 is 60, the middle C."""
        return f"{NAMES[note % 12]}{note // 12 - 1}"


def save_keyboard(keyboard: Keyboard, path: str | Path) -> None:
    """Write a keyboard as JSON."""
    Path(path).write_text(json.dumps(dataclasses.asdict(keyboard)) + "\n", encoding="utf-8")


def load_keyboard(path: str | Path) -> Keyboard:
    """Read what `save_keyboard` wrote.

    Raises:
      InputError: the file is missing or is something else.
    """
    with text.saved(path, "keyboard") as fields:
        return Keyboard(**fields)


@dataclasses.dataclass(frozen=True, eq=False)
class Transposed:
    """A source of rolls in which every piece of every batch is moved up or down by some semitones, drawn anew.

    A shift is drawn evenly from those between `lowest` and `highest` that leave all notes on the keyboard; it follows
    from the seed, the batch's position and the row. What comes after a piece's end stays silent.

    Args:
      source: `SequenceBatch`es whose inputs are rolls [B, T, P], silent after their ends.
      lowest: semitones, at most 0; -5 is a fourth down.
      highest: semitones, at least 0.
      seed: at least 0.

    Raises:
      TypeError, ValueError: a number out of range.

    >>> rolls = [np.eye(1, 12, 4, dtype=bool)]
    >>> source = Transposed(lx.data.Bucketed(rolls, np.zeros(1), 1, 1, None), -1, 2, seed=0)
    >>> [int(source.batch(position).inputs.argmax()) for position in range(8)]
    [6, 5, 6, 5, 4, 5, 4, 6]
    """

    source: Source[SequenceBatch]
    lowest: int
    highest: int
    seed: int

    def __post_init__(self) -> None:
        checks.index("lowest", self.lowest, 1 - MIDI_NOTES, 0)
        checks.index("highest", self.highest, 0, MIDI_NOTES - 1)
        checks.index("seed", self.seed, 0)

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, position: int) -> SequenceBatch:
        """The batch at a position, any number from 0."""
        batch = self.source.batch(position)
        generator = np.random.default_rng((self.seed, position))
        rolls = [self._moved(roll, generator) for roll in batch.inputs]
        return batch._replace(inputs=np.stack(rolls))

    def _moved(self, roll: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        room = np.flatnonzero(roll.any(axis=0))
        below, above = (room[0], roll.shape[1] - 1 - room[-1]) if len(room) else (0, 0)
        shift = generator.integers(max(self.lowest, -below), min(self.highest, above), endpoint=True)
        return np.roll(roll, shift, axis=1)
