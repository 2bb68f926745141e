"""Moving digits and clips from files: what the makers promise, planted bad files, the command."""

import csv
import functools
import json
import pickle

import numpy as np
import pytest

from experiments import clips as study_of_clips
from experiments import study
from lstmjax import load_model
from lstmjax.data import datasets
from lstmjax.data.digit_clips import DIRECTIONS, SPEEDS, digit_clips, shrunk
from lstmjax.data.examples import Labelled
from lstmjax.data.images import read_clips
from lstmjax.errors import InputError
from tests import cases

pytestmark = pytest.mark.usefixtures("lenient_promotion")

LEVELS = {"a": 0.25, "b": 0.5, "c": 0.75, "d": 1.0}
"""Digits that a grey value tells apart: squares, all of one brightness."""
SQUARES = [np.pad(np.full((14, 14), level, np.float32), 7) for level in LEVELS.values()]
TINY = "--epochs 5 --batch-size 8 --num-buckets 1 --model.channels 4 --model.frame-features 8 "
TINY += "--model.hidden-features 8 --optimizer.learning-rate 0.03 --optimizer.warmup-steps 3"


call = functools.partial(cases.call, study_of_clips.main)


def made(kind, count, seed=0):
    return digit_clips(kind, SQUARES, list(LEVELS), count, seed=seed)


def test_a_digit_fills_its_small_square():
    """Its ink stays, by areas, and so does where it is."""
    image = np.random.default_rng(0).random((28, 28)).astype(np.float32)
    np.testing.assert_allclose(shrunk(image), image.reshape(14, 2, 14, 2).mean(axis=(1, 3)), rtol=1e-5)
    moved = np.pad(image, ((3, 0), (0, 5)))
    np.testing.assert_array_equal(shrunk(image), shrunk(moved))
    tall = np.zeros((28, 28), np.float32)
    tall[4:24, 9:14] = 1.0
    small = shrunk(tall)
    np.testing.assert_allclose(small.sum() / 14**2, 5 / 20, rtol=1e-5)
    assert not shrunk(np.zeros((28, 28), np.float32)).any()


@pytest.mark.parametrize("kind", ["direction", "first", "visible"])
def test_clips_follow_from_the_seed(kind):
    first, again, other = made(kind, 3), made(kind, 3), made(kind, 3, seed=1)
    assert first.targets == again.targets
    for one, same, different in zip(first.sequences, again.sequences, other.sequences, strict=True):
        np.testing.assert_array_equal(one, same)
        assert (one.dtype, one.shape[1:]) == (np.uint8, (32, 32, 1))
        assert one.shape != different.shape or (one != different).any()
    longer = made(kind, 5)  # a clip does not depend on how many there are
    np.testing.assert_array_equal(first.sequences[2], longer.sequences[2])


def test_direction_is_where_the_digit_moves():
    found = made("direction", 60)
    for clip, target in zip(found.sequences, found.targets, strict=True):
        direction, speed = target.split()
        whole = [frame[:, :, 0] for frame in clip if np.count_nonzero(frame) == 14 * 14]
        corners = np.array([np.argwhere(frame)[0] for frame in whole])
        steps = np.diff(corners, axis=0)
        np.testing.assert_array_equal(steps, [SPEEDS[speed] * np.array(DIRECTIONS[direction])] * len(steps))
        assert len(clip) == 10
    assert len(set(made("direction", 300).targets)) == 16


def test_the_first_to_leave_is_the_answer():
    """Each brightness is one digit: the answer is the one whose last frame comes first, and it came first as well."""
    found, lengths = made("first", 100), set()
    for clip, target in zip(found.sequences, found.targets, strict=True):
        seen = {level: [] for level in LEVELS}
        for number, frame in enumerate(clip):
            for name, level in LEVELS.items():
                if (frame == np.rint(level * 255)).any():
                    seen[name].append(number)
        there = sorted((frames[-1], frames[0], name) for name, frames in seen.items() if frames)
        assert len(there) == 2
        assert there[0][2] == target
        assert there[0][0] < len(clip) - 1  # it is gone before the end
        assert there[1][1] > 0  # and the other one was not there when the clip began
        lengths.add(len(clip))
    assert lengths == set(range(8, 17))


