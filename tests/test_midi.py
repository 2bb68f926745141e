"""MIDI as piano rolls: timing by hand-made bytes, what is left out, round trips, a sentence for what can't be read."""

import struct
import sys

import mido
import numpy as np
import pytest

from lstmjax.data.midi import read_midi, write_midi
from lstmjax.errors import InputError

QUARTER = 96
END = (0, b"\xff\x2f\x00")


def on(delta, note, velocity=80, channel=0):
    return delta, bytes([0x90 + channel, note, velocity])


def off(delta, note, channel=0):
    return delta, bytes([0x80 + channel, note, 0])


def delta_bytes(ticks):
    """A number seven bits a byte, the highest first, all but the last byte marked."""
    groups = [ticks & 127]
    while ticks := ticks >> 7:
        groups.insert(0, 128 | ticks & 127)
    return bytes(groups)


def midi(*tracks, kind=None, division=QUARTER):
    kind = int(len(tracks) > 1) if kind is None else kind
    content = b"MThd" + struct.pack(">IHHH", 6, kind, len(tracks), division)
    for events in tracks:
        body = b"".join(delta_bytes(delta) + data for delta, data in [*events, *([] if END in events else [END])])
        content += b"MTrk" + struct.pack(">I", len(body)) + body
    return content


def steps(tmp_path, content, grid=1):
    """What sounds at each step."""
    path = tmp_path / "song.mid"
    path.write_bytes(content)
    return [np.flatnonzero(step).tolist() for step in read_midi(path, grid)]


def test_a_step_is_a_share_of_a_quarter_whatever_the_tempo(tmp_path):
    tempo = b"\xff\x51\x03\x01\x00\x00"
    song = midi([on(0, 60), (10, tempo), off(86, 60), on(0, 64), (10, tempo), on(134, 64, velocity=0), off(0, 99)])
    assert steps(tmp_path, song) == [[60], [64], [64]]  # 64 ends after 2.5 quarters, which is nearer to 3 from below
    assert steps(tmp_path, song, grid=2) == [[60], [60], [64], [64], [64]]
    slow = midi([on(0, 60), off(192, 60), on(0, 64), off(288, 64)], division=2 * QUARTER)
    assert steps(tmp_path, slow) == steps(tmp_path, song)


def test_what_is_held_sounds_and_what_is_short_sounds_once(tmp_path):
    song = [on(0, 50), on(96, 60), off(5, 60), on(91, 62), off(20, 62), off(76, 50), (192, END[1])]
    assert steps(tmp_path, midi(song)) == [[50], [50, 60], [50, 62], [], []]
    late = midi([on(47, 60), off(1, 60), on(0, 61), off(96, 61)])  # 61 begins half a step late: at the step to come
    assert steps(tmp_path, late) == [[60], [61]]
    hanging = midi([on(0, 60), on(96, 61), (96, END[1])])
    assert steps(tmp_path, hanging) == [[60], [60, 61]]
    again = midi([on(0, 60), on(96, 60), off(96, 60), (96, END[1])])  # struck twice, ended once
    assert steps(tmp_path, again) == [[60]] * 3


def test_tracks_and_channels_sound_together_and_percussion_does_not(tmp_path):
    tracks = (
        [on(0, 60), off(96, 60), on(0, 35, channel=9), off(96, 35, channel=9)],
        [on(0, 60, channel=1), off(192, 60, channel=1)],
        [on(96, 67), off(96, 67)],
    )
    assert steps(tmp_path, midi(*tracks)) == [[60], [60, 67]]


def test_a_running_status_is_read(tmp_path):
    assert steps(tmp_path, midi([on(0, 60), (96, bytes([60, 0])), (0, bytes([72, 9])), (96, bytes([72, 0]))])) == [
        [60],
        [72],
    ]


@pytest.mark.parametrize("repeated", ["held", "struck"])
@pytest.mark.parametrize("grid", [1, 7, 480])
def test_what_is_written_is_read_back(tmp_path, grid, repeated):
    rng = np.random.default_rng(grid)
    path = tmp_path / "song.mid"
    for steps in (1, 6):
        roll = np.repeat(rng.random((steps, 128)) < 0.1, 2, axis=0)
        roll[-1] = False  # silence at the end is music too
        roll[0, [0, 127]] = True
        write_midi(path, roll, grid=grid, repeated=repeated)
        np.testing.assert_array_equal(read_midi(path, grid), roll)
    (track,) = mido.MidiFile(path).tracks
    strokes = sum(message.type == "note_on" for message in track)
    begins = roll & ~np.pad(roll[:-1], ((1, 0), (0, 0)))
    assert strokes == (begins if repeated == "held" else roll).sum()


def test_tempo_and_instrument_are_written(tmp_path):
    roll = np.eye(3, 128, 60, dtype=bool)
    write_midi(tmp_path / "song.mid", roll, tempo=120.0, program=19, grid=2)
    song = mido.MidiFile(tmp_path / "song.mid")
    assert song.length == pytest.approx(0.75)  # three eighths at two quarters a second
    assert [message.program for message in song.tracks[0] if message.type == "program_change"] == [19]
    for wrong in ({"tempo": 0.0}, {"program": 128}, {"grid": 481}, {"repeated": "often"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            write_midi(tmp_path / "song.mid", roll, **wrong)
    for roll in (np.zeros((3, 88), bool), np.zeros(128, bool)):
        with pytest.raises(ValueError, match=r"roll must have shape \[T, 128\]"):
            write_midi(tmp_path / "song.mid", roll)
    with pytest.raises(TypeError, match="roll must have dtype bool"):
        write_midi(tmp_path / "song.mid", np.zeros((3, 128)))


SONG = midi([on(0, 60), off(96, 60)])
BAD = {
    "empty": (b"", "is empty; expected MIDI"),
    "text": (b"la la la la la la", "can't be read as MIDI: MThd not found"),
    "half": (SONG[:-6], "is not whole: it ends in the middle"),
    "header": (SONG[:10], "is not whole: it ends in the middle"),
    "garbage": (SONG[:22] + b"\0\xf4" * 9, "can't be read as MIDI"),
    "silent": (midi([(96, END[1])]), "has no notes; expected at least 1 outside channel 10"),
    "no tracks": (midi(), "has no notes"),
    "drums": (midi([on(0, 35, channel=9), off(96, 35, channel=9)]), "has no notes; .* the percussion"),
    "smpte": (midi([on(0, 60), off(96, 60)], division=0xE728), "has its times in SMPTE frames"),
    "no division": (midi([on(0, 60), off(96, 60)], division=0), "has 0 ticks in a quarter note"),
    "type 2": (midi([on(0, 60), off(96, 60)], kind=2), "is MIDI of type 2, whose tracks do not sound together"),
    "endless": (midi([on(0, 60), off(2**27, 60)], division=1), "has 134,217,728 steps at a grid of 1; .* 100,000"),
}


@pytest.mark.parametrize(("content", "sentence"), BAD.values(), ids=BAD.keys())
def test_what_is_no_music_is_refused_in_a_sentence(tmp_path, content, sentence):
    with pytest.raises(InputError, match=rf"^{tmp_path}/song\.mid {sentence}"):
        steps(tmp_path, content)


def test_files_that_are_not_there_and_a_library_that_is_not(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"song\.mid can't be read: No such file"):
        read_midi(tmp_path / "song.mid")
    with pytest.raises(ValueError, match="grid must be at least 1"):
        read_midi(tmp_path / "song.mid", 0)
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(InputError, match="mido, which reads and writes MIDI, is not installed: pip install"):
        read_midi(tmp_path / "song.mid")
