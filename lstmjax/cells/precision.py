"""Products in a cell's compute dtype with sums in at least float32, and dropout on what enters a recurrent product."""

from typing import NamedTuple

import jax.numpy as jnp

from lstmjax.types import Array, DTypeLike, Float


class Thinned(NamedTuple):
    """A recurrent weight that sees its state through a mask of one sequence: `(h * mask) W`."""

    w: "Array | Thinned"
    mask: Float[Array, "*batch H"]


def accumulation_dtype(dtype: DTypeLike) -> jnp.dtype:
    """`float32` for half precision, else `dtype` itself.

    >>> accumulation_dtype(jnp.bfloat16).name, accumulation_dtype(jnp.float64).name
    ('float32', 'float64')
    """
    return jnp.dtype(jnp.float32 if jnp.dtype(dtype).itemsize < 4 else dtype)


def matmul(x: Float[Array, "*batch N"], w: Float[Array, "N M"], dtype: DTypeLike) -> Float[Array, "*batch M"]:
    """`x @ w` with factors in `dtype` and sums in its accumulation dtype."""
    return jnp.matmul(x.astype(dtype), w.astype(dtype), preferred_element_type=accumulation_dtype(dtype))


def scale(x: Float[Array, "*batch N"], w: Float[Array, "N"], dtype: DTypeLike) -> Float[Array, "*batch N"]:
    """`x * w` with factors in `dtype` and the product in its accumulation dtype."""
    wide = accumulation_dtype(dtype)
    return x.astype(dtype).astype(wide) * jnp.broadcast_to(w.astype(dtype).astype(wide), x.shape)


def through_mask(h: Array, w: Array | Thinned) -> tuple[Array, Array]:
    """What enters the recurrent product and the bare weight: `h, w`, or `h * mask, w` of a thinned weight."""
    while isinstance(w, Thinned):
        h, w = h * w.mask.astype(h.dtype), w.w
    return h, w
