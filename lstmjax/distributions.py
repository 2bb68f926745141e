"""What a forecaster says of each number: a value, a probability distribution, or quantiles.

Each kind is a tree of JAX arrays of one shape [...], so it goes through `jit`, `grad`, `vmap` and loops. `of` makes it
from what a network gives, `size` numbers for each value; `affine` brings it to the data's own units; `loss` compares it
with what came; `sample` draws from it; `quantile` is its inverse distribution function, in float64 on the host.

Targets are numbers of the shape [...]. Where one is missing, put any allowed number in its place and weigh its loss 0.
A shift and a scale of `affine` are single numbers or arrays that go along with [...], the scale above 0. What has
another shape, and raw numbers that are not floating, are a ValueError or a TypeError.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special

from lstmjax import checks
from lstmjax.types import Array, Float, Key

LEVELS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)
MIDDLE = LEVELS.index(0.5)
FLOOR = 1e-4  # added to scales, means and dispersions, which softplus alone would let come to 0
LARGEST = 1e14  # raw numbers beyond are cut to it, so that float32 holds their squares over FLOOR
LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)

Probability = float | np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Point:
    """One value and nothing on how sure it is: every quantile and every draw is the value.

    Args:
      value: [...], floating.

    >>> Point.of(jnp.array([[3.0]])).affine(1.0, 2.0).mean().tolist()
    [7.0]
    """

    value: Float[Array, "..."]

    size: ClassVar[int] = 1

    @classmethod
    def of(cls, raw: Float[Array, "... 1"]) -> "Point":
        """The raw number itself."""
        return cls(*_unstacked(raw, cls.size))

    def affine(self, shift: Array | float, scale: Array | float) -> "Point":
        """`shift + scale * value`."""
        return Point(shift + scale * self.value)

    def loss(self, targets: Float[Array, "..."]) -> Float[Array, "..."]:
        """The squared error; see `OUTPUTS` for others."""
        return optax.squared_error(self.value, _checked(targets, self.value))  # type: ignore[no-any-return]

    def mean(self) -> Float[Array, "..."]:
        """The value."""
        return self.value

    def sample(self, key: Key[Array, ""]) -> Float[Array, "..."]:
        """The value, whatever the key."""
        return self.value

    def quantile(self, p: Probability) -> np.ndarray:
        """The value at each p.

        Args:
          p: a number in (0, 1), or an array [S] of them.

        Returns:
          float64 [...], or [S, ...].

        Raises:
          ValueError: a p that is not in (0, 1).
        """
        (value,) = _on_host(self)
        return value + 0.0 * _outer(p, value.ndim)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Gaussian:
    """The normal distribution.

    Args:
      loc: [...], its mean.
      scale: [...], above 0: its standard deviation.

    >>> Gaussian(jnp.array([1.0]), jnp.array([2.0])).quantile(0.975).round(2).tolist()
    [4.92]
    """

    loc: Float[Array, "..."]
    scale: Float[Array, "..."]

    size: ClassVar[int] = 2

    @classmethod
    def of(cls, raw: Float[Array, "... 2"]) -> "Gaussian":
        """`loc = raw[0]`, `scale = softplus(raw[1]) + FLOOR`."""
        loc, scale = _unstacked(raw, cls.size)
        return cls(loc, _above_zero(scale))

    def affine(self, shift: Array | float, scale: Array | float) -> "Gaussian":
        """The distribution of `shift + scale * x`, for a scale above 0."""
        return Gaussian(shift + scale * self.loc, scale * self.scale)

    def loss(self, targets: Float[Array, "..."]) -> Float[Array, "..."]:
        """`-log p(target) = z^2 / 2 + log(scale) + log(2 pi) / 2` with `z = (target - loc) / scale`."""
        z = (_checked(targets, self.loc) - self.loc) / self.scale
        return 0.5 * jnp.square(z) + jnp.log(self.scale) + LOG_SQRT_2PI

    def mean(self) -> Float[Array, "..."]:
        """`loc`."""
        return self.loc

    def sample(self, key: Key[Array, ""]) -> Float[Array, "..."]:
        """One draw for each, independent of the others."""
        return self.loc + self.scale * jax.random.normal(key, self.loc.shape, self.loc.dtype)

    def quantile(self, p: Probability) -> np.ndarray:
        """The x that a draw stays below with probability p; shapes as for `Point.quantile`."""
        loc, scale = _on_host(self)
        return loc + scale * scipy.special.ndtri(_outer(p, loc.ndim))  # type: ignore[no-any-return]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StudentT:
    """Student's t distribution, moved and scaled: a bell with heavy tails.

    Args:
      df: [...], above 0: degrees of freedom. The fewer, the heavier the tails.
      loc: [...], its median, and its mean where df is above 1.
      scale: [...], above 0. The variance is `scale^2 df / (df - 2)` where df is above 2.

    >>> StudentT(jnp.array([3.0]), jnp.array([1.0]), jnp.array([2.0])).quantile(0.975).round(2).tolist()
    [7.36]
    """

    df: Float[Array, "..."]
    loc: Float[Array, "..."]
    scale: Float[Array, "..."]

    size: ClassVar[int] = 3

    @classmethod
    def of(cls, raw: Float[Array, "... 3"]) -> "StudentT":
        """`df = 2 + softplus(raw[0]) + FLOOR`, so that there is a variance; the others as for `Gaussian`."""
        df, loc, scale = _unstacked(raw, cls.size)
        return cls(2.0 + _above_zero(df), loc, _above_zero(scale))

    def affine(self, shift: Array | float, scale: Array | float) -> "StudentT":
        """The distribution of `shift + scale * x`, for a scale above 0."""
        return StudentT(self.df, shift + scale * self.loc, scale * self.scale)

    def loss(self, targets: Float[Array, "..."]) -> Float[Array, "..."]:
        """`-log p(target)`, without the difference of two large log gammas that would cost float32 its digits.

        With `z = (target - loc) / scale`, Stirling's error d (`_stirling_error`) and `phi(u) = log(1 + u) - u`:

            (df + 1) / 2 log(1 + z^2 / df) + log(scale) + log(2 pi) / 2
                + d(df / 2) - d((df + 1) / 2) - df / 2 phi(1 / df)

        Source: Loader 2000, "Fast and Accurate Computation of Binomial Probabilities", as in R's `dt`.
        """
        z = (_checked(targets, self.loc) - self.loc) / self.scale
        half = 0.5 * self.df
        constant = _stirling_error(half) - _stirling_error(half + 0.5)
        constant -= half * _log_less(1.0 + 1.0 / self.df, 1.0 / self.df)
        tail = (half + 0.5) * jnp.log1p(jnp.square(z) / self.df)
        return tail + jnp.log(self.scale) + LOG_SQRT_2PI + constant

    def mean(self) -> Float[Array, "..."]:
        """`loc`."""
        return self.loc

    def sample(self, key: Key[Array, ""]) -> Float[Array, "..."]:
        """One draw for each, independent of the others."""
        return self.loc + self.scale * jax.random.t(key, self.df, self.df.shape, self.df.dtype)

    def quantile(self, p: Probability) -> np.ndarray:
        """The x that a draw stays below with probability p; shapes as for `Point.quantile`."""
        df, loc, scale = _on_host(self)
        return loc + scale * scipy.special.stdtrit(df, _outer(p, loc.ndim))  # type: ignore[no-any-return]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NegativeBinomial:
    """Counts 0, 1, 2, ... with variance `mu + dispersion * mu^2`: wider than Poisson's.

    Args:
      mu: [...], above 0: its mean.
      dispersion: [...], above 0; near 0 the distribution is near Poisson's.

    Source: Salinas et al. 2020, "DeepAR: Probabilistic forecasting with autoregressive recurrent networks".

    >>> NegativeBinomial(jnp.array([4.0]), jnp.array([0.5])).quantile(np.array([0.1, 0.5, 0.9])).tolist()
    [[0.0], [3.0], [9.0]]
    """

    mu: Float[Array, "..."]
    dispersion: Float[Array, "..."]

    size: ClassVar[int] = 2

    @classmethod
    def of(cls, raw: Float[Array, "... 2"]) -> "NegativeBinomial":
        """`mu = softplus(raw[0]) + FLOOR`, `dispersion = softplus(raw[1]) + FLOOR`."""
        mu, dispersion = _unstacked(raw, cls.size)
        return cls(_above_zero(mu), _above_zero(dispersion))

    def affine(self, shift: Array | float, scale: Array | float) -> "NegativeBinomial":
        """Counts whose mean is `scale` times as large, of the same dispersion.

        Counts start at 0, so the shift must be 0: another one is refused, or, inside `jit`, makes the mean NaN. What
        comes is no distribution of `scale * x`, which would not be counts.

        Raises:
          ValueError: a shift other than 0 (outside `jit`).
        """
        if not isinstance(shift, jax.core.Tracer) and np.any(np.asarray(shift) != 0):
            raise ValueError("counts can't be shifted: shift must be 0 for a negative binomial")
        return NegativeBinomial(jnp.where(shift == 0, scale * self.mu, jnp.nan), self.dispersion)

    def loss(self, targets: Float[Array, "..."]) -> Float[Array, "..."]:
        """`-log p(target)` of counts of at least 0, without differences of large log gammas.

        With `r = 1 / dispersion`, `n = y + r`, `u = (y - mu) / (r + mu)`, `v = -u r / y`, Stirling's error d
        (`_stirling_error`) and `phi(u) = log(1 + u) - u`, it is, for a target y above 0,

            d(r) + d(y) - d(n) - r phi(u) - y phi(v) + log(2 pi y n / r) / 2

        and `r log(1 + mu / r)` for 0.

        Source: Loader 2000, "Fast and Accurate Computation of Binomial Probabilities", as in R's `dnbinom`.
        """
        targets = _checked(targets, self.mu)
        r = 1.0 / self.dispersion
        y = jnp.where(targets == 0.0, 1.0, targets)
        n, u = y + r, (y - self.mu) / (r + self.mu)
        ratio = n / (r + self.mu)
        errors = _stirling_error(r) + _stirling_error(y) - _stirling_error(n)
        deviance = r * _log_less(ratio, u) + y * _log_less(ratio * (self.mu / y), -u * (r / y))
        some = errors - deviance + 0.5 * (jnp.log(y) + jnp.log1p(y / r)) + LOG_SQRT_2PI
        return jnp.where(targets == 0.0, r * jnp.log1p(self.mu / r), some)

    def mean(self) -> Float[Array, "..."]:
        """`mu`."""
        return self.mu

    def sample(self, key: Key[Array, ""]) -> Float[Array, "..."]:
        """One draw for each, independent of the others: Poisson, its rate drawn from a gamma distribution.

        A rate above 2^30 is itself the draw: Poisson's spread is less than 1e-4 of it.
        """
        gamma_key, poisson_key = jax.random.split(key)
        unit = jax.random.gamma(gamma_key, 1.0 / self.dispersion, self.mu.shape, self.mu.dtype)
        rate = self.mu * self.dispersion * unit
        counts = jax.random.poisson(poisson_key, jnp.minimum(rate, 2.0**30), self.mu.shape)
        return jnp.where(rate > 2.0**30, rate, counts.astype(rate.dtype))

    def quantile(self, p: Probability) -> np.ndarray:
        """The smallest count that a draw is at most with probability p or more; shapes as for `Point.quantile`."""
        mu, dispersion = _on_host(self)
        p = _outer(p, mu.ndim)
        import scipy.stats  # takes half a second, which nobody else should wait for

        return scipy.stats.nbinom.ppf(p, 1.0 / dispersion, 1.0 / (1.0 + dispersion * mu))  # type: ignore[no-any-return]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quantiles:
    """Values at the probabilities `LEVELS`, with straight lines between them as the inverse distribution function.

    Below the lowest level and above the highest the outermost lines go on, so draws are bounded.

    Args:
      values: [..., Q], not falling along Q, as many as `LEVELS`.

    >>> said = Quantiles(jnp.array([LEVELS]))  # the uniform distribution
    >>> said.quantile(0.33).round(6).tolist(), said.mean().tolist()
    ([0.33], [0.5])
    """

    values: Float[Array, "... Q"]

    size: ClassVar[int] = len(LEVELS)

    @classmethod
    def of(cls, raw: Float[Array, "... Q"]) -> "Quantiles":
        """The middle one is free; the others lie away from it by sums of `softplus(raw)`, so that none cross."""
        numbers = _unstacked(raw, cls.size)
        below = [-jax.nn.softplus(step) for step in reversed(numbers[:MIDDLE])]
        above = [jax.nn.softplus(step) for step in numbers[MIDDLE + 1 :]]
        lower = list(itertools.accumulate(below, initial=numbers[MIDDLE]))  # one by one: a parallel sum may cross
        higher = list(itertools.accumulate(above, initial=numbers[MIDDLE]))
        return cls(jnp.stack([*reversed(lower[1:]), *higher], axis=-1))

    def affine(self, shift: Array | float, scale: Array | float) -> "Quantiles":
        """The quantiles of `shift + scale * x`, for a scale above 0; both [...] or single numbers."""
        return Quantiles(_beside(shift) + _beside(scale) * self.values)

    def loss(self, targets: Float[Array, "..."]) -> Float[Array, "..."]:
        """Twice the mean over `LEVELS` of the pinball loss `max(level e, (level - 1) e)`, `e = target - value`.

        So weighed it is near the CRPS.
        """
        error = _checked(targets, self.values[..., 0])[..., None] - self.values
        levels = jnp.broadcast_to(jnp.asarray(LEVELS, error.dtype), error.shape)
        return 2.0 * jnp.mean(jnp.maximum(levels * error, (levels - 1.0) * error), axis=-1)

    def mean(self) -> Float[Array, "..."]:
        """The median, for quantiles say little of the tails that a mean depends on."""
        return self.values[..., MIDDLE]

    def sample(self, key: Key[Array, ""]) -> Float[Array, "..."]:
        """One draw for each, independent of the others: the quantile at a uniform p."""
        p = jax.random.uniform(key, self.values.shape[:-1], self.values.dtype)
        left, share = _on_line(p, jnp)
        ends = jnp.take_along_axis(self.values, jnp.stack([left, left + 1], axis=-1), axis=-1)
        return ends[..., 0] + share * (ends[..., 1] - ends[..., 0])  # type: ignore[no-any-return]

    def quantile(self, p: Probability) -> np.ndarray:
        """The value on the line at p; shapes as for `Point.quantile`."""
        (values,) = _on_host(self)
        values = np.moveaxis(values, -1, 0)
        left, share = _on_line(_probabilities(p), np)
        share = share.reshape(share.shape + (1,) * (values.ndim - 1))
        return values[left] + share * (values[left + 1] - values[left])  # type: ignore[no-any-return]


Distribution = Point | Gaussian | StudentT | NegativeBinomial | Quantiles


class Output(NamedTuple):
    """What a forecaster says of a number, and the loss that it is trained on.

    Args:
      kind: the distribution's class.
      loss: `(distribution, targets [...]) -> [...]`.

    >>> kind, loss = OUTPUTS["huber"]  # of the errors 0.5 and 3: the square's half, then a line
    >>> loss(kind.of(jnp.zeros((2, 1))), jnp.array([0.5, 3.0])).tolist()
    [0.125, 2.5]
    """

    kind: type[Distribution]
    loss: Callable[[Any, Array], Array]


def _absolute_error(point: Point, targets: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.abs(point.value - _checked(targets, point.value))


def _huber(point: Point, targets: Float[Array, "..."]) -> Float[Array, "..."]:
    return optax.huber_loss(point.value, _checked(targets, point.value), delta=1.0)  # type: ignore[no-any-return]


OUTPUTS = {
    "mse": Output(Point, Point.loss),
    "mae": Output(Point, _absolute_error),
    "huber": Output(Point, _huber),
    "gaussian": Output(Gaussian, Gaussian.loss),
    "student-t": Output(StudentT, StudentT.loss),
    "negative-binomial": Output(NegativeBinomial, NegativeBinomial.loss),
    "quantiles": Output(Quantiles, Quantiles.loss),
}


def _unstacked(raw: Array, size: int) -> list[Array]:
    """The raw numbers of each value, in float32 at least, none beyond `LARGEST`."""
    raw = jnp.asarray(raw)
    checks.kind("raw", raw, jnp.floating)
    if raw.shape[-1:] != (size,):
        raise ValueError(f"raw must have shape [..., {size}], got {list(raw.shape)}")
    raw = raw.astype(jnp.float64 if raw.dtype == jnp.float64 else jnp.float32)
    return list(jnp.unstack(jnp.clip(raw, -LARGEST, LARGEST), axis=-1))


def _above_zero(raw: Array) -> Array:
    return jax.nn.softplus(raw) + FLOOR


def _checked(targets: Array, like: Array) -> Array:
    """Targets, integers too, in the dtype of the distribution."""
    targets = jnp.asarray(targets)
    checks.shape("targets", targets, like.shape)
    return targets.astype(like.dtype)


def _beside(number: Array | float) -> Any:
    """[...] as [..., 1]; a single number as it is."""
    return number if jnp.ndim(number) == 0 else jnp.asarray(number)[..., None]


def _on_host(distribution: Distribution) -> list[np.ndarray]:
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(distribution)]


def _probabilities(p: Probability) -> np.ndarray:
    p = np.asarray(p, np.float64)
    if not np.all((p > 0.0) & (p < 1.0)):
        raise ValueError(f"p must lie in (0, 1), got {p.tolist()}")
    return p


def _outer(p: Probability, rank: int) -> np.ndarray:
    """Probabilities [S] as [S, 1, ..., 1], before `rank` axes."""
    p = _probabilities(p)
    return p.reshape(p.shape + (1,) * rank)


def _on_line(p: Any, xp: Any) -> tuple[Any, Any]:
    """The level that the line through p starts at, by its number, and how far along the line p is."""
    levels = xp.asarray(LEVELS, p.dtype)
    left = xp.clip(xp.searchsorted(levels, p) - 1, 0, len(LEVELS) - 2)
    return left, (p - levels[left]) / (levels[left + 1] - levels[left])


def _log_less(ratio: Array, u: Array) -> Array:
    """`log(1 + u) - u`, to full precision where u is near 0 too; `ratio` is `1 + u`, as exact as u.

    With `v = u / (2 + u)` it is `2 artanh(v) - u = -u v + 2 (v^3 / 3 + v^5 / 5 + ...)`.
    """
    v = u / (2.0 + u)
    series = _polynomial([1.0 / (2 * k + 3) for k in range(12)], jnp.square(v))
    return jnp.where(jnp.abs(u) < 0.5, v * (2.0 * jnp.square(v) * series - u), jnp.log(ratio) - u)


def _stirling_error(x: Array) -> Array:
    """`d(x) = log(x!) - log(sqrt(2 pi x) (x / e)^x)`: what Stirling's formula lacks, about `1 / (12 x)`.

    The series is for x of 4 or more; below, `d(x) = d(x + 1) + (x + 1/2) log(1 + 1/x) - 1` takes x there.
    """
    is_small = x < 4.0
    low = [jnp.where(is_small, x, 4.0) + k for k in range(4)]
    steps = sum((each + 0.5) * jnp.log1p(1.0 / each) - 1.0 for each in low)
    high = jnp.where(is_small, x + 4.0, x)
    terms = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360]
    series = _polynomial(terms, jnp.square(1.0 / high)) / high
    return series + jnp.where(is_small, steps, 0.0)


def _polynomial(coefficients: list[float], x: Array) -> Array:
    """`c[0] + c[1] x + c[2] x^2 + ...`"""
    return functools.reduce(lambda total, c: total * x + c, reversed(coefficients), jnp.zeros_like(x))
