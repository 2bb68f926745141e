"""A layer for single steps, at every step of a sequence."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.masking import valid_steps, zero_invalid
from lstmjax.types import Array, Float, Lengths, Mask


class TimeDistributed(nnx.Module):
    """Apply the same layer to every step: y[b, t] = layer(x[b, t]), and 0 at invalid steps.

    Flax's dense layers take any leading axes and do not need this; convolutions, flattening and pooling do.

    The layer itself sees zeros at invalid steps; it must have a gradient there.

    Args:
      layer: takes and gives arrays with one batch axis.

    >>> heads = lx.TimeDistributed(nnx.Conv(3, 4, kernel_size=(3, 3), rngs=nnx.Rngs(0)))
    >>> heads(jnp.ones((2, 7, 8, 8, 3)), lengths=jnp.array([7, 5])).shape
    (2, 7, 8, 8, 4)
    """

    def __init__(self, layer: Callable[[Array], Array]) -> None:
        checks.function("layer", layer)
        self.layer = layer

    def __call__(
        self, xs: Float[Array, "B T *in"], *, lengths: Lengths = None, mask: Mask = None, time_major: bool = False
    ) -> Float[Array, "B T *out"]:
        """Args and raises: see `lstmjax.unroll`."""
        xs = jnp.asarray(xs)
        if xs.ndim < 3:
            raise ValueError(f"xs must have shape [B, T, ...], got {list(xs.shape)}")
        lead = xs.shape[:2]
        batch, steps = lead[::-1] if time_major else lead
        valid = valid_steps(lengths, mask, steps, batch, time_major)
        xs = zero_invalid(valid, xs, time_major)  # so that a NaN in the padding reaches no gradient
        ys = self.layer(xs.reshape(-1, *xs.shape[2:]))
        return zero_invalid(valid, ys.reshape(*lead, *ys.shape[1:]), time_major)