def test_visible_counts_digits_of_which_a_quarter_is_seen():
    found = made("visible", 20)
    for clip, target in zip(found.sequences, found.targets, strict=True):
        assert len(target) == len(clip)
        for frame, said in zip(clip, target, strict=True):
            areas = [np.count_nonzero(frame == np.rint(level * 255)) for level in LEVELS.values()]
            if np.count_nonzero(frame) == sum(areas) and sum(area > 0 for area in areas) < 2:  # none covers another
                assert said == str(sum(area >= 49 for area in areas))
    assert {said for target in found.targets for said in target} == {"0", "1", "2"}


def dots(path, count=40, seed=0, **changes):
    """A dot that goes left or right over frames of 4 x 8, in 3 to 5 frames."""
    rng = np.random.default_rng(seed)
    clips, labels = np.zeros((count, 5, 4, 8), np.uint8), np.array(["left", "right"])[np.arange(count) % 2]
    lengths = rng.integers(3, 6, count)
    for clip, label, length in zip(clips, labels, lengths, strict=True):
        for frame in range(length):
            clip[frame, rng.integers(4), (frame if label == "right" else 4 - frame) + rng.integers(2)] = 255
    arrays = {"clips": clips, "labels": labels, "lengths": lengths} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_clips_are_read_as_they_are(tmp_path):
    found = read_clips(dots(tmp_path / "a.npz"))
    content = np.load(tmp_path / "a.npz")
    assert [len(clip) for clip in found.sequences] == content["lengths"].tolist()
    np.testing.assert_array_equal(found.sequences[3][:, :, :, 0], content["clips"][3, : content["lengths"][3]])
    assert (found.targets, found.places[1]) == (content["labels"].tolist(), f"{tmp_path / 'a.npz'}, clip 1")
    colour = np.random.default_rng(0).random((2, 3, 4, 8, 3))
    np.savez(tmp_path / "b.npz", clips=colour, labels=np.array([[1, 2, 2], [0, 0, 1]]))
    found = read_clips(tmp_path / "b.npz")
    assert found.targets == [("1", "2", "2"), ("0", "0", "1")]
    np.testing.assert_array_equal(found.sequences[0], colour[0].astype(np.float32))
    colour[1, 2:] = np.nan  # after the clip's end
    np.savez(tmp_path / "c.npz", clips=colour, labels=[1, 2], lengths=[3, 2])
    np.testing.assert_array_equal(read_clips(tmp_path / "c.npz").sequences[1], colour[1, :2].astype(np.float32))


FLOATS = np.zeros((40, 5, 4, 8), np.float32)
BAD = FLOATS.copy()
BAD[7, 2, 3, 1] = np.nan
BLANK = np.array(["left", "right"] * 20)
BLANK[3] = " "


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips": None}, "expected the arrays clips, labels, perhaps lengths, got labels, lengths"),
        ({"labels": None}, "expected the arrays clips, labels, perhaps lengths, got clips, lengths"),
        ({"more": np.zeros(1)}, "expected the arrays clips, labels, perhaps lengths, got"),
        ({"clips": FLOATS[:, 0, 0]}, r"clips must be uint8, or floats in \[0, 1\], .* got float32 \[40, 8\]"),
        ({"clips": FLOATS.astype(int)}, r"clips must be uint8, or floats in \[0, 1\], .* got int64"),
        ({"clips": FLOATS[:0]}, r"clips must have at least one pixel, got float32 \[0, 5, 4, 8\]"),
        ({"clips": BAD}, r"clip 7, frame 2, row 3, column 1: expected a number in \[0, 1\], got nan"),
        ({"clips": FLOATS + 2}, r"clip 0, frame 0, row 0, column 0: expected a number in \[0, 1\], got 2.0"),
        (
            {"clips": FLOATS.astype(object)},
            "the array clips can't be read: it holds Python objects; save texts with",
        ),
        ({"labels": BLANK[:5]}, r"labels must be texts or whole numbers, \[40\] or \[40, 5\], as clips, got <U5 \[5\]"),
        ({"labels": np.zeros(40)}, r"labels must be texts or whole numbers, .* got float64 \[40\]"),
        ({"labels": BLANK}, "clip 3: expected a text that is not blank, got ' '"),
        ({"lengths": np.ones(3, int)}, r"lengths must be whole numbers \[40\], as clips, got int64 \[3\]"),
        ({"lengths": np.zeros(40, int)}, r"clip 0: expected a length in \[1, 5\], got 0"),
    ],
)
def test_a_bad_file_is_told_by_its_place(changes, message, tmp_path):
    path = dots(tmp_path / "bad.npz", **changes)
    with pytest.raises(InputError, match=message) as error:
        read_clips(path)
    assert str(error.value).startswith(str(path))


