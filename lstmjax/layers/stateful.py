"""A layer that keeps its state between calls."""

from collections.abc import Sequence
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.layers.recurrent import Layer, check_layer, plain
from lstmjax.masking import RunOptions, where_rows
from lstmjax.types import Array, Float, Key


class LayerState(nnx.Variable[Array]):
    """What a `Stateful` layer keeps: nothing that is trained."""


class Stateful(nnx.Module):
    """A layer whose every call goes on where the last one ended, as Keras's `stateful=True` has it.

    Args:
      layer: any layer; it is run by `lstmjax.unroll` as otherwise.
      batch_size: B, of every call.

    Raises:
      TypeError: no layer.
      ValueError: a batch size below 1; and, when called, another batch size.

    >>> layer = lx.Stateful(lx.LSTM(3, 5, rngs=nnx.Rngs(0)), batch_size=2)
    >>> xs = jnp.ones((2, 8, 3))
    >>> halves = jnp.concatenate([layer(xs[:, :4]), layer(xs[:, 4:])], axis=1)
    >>> layer.reset()
    >>> bool(jnp.allclose(halves, layer(xs)))
    True
    """

    def __init__(self, layer: Layer, batch_size: int) -> None:
        check_layer("layer", layer)
        self.layer = layer
        self.batch_size = checks.positive_int("batch_size", batch_size)
        self.state = nnx.data(jax.tree.map(LayerState, layer.initial_state(batch_size)))

    def __call__(
        self, xs: Float[Array, "B T *in"], *, key: Key[Array, ""] | None = None, **options: Unpack[RunOptions]
    ) -> Any:
        """The outputs [B, T, H]; the state after the last valid step is kept. Gradients end at the kept state."""
        rows = jnp.shape(xs)[1 if options.get("time_major") else 0]
        if rows != self.batch_size:
            raise ValueError(f"xs must have batch_size={self.batch_size} sequences in every call, got {rows}")
        before = jax.lax.stop_gradient(plain(self.state))
        ys, after = self.layer(xs, state=before, key=key, **options)
        self._keep(after)
        return ys

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Start new sequences: in all rows of the batch, or in those given by number."""
        fresh = self.layer.initial_state(self.batch_size)
        if rows is not None:
            numbers = checks.whole_numbers("rows", rows, ("N",), 0, self.batch_size - 1)
            chosen = jnp.zeros(self.batch_size, bool).at[numbers].set(True)
            fresh = where_rows(chosen, fresh, plain(self.state))
        self._keep(fresh)

    def _keep(self, state: Any) -> None:
        variables = jax.tree.leaves(self.state, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
        for variable, leaf in zip(variables, jax.tree.leaves(state), strict=True):
            variable[...] = leaf
