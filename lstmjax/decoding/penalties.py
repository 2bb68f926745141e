"""What beam search puts beside a hypothesis's log probability: its length, and how much of the source it has read."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.types import Array, Bool, Float

LEAST_COVERAGE = 1e-6  # what was never looked at counts as this much, for log 0 would outweigh everything


@dataclasses.dataclass(frozen=True)
class _Alpha:
    alpha: float

    def __post_init__(self) -> None:
        checks.finite("alpha", self.alpha)


class PlainLength(_Alpha):
    """`L^alpha`: with `alpha` 1, a hypothesis's score is its mean log probability; with 0, its log probability.

    Args:
      alpha: finite; the higher, the longer the hypotheses that win.

    Raises:
      TypeError, ValueError: an `alpha` that is no finite number.

    >>> PlainLength(0.5)(np.array([1.0, 4.0])).tolist()
    [1.0, 2.0]
    """

    def __call__(self, lengths: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
        """What log probabilities are divided by at these lengths, which count the end symbol."""
        return lengths ** float(self.alpha)


class GNMTLength(_Alpha):
    """`((5 + L) / 6)^alpha`, gentler to short hypotheses than `L^alpha`.

    Args:
      alpha: finite; 0 leaves log probabilities as they are, and the higher, the longer the hypotheses that win.

    Raises:
      TypeError, ValueError: an `alpha` that is no finite number.

    Source: Wu et al. 2016, "Google's Neural Machine Translation System", equation 14, which has 0.2 for `alpha`.

    >>> GNMTLength(1.0)(np.array([1.0, 7.0])).tolist()
    [1.0, 2.0]
    """

    def __call__(self, lengths: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
        """What log probabilities are divided by at these lengths, which count the end symbol."""
        return ((5.0 + lengths) / 6.0) ** float(self.alpha)


UNPENALISED = PlainLength(0.0)


def coverage_penalty(
    coverage: Float[Array, "R S"], is_there: Bool[Array, "B S"], beta: float | Float[Array, ""]
) -> Float[Array, "R"]:
    """How far each hypothesis is from having looked at all of its source, at most 0.

        beta * sum over s of log(min(coverage[s], 1))

    What was looked at less than a millionth counts as a millionth: -13.8 instead of the logarithm of 0.

    Args:
      coverage: floating [R, S], R = B * K: the attention weights of a hypothesis, summed over its steps; the K
        hypotheses of a source stand together.
      is_there: bool [B, S], which steps each source has; the others are left out.
      beta: at least 0.

    Returns:
      [R], at least float32; a `beam_search` takes it from `extra`.

    Raises:
      TypeError: arguments of another kind.
      ValueError: shapes that do not fit, a `beta` below 0.

    Source: Wu et al. 2016, "Google's Neural Machine Translation System", equation 14, which has 0.2 for `beta`.

    >>> coverage = jnp.array([[1.5, 0.5, 0.0], [1.0, 1.0, 0.0]])  # two hypotheses of a source of two steps
    >>> [round(float(one), 4) for one in coverage_penalty(coverage, jnp.array([[True, True, False]]), beta=0.2)]
    [-0.1386, 0.0]
    """
    checks.kind("coverage", coverage, jnp.floating)
    checks.kind("is_there", is_there, jnp.bool_)
    checks.shape("coverage", coverage, ("R", "S"))
    rows, steps = coverage.shape
    checks.shape("is_there", is_there, ("B", steps))
    sources = is_there.shape[0]
    if rows % max(sources, 1):
        raise ValueError(f"coverage must have as many rows for each of the {sources} sources, got {rows} rows")
    if not isinstance(beta, jax.Array):
        checks.at_least_zero("beta", beta)
    coverage = coverage.astype(accumulation_dtype(coverage.dtype)).reshape(sources, rows // max(sources, 1), steps)
    logs = jnp.log(jnp.clip(coverage, LEAST_COVERAGE, 1.0))
    sums = jnp.sum(jnp.where(is_there[:, None, :], logs, 0.0), axis=-1).reshape(rows)
    return jnp.asarray(beta, sums.dtype) * sums