def test_what_is_no_npz_file_is_told(tmp_path):
    path = tmp_path / "no.npz"
    for content in (b"", b"text", pickle.dumps([1]), dots(tmp_path / "a.npz").read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{path} is not an NPZ file"):
            read_clips(path)
    with path.open("wb") as file:
        np.save(file, FLOATS)
    with pytest.raises(InputError, match=f"{path} is not an NPZ file"):
        read_clips(path)
    with pytest.raises(InputError, match=r"nowhere.npz can't be read: No such file"):
        read_clips(tmp_path / "nowhere.npz")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on dots, with every baseline; its folder and its summary."""
    folder = tmp_path_factory.mktemp("runs")
    data, out = dots(folder / "dots.npz", 200), folder / "run"
    assert cases.run_quietly(study_of_clips.main, [*TINY.split(), "--data", data, "--out", out]) == 0
    return out, json.loads((out / "summary.json").read_text())


def test_a_run_learns_writes_everything_and_names_every_figure(trained):
    out, summary = trained
    for name in ("config.json", "labels.json", "metrics.jsonl", "loss.png", "confusion.png", "clips.png"):
        assert (out / name).stat().st_size > 0
    assert summary["test_accuracy"] == 1.0
    assert summary["test_f1"] == 1.0
    assert summary["baseline_majority_test_accuracy"] == 0.5
    assert {"baseline_frames_test_accuracy", "baseline_stacked_test_f1", "test_loss", "parameters"} <= summary.keys()
    model, labels = load_model(out)
    assert labels.names == ("left", "right")
    clip = np.load(out.parent / "dots.npz")["clips"][1:2, :3, :, :, None]
    assert labels.names[int(model(clip).argmax())] == "right"


def test_predictions_of_another_file(trained, tmp_path, monkeypatch, capsys):
    path, out = dots(tmp_path / "more.npz", count=6, seed=3, labels=None), tmp_path / "said.csv"
    code, printed, err = call(["--checkpoint", trained[0], "--predict", path, "--out", out], monkeypatch, capsys)
    assert (code, err, printed) == (0, "", f"6 predictions in {out}\n")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction"] for row in rows] == ["left", "right"] * 3
    assert rows[5]["place"] == f"{path}, clip 5"
    np.savez(path, clips=np.zeros((2, 5, 4, 4), np.uint8))
    code, _, err = call(["--checkpoint", trained[0], "--predict", path, "--out", out], monkeypatch, capsys)
    assert (code, err) == (2, f"error: {path} has frames of [4, 4, 1]; expected [4, 8, 1]")


def test_stopped_and_resumed_is_uninterrupted_and_labels_may_be_of_frames(tmp_path, monkeypatch, capsys):
    """The statistics of batch normalisation go on as well."""
    is_right = np.arange(40)[:, None] % 2 == (np.arange(5)[None, :] > 2)
    data = dots(tmp_path / "dots.npz", labels=is_right.astype(int))
    whole, part = tmp_path / "whole", tmp_path / "part"
    arguments = [*TINY.split(), "--epochs", "3", "--data", data, "--model.pooling", "none", "--no-baselines"]
    assert call([*arguments, "--out", whole], monkeypatch, capsys)[0] == 0
    save = study.training.Checkpoints.save
    with monkeypatch.context() as patch:

        def fail(self, state, *rest, **named):
            save(self, state, *rest, **named)
            raise KeyboardInterrupt

        patch.setattr(study.training.Checkpoints, "save", fail)
        assert call([*arguments, "--out", part], patch, capsys)[0] == 130
    assert call(["--resume", "--out", part], monkeypatch, capsys)[0] == 0
    dots(other := tmp_path / "other.npz", clips=np.zeros((40, 5, 6, 6), np.uint8))
    code, _, err = call(["--resume", "--out", part, "--data", other], monkeypatch, capsys)
    assert (code, err) == (2, f"error: the data are not those that the run in {part} was trained on")
    assert (part / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    figures = [json.loads((folder / "summary.json").read_text()) for folder in (whole, part)]
    assert figures[0]["test_loss"] == figures[1]["test_loss"]
    out = tmp_path / "said.csv"
    assert call(["--checkpoint", whole, "--predict", data, "--out", out], monkeypatch, capsys)[0] == 0
    lengths = np.load(data)["lengths"]
    assert len(out.read_text().splitlines()) == 1 + lengths.sum()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "--data must name a file, or one of direction, first, visible"),
        ("--data dots.npz --model.pooling none", "dots.npz has a label a clip, so --model.pooling must be another"),
        ("--data frames.npz", "frames.npz has a label for each frame, so --model.pooling must be none, got last"),
        ("--data visible", "--data visible has a label for each frame, so --model.pooling must be none, got last"),
        ("--data dots.npz --clips 8", "clips is for moving digits, direction, first, visible; a file has as many as"),
        ("--data firts", "--data firts: there is no such file, nor is it one of direction, first, visible"),
        ("--data dots.npz --test small.npz", "small.npz has frames of [4, 4, 1]; expected [4, 8, 1], as"),
        ("--data dots.npz --test other.npz", "other.npz, clip 0 has the label 'up'; expected one of 'left', 'right'"),
        ("--data dots.npz --test frames.npz", "frames.npz must have a label a clip, as"),
        ("--data one.npz", "one.npz has one label only, 'up'; expected at least 2"),
        ("--data first --test dots.npz", "test is for clips from a file; first makes its own"),
        ("--data dots.npz --model.num-classes 4", "--model.num-classes is for the data to decide"),
    ],
)
def test_what_a_command_can_not_use(more, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dots(tmp_path / "dots.npz")
    dots(tmp_path / "frames.npz", labels=np.arange(200).reshape(40, 5) % 2)
    dots(tmp_path / "small.npz", clips=np.zeros((40, 5, 4, 4), np.uint8))
    dots(tmp_path / "one.npz", labels=np.array(["up"] * 40))
    dots(tmp_path / "other.npz", labels=np.array(["up", "left"] * 20))
    code, _, err = call([*TINY.split(), *more.split(), "--out", "run"], monkeypatch, capsys)
    assert (code, message in err) == (2, True), err


def test_named_clips_part_the_digits(monkeypatch):
    """No digit of the test part is in the training part, and the parts are the same for every seed of training."""

    def digits(level):
        return Labelled(SQUARES[level : level + 1] * 2, ["0", "1"], ["here"] * 2)

    monkeypatch.setattr(datasets, "mnist_rows", lambda: datasets.Splits(digits(1), digits(2), digits(3)))
    data = study_of_clips.load(study_of_clips.ClipsConfig(data="first", clips=16, seed=5))
    levels = [{int(clip.max()) for clip in part.sequences} for part in data.parts]
    assert levels == [{128}, {191}, {255}]
    again = study_of_clips.load(study_of_clips.ClipsConfig(data="first", clips=16))
    assert data.identity == again.identity
