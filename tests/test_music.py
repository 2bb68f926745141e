"""Music: files of pieces, keyboards, transposition, the command, its figures by hand, a sentence for mistakes."""

import functools
import json
import shutil

import numpy as np
import pytest

from experiments.music import __main__ as command
from experiments.music import answers
from experiments.parts import Parts
from lstmjax import load_model
from lstmjax.data import music
from lstmjax.data.midi import read_midi, write_midi
from lstmjax.data.music import Keyboard, Transposed, read_json, read_music
from lstmjax.data.source import Bucketed
from lstmjax.errors import InputError
from tests import cases

pytestmark = pytest.mark.usefixtures("lenient_promotion")

SMALL = "--quick --epochs 2 --batch-size 4 --longest-piece 12 --sample-steps 5 --model.hidden-features 4 "
SMALL += "--model.nade-features 3 --model.recurrent-dropout 0 "
PNG = b"\x89PNG\r\n"


def scales(count, seed=0, low=60):
    """Pieces of two voices, lists of notes."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 9, count)
    return [[[low + step % 5, low + 7 + step % 3] for step in range(length)] for length in lengths.tolist()]


def rolls(pieces):
    return [np.isin(np.arange(128), step) for piece in pieces for step in piece]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


call = functools.partial(cases.call, command.main)


def test_pieces_in_json_are_read_in_their_parts(tmp_path):
    pieces = [[[60, 64, 64], [], [127, 0]], [[5]]]
    found = read_json(write(tmp_path / "parts.json", {"train": pieces, "test": scales(2)}))
    assert found.validation is None
    assert [roll.shape for roll in found.train.sequences] == [(3, 128), (1, 128)]
    np.testing.assert_array_equal(np.concatenate(found.train.sequences), rolls(pieces))
    assert found.train.places[1] == f"{tmp_path}/parts.json, train, piece 2"
    assert len(found.test.sequences) == 2
    alone = read_music(write(tmp_path / "pieces.json", pieces))
    assert (alone.validation, alone.test) == (None, None)
    np.testing.assert_array_equal(np.concatenate(alone.train.sequences), rolls(pieces))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty; expected UTF-8 text"),
        ("[[[60]", "is not JSON: Expecting"),
        ("[" * 100_000, "is not JSON"),
        ("7", "must hold a list of pieces, or an object with train, valid and test; got 7"),
        ({"valid": []}, "must hold a list of pieces, .* got an object with 'valid'"),
        ({"train": [[[60]]], "dev": []}, "got an object with 'train', 'dev'"),
        ([], r"must be a list of at least one piece, got \[\]"),
        ({"train": [[[60]]], "test": []}, r", test must be a list of at least one piece, got \[\]"),
        ([[[60]], 5], ", piece 2 must be a list of steps, got 5"),
        ([[[60], 64]], ", piece 1, step 2 must be a list of notes, got 64"),
        ([[[60], [60, 128]]], ", piece 1, step 2: expected MIDI notes, whole numbers from 0 to 127, got 128"),
        ([[[-1]]], "step 1: .* got -1"),
        ([[[True]]], "step 1: .* got True"),
        ([[[60.0]]], "step 1: .* got 60.0"),
        ([[["C4"]]], "step 1: .* got 'C4'"),
        ([[[float("nan")]]], "step 1: .* got nan"),
        ([[[60]], []], ", piece 2 has no notes; expected at least 1"),
        ([[[], []]], ", piece 1 has no notes; expected at least 1"),
    ],
)
def test_json_that_is_no_music_is_refused_in_a_sentence(tmp_path, content, sentence):
    path = write(tmp_path / "songs.json", content)
    with pytest.raises(InputError, match=rf"^{path}.*{sentence}"):
        read_music(path)


def test_a_folder_of_midi_is_read_in_order_and_in_its_parts(tmp_path):
    piece = np.eye(2, 128, 60, dtype=bool)
    for name in ("b.mid", "a/c.MIDI", ".hidden.mid"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_midi(tmp_path / name, piece, grid=2)
    write(tmp_path / "notes.txt", "not music")
    found = read_music(tmp_path, grid=2).train
    assert found.places == [f"{tmp_path}/a/c.MIDI", f"{tmp_path}/b.mid"]
    np.testing.assert_array_equal(found.sequences, [piece, piece])
    for part in ("train", "valid"):
        (tmp_path / "sets" / part).mkdir(parents=True)
        write_midi(tmp_path / "sets" / part / f"{part}.mid", piece)
    train, validation, test = read_music(tmp_path / "sets")
    assert (train.places, test) == ([f"{tmp_path}/sets/train/train.mid"], None)
    assert validation.places == [f"{tmp_path}/sets/valid/valid.mid"]
    (tmp_path / "empty").mkdir()
    for path, sentence in [
        (tmp_path / "empty", "has no files that end in .mid or .midi"),
        (tmp_path / "none.json", "can't be read: No such file"),
        (tmp_path / "none", "is no such file or folder"),
        (tmp_path / "notes.txt", "is not known as music: expected a name that ends in .json"),
    ]:
        with pytest.raises(InputError, match=sentence):
            read_music(path)


def test_a_keyboard_has_the_notes_it_needs(tmp_path):
    inside, outside = np.eye(2, 128, 60, dtype=bool), np.eye(2, 128, 20, dtype=bool)
    piano = Keyboard.of([inside], grid=4)
    assert piano == Keyboard(21, 108, 4)
    assert Keyboard.of([inside, outside]) == Keyboard(0, 127)
    assert np.flatnonzero(piano.cut(inside)[0]).tolist() == [39]
    np.testing.assert_array_equal(piano.whole(piano.cut(inside)), inside)
    with pytest.raises(InputError, match="song, step 1 has the note 20, G#0; expected notes from 21 to 108"):
        piano.cut(outside, "song")
    assert [piano.name(note) for note in (21, 60, 108)] == ["A0", "C4", "C8"]
    music.save_keyboard(piano, tmp_path / "keyboard.json")
    assert music.load_keyboard(tmp_path / "keyboard.json") == piano
    for content in ("{}}", '{"keys": 3}', '{"lowest": 128}', '{"grid": 0}', "[1]"):
        with pytest.raises(InputError, match=r"keyboard\.json is not a readable keyboard"):
            music.load_keyboard(write(tmp_path / "keyboard.json", content))


def test_transposition_moves_every_note_alike_and_none_off_the_keyboard():
    rng = np.random.default_rng(0)
    pieces = [np.pad(rng.random((steps, 6)) < 0.5, ((0, 0), (4, 2))) for steps in (3, 7, 5)]
    for piece in pieces:
        piece[0, [4, 9]] = True
    pieces.append(np.zeros((2, 12), bool))
    source = Bucketed(pieces, np.arange(4), 4, 1, None)
    moved = Transposed(source, -5, 6, seed=7)
    shifts = set()
    for position in range(60):
        batch, plain = moved.batch(position), source.batch(position)
        np.testing.assert_array_equal(batch.inputs, moved.batch(position).inputs)
        np.testing.assert_array_equal(batch.lengths, plain.lengths)
        for was, now in zip(plain.inputs[:3], batch.inputs[:3], strict=True):
            (was_step, was_note), (now_step, now_note) = np.nonzero(was), np.nonzero(now)
            np.testing.assert_array_equal(was_step, now_step)
            (shift,) = set((now_note - was_note).tolist())
            shifts.add(shift)
        assert not batch.inputs[3].any()
    assert shifts == set(range(-4, 3))  # there is no room for more
    another = Transposed(source, -5, 6, seed=8)
    assert any(not np.array_equal(another.batch(k).inputs, moved.batch(k).inputs) for k in range(5))
    np.testing.assert_array_equal(Transposed(source, 0, 0, seed=0).batch(3).inputs, source.batch(3).inputs)
    with pytest.raises(ValueError, match="lowest must be at most 0"):
        Transposed(source, 1, 2, seed=0)


def test_figures_are_what_they_are_said_to_be():
    rng = np.random.default_rng(0)
    pieces = [rng.random((steps, 3)) < 0.5 for steps in (4, 1, 3)]
    said = [
        answers.Said(rng.random(len(piece)).astype(np.float32), rng.random(piece.shape) < 0.5, rng.random(piece.shape))
        for piece in pieces
    ]
    found = answers.score(pieces, said)
    each = [np.float64(one.nll) for one in said]
    assert found["nll"] == pytest.approx((each[0][1:].sum() + each[2][1:].sum()) / 5)
    assert found["nll_per_piece"] == pytest.approx((each[0][1:].mean() + each[2][1:].mean()) / 2)
    assert found["nll_with_first"] == pytest.approx(np.concatenate(each).mean())
    cells = [(a[1:].ravel(), b.notes[1:].ravel()) for a, b in zip(pieces, said, strict=True)]
    pairs = [pair for a, b in cells for pair in zip(a.tolist(), b.tolist(), strict=True)]
    both, either = sum(t and s for t, s in pairs), sum(t or s for t, s in pairs)
    assert found["accuracy"] == pytest.approx(both / either)
    assert found["f1"] == pytest.approx(2 * both / (both + either))


def test_counting_is_by_hand():
    piece = np.array([[1, 0], [1, 0], [0, 0], [1, 0]], bool)
    parts = Parts([piece], [piece], [piece[:2]])
    found = answers.count_baselines(parts)
    likely = found["note_frequencies"]["test"][0].probabilities
    np.testing.assert_allclose(likely, [[4 / 6, 1 / 6]] * 2)
    steps = found["last_step"]["validation"][0]
    stays, comes = 2 / 4, 3 / 4  # of two steps after it sounds, one; of two after silence, both; once more either way
    never = 1 / 6
    np.testing.assert_allclose(steps.probabilities, [[comes, never], [stays, never], [stays, never], [comes, never]])
    np.testing.assert_allclose(steps.nll[2], -np.log(1 - stays) - np.log(1 - never))


def run_quietly(arguments):
    assert cases.run_quietly(command.main, arguments) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of pieces without parts, one of which is cut, and a baseline; the folder and its summary."""
    folder = tmp_path_factory.mktemp("songs")
    pieces = [*scales(8), [[60], [62]] * 9]
    run_quietly([*SMALL.split(), "--data", write(folder / "songs.json", pieces), "--out", folder / "run"])
    return folder / "run", json.loads((folder / "run" / "summary.json").read_text())


