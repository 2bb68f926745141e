"""A look inside language models: all gates and memories over a text, and what in the text they go with."""

import itertools
import operator
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmjax import checks
from lstmjax.cells import Record, Recording
from lstmjax.models import LanguageModel
from lstmjax.types import Array, Float, Int
from lstmjax.unroll import unroll

# A paragraph ends whatever was opened in it, so one mark too many can't turn the rest of a text inside out.
IN_PARAGRAPH = r"\n(?!\s*\n)"
QUOTES = {
    "inside double quotes": rf'"(?:[^"\n]|{IN_PARAGRAPH})*"|“(?:[^”\n]|{IN_PARAGRAPH})*”',
    "inside single quotes": r"(?<!\w)'(?=\S)(?:[^'\n]|(?<=\w)'(?=\w))*'(?!\w)",
    "inside backquotes": rf"(`+)(?:[^`\n]|{IN_PARAGRAPH})+\1",
}
BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def record(
    model: LanguageModel, tokens: Int[Array, "B T"], state: Sequence[Any] | None = None
) -> tuple[list[Record], tuple[Any, ...]]:
    """What every unit of a language model does at every symbol of a text.

    Layer l reads the outputs of layer l - 1, and the lowest the embedded symbols, as when the model itself reads; the
    top layer's outputs are the model's own.

    Args:
      model: the language model; dropout is off.
      tokens: symbol ids [B, T], integers in 0..V-1.
      state: what an earlier call returned, to go on from there; None starts anew.

    Returns:
      for each layer, bottom first, a `Record` of arrays [B, T, H]: the output, the state after each symbol, and the
      gates; and the new state.

    Raises:
      TypeError: tokens that are not integers.
      ValueError: tokens that are not [B, T], or not in 0..V-1.

    Source: Karpathy et al. 2015, "Visualizing and Understanding Recurrent Networks".

    >>> model = lx.models.LanguageModel(10, lx.models.LanguageModelConfig(8, 16), rngs=nnx.Rngs(0))
    >>> (below, above), state = record(model, jnp.array([[1, 2, 3]]))
    >>> below.state.c.shape, above.gates.f.shape, bool(jnp.all(state[1].h == above.output[:, -1]))
    ((1, 3, 16), (1, 3, 16), True)
    """
    tokens = checks.whole_numbers("tokens", tokens, ("B", "T"), 0, model.vocab_size - 1)
    layers: Any = model.recurrent.layers
    states = model.initial_state(len(tokens)) if state is None else state
    xs: Any = model.embed(tokens)
    records, finals = [], []
    for layer, before in zip(layers, states, strict=True):
        looking: Any = Recording(layer.cell)
        happened: Any
        happened, final = unroll(looking, layer.params, xs, before)
        xs = happened.output
        records.append(happened)
        finals.append(final)
    return records, tuple(finals)


def text_features(text: str) -> dict[str, Float[np.ndarray, "N"]]:
    """What a unit may keep track of, after each character of a text.

    Yes or no, as 1 or 0: inside double, single or back quotes, from the mark that opens them to the character before
    the one that closes them (an apostrophe is none, single quotes end on their line, others with their paragraph);
    inside brackets of any kind; the first letter of a word; an upper-case letter; a digit. Counts: characters since the
    line began and until it ends, blanks that it begins with, characters since the text began. A line break belongs to
    the line that it opens.

    Args:
      text: N characters.

    Returns:
      for each feature by its name, numbers [N], float64.

    >>> features = text_features('a "b" (c)\\n  d')
    >>> features["inside double quotes"].astype(int).tolist(), features["inside brackets"].astype(int).tolist()
    ([0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0])
    >>> features["characters since the line began"].astype(int).tolist()
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3]
    """
    since, left, indentation = _of_lines(text)
    in_word = _each(text, str.isalnum)
    features = {name: _inside(pattern, text) for name, pattern in QUOTES.items()} | {
        "inside brackets": _depth(text) > 0,
        "characters since the line began": since,
        "characters until the line ends": left,
        "indentation": indentation,
        "first letter of a word": in_word & ~np.r_[False, in_word][:-1],
        "upper case": _each(text, str.isupper),
        "digit": _each(text, str.isdigit),
        "characters since the text began": np.arange(len(text)),
    }
    return {name: np.asarray(values, np.float64) for name, values in features.items()}


