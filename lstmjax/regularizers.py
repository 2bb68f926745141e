"""Dropout for sequences. Layers are Flax's own and hold no RNG: no key means no dropout."""

from flax import nnx

from lstmjax import checks
from lstmjax.types import Array, Float, Key


class Dropout(nnx.Module):
    """Zero each entry with probability `rate` and scale the rest by 1 / (1 - rate), whenever a key is given.

    Args:
      rate: in [0, 1).
      broadcast_dims: axes along which one mask is shared; `(1,)` on [B, T, D] is locked dropout.

    Raises:
      ValueError: `rate` outside [0, 1).

    Source: Srivastava et al. 2014.

    >>> Dropout(0.5)(jnp.ones((2, 3)), key=None).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """

    def __init__(self, rate: float, broadcast_dims: tuple[int, ...] = ()) -> None:
        checks.rate("rate", rate)
        self.drop = nnx.Dropout(rate, broadcast_dims=broadcast_dims)

    def __call__(self, x: Float[Array, "*batch D"], *, key: Key[Array, ""] | None) -> Float[Array, "*batch D"]:
        return self.drop(x, deterministic=key is None, rngs=key)


def locked_dropout(rate: float, time_axis: int = 1) -> Dropout:
    """Dropout with one mask for all steps of a sequence (variational dropout; Keras calls it SpatialDropout1D).

    Source: Gal and Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks".

    >>> y = locked_dropout(0.5)(jnp.ones((2, 4, 8)), key=jax.random.key(0))
    >>> bool(jnp.all(y == y[:, :1]))
    True
    """
    return Dropout(rate, broadcast_dims=(time_axis,))
