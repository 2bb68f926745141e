"""A layer's outputs without its state."""

from typing import Any, Unpack

from flax import nnx

from lstmjax import checks
from lstmjax.layers.pooling import Pooling
from lstmjax.layers.recurrent import Layer, State, check_layer
from lstmjax.masking import RunOptions
from lstmjax.types import Array, Float, Key


class Outputs(nnx.Module):
    """A layer's outputs without its state, at every step or pooled, as `nnx.Sequential` wants them.

    With `lengths`, `ys[:, -1]` is zero for all but the longest sequences; `last_step` finds each one's own last output,
    and `both_ends` those of both directions.

    Args:
      layer: any layer.
      pooling: one vector from the outputs of all steps, such as `lx.layers.last_step`, `both_ends`, `mean_over_time`,
        `max_over_time` or an `AttentionPooling`; None keeps every step.

    Raises:
      TypeError: no layer, or a pooling that can't be called.

    >>> rngs = nnx.Rngs(0)
    >>> tagger = nnx.Sequential(lx.Outputs(lx.LSTM(3, 5, rngs=rngs)), nnx.Linear(5, 4, rngs=rngs))
    >>> tagger(jnp.ones((2, 7, 3))).shape
    (2, 7, 4)
    >>> reader = lx.Outputs(lx.LSTM(3, 5, bidirectional=True, rngs=rngs), pooling=lx.layers.both_ends)
    >>> reader(jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4])).shape
    (2, 10)
    """

    def __init__(self, layer: Layer, pooling: Pooling | None = None) -> None:
        check_layer("layer", layer)
        if pooling is not None:
            checks.function("pooling", pooling)
        self.layer = layer
        self.pooling = pooling

    def __call__(
        self,
        xs: Float[Array, "B T *in"],
        *,
        state: State | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """Outputs [B, T, H], or [B, F] with a pooling; arguments as of `lstmjax.unroll`."""
        if self.pooling is not None and options.get("time_major"):
            raise ValueError("time_major must be False where outputs are pooled, for poolings take [B, T, H]")
        ys, _ = self.layer(xs, state=state, key=key, **options)
        if self.pooling is None:
            return ys
        return self.pooling(ys, lengths=options.get("lengths"), mask=options.get("mask"))
