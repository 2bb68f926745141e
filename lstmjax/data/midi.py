"""MIDI files as piano rolls, read and written by `mido`."""

import io
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lstmjax import checks
from lstmjax.data import text
from lstmjax.errors import InputError
from lstmjax.types import Bool

PERCUSSION = 9  # counted from 0: the tenth channel
MIDI_NOTES = 128
MOST_STEPS = 100_000
TICKS = 480


def read_midi(path: str | Path, grid: int = 1) -> Bool[np.ndarray, "T 128"]:
    """Which notes sound at each step of a MIDI file.

        step of a tick = floor(grid * tick / ticks_per_quarter + 1/2)

    A note sounds from the step that its beginning is nearest to up to the one before its end, and at least for one
    step; what is held sounds in every step. A step is a fraction of a quarter note, so the tempo changes nothing. All
    tracks and channels sound together; only channel 10, which is percussion, is left out. A note-on of velocity 0 is a
    note-off. A note that never ends, ends with its track; the piece ends with its longest track.

    Args:
      path: a file of type 0 or 1.
      grid: steps a quarter note, in 1..480.

    Returns:
      booleans [T, 128], a column for each MIDI note, 60 for the middle C.

    Raises:
      InputError: a file that can't be read or is no MIDI, is of type 2, has its times in SMPTE frames, has no notes or
        more than 100,000 steps; or mido is not installed.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "scale.mid")
    ...     write_midi(path, np.eye(8, 128, 60, dtype=bool))
    ...     roll = read_midi(path)
    >>> roll.shape, [int(np.flatnonzero(step)[0]) for step in roll]
    ((8, 128), [60, 61, 62, 63, 64, 65, 66, 67])
    """
    checks.index("grid", grid, 1, TICKS)
    file = _parsed(path)
    quarter: int = file.ticks_per_beat
    notes = [note for track in file.tracks for note in _notes(track)]
    if not notes:
        raise InputError(f"{path} has no notes; expected at least 1 outside channel 10, the percussion")

    def step(tick: int) -> int:
        return (2 * grid * tick + quarter) // (2 * quarter)

    last = max(step(max(sum(message.time for message in track) for track in file.tracks)), 1)
    last = max(last, *(step(note.start) + 1 for note in notes))
    if last > MOST_STEPS:
        raise InputError(f"{path} has {last:,} steps at a grid of {grid}; expected at most {MOST_STEPS:,}")
    roll = np.zeros((last, MIDI_NOTES), bool)
    for note in notes:
        first = step(note.start)
        roll[first : max(first + 1, step(note.end)), note.number] = True
    return roll


class Note(NamedTuple):
    """A note's number, and the ticks at which it begins and ends."""

    number: int
    start: int
    end: int


def _notes(track: Any) -> Iterator[Note]:
    """The notes of a track, percussion left out."""
    now, sounding = 0, defaultdict[tuple[int, int], list[int]](list)
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == PERCUSSION:
            continue
        starts = sounding[message.channel, message.note]
        if message.type == "note_on" and message.velocity > 0:
            starts.append(now)
        elif starts:
            yield Note(message.note, starts.pop(0), now)
    for (_, number), starts in sounding.items():
        yield from (Note(number, start, now) for start in starts)


def _parsed(path: str | Path) -> Any:
    """What mido makes of a file, whose times are in ticks of a quarter note."""
    mido = _mido()
    content = text.read_bytes(path)
    if not content:
        raise InputError(f"{path} is empty; expected MIDI")
    try:
        file = mido.MidiFile(file=io.BytesIO(content))
    except EOFError as error:
        raise InputError(f"{path} is not whole: it ends in the middle of a MIDI track") from error
    except Exception as error:  # mido has no name of its own for what it can't read
        raise InputError(f"{path} can't be read as MIDI: {error}") from error
    if file.type not in (0, 1):
        raise InputError(f"{path} is MIDI of type {file.type}, whose tracks do not sound together; expected 0 or 1")
    if file.ticks_per_beat <= 0:  # negative as mido reads it, where the times are not in notes
        has = "its times in SMPTE frames" if file.ticks_per_beat else "0 ticks in a quarter note"
        raise InputError(f"{path} has {has}; expected times in ticks of a quarter note")
    return file


def write_midi(
    path: str | Path,
    roll: Bool[np.ndarray, "T 128"],
    *,
    grid: int = 1,
    tempo: float = 90.0,
    program: int = 0,
    repeated: Literal["held", "struck"] = "held",
) -> None:
    """Write a roll as a MIDI file of one track; `read_midi` with the same grid reads it again.

    Args:
      path: the file, which is overwritten.
      roll: booleans [T, 128], a column for each MIDI note.
      grid: steps a quarter note, in 1..480.
      tempo: quarter notes a minute, in 4..1000.
      program: the instrument, in 0..127; 0 is a grand piano.
      repeated: whether a note that sounds in steps one after another is held, or struck anew at each; a roll can't say.

    Raises:
      TypeError, ValueError: another shape or dtype, a number out of range.
      InputError: mido is not installed.
    """
    roll = np.asarray(roll)
    checks.shape("roll", roll, ("T", MIDI_NOTES))
    checks.kind("roll", roll, np.bool_)
    checks.index("grid", grid, 1, TICKS)
    checks.index("program", program, 0, 127)
    checks.one_of("repeated", repeated, ("held", "struck"))
    checks.number("tempo", tempo)
    if not 4.0 <= tempo <= 1000.0:
        raise ValueError(f"tempo must be in [4, 1000], got {tempo}")
    mido = _mido()
    ticks = TICKS // grid
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
    track.append(mido.Message("program_change", program=program))
    now = 0
    for step, kind, note in _events(roll, repeated):
        track.append(mido.Message(kind, note=note, velocity=64, time=(step - now) * ticks))
        now = step
    track.append(mido.MetaMessage("end_of_track", time=(len(roll) - now) * ticks))
    mido.MidiFile(type=0, ticks_per_beat=ticks * grid, tracks=[track]).save(str(path))


def _events(roll: np.ndarray, repeated: str) -> Iterator[tuple[int, str, int]]:
    """Step, kind and note of every beginning and end, in time; ends come before beginnings."""
    silence = np.zeros((1, MIDI_NOTES), bool)
    before, after = np.concatenate([silence, roll]), np.concatenate([roll, silence])
    stays = before & after if repeated == "held" else np.zeros_like(before)
    for step in range(len(after)):
        for kind, change in (("note_off", before[step] & ~stays[step]), ("note_on", after[step] & ~stays[step])):
            yield from ((step, kind, int(note)) for note in np.flatnonzero(change))


def _mido() -> Any:
    try:
        import mido  # an optional dependency
    except ImportError:
        raise InputError(
            "mido, which reads and writes MIDI, is not installed: pip install 'lstmjax[experiments]'"
        ) from None
    return mido