def test_a_run_leaves_figures_pictures_and_music(trained):
    folder, summary = trained
    for name in ("", "baseline_linear_", "baseline_note_frequencies_", "baseline_last_step_"):
        for figure in ("nll", "nll_per_piece", "nll_with_first", "accuracy", "f1"):
            assert np.isfinite(summary[f"{name}test_{figure}"])
    for name in ("loss.png", "roll.png", "probabilities.png"):
        assert (folder / name).read_bytes().startswith(PNG)
    model, keyboard = load_model(folder)
    assert (model.num_notes, model.notes.most_notes, keyboard) == (88, 2, Keyboard())
    assert {path.name for path in (folder / "samples").iterdir()} >= {"continued.mid", "test-piece.mid"}
    config = command.MusicConfig(quick=True, longest_piece=12, data=str(folder.parent / "songs.json"))
    parts = command.load(config).parts
    assert max(map(len, [*parts.train, *parts.validation, *parts.test])) <= 12
    nlls = []
    for piece in parts.test:
        scores, _ = model(np.pad(piece[None, :-1], ((0, 0), (1, 0), (0, 0))))
        nlls.append(-np.asarray(model.notes.log_likelihood(scores, piece[None]))[0, 1:])
    assert summary["test_nll"] == pytest.approx(np.concatenate(nlls).mean(), rel=1e-4)


