"""Layers one on another."""

import itertools
from collections.abc import Sequence
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.layers.keywords import called_with_state_by_name
from lstmjax.layers.recurrent import Layer, Sizes, State, check_layer
from lstmjax.masking import RunOptions, valid_steps, zero_invalid
from lstmjax.regularizers import Dropout
from lstmjax.types import Array, Cell, Float, Key


class Residual(nnx.Module, Sizes):
    """A layer that adds its input to its output, at valid steps.

    Args:
      layer: any layer that gives the shape it takes.

    Raises:
      ValueError: a layer that gives another shape.

    Source: He et al. 2016; between recurrent layers: Wu et al. 2016, "Google's Neural Machine Translation System".

    >>> layer = lx.Residual(lx.Recurrent(lx.cells.LSTM(5, 5), rngs=nnx.Rngs(0)))
    >>> xs = jnp.ones((2, 7, 5))
    >>> bool(jnp.allclose(layer(xs)[0], xs + layer.layer(xs)[0]))
    True
    """

    def __init__(self, layer: Layer) -> None:
        check_layer("layer", layer)
        if layer.in_shape != layer.out_shape:
            raise ValueError(
                f"layer must give the shape it takes, {list(layer.in_shape)}, for a residual connection, "
                f"got one that gives {list(layer.out_shape)}"
            )
        self.layer = layer

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.layer.in_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.layer.out_shape

    @property
    def hidden_features(self) -> int | tuple[Any, ...]:
        return self.layer.hidden_features

    @property
    def cells(self) -> tuple[Cell[Any, Any], ...]:
        """The layer's."""
        return self.layer.cells

    def initial_state(self, batch_size: int) -> State:
        return self.layer.initial_state(batch_size)

    def step(self, x: Float[Array, "B *in"], state: State) -> tuple[Float[Array, "B *in"], State]:
        """One step, see `Recurrent.step`."""
        y, state = self.layer.step(x, state)
        return y + jnp.asarray(x).astype(y.dtype), state

    @called_with_state_by_name
    def __call__(
        self,
        xs: Float[Array, "B T *in"],
        *,
        state: State | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[RunOptions],
    ) -> tuple[Float[Array, "B T *in"], State]:
        """See `lstmjax.unroll`."""
        ys, state = self.layer(xs, state=state, key=key, **options)
        time_major = options.get("time_major", False)
        batch, steps = ys.shape[1::-1] if time_major else ys.shape[:2]
        valid = valid_steps(options.get("lengths"), options.get("mask"), steps, batch, time_major)
        return ys + zero_invalid(valid, jnp.asarray(xs).astype(ys.dtype), time_major), state


