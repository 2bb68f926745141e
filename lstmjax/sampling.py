"""Choosing one symbol from scores: temperature, top-k, top-p, and the draw."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax import checks
from lstmjax.types import Array, Float, Int, Key


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a symbol is chosen from its scores: temperature first, then top-k, then top-p, then the draw.

    Args:
      temperature: at least 0; divides the scores. 0 always takes the likeliest symbol (greedy).
      top_k: at least 1; only the k likeliest symbols stay. None keeps all.
      top_p: in (0, 1]; only the likeliest symbols that together reach this probability stay. None keeps all.

    Raises:
      ValueError: a value outside its range.

    Source: top-k: Fan et al. 2018; top-p: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        checks.number("temperature", self.temperature)
        if not 0.0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be at least 0 and finite, got {self.temperature}")
        if self.top_k is not None:
            checks.index("top_k", self.top_k, 1)
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")


GREEDY = Sampling(temperature=0.0)


def keep_top_k(logits: Float[Array, "*batch V"], k: int) -> Float[Array, "*batch V"]:
    """Scores at least as high as the k-th highest stay, the others become -inf; ties with the k-th stay.

    >>> keep_top_k(jnp.array([1.0, 3.0, 2.0]), 2).tolist()
    [-inf, 3.0, 2.0]
    """
    k = min(checks.index("k", k, 1), logits.shape[-1])
    threshold = lax.top_k(logits, k)[0][..., -1:]
    return jnp.where(logits >= threshold, logits, -jnp.inf)


def keep_top_p(logits: Float[Array, "*batch V"], p: float) -> Float[Array, "*batch V"]:
    """The smallest set of likeliest symbols whose probabilities sum to at least p stays, the others become -inf.

    >>> jnp.isfinite(keep_top_p(jnp.log(jnp.array([0.2, 0.5, 0.3])), 0.7)).tolist()
    [False, True, True]
    """
    if not 0.0 < p <= 1.0:
        raise ValueError(f"p must be in (0, 1], got {p}")
    if p == 1.0:  # a rounded sum reaches one too soon
        return logits
    order = jnp.argsort(logits, axis=-1, descending=True)
    probabilities = jax.nn.softmax(jnp.take_along_axis(logits, order, axis=-1), axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    kept = jnp.take_along_axis(before < p, jnp.argsort(order, axis=-1), axis=-1)
    return jnp.where(kept, logits, -jnp.inf)


def filtered(logits: Float[Array, "*batch V"], sampling: Sampling) -> Float[Array, "*batch V"]:
    """The scores a symbol is drawn from; the temperature must be above 0."""
    logits = logits / sampling.temperature
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p is not None:
        logits = keep_top_p(logits, sampling.top_p)
    return logits


def sample(keys: Key[Array, "B"], logits: Float[Array, "B V"], sampling: Sampling) -> Int[Array, "B"]:
    """A symbol for each row, each drawn with its own key."""
    if sampling.temperature == 0.0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    return jax.vmap(jax.random.categorical)(keys, filtered(logits, sampling)).astype(jnp.int32)
