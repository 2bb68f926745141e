"""Flax nnx layers: thin modules that hold parameters and call the core. They hold no RNG and no state."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import cells, checks
from lstmjax.regularizers import Dropout
from lstmjax.types import Array, Bool, Cell, DTypeLike, Float, Int, Key
from lstmjax.unroll import unroll

State = Any


class Recurrent(nnx.Module):
    """One cell run over time.

    Args:
      cell: any `lstmjax.types.Cell`.
      rngs: draws the initial parameters (stream "params").

    >>> layer = lx.Recurrent(lx.cells.LSTM(3, 5), rngs=nnx.Rngs(0))
    >>> ys, state = layer(jnp.ones((2, 7, 3)))
    >>> ys.shape, state.h.shape
    ((2, 7, 5), (2, 5))
    """

    def __init__(self, cell: Cell[Any, State], *, rngs: nnx.Rngs) -> None:
        self.cell = cell
        self.weights = nnx.data(jax.tree.map(nnx.Param, cell.init(rngs.params())))

    @property
    def in_features(self) -> int:
        return self.cell.in_features

    @property
    def hidden_features(self) -> int:
        return self.cell.hidden_features

    @property
    def params(self) -> Any:
        """The cell's parameters as plain arrays, in the tuple that `cell.init` gives."""
        return jax.tree.map(lambda p: p[...], self.weights, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))

    def initial_state(self, batch_size: int) -> State:
        return self.cell.initial_state((batch_size,))

    def __call__(
        self,
        xs: Float[Array, "B T I"],
        state: State | None = None,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        resets: Bool[Array, "B T"] | None = None,
        reverse: bool = False,
        time_major: bool = False,
        backend: str = "auto",
    ) -> tuple[Float[Array, "B T H"], State]:
        """See `lstmjax.unroll`."""
        return unroll(
            self.cell,
            self.params,
            xs,
            state,
            lengths=lengths,
            mask=mask,
            resets=resets,
            reverse=reverse,
            time_major=time_major,
            backend=backend,
        )


class Stacked(nnx.Module):
    """Recurrent layers one on another, with dropout on what each but the last hands up.

    Args:
      layers: at least one; each takes as many features as the one below gives.
      dropout: between layers; None means none.

    Raises:
      ValueError: no layers, or sizes that do not chain.
    """

    def __init__(self, layers: Sequence[Recurrent], dropout: Dropout | None = None) -> None:
        if not layers:
            raise ValueError("layers must hold at least one layer, got none")
        for number, (below, above) in enumerate(itertools.pairwise(layers), start=1):
            if below.hidden_features != above.in_features:
                raise ValueError(
                    f"layers[{number}].in_features must equal layers[{number - 1}].hidden_features="
                    f"{below.hidden_features}, got {above.in_features}"
                )
        self.layers = nnx.List(layers)
        self.dropout = Dropout(0.0) if dropout is None else dropout

    def initial_state(self, batch_size: int) -> tuple[State, ...]:
        """The state of each layer, bottom first, before the first step."""
        return tuple(layer.initial_state(batch_size) for layer in self.layers)

    def __call__(
        self,
        xs: Float[Array, "B T I"],
        state: Sequence[State] | None = None,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        resets: Bool[Array, "B T"] | None = None,
        reverse: bool = False,
        time_major: bool = False,
        backend: str = "auto",
        key: Key[Array, ""] | None = None,
    ) -> tuple[Float[Array, "B T H"], tuple[State, ...]]:
        """Run the layers bottom up over whole sequences.

        Args:
          xs: inputs [B, T, I] (or [T, B, I], see `lstmjax.unroll` for all but the following).
          state: one state a layer, bottom first; None starts each from its initial state.
          key: switches dropout on and draws its masks; None, as at evaluation, means no dropout.

        Returns:
          the top layer's outputs [B, T, H] and a tuple with every layer's final state, bottom first.

        Raises:
          ValueError: as many states as there are layers are expected, and another number came.
        """
        states = self._states(state)
        keys = [None] * len(self.layers) if key is None else list(jax.random.split(key, len(self.layers)))
        finals = []
        for depth, layer in enumerate(self.layers):
            if depth > 0:
                xs = _batch_major(self.dropout, xs, keys[depth], time_major)
            xs, final = layer(
                xs,
                states[depth],
                lengths=lengths,
                mask=mask,
                resets=resets,
                reverse=reverse,
                time_major=time_major,
                backend=backend,
            )
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


class LSTM(Stacked):
    """Long short-term memory over whole sequences, one layer or several.

    Args:
      in_features: I.
      hidden_features: H, of every layer.
      num_layers: L, how many are stacked.
      dropout: rate in [0, 1), on what each layer but the last hands up; active when a call is given a key.
      dtype: what to compute in; None means `param_dtype`.
      param_dtype: what parameters are stored in.
      rngs: draws the initial parameters (stream "params").

    Raises:
      ValueError: a size below 1, a rate outside [0, 1), or dropout with a single layer, where it would do nothing.

    >>> layer = lx.LSTM(3, 5, num_layers=2, rngs=nnx.Rngs(0))
    >>> ys, state = layer(jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4]))
    >>> ys.shape, len(state), state[-1].h.shape
    ((2, 7, 5), 2, (2, 5))
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        num_layers: int = 1,
        dropout: float = 0.0,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        checks.positive_int("num_layers", num_layers)
        checks.rate("dropout", dropout)
        if dropout > 0.0 and num_layers == 1:
            raise ValueError(
                f"dropout acts between layers, so it needs num_layers of at least 2, got dropout {dropout}"
            )
        widths = [in_features] + [hidden_features] * (num_layers - 1)
        stack = [cells.LSTM(width, hidden_features, dtype=dtype, param_dtype=param_dtype) for width in widths]
        super().__init__([Recurrent(cell, rngs=rngs) for cell in stack], Dropout(dropout))
