"""How dense a mixture of Gaussians is at a point."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from lstmjax import checks
from lstmjax.sampling import GaussianMixture
from lstmjax.types import Array, ArrayLike, Float


def log_density(mixture: GaussianMixture, points: Float[ArrayLike, "*batch N"]) -> Float[Array, "*batch"]:
    """`log p(x)` of a mixture of Gaussians, in nats, as a sum of exponentials that never leaves the logarithm.

        log p(x) = logsumexp_m (log w[m] - |z[m]|^2 / 2 - log det L[m] - N log(2 pi) / 2)
        w = softmax(logits),    z[m] = inverse(L[m]) (x - means[m]),    L = scale_tril

    Value and gradients are finite for every finite x: a number of z beyond `c = max^(1/4)` of its dtype (4e9 in
    float32) counts as c, and a diagonal entry of L below `sqrt(tiny)` (1e-19 in float32) as that.

    Args:
      mixture: of M Gaussians over N numbers; L has a diagonal above 0. What is above the diagonal is not looked at.
      points: x, floating [*batch, N], with the mixture's batch, dtype and N.

    Returns:
      [*batch].

    Raises:
      TypeError, ValueError: another dtype or shape.

    Source: Graves 2013, "Generating Sequences With Recurrent Neural Networks", equations 23 to 26 are the case N = 2.

    >>> one = GaussianMixture(jnp.zeros(1), jnp.zeros((1, 2)), jnp.eye(2)[None])
    >>> round(float(log_density(one, jnp.array([3.0, 4.0])) + jnp.log(2 * jnp.pi)), 4)
    -12.5
    """
    logits, means, scale_tril = (jnp.asarray(leaf) for leaf in mixture)
    points = jnp.asarray(points)
    _check(logits, means, scale_tril, points)
    numbers: Any = jnp.finfo(points.dtype)  # type: ignore[no-untyped-call]
    farthest, narrowest = float(numbers.max) ** 0.25, float(numbers.tiny) ** 0.5
    exponent = jax.nn.log_softmax(logits, axis=-1)
    zs: list[Array] = []
    for row in range(points.shape[-1]):  # solved row by row: N is small, the batch is large
        rest = points[..., None, row] - means[..., row]
        for column, z in enumerate(zs):
            rest = rest - scale_tril[..., row, column] * z
        scale = jnp.maximum(scale_tril[..., row, row], narrowest)
        zs.append(jnp.clip(rest / scale, -farthest, farthest))
        exponent = exponent - 0.5 * jnp.square(zs[-1]) - jnp.log(scale) - 0.5 * math.log(2.0 * math.pi)
    density: Array = jax.nn.logsumexp(exponent, axis=-1)
    return density


def _check(logits: Array, means: Array, scale_tril: Array, points: Array) -> None:
    checks.kind("points", points, jnp.floating)
    if points.ndim == 0 or logits.ndim == 0:
        raise ValueError(f"points must be [..., N] and logits [..., M], got {list(points.shape)}, {list(logits.shape)}")
    (*batch, size), count = points.shape, logits.shape[-1]
    checks.shape("logits", logits, (*batch, count))
    checks.shape("means", means, (*batch, count, size))
    checks.shape("scale_tril", scale_tril, (*batch, count, size, size))
    for name, leaf in (("logits", logits), ("means", means), ("scale_tril", scale_tril)):
        checks.dtype_among(name, leaf, [points.dtype])