class Moments(NamedTuple):
    """Sums over T steps of signals x [T, N] and features y [T, K], which add up over the pieces of a long text.

    `steps` is T; `x` and `xx` [N], `y` and `yy` [K] and `xy` [N, K] are sums of what they are named after, float64.
    """

    steps: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray

    def plus(self, other: "Moments") -> "Moments":
        """The sums over both pieces."""
        return Moments(*map(operator.add, self, other))


def moments(xs: Float[np.ndarray, "T N"], ys: Float[np.ndarray, "T K"]) -> Moments:
    """The sums over one piece of a text.

    Args:
      xs: signals [T, N].
      ys: features [T, K].

    Raises:
      ValueError: another number of axes, or not as many steps of one as of the other.

    >>> moments(np.ones((5, 2)), np.ones((5, 3))).xy.tolist()
    [[5.0, 5.0, 5.0], [5.0, 5.0, 5.0]]
    """
    checks.shape("xs", xs, ("T", "N"))
    checks.shape("ys", ys, (len(xs), "K"))
    xs, ys = xs.astype(np.float64), ys.astype(np.float64)
    return Moments(len(xs), xs.sum(0), ys.sum(0), (xs**2).sum(0), (ys**2).sum(0), xs.T @ ys)


def correlation(sums: Moments) -> Float[np.ndarray, "N K"]:
    """Pearson's correlation of each signal with each feature; 0 where one of them never changes.

        r = (mean(x y) - mean(x) mean(y)) / (std(x) std(y))

    Where y is yes or no, this is the point-biserial correlation: how far apart the signal's two means are.

    Args:
      sums: of N signals and K features.

    Returns:
      numbers [N, K] in [-1, 1], float64.

    >>> xs = np.array([[0.0, 5.0], [1.0, 5.0], [3.0, 5.0]])
    >>> correlation(moments(xs, xs[:, :1] * -2)).tolist()
    [[-1.0], [0.0]]
    """
    steps = max(sums.steps, 1)
    covariance = sums.xy / steps - np.outer(sums.x / steps, sums.y / steps)
    scale = np.outer(_deviation(sums.x / steps, sums.xx / steps), _deviation(sums.y / steps, sums.yy / steps))
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)


def _deviation(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """0 where all that is left is rounding."""
    variance = square - mean**2
    return np.sqrt(np.where(variance > 1e-10 * square, variance, 0.0))


def _each(text: str, test: Any) -> np.ndarray:
    return np.fromiter(map(test, text), bool, len(text))


def _inside(pattern: str, text: str) -> np.ndarray:
    """From the first character of each match to the one before its last."""
    inside = np.zeros(len(text), bool)
    for match in re.finditer(pattern, text):
        inside[match.start() : match.end() - 1] = True
    return inside


def _depth(text: str) -> np.ndarray:
    """How many brackets are open; none at a paragraph's end."""
    depths: list[int] = []
    for part in re.split(r"(\n\s*\n)", text):
        steps = (BRACKETS.get(character, 0) for character in part)
        open_brackets = itertools.accumulate(steps, lambda depth, step: max(depth + step, 0), initial=0)
        depths += itertools.islice(open_brackets, 1, None)
    return np.array(depths, int)


def _of_lines(text: str) -> np.ndarray:
    """Characters since the line began, until it ends, and how many of those since it began are blanks at its start."""
    rows = []
    for number, line in enumerate(text.split("\n")):
        since = np.arange(0 if number else 1, len(line) + 1)
        blanks = len(line) - len(line.lstrip())
        rows.append(np.stack([since, len(line) - since, np.minimum(since, blanks)]))
    return np.concatenate(rows, axis=1)
