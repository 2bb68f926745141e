"""Moving MNIST by its recipe, and videos from files."""

import io
import re
import zipfile

import numpy as np
import pytest

from lstmjax import data
from lstmjax.data import datasets, moving_digits, videos
from lstmjax.data.examples import Labelled
from lstmjax.data.source import Examples
from lstmjax.errors import InputError

RNG = np.random.default_rng(0)
DIGITS = RNG.integers(1, 256, (5, 4, 4)).astype(np.uint8)


def one(generator_seed, **sizes):
    return moving_digits.moving_digits(DIGITS[:1], 6, np.random.default_rng(generator_seed), together=1, **sizes)


def corner(frame):
    rows, columns = np.nonzero(frame)
    return rows.min(), columns.min()


def test_a_digit_goes_straight_with_one_speed_and_turns_back_at_the_sides():
    size, side, steps = 104, 4, 60
    way = size - side
    for clip in one(3, size=size, steps=steps):
        corners = np.array([corner(frame) for frame in clip])
        for frame, (row, column) in zip(clip, corners, strict=True):
            np.testing.assert_array_equal(frame[row : row + side, column : column + side], DIGITS[0])
            assert frame.astype(int).sum() == DIGITS[0].astype(int).sum()  # nothing else, nothing cut off
        assert 0 <= corners.min() <= corners.max() <= way
        moves = np.diff(corners, axis=0)
        inside = ((corners > 0) & (corners < way)).all(axis=1)
        free = inside[:-1] & inside[1:]
        lengths = np.hypot(*moves[free].T)
        np.testing.assert_allclose(lengths, moving_digits.STEP * way, atol=1.5)  # places are whole pixels
        for axis in range(2):
            turned = moves[:-1, axis] * moves[1:, axis] < 0
            assert not (turned & free[:-1] & free[1:]).any()  # it turns at a side only


def test_crossing_digits_keep_the_brighter_pixel():
    made = moving_digits.moving_digits(DIGITS, 8, np.random.default_rng(1), size=5, steps=3)
    assert made.shape == (8, 3, 5, 5)
    corners = [(r, c) for r in (0, 1) for c in (0, 1)]

    def pasted(a, at, b, to):
        frame = np.zeros((5, 5), np.uint8)
        for digit, (r, c) in ((a, at), (b, to)):
            frame[r : r + 4, c : c + 4] = np.maximum(frame[r : r + 4, c : c + 4], digit)
        return bytes(frame)

    possible = {pasted(a, at, b, to) for a in DIGITS for b in DIGITS for at in corners for to in corners}
    assert {bytes(frame) for frame in made.reshape(-1, 5, 5)} <= possible


def test_directions_and_places_are_even():
    clips = moving_digits.moving_digits(
        np.full((1, 1, 1), 255, np.uint8), 4000, np.random.default_rng(0), together=1, size=101, steps=2
    )
    corners = np.stack(np.unravel_index(clips.reshape(4000, 2, -1).argmax(axis=-1), (101, 101)), axis=-1)
    assert np.abs(corners[:, 0].mean(axis=0) - 50).max() < 2
    inside = ((corners > 10) & (corners < 90)).all(axis=(1, 2))
    moves = np.diff(corners, axis=1)[inside, 0]
    quadrants = np.bincount(2 * (moves[:, 0] > 0) + (moves[:, 1] > 0), minlength=4) / len(moves)
    np.testing.assert_allclose(quadrants, 0.25, atol=0.05)


def test_a_batch_follows_from_seed_and_position():
    source = data.MovingDigits(DIGITS, 3, 7, given=4, ahead=2, size=8)
    inputs, targets, weights = source.batch(5)
    assert (inputs.shape, targets.shape, inputs.dtype) == ((3, 4, 8, 8, 1), (3, 2, 8, 8, 1), np.float32)
    assert weights.tolist() == [1, 1, 1]
    assert 0 == inputs.min() < inputs.max() <= 1
    same, later, other = source.batch(5), source.batch(6), data.MovingDigits(DIGITS, 3, 8, 4, 2, 8).batch(5)
    np.testing.assert_array_equal(inputs, same.inputs)
    assert not np.array_equal(inputs, later.inputs)
    assert not np.array_equal(inputs, other.inputs)
    whole = np.concatenate([inputs, targets], axis=1)
    drawn = moving_digits.moving_digits(DIGITS, 3, np.random.default_rng((7, 5)), steps=6, size=8)
    np.testing.assert_array_equal(np.rint(255 * whole[..., 0]), drawn)


def test_digits_of_each_part_and_their_halves(monkeypatch):
    images = RNG.integers(0, 256, (9, 28, 28))
    parts = [Labelled(list(part / np.float32(255)), ["0"] * 3, ["x"] * 3) for part in np.split(images, 3)]
    monkeypatch.setattr(moving_digits, "mnist_rows", lambda: datasets.Splits(*parts))
    whole = moving_digits.mnist_digits()
    np.testing.assert_array_equal(np.concatenate(whole), images)
    halves = moving_digits.mnist_digits(14)
    means = [
        [[image[r : r + 2, c : c + 2].mean() for c in range(0, 28, 2)] for r in range(0, 28, 2)] for image in images
    ]
    assert np.abs(np.concatenate(halves) - np.array(means)).max() <= 0.5001
    assert halves[0].dtype == np.uint8
    with pytest.raises(ValueError, match="size must be 14 or 28, got 7"):
        moving_digits.mnist_digits(7)


