"""Products in a cell's compute dtype with sums in at least float32."""

import jax.numpy as jnp

from lstmjax.types import Array, DTypeLike, Float


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