class Stacked(nnx.Module, Sizes):
    """Recurrent layers one on another, with dropout on the outputs of each but the last.

    Args:
      layers: at least one; each takes the shape that the one below gives.
      dropout: between layers; None means none.

    Raises:
      ValueError: no layers, or shapes that do not chain.

    >>> rngs = nnx.Rngs(0)
    >>> layer = lx.Stacked([lx.Recurrent(lx.cells.LSTM(3, 5), rngs=rngs), lx.Recurrent(lx.cells.GRU(5, 4), rngs=rngs)])
    >>> ys, (below, above) = layer(jnp.ones((2, 7, 3)))
    >>> ys.shape, below.c.shape, above.h.shape
    ((2, 7, 4), (2, 5), (2, 4))
    """

    def __init__(self, layers: Sequence[Layer], dropout: Dropout | None = None) -> None:
        if not layers:
            raise ValueError("layers must hold at least one layer, got none")
        for number, layer in enumerate(layers):
            check_layer(f"layers[{number}]", layer)
        if not isinstance(dropout, Dropout | None):
            raise TypeError(f"dropout must be a module such as regularizers.Dropout(0.5), got {dropout!r}")
        for number, (below, above) in enumerate(itertools.pairwise(layers), start=1):
            if below.out_shape != above.in_shape:
                raise ValueError(
                    f"layers[{number}] must take what layers[{number - 1}] gives, {list(below.out_shape)}, "
                    f"got one that takes {list(above.in_shape)}"
                )
        self.layers = nnx.List(layers)
        self.dropout = Dropout(0.0) if dropout is None else dropout

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.layers[0].in_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.layers[-1].out_shape

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def hidden_features(self) -> int | tuple[Any, ...]:
        """H of every layer, or, where they differ, a tuple of each one's, bottom first."""
        widths: list[Any] = [layer.hidden_features for layer in self.layers]
        return widths[0] if len(set(widths)) == 1 else tuple(widths)

    @property
    def cells(self) -> tuple[Cell[Any, Any], ...]:
        """Every layer's cell, bottom first; of two directions, the forward layer's before the backward one's."""
        return tuple(cell for layer in self.layers for cell in layer.cells)

    def initial_state(self, batch_size: int) -> tuple[State, ...]:
        """The state of each layer, bottom first, before the first step."""
        return tuple(layer.initial_state(batch_size) for layer in self.layers)

    def step(
        self, x: Float[Array, "B *in"], state: Sequence[State]
    ) -> tuple[Float[Array, "B *out"], tuple[State, ...]]:
        """One step of every layer, bottom up, without noise; see `Recurrent.step`.

        Args:
          x: one step's inputs [B, I].
          state: one state a layer, bottom first: from `initial_state`, a step or a call.

        Returns:
          The top layer's output [B, H] and the states after it.
        """
        finals = []
        for number, (layer, before) in enumerate(zip(self.layers, self._states(state), strict=True)):
            if number > 0:
                x = self.dropout(x, key=None)
            x, final = layer.step(x, before)
            finals.append(final)
        return x, tuple(finals)

    @called_with_state_by_name
    def __call__(
        self,
        xs: Float[Array, "B T *in"],
        *,
        state: Sequence[State] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[RunOptions],
    ) -> tuple[Float[Array, "B T *out"], tuple[State, ...]]:
        """Run the layers bottom up over whole sequences.

        Args:
          xs: inputs [B, T, I], or [T, B, I] with `time_major`.
          state: one state a layer, bottom first; None starts each from its initial state.
          key: switches dropout and the cells' noise on and draws them; None, as at evaluation, means neither.
          options: lengths, mask, resets, reverse, time_major, remat, backend, as in `lstmjax.unroll`.

        Returns:
          the top layer's outputs [B, T, H], zero at invalid steps, and a tuple with every layer's final state, bottom
          first. The last output of a sequence shorter than T is not `ys[:, -1]`: see `layers.last_step`.

        Raises:
          ValueError: as many states as there are layers are expected, and another number came.
        """
        states = self._states(state)
        depth = len(self.layers)
        keys: list[Any] = [None] * (2 * depth)  # for the dropout below each layer, then for the noise of its cells
        if key is not None:
            checks.random_key("key", key)
            keys = list(jax.random.split(key, 2 * depth))
        time_major = options.get("time_major", False)
        finals = []
        for number, layer in enumerate(self.layers):
            if number > 0:
                xs = _batch_major(self.dropout, xs, keys[number], time_major)
            xs, final = layer(xs, state=states[number], key=keys[depth + number], **options)
            finals.append(final)
        return xs, tuple(finals)

    def _states(self, state: Sequence[State] | None) -> Sequence[State | None]:
        if state is None:
            return [None] * len(self.layers)
        if not isinstance(state, Sequence) or len(state) != len(self.layers):
            came = f"{type(state).__name__} of {len(state)}" if isinstance(state, Sequence) else type(state).__name__
            raise ValueError(f"state must be a tuple of {len(self.layers)} states, one a layer, got {came}")
        return state


def _batch_major(dropout: Dropout, xs: Array, key: Key[Array, ""] | None, time_major: bool) -> Array:
    """Apply dropout to [B, T, H], the order its axes are named in, whatever the order of `xs`."""
    return dropout(xs.swapaxes(0, 1), key=key).swapaxes(0, 1) if time_major else dropout(xs, key=key)