def test_a_run_that_was_stopped_goes_on_and_with_other_pieces_is_refused(trained, tmp_path, monkeypatch, capsys):
    folder, summary = trained
    own = shutil.copytree(folder, tmp_path / "run")
    (own / "roll.png").unlink()
    code, _, err = call(["--resume", "--out", own], monkeypatch, capsys)
    assert code == 0, err
    assert json.loads((own / "summary.json").read_text()) == summary
    assert (own / "roll.png").exists()
    other = write(tmp_path / "other.json", scales(9, seed=1))
    code, _, err = call(["--resume", "--out", own, "--data", other], monkeypatch, capsys)
    assert (code, "the data are not those that the run in" in err) == (2, True)


def test_a_trained_model_goes_on_from_an_opening(trained, tmp_path, monkeypatch, capsys):
    folder, _ = trained
    opening, out = write(tmp_path / "opening.json", [[[60, 64], [62], [65]]]), tmp_path / "new" / "song.mid"
    arguments = ["--sample", "--checkpoint", folder, "--out", out, "--steps", 6, "--opening", opening]
    code, said, _ = call([*arguments, "--opening-steps", 2], monkeypatch, capsys)
    assert (code, said) == (0, f"2 steps of opening and 6 new ones in {out}\n")
    first = out.read_bytes()
    assert [np.flatnonzero(step).tolist() for step in read_midi(out)[:2]] == [[60, 64], [62]]
    assert len(read_midi(out)) == 8
    call([*arguments, "--opening-steps", 2], monkeypatch, capsys)
    assert out.read_bytes() == first
    call([*arguments, "--opening-steps", 2, "--seed", 1], monkeypatch, capsys)
    assert out.read_bytes() != first
    write(opening, [[[20]]])
    code, _, error = call(arguments, monkeypatch, capsys)
    assert (code, error) == (
        2,
        f"error: {opening}, piece 1, step 1 has the note 20, G#0; expected notes from 21 to 108",
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--data no-such-file", "no-such-file is no such file or folder"),
        ("--grid 0", "grid must be at least 1"),
        ("--longest-piece 1", "longest_piece must be at least 2"),
        ("--test-fraction 1", "test_fraction must be in (0, 1), got 1.0"),
        ("--transpose-up 200", "transpose_up must be at most 127"),
        ("--model.num-notes 3", "--model.num-notes is for the data to decide"),
        ("--checkpoint nowhere --out song.mid", "nowhere is not a folder; expected the folder of a training run"),
        ("--sample --checkpoint nowhere --out song.wav", "out must be a name that ends in .mid or .midi"),
        ("--sample --checkpoint nowhere --out song.mid --temperature -1", "temperature must be at least 0"),
        ("--sample --checkpoint nowhere --out song.mid --opening-steps 3", "opening_steps needs an opening"),
    ],
)
def test_mistakes_on_the_command_line_are_a_sentence(options, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, error = call(options.split(), monkeypatch, capsys)
    assert code == 2
    assert sentence in error


def test_pieces_too_short_or_too_few_are_a_sentence(tmp_path, monkeypatch, capsys):
    code, _, error = call(["--data", write(tmp_path / "one.json", [[[60], [61]]])], monkeypatch, capsys)
    assert (code, "too few examples to split" in error) == (2, True)
    code, _, error = call(["--data", write(tmp_path / "short.json", [[[60]]] * 9)], monkeypatch, capsys)
    assert (code, "short.json has no piece of two steps, so there is nothing to predict" in error) == (2, True)