@pytest.mark.parametrize(
    ("digits", "sizes", "sentence"),
    [
        (DIGITS / 255, {}, r"digits must be uint8 \[N, d, d\], got float64 \[5, 4, 4\]"),
        (DIGITS[:, :3], {}, r"digits must be uint8 \[N, d, d\], got uint8 \[5, 3, 4\]"),
        (DIGITS[:0], {}, r"digits must be uint8 \[N, d, d\], got uint8 \[0, 4, 4\]"),
        (DIGITS, {"size": 4}, "size must be at least 5, got 4"),
        (DIGITS, {"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_digits_that_cannot_move(digits, sizes, sentence):
    with pytest.raises(ValueError, match=sentence):
        moving_digits.moving_digits(digits, 2, np.random.default_rng(0), **sizes)


def saved(path, array):
    np.save(path, array)
    return path


def test_videos_come_as_they_were_written(tmp_path):
    grey, colours = RNG.integers(0, 256, (3, 5, 12, 11)).astype(np.uint8), RNG.random((2, 4, 11, 13, 3))
    read = videos.read_videos(saved(tmp_path / "grey.npy", grey), frames=5)
    np.testing.assert_array_equal(read[..., 0], grey)
    assert (read.shape, read.dtype) == ((3, 5, 12, 11, 1), np.uint8)
    np.savez_compressed(tmp_path / "colours.npz", anything=colours)
    read = videos.read_videos(tmp_path / "colours.npz")
    np.testing.assert_array_equal(read, colours.astype(np.float32))
    published = RNG.integers(0, 256, (20, 21, 64, 64)).astype(np.uint8)
    np.testing.assert_array_equal(
        videos.read_videos(saved(tmp_path / "mnist_test_seq.npy", published))[..., 0], published.swapaxes(0, 1)
    )
    np.savez(tmp_path / "own.npz", published)
    np.testing.assert_array_equal(videos.read_videos(tmp_path / "own.npz")[..., 0], published)
    np.testing.assert_array_equal(videos.bright(np.array([0, 51, 255], np.uint8)), np.float32([0, 0.2, 1]))


def broken(position, value):
    array = np.zeros((2, 3, 12, 12, 1))
    array[position] = value
    return array


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((2, 3, 12)), r"v\.npy: expected videos \[N, T, H, W\] or \[N, T, H, W, C\], got \[2, 3, 12\]"),
        (np.zeros((0, 3, 12, 12)), r"expected videos .* got \[0, 3, 12, 12\]"),
        (np.zeros((2, 3, 12, 12), int), r"v\.npy: expected uint8 or floats in \[0, 1\], got int64"),
        (np.zeros((2, 3, 12, 12), "U1"), r"expected uint8 or floats in \[0, 1\], got <U1"),
        (np.zeros((2, 3, 12, 12), complex), r"expected uint8 or floats in \[0, 1\], got complex128"),
        (np.array([[None]]), r"v\.npy can't be read: it holds Python objects"),
        (np.zeros((2, 2, 12, 12)), r"v\.npy: expected videos of at least 3 frames, got 2 of 2"),
        (np.zeros((2, 3, 12, 10)), r"v\.npy: expected frames of at least 11 x 11 pixels, got 12 x 10"),
        (broken((1, 2, 3, 4, 0), np.nan), r"v\.npy, video 1, frame 2, row 3, column 4: expected a number .* got nan"),
        (broken((0, 1, 0, 5, 0), 1.5), r"v\.npy, video 0, frame 1, row 0, column 5: expected .* in \[0, 1\], got 1\.5"),
        (broken((0, 1, 0, 5, 0), -1), r"video 0, frame 1, row 0, column 5: expected a number in \[0, 1\], got -1\.0"),
    ],
)
def test_arrays_that_are_no_videos(tmp_path, array, sentence):
    with pytest.raises(InputError, match=sentence):
        videos.read_videos(saved(tmp_path / "v.npy", array), frames=3)


def test_files_that_are_no_arrays(tmp_path):
    with pytest.raises(InputError, match=r"no\.npy can't be read: No such file or directory"):
        videos.read_videos(tmp_path / "no.npy")
    content = io.BytesIO()
    np.save(content, np.zeros((2, 3, 12, 12)))
    with zipfile.ZipFile(tmp_path / "two.npz", "w") as file:
        file.writestr("a.npy", content.getvalue())
        file.writestr("b.npy", content.getvalue())
    with pytest.raises(InputError, match=r"two\.npz: expected one array of videos, got a, b"):
        videos.read_videos(tmp_path / "two.npz")
    whole = (tmp_path / "two.npz").read_bytes()
    for name, part in {
        "empty": b"",
        "text": b"hello, frames",
        "cut": content.getvalue()[:-9],
        "zip": whole[:900],
    }.items():
        path = tmp_path / f"{name}.npy"
        path.write_bytes(part)
        with pytest.raises(InputError, match=re.escape(str(path))) as error:
            videos.read_videos(path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < len(str(path)) + 200


def test_a_source_of_bytes_gives_brightness():
    frames = RNG.integers(0, 256, (3, 2, 1, 2, 1)).astype(np.uint8)
    source = videos.Bright(data.Ordered(Examples(frames[:, :1], frames[:, 1:]), 2))
    assert len(source) == 2
    np.testing.assert_array_equal(source.batch(0).targets, frames[:2, 1:] / np.float32(255))
    assert source.batch(1).weights.tolist() == [1, 0]
