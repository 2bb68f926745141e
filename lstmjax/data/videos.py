"""Videos as NumPy arrays, from NPY and NPZ files, and as batches of frames that are given and frames to say."""

import dataclasses
import zipfile
from pathlib import Path

import numpy as np

from lstmjax import checks
from lstmjax.data.images import check_unit, narrow
from lstmjax.data.npz import read_array, read_arrays
from lstmjax.data.source import Examples, Source
from lstmjax.errors import InputError

SMALLEST = 11
"""Pixels that a frame must have each way: the window of `metrics.structural_similarity`."""


def read_videos(path: str | Path, *, frames: int = 1) -> np.ndarray:
    """Videos of one length and size.

    The layout that Moving MNIST's test set is published in, `mnist_test_seq.npy`, uint8 [20, N, 64, 64] with time
    first, is known by its shape in an NPY file, N above 20, and turned. Messages count from 0, as NumPy does.

    Args:
      path: an NPY file, or an NPZ file of one array: brightness, [N, T, H, W] or, with colours, [N, T, H, W, C]; uint8,
        or floats in [0, 1].
      frames: how many every video must have at least.

    Returns:
      [N, T, H, W, C], uint8 or float32, as it was in the file.

    Raises:
      InputError: a file that can't be read, an array of another kind (object arrays, which are pickles, included), too
        few frames, frames under 11 x 11, numbers outside [0, 1].

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "clips.npy")
    ...     np.save(path, np.zeros((3, 5, 16, 12), np.uint8))
    ...     read_videos(path, frames=4).shape
    (3, 5, 16, 12, 1)
    """
    videos = _array(path)
    if videos.dtype != np.uint8 and videos.dtype.kind != "f":
        raise InputError(f"{path}: expected uint8 or floats in [0, 1], got {videos.dtype}")
    if videos.ndim not in (4, 5) or 0 in videos.shape:
        raise InputError(f"{path}: expected videos [N, T, H, W] or [N, T, H, W, C], got {list(videos.shape)}")
    if is_time_first(path, videos):
        videos = videos.swapaxes(0, 1)
    videos = videos if videos.ndim == 5 else videos[..., None]
    count, steps, height, width, _ = videos.shape
    if steps < frames:
        raise InputError(f"{path}: expected videos of at least {frames} frames, got {count} of {steps}")
    if min(height, width) < SMALLEST:
        raise InputError(f"{path}: expected frames of at least {SMALLEST} x {SMALLEST} pixels, got {height} x {width}")
    check_unit(path, videos, ("video", "frame"))
    return narrow(videos)


def is_time_first(path: str | Path, videos: np.ndarray) -> bool:
    """Whether a file's array has the kind and shape of `mnist_test_seq.npy`.

    >>> is_time_first("a.npy", np.zeros((20, 30, 64, 64), np.uint8))
    True
    >>> is_time_first("a.npy", np.zeros((20, 10, 64, 64), np.uint8)), is_time_first("a.npy", np.zeros((20, 30, 64, 64)))
    (False, False)
    """
    is_published_kind = Path(path).suffix == ".npy" and videos.dtype == np.uint8 and videos.ndim == 4
    return is_published_kind and videos.shape[0] == 20 < videos.shape[1] and videos.shape[2:] == (64, 64)


def clips_of(videos: np.ndarray, *, steps: int, every: int) -> np.ndarray:
    """Stretches of `steps` frames of each video, one beginning every so many frames.

    Args:
      videos: [N, T, ...], T at least `steps`.
      steps: frames of a clip.
      every: frames from one's beginning to the next one's.

    Returns:
      [M, steps, ...], those of a video after one another.

    Raises:
      TypeError, ValueError: a number that is not whole, or below 1.

    >>> clips_of(np.arange(14).reshape(2, 7), steps=4, every=2).tolist()
    [[0, 1, 2, 3], [2, 3, 4, 5], [7, 8, 9, 10], [9, 10, 11, 12]]
    """
    checks.positive_int("every", every)
    starts = range(0, videos.shape[1] - checks.positive_int("steps", steps) + 1, every)
    clips = np.stack([videos[:, start : start + steps] for start in starts], axis=1)
    return clips.reshape(-1, *clips.shape[2:])


def bright(frames: np.ndarray) -> np.ndarray:
    """Brightness in [0, 1], float32, of uint8 or of floats that are it already."""
    return frames.astype(np.float32) / np.float32(255 if frames.dtype == np.uint8 else 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Bright:
    """A source of frames in bytes as one of `bright` frames: they are a quarter of the size where they are kept.

    Args:
      source: batches of `Examples` whose inputs and targets are frames, uint8 or floats in [0, 1].

    >>> frames = np.full((3, 2, 1, 1, 1), 255, np.uint8)
    >>> lx.data.videos.Bright(lx.data.Ordered(Examples(frames, frames), batch_size=2)).batch(0).targets.max()
    np.float32(1.0)
    """

    source: Source[Examples]

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, position: int) -> Examples:
        """The batch at a position, any number from 0."""
        inputs, targets, weights = self.source.batch(position)
        return Examples(bright(inputs), bright(targets), weights)


def _array(path: str | Path) -> np.ndarray:
    """The one array of a file."""
    if not zipfile.is_zipfile(path):
        return read_array(path)
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise InputError(f"{path}: expected one array of videos, got {', '.join(arrays) or 'none'}")
    return next(iter(arrays.values()))
