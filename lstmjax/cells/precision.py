"""The dtypes a cell computes in: products in the compute dtype, sums and the cell state in at least float32."""

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
