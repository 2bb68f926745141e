"""Moving MNIST: digits that bounce in a square, made as they are asked for."""

import dataclasses
import math

import numpy as np

from lstmjax import checks
from lstmjax.data.datasets import mnist_rows
from lstmjax.data.examples import Labelled
from lstmjax.data.source import Examples
from lstmjax.data.videos import bright

STEP = 0.1
"""How far a digit goes from frame to frame, as a fraction of its way from side to side."""


def moving_digits(
    digits: np.ndarray,
    count: int,
    generator: np.random.Generator,
    *,
    steps: int = 20,
    size: int = 64,
    together: int = 2,
) -> np.ndarray:
    """Clips of digits that bounce: `together` a clip, drawn from `digits`, brightest where they cross.

    A digit starts anywhere, in any direction, with one speed: a tenth of its way from side to side a frame. At a side
    it stops there for that frame, and turns back.

    Args:
      digits: brightness 0..255, uint8 [N, d, d].
      count: clips to make.
      generator: draws all that is random.
      steps: frames of a clip.
      size: height and width of a frame, above d.
      together: digits in a clip.

    Returns:
      clips, uint8 [count, steps, size, size].

    Raises:
      ValueError: digits of another shape or dtype, or not smaller than a frame; a count below 1.

    Source: Srivastava, Mansimov and Salakhutdinov 2015, "Unsupervised Learning of Video Representations using LSTMs".

    >>> squares, generator = np.full((3, 2, 2), 255, np.uint8), np.random.default_rng(0)
    >>> clips = lx.data.moving_digits.moving_digits(squares, 4, generator, size=8)
    >>> clips.shape, int(clips.max()), int((clips > 0).sum(axis=(2, 3)).max())
    ((4, 20, 8, 8), 255, 8)
    """
    for name, value in (("count", count), ("steps", steps), ("together", together)):
        checks.positive_int(name, value)
    if digits.dtype != np.uint8 or digits.ndim != 3 or not digits.size or digits.shape[1] != digits.shape[2]:
        raise ValueError(f"digits must be uint8 [N, d, d], got {digits.dtype} {list(digits.shape)}")
    side = digits.shape[1]
    checks.index("size", size, side + 1)
    chosen = digits[generator.integers(len(digits), size=(together, count))]
    corners = np.floor(_ways(generator, (together, count), steps) * (size - side)).astype(int)
    clips = np.zeros((count, steps, size, size), np.uint8)
    within = np.arange(side)
    clip, frame = np.arange(count)[:, None, None, None], np.arange(steps)[:, None, None]
    for digit, corner in zip(chosen, corners, strict=True):  # corner [count, steps, 2]
        places = clip, frame, (corner[..., 0, None] + within)[..., None], (corner[..., 1, None] + within)[:, :, None]
        clips[places] = np.maximum(clips[places], digit[:, None])
    return clips


def _ways(generator: np.random.Generator, shape: tuple[int, ...], steps: int) -> np.ndarray:
    """Places in [0, 1]^2, [*shape, steps, 2]."""
    at = generator.random((*shape, 2))
    angle = generator.uniform(0, 2 * math.pi, shape)
    speed = STEP * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    places = []
    for _ in range(steps):
        at = at + speed
        speed = np.where((at <= 0) | (at >= 1), -speed, speed)
        at = np.clip(at, 0, 1)
        places.append(at)
    return np.stack(places, axis=-2)


@dataclasses.dataclass(frozen=True, eq=False)
class MovingDigits:
    """A source of clips without end, each batch drawn anew from the seed and its position.

    Args:
      digits: see `moving_digits`.
      batch_size: B.
      seed: at least 0.
      given: frames that are inputs.
      ahead: frames that are targets.
      size: height and width of a frame.
      batches: how many make a pass; only for counting.

    Raises:
      TypeError, ValueError: a number that is not whole, or out of range.

    >>> source = lx.data.MovingDigits(np.full((3, 2, 2), 255, np.uint8), batch_size=4, seed=0, size=8)
    >>> source.batch(5).inputs.shape, bool((source.batch(5).inputs == source.batch(5).inputs).all())
    ((4, 10, 8, 8, 1), True)
    """

    digits: np.ndarray
    batch_size: int
    seed: int
    given: int = 10
    ahead: int = 10
    size: int = 64
    batches: int = 100

    def __post_init__(self) -> None:
        for name in ("batch_size", "given", "ahead", "batches"):
            checks.positive_int(name, getattr(self, name))
        checks.index("seed", self.seed, 0)

    def __len__(self) -> int:
        return self.batches

    def batch(self, position: int) -> Examples:
        """The batch at a position, any number from 0."""
        generator = np.random.default_rng((self.seed, checks.index("position", position, 0)))
        steps = self.given + self.ahead
        clips = bright(moving_digits(self.digits, self.batch_size, generator, steps=steps, size=self.size))[..., None]
        return Examples(clips[:, : self.given], clips[:, self.given :], np.ones(len(clips), np.float32))


def mnist_digits(size: int = 28) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The digits of MNIST to learn from, to choose a model by and to test on, uint8 [N, size, size].

    Args:
      size: 28, or 14: the mean of each two by two pixels.

    Raises:
      ValueError: another size.
      InputError: the files of MNIST are neither there nor to be had, see `lstmjax.data.downloads`.
    """
    if size not in (14, 28):
        raise ValueError(f"size must be 14 or 28, got {size}")
    train, validation, test = (_digits(part, size) for part in mnist_rows() if part is not None)
    return train, validation, test


def _digits(part: Labelled, size: int) -> np.ndarray:
    by_block = np.stack(part.sequences).reshape(-1, size, 28 // size, size, 28 // size)
    pooled: np.ndarray = np.rint(255 * by_block.mean(axis=(2, 4))).astype(np.uint8)
    return pooled
