"""Clips of handwritten digits that move: made from images of digits, the same ones for the same seed.

A digit is cut to its own box, brought to 14 x 14, and moves over a black frame of 32 x 32; where two are at one place,
the brighter pixel is seen. Frames are uint8 [32, 32, 1].
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from lstmjax import checks
from lstmjax.data.examples import Labelled

Kind = Literal["direction", "first", "visible"]
FRAME, DIGIT = 32, 14
DIRECTIONS = {"N": (-1, 0), "NE": (-1, 1), "E": (0, 1), "SE": (1, 1), "S": (1, 0), "SW": (1, -1), "W": (0, -1)}
DIRECTIONS["NW"] = (-1, -1)
SPEEDS = {"slow": 1, "fast": 2}
INK = 0.25
"""How much of a digit's ink must be in the frame for it to count as visible."""


class Moving(NamedTuple):
    """A digit [14, 14] on its way: the row and column of its upper left corner in each of T frames, [T, 2]."""

    image: np.ndarray
    corners: np.ndarray


def digit_clips(
    kind: Kind, images: Sequence[np.ndarray], labels: Sequence[str], count: int, *, seed: int, name: str = "clips"
) -> Labelled:
    """Made clips with their labels.

    "direction": one digit, 10 frames; where it moves and how fast: "NE fast" is one of 16 classes. The middle of its
    way is independent of the answer, so frames in any order say all but which of two opposite directions it is.

    "first": two different digits cross the frame one behind the other, on ways of their own and as fast as each other,
    in 8 to 16 frames; the label of the one that leaves first. A clip played backwards is as likely, with the other
    digit as its answer, so frames in any order leave it open which of the two it is.

    "visible": clips as of "first", with a label for each frame: of how many digits at least a quarter of the ink is
    seen, "0", "1" or "2".

    Args:
      kind: see above.
      images: digits [H, W], floats in [0, 1], bright on black.
      labels: one for each image.
      count: how many clips.
      seed: fixes them all.
      name: what they are called in messages.

    Returns:
      clips uint8 [T_n, 32, 32, 1]; a label for each, or, of "visible", a tuple of labels, one a frame.

    Raises:
      TypeError, ValueError: another kind, a count below 1, no images, or not as many labels.

    >>> image = np.zeros((28, 28), np.float32)
    >>> image[8:20, 10:18] = 1.0
    >>> clips = digit_clips("direction", [image], ["0"], 2, seed=0)
    >>> clips.sequences[0].shape, clips.targets
    ((10, 32, 32, 1), ['W fast', 'SW fast'])
    """
    checks.one_of("kind", kind, tuple(MAKERS))
    checks.positive_int("count", count)
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(f"labels must be as many as images, at least 1, got {len(labels)} for {len(images)}")
    digits = Digits(images, np.asarray(labels))
    generators = np.random.default_rng(seed).spawn(count)
    made = [MAKERS[kind](digits, generator) for generator in generators]
    frames = [clip for clip, _ in made]
    targets: list[str] | list[tuple[str, ...]] = [target for _, target in made]  # type: ignore[assignment]
    return Labelled(frames, targets, [f"{name}, clip {number}" for number in range(count)])


class Digits(NamedTuple):
    """N digits [H, W] in [0, 1] and their labels [N]."""

    images: Sequence[np.ndarray]
    labels: np.ndarray


def shrunk(image: np.ndarray) -> np.ndarray:
    """A digit cut to the smallest square around it and brought to 14 x 14 by the means of areas."""
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 0) for axis in (1, 0))
    if len(rows) == 0:
        return np.zeros((DIGIT, DIGIT), np.float32)
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    side = max(height, width)
    box = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    box[top : top + height, left : left + width] = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    areas = _areas(side)
    small: np.ndarray = areas @ box @ areas.T
    return small


