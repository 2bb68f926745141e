"""Handwriting made by a formula: joined letters, each drawn by a writer of its own.

A letter is a few points that the pen passes. A word is one smooth curve through the points of all its letters, then
the dots and bars that are left. The pen is slow where the curve is tight, as hands are, and where it is at equal
times is what is recorded.
"""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from lstmjax import checks
from lstmjax.data.strokes import Drawings, to_points

Knots = tuple[tuple[float, float], ...]

BOWL: Knots = ((0.72, 0.85), (0.42, 1.0), (0.1, 0.5), (0.38, 0.0), (0.72, 0.55))
FOOT: Knots = ((0.8, 0.3), (0.97, 0.0), (1.25, 0.25))
TAIL: Knots = ((0.78, -0.4), (0.5, -1.0), (0.28, -0.75), (0.75, -0.15), (1.2, 0.25))
STEM: Knots = ((0.4, 1.2), (0.42, 1.9), (0.27, 1.9), (0.18, 1.0))
RISE: Knots = ((1.15, 0.6), (1.5, 0.85))
ARCH: Knots = ((0.2, 0.02), (0.32, 0.6), (0.6, 1.0), (0.78, 0.7))

LETTERS: dict[str, Knots] = {
    "a": (*BOWL, (0.8, 0.95), *FOOT),
    "b": (*STEM, (0.22, 0.25), (0.45, 0.0), (0.75, 0.4), (0.62, 0.85), (1.05, 0.8)),
    "c": ((0.6, 0.85), (0.4, 1.0), (0.1, 0.5), (0.4, 0.0), (0.9, 0.25)),
    "d": (*BOWL, (0.88, 1.95), *FOOT),
    "e": ((0.5, 0.5), (0.5, 0.9), (0.3, 1.0), (0.12, 0.5), (0.42, 0.0), (0.9, 0.25)),
    "g": (*BOWL, (0.8, 0.95), *TAIL),
    "h": (*STEM, *ARCH, *FOOT),
    "i": ((0.3, 1.0), (0.3, 0.3), (0.48, 0.0), (0.8, 0.25)),
    "k": (*STEM, (0.2, 0.02), (0.3, 0.6), (0.6, 1.0), (0.62, 0.7), (0.35, 0.5), (0.7, 0.05), (1.05, 0.25)),
    "l": (*STEM, (0.22, 0.25), (0.45, 0.0), (0.8, 0.25)),
    "m": ((0.15, 1.0), *ARCH, *((x + 0.58, y) for x, y in ARCH), *((x + 0.58, y) for x, y in FOOT)),
    "n": ((0.15, 1.0), *ARCH, *FOOT),
    "o": ((0.6, 0.85), (0.4, 1.0), (0.1, 0.5), (0.4, 0.0), (0.72, 0.5), (0.5, 0.95), (0.62, 0.8), (1.05, 0.9)),
    "p": ((0.3, 1.0), (0.22, -0.9), (0.3, 0.4), (0.6, 1.0), (0.82, 0.5), (0.55, 0.0), (1.1, 0.2)),
    "r": ((0.22, 1.1), (0.4, 0.88), (0.62, 0.95), (0.62, 0.3), (0.78, 0.0), (1.05, 0.25)),
    "s": ((0.4, 1.05), (0.6, 0.4), (0.4, 0.0), (0.15, 0.12), (0.5, 0.05), (0.95, 0.25)),
    "t": ((0.36, 1.6), (0.34, 0.3), (0.52, 0.0), (0.85, 0.25)),
    "u": ((0.15, 1.0), (0.2, 0.3), (0.42, 0.0), (0.72, 0.4), (0.8, 1.0), *FOOT),
    "w": ((0.15, 1.0), (0.2, 0.3), (0.4, 0.0), (0.62, 0.5), (0.66, 0.95), (0.72, 0.25), (0.9, 0.0), *RISE),
    "y": ((0.15, 1.0), (0.2, 0.35), (0.42, 0.05), (0.72, 0.45), (0.8, 1.0), *TAIL),
}
"""What the pen passes in each letter: x from where the letter begins, y from the line, in heights of a small letter."""

AFTERWARDS: dict[str, Knots] = {"i": ((0.36, 1.45), (0.44, 1.38)), "t": ((0.05, 1.2), (0.4, 1.24), (0.75, 1.25))}
"""What is added once the word is written."""

KINDS = ("aeiou", "bcdghklmnprstwy")


