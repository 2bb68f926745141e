"""Drawing one symbol from a model's scores: a category, a vector of yes and no, a point from a mixture of Gaussians.

Each is a function `(key, scores of one row) -> symbol` with its settings as fields; `sample` draws for every row.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstmjax import checks
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.types import Array, Bool, Float, Int, Key, PyTree

Draw = Callable[[Key[Array, ""], PyTree], PyTree]


def sample(keys: Key[Array, "B"], scores: PyTree, draw: Draw) -> PyTree:
    """A symbol for each row, each drawn with its own key: what comes to a row depends on no other."""
    return jax.vmap(draw)(keys, scores)


def _probability(name: str, value: float) -> None:
    checks.number(name, value)
    if not 0.0 < value <= 1.0:
        raise ValueError(f"{name} must be in (0, 1], got {value}")


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a symbol is chosen from its scores: temperature first, then top-k, then top-p, then the draw.

    Args:
      temperature: at least 0; divides the scores. 0 always takes the likeliest symbol (greedy).
      top_k: at least 1; only the k likeliest symbols stay. None keeps all.
      top_p: in (0, 1]; only the likeliest symbols that together reach this probability stay. None keeps all.

    Raises:
      TypeError: a value that is no number.
      ValueError: a value outside its range.

    Source: top-k: Fan et al. 2018; top-p: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".

    >>> int(Sampling(top_k=1)(jax.random.key(0), jnp.array([1.0, 3.0, 2.0])))
    1
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        checks.at_least_zero("temperature", self.temperature)
        if self.top_k is not None:
            checks.index("top_k", self.top_k, 1)
        if self.top_p is not None:
            _probability("top_p", self.top_p)

    def __call__(self, key: Key[Array, ""], logits: Float[Array, "V"]) -> Int[Array, ""]:
        """A symbol's number, int32, in 0..V-1."""
        if self.temperature == 0.0:
            return jnp.argmax(logits).astype(jnp.int32)
        return jax.random.categorical(key, filtered(logits, self)).astype(jnp.int32)


GREEDY = Sampling(temperature=0.0)


def keep_top_k(logits: Float[Array, "*batch V"], k: int) -> Float[Array, "*batch V"]:
    """Scores at least as high as the k-th highest stay, the others become -inf; ties with the k-th stay.

    Raises:
      TypeError, ValueError: a k that is no whole number of at least 1.

    >>> keep_top_k(jnp.array([1.0, 3.0, 2.0]), 2).tolist()
    [-inf, 3.0, 2.0]
    """
    k = min(checks.index("k", k, 1), logits.shape[-1])
    threshold = lax.top_k(logits, k)[0][..., -1:]
    return jnp.where(logits >= threshold, logits, -jnp.inf)


def keep_top_p(logits: Float[Array, "*batch V"], p: float) -> Float[Array, "*batch V"]:
    """The smallest set of likeliest symbols whose probabilities sum to at least p stays, the others become -inf.

    Raises:
      TypeError, ValueError: a p that is no number in (0, 1].

    >>> jnp.isfinite(keep_top_p(jnp.log(jnp.array([0.2, 0.5, 0.3])), 0.7)).tolist()
    [False, True, True]
    """
    _probability("p", p)
    if p == 1.0:  # a rounded sum reaches one too soon
        return logits
    order = jnp.argsort(logits, axis=-1, descending=True)
    probabilities = jax.nn.softmax(jnp.take_along_axis(logits, order, axis=-1), axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    inside = (before < float(p)).at[..., 0].set(True)  # a p that rounds to zero still keeps the likeliest
    kept = jnp.take_along_axis(inside, jnp.argsort(order, axis=-1), axis=-1)
    return jnp.where(kept, logits, -jnp.inf)


def filtered(logits: Float[Array, "*batch V"], sampling: Sampling) -> Float[Array, "*batch V"]:
    """The scores a symbol is drawn from, at least float32 with 0 the highest; the temperature must be above 0.

    The k likeliest are the same at every temperature, and are found before it can round their scores together.
    """
    logits = logits.astype(accumulation_dtype(logits.dtype))
    highest = jnp.max(logits, axis=-1, keepdims=True)
    logits = jnp.where(logits == highest, 0.0, logits - highest)  # infinity less itself would be no number
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    logits = logits / _within_dtype(sampling.temperature, logits)
    if sampling.top_p is not None:
        logits = keep_top_p(logits, sampling.top_p)
    return logits


@dataclasses.dataclass(frozen=True)
class BernoulliSampling:
    """Independent yes or no for each of P features, such as the notes of a piano that sound at once.

        p(symbol[i]) = sigmoid(logits[i] / temperature)

    Args:
      temperature: at least 0; divides the scores. 0 takes what is likelier than not.

    Raises:
      TypeError: a temperature that is no number.
      ValueError: one below 0 or not finite.

    >>> BernoulliSampling(temperature=0.0)(jax.random.key(0), jnp.array([2.0, -2.0])).tolist()
    [True, False]
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        checks.at_least_zero("temperature", self.temperature)

    def __call__(self, key: Key[Array, ""], logits: Float[Array, "P"]) -> Bool[Array, "P"]:
        """A boolean for each feature."""
        if self.temperature == 0.0:
            return logits > 0.0
        logits = logits.astype(accumulation_dtype(logits.dtype))
        return jax.random.bernoulli(key, jax.nn.sigmoid(logits / _within_dtype(self.temperature, logits)))


class GaussianMixture(NamedTuple):
    """Scores that are a density over points of N numbers: M Gaussians, each with its weight.

        p(x) = sum_m softmax(logits)[m] Normal(x; means[m], scale_tril[m] scale_tril[m]^T)

    Args:
      logits: [*batch, M], the weights before softmax.
      means: [*batch, M, N].
      scale_tril: [*batch, M, N, N], lower triangular: each covariance's Cholesky factor.
    """

    logits: Float[Array, "*batch M"]
    means: Float[Array, "*batch M N"]
    scale_tril: Float[Array, "*batch M N N"]


@dataclasses.dataclass(frozen=True)
class MixtureSampling:
    """A point from a `GaussianMixture`, such as the pen's next move in handwriting.

    A bias b makes what is drawn neater: weights softmax((1 + b) logits), scales exp(-b) scale_tril.

    Args:
      bias: at least 0; 0 draws from the density as it is.

    Raises:
      TypeError: a bias that is no number.
      ValueError: one below 0 or not finite.

    Source: Graves 2013, "Generating Sequences With Recurrent Neural Networks", section 5.4.

    >>> one = GaussianMixture(jnp.zeros(1), jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2, 2)))
    >>> MixtureSampling()(jax.random.key(0), one).tolist()
    [3.0, 4.0]
    """

    bias: float = 0.0

    def __post_init__(self) -> None:
        checks.at_least_zero("bias", self.bias)

    def __call__(self, key: Key[Array, ""], mixture: GaussianMixture) -> Float[Array, "N"]:
        """A point."""
        key_which, key_where = jax.random.split(key)
        which = Sampling(temperature=1.0 / (1.0 + float(self.bias)))(key_which, mixture.logits)
        mean, scale = mixture.means[which], mixture.scale_tril[which]
        noise = jax.random.normal(key_where, mean.shape, mean.dtype)
        return mean + math.exp(-self.bias) * jnp.matmul(scale, noise, precision="highest")


def _within_dtype(temperature: float, logits: Array) -> float:
    """The nearest temperature that the scores' dtype can hold and divide by."""
    smallest = float(np.finfo(logits.dtype).tiny)
    return float(min(max(temperature, smallest), 1.0 / smallest))