def _areas(side: int) -> np.ndarray:
    """[14, side]: how much of each old pixel is in each new one, rows of sum 1."""
    ends = np.arange(DIGIT + 1) * side / DIGIT
    low, high = ends[:-1, None], ends[1:, None]
    pixels = np.arange(side)[None, :]
    overlap = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None)
    shares: np.ndarray = (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def _direction(digits: Digits, generator: np.random.Generator) -> tuple[np.ndarray, str]:
    """One digit, its way around a random point near the middle of the frame."""
    direction, speed = generator.choice(list(DIRECTIONS)), generator.choice(list(SPEEDS))
    steps = np.arange(10) - 4.5
    middle = (FRAME - DIGIT) / 2 + generator.uniform(-5, 5, 2)
    corners = middle[None, :] + steps[:, None] * SPEEDS[speed] * np.array(DIRECTIONS[direction])[None, :]
    image = digits.images[int(generator.integers(len(digits.images)))]
    return drawn([Moving(shrunk(image), np.floor(corners).astype(int))]), f"{direction} {speed}"


def _first(digits: Digits, generator: np.random.Generator) -> tuple[np.ndarray, str]:
    crossing, labels = _crossing(digits, generator)
    return drawn(crossing), labels[0]


def _visible(digits: Digits, generator: np.random.Generator) -> tuple[np.ndarray, tuple[str, ...]]:
    crossing, _ = _crossing(digits, generator)
    seen = np.stack([visible_ink(moving) >= INK for moving in crossing])
    return drawn(crossing), tuple(map(str, seen.sum(axis=0).tolist()))


def _crossing(digits: Digits, generator: np.random.Generator) -> tuple[list[Moving], list[str]]:
    """Two digits that cross the frame, the first one first, and their labels.

    Each is in the middle of its way `apart` frames before or after the middle of the clip, and out of the frame `half`
    frames before and after that: the first is gone before the clip ends, and the second is not there when it begins.
    """
    frames = int(generator.integers(8, 17))
    apart = generator.uniform(1.0, 3.0)
    half = generator.uniform(3.0, min((frames - 1) / 2 - 1 + apart, 8.0))
    times = np.arange(frames) - (frames - 1) / 2
    chosen = [int(generator.integers(len(digits.images)))]
    others = np.flatnonzero(digits.labels != digits.labels[chosen[0]])
    chosen.append(int(generator.choice(others)) if len(others) else chosen[0])
    ways = [_way(times - middle, half, generator) for middle in (-apart, apart)]
    moving = [Moving(shrunk(digits.images[number]), way) for number, way in zip(chosen, ways, strict=True)]
    return moving, [str(digits.labels[number]) for number in chosen]


def _way(times: np.ndarray, half: float, generator: np.random.Generator) -> np.ndarray:
    """Corners [T, 2] on a way across: outside until -half, outside again from half on.

    Along one axis it goes from end to end; along the other it drifts less than half as much, near the middle.
    """
    reach = (FRAME + DIGIT) / 2
    along = times / half * reach * generator.choice([-1, 1])
    across = generator.uniform(-5, 5) + times / half * reach * generator.uniform(-0.4, 0.4)
    corners = np.stack([along, across], axis=1) + (FRAME - DIGIT) / 2
    return np.rint(corners[:, :: generator.choice([-1, 1])]).astype(int)


def visible_ink(moving: Moving) -> np.ndarray:
    """The fraction of a digit's ink that is inside the frame, [T]."""
    total = max(float(moving.image.sum()), 1e-6)
    inside = [
        moving.image[max(-row, 0) : max(FRAME - row, 0), max(-column, 0) : max(FRAME - column, 0)]
        for row, column in moving.corners.tolist()
    ]
    return np.array([float(part.sum()) / total for part in inside])


def drawn(digits: Sequence[Moving]) -> np.ndarray:
    """Frames uint8 [T, 32, 32, 1] of digits on their ways; what is outside the frame is not seen."""
    frames = len(digits[0].corners)
    margin = FRAME  # so far outside, a digit is not even partly seen
    canvas = np.zeros((frames, FRAME + 2 * margin, FRAME + 2 * margin), np.float32)
    for image, corners in digits:
        for frame, (row, column) in zip(canvas, np.clip(corners, -DIGIT, FRAME) + margin, strict=True):
            place = frame[row : row + DIGIT, column : column + DIGIT]
            np.maximum(place, image, out=place)
    inside = canvas[:, margin:-margin, margin:-margin, None]
    return np.rint(inside * 255).astype(np.uint8)


MAKERS: dict[str, Callable[[Digits, np.random.Generator], tuple[np.ndarray, str | tuple[str, ...]]]] = {
    "direction": _direction,
    "first": _first,
    "visible": _visible,
}