class Writer(NamedTuple):
    """How somebody writes: `slant` to the right, `width` of a letter, `climb` of the line, `speed` as the number of
    points that a letter's height takes; in heights of a small letter, how far off are the points of a letter, `jitter`,
    and every point that is recorded, `tremor`.
    """

    slant: float
    width: float
    climb: float
    speed: float
    jitter: float
    tremor: float


def made_words(count: int, *, seed: int, longest: int = 5) -> Drawings:
    """Invented words, each in an invented hand.

    A word is consonants and vowels in turn, of any length from two letters to `longest`; a small letter is one unit
    high. The same seed makes the same words, and those of a smaller count are the first of a larger.

    Args:
      count: how many, at least 1.
      seed: at least 0.
      longest: of a word, at least 2.

    Raises:
      TypeError, ValueError: a number that is not whole, or out of range.

    Source: the pen's speed goes with curvature^(-1/3): Lacquaniti, Terzuolo and Viviani 1983, "The law relating the
    kinematic and figural aspects of drawing movements".

    >>> drawings = made_words(2, seed=0)
    >>> drawings.places, drawings.points[0].shape[1]
    (['made with seed 0, drawing 1', 'made with seed 0, drawing 2'], 3)
    """
    checks.positive_int("count", count)
    checks.index("seed", seed, 0)
    checks.index("longest", longest, 2)
    generators = [np.random.default_rng((seed, number)) for number in range(count)]
    words = [write(_word(generator, longest), _writer(generator), generator) for generator in generators]
    return Drawings(words, [f"made with seed {seed}, drawing {number}" for number in range(1, count + 1)])


def write(word: str, writer: Writer, generator: np.random.Generator) -> np.ndarray:
    """A word's points, float32 [T, 3] as in `Drawings`.

    Args:
      word: at least one of the `LETTERS`.
      writer: how it is written.
      generator: draws jitter and tremor.

    >>> write("hello", Writer(0.2, 1.0, 0.0, 3.5, 0.02, 0.0), np.random.default_rng(0)).shape[1]
    3
    """
    joined, added, begin = [(0.0, 0.25)], [], 0.0
    for letter in word:
        joined += [(begin + x, y) for x, y in LETTERS[letter]]
        if letter in AFTERWARDS:
            added.append([(begin + x, y) for x, y in AFTERWARDS[letter]])
        begin = joined[-1][0]
    return to_points([_drawn(np.array(knots), writer, generator) for knots in (joined, *added)])


def _drawn(knots: np.ndarray, writer: Writer, generator: np.random.Generator) -> np.ndarray:
    """Where the pen is at equal times, [n, 2], on a smooth curve near the knots; y downwards."""
    x, y = (knots + writer.jitter * generator.standard_normal(knots.shape)).T
    passed = np.stack([writer.width * x + writer.slant * y, -y - writer.climb * x], axis=1)
    chords = np.linalg.norm(np.diff(passed, axis=0), axis=1)
    curve = CubicSpline(np.concatenate([[0.0], np.cumsum(np.sqrt(chords))]), passed, bc_type="natural")
    fine = np.linspace(0.0, curve.x[-1], 30 * len(knots))
    (dx, dy), (ddx, ddy) = curve(fine, 1).T, curve(fine, 2).T
    path = np.hypot(dx, dy) + 1e-9
    curvature = np.clip(np.abs(dx * ddy - dy * ddx) / path**3, 0.5, 30.0)
    pace = path * np.cbrt(curvature)  # time over the curve's parameter
    times = np.concatenate([[0.0], np.cumsum((pace[1:] + pace[:-1]) / 2 * np.diff(fine))])
    steps = max(1, round(float(times[-1]) * writer.speed))
    recorded = np.asarray(curve(np.interp(np.linspace(0.0, times[-1], steps + 1), times, fine)))
    return recorded + writer.tremor * generator.standard_normal(recorded.shape)


def _writer(generator: np.random.Generator) -> Writer:
    return Writer(
        slant=generator.normal(0.25, 0.2),
        width=generator.uniform(0.8, 1.2),
        climb=generator.normal(0.0, 0.04),
        speed=generator.uniform(3.2, 4.2),
        jitter=generator.uniform(0.01, 0.04),
        tremor=generator.uniform(0.005, 0.025),
    )


def _word(generator: np.random.Generator, longest: int) -> str:
    """Consonants and vowels in turn."""
    first, count = int(generator.integers(2)), int(generator.integers(2, longest + 1))
    return "".join(str(generator.choice(list(KINDS[(first + place) % 2]))) for place in range(count))
