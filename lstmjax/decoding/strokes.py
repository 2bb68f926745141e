"""Drawings from a model of strokes, each to its end."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.data.strokes import DRAWS, ENDS
from lstmjax.decoding.loop import MOST_SYMBOLS, after_reading, decode, one_step
from lstmjax.models.mixture_density import MixtureDensity, StrokeScores
from lstmjax.sampling import MixtureSampling
from lstmjax.types import Array, Float, Key

PIECE = 50
"""Points drawn in one compiled call, after which it is seen whether every drawing has ended."""


@dataclasses.dataclass(frozen=True)
class StrokeSampling:
    """A point from `StrokeScores`: its offset by `MixtureSampling`, its pen by the probabilities as they are.

    Args:
      bias: at least 0; 0 draws from the model as it is, more draws neater.

    Raises:
      TypeError, ValueError: see `MixtureSampling`.

    >>> from lstmjax.sampling import GaussianMixture
    >>> where = GaussianMixture(jnp.zeros(1), jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2, 2)))
    >>> scores = lx.models.mixture_density.StrokeScores(where, jnp.array([0.0, 50.0, 0.0]))
    >>> StrokeSampling(bias=0.5)(jax.random.key(0), scores).tolist()
    [3.0, 4.0, 1.0]
    """

    bias: float = 0.0

    def __post_init__(self) -> None:
        MixtureSampling(self.bias)

    def __call__(self, key: Key[Array, ""], scores: StrokeScores) -> Float[Array, "3"]:
        """dx, dy and pen."""
        key_offset, key_pen = jax.random.split(key)
        offset = MixtureSampling(self.bias)(key_offset, scores.offset)
        pen = jax.random.categorical(key_pen, scores.pen)
        return jnp.concatenate([offset, pen[None].astype(offset.dtype)])


def generate_strokes(
    model: MixtureDensity, count: int, *, key: Key[Array, ""], bias: float = 0.0, length: int = 500
) -> list[np.ndarray]:
    """Draw from a trained model, from the first point to where it ends the drawing.

    The first point is the origin, with the pen on the paper.

    Args:
      model: the model.
      count: how many drawings, at least 1.
      key: fixes every random choice; a drawing depends on the key and its number, not on the others.
      bias: at least 0, see `StrokeSampling`.
      length: at least 2, points after which a drawing is ended if it has not ended by then.

    Returns:
      drawings, float32 [T_n, 3] with T_n at most `length`, as `lstmjax.data.strokes.Drawings` has them.

    Raises:
      TypeError, ValueError: an argument of another kind or out of range.

    Source: Graves 2013, "Generating Sequences With Recurrent Neural Networks", section 5.4.

    >>> model = lx.models.MixtureDensity(lx.models.MixtureDensityConfig(hidden_features=(8,)), rngs=nnx.Rngs(0))
    >>> [drawing[-1, 2].item() for drawing in generate_strokes(model, 3, key=jax.random.key(0), length=9)]
    [2.0, 2.0, 2.0]
    """
    if not isinstance(model, MixtureDensity):
        raise TypeError(f"model must be a MixtureDensity, got {type(model).__name__}")
    checks.positive_int("count", count)
    checks.random_key("key", key)
    left, draw = checks.index("length", length, 2, MOST_SYMBOLS) - 1, StrokeSampling(bias)
    drawn = np.full((count, 1, 3), (0.0, 0.0, DRAWS), np.float32)
    now = after_reading(model, drawn, key)
    while left > 0 and not np.all(np.any(drawn[:, :, 2] == ENDS, axis=1)):
        points, now = decode(one_step(model), now, PIECE, draw, limit=min(left, PIECE))
        drawn = np.concatenate([drawn, np.asarray(points)[:, : min(left, PIECE)]], axis=1)
        left -= PIECE
    return [_ended(points) for points in drawn]


def _ended(points: np.ndarray) -> np.ndarray:
    """A drawing up to where it ends, or ended where it has come to."""
    ends = np.flatnonzero(points[:, 2] == ENDS)
    kept = points[: ends[0] + 1 if len(ends) else len(points)].copy()
    kept[-1, 2] = ENDS
    return kept
