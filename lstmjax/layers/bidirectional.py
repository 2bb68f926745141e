"""Two layers over the same sequences, one in each direction."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.layers.keywords import called_with_state_by_name
from lstmjax.layers.recurrent import Layer, Sizes, check_layer
from lstmjax.masking import RunOptions, reversed_options
from lstmjax.types import Array, Cell, Float, Key

Merge = Literal["concat", "sum", "mul", "ave", "none"]

_MERGES: dict[str, Callable[[Array, Array], Any]] = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": jnp.add,
    "mul": jnp.multiply,
    "ave": lambda a, b: (a + b) / 2,
    "none": lambda a, b: (a, b),
}


class BidirectionalState(NamedTuple):
    """The state of each direction after all valid steps, the last of which is the first in time for `backward`."""

    forward: Any
    backward: Any


class Bidirectional(nnx.Module, Sizes):
    """One layer forward and one backward in time; `lengths`, `mask` and `resets` hold in both.

    A reset separates two sequences in both: backward in time, the next one begins at the valid step before the reset.

    The backward layer starts at each sequence's own last valid step, and its outputs stand beside the inputs they
    belong to.

    Args:
      forward: any layer.
      backward: a layer that takes and gives the same shapes, with parameters of its own.
      merge: of the two directions' outputs [B, T, H]: "concat" [B, T, 2H], "sum", "mul" or "ave" (their mean)
        [B, T, H], "none" a pair of them.

    Raises:
      ValueError: another `merge`, layers of different shapes, or the same layer twice.
      TypeError: no layers; and, when called, outputs of different dtypes.

    Source: Schuster and Paliwal 1997, "Bidirectional Recurrent Neural Networks".

    >>> cell, rngs = lx.cells.GRU(3, 5), nnx.Rngs(0)
    >>> layer = lx.Bidirectional(lx.Recurrent(cell, rngs=rngs), lx.Recurrent(cell, rngs=rngs), merge="concat")
    >>> ys, state = layer(jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4]))
    >>> ys.shape, state.backward.h.shape
    ((2, 7, 10), (2, 5))
    """

    def __init__(self, forward: Layer, backward: Layer, merge: Merge = "concat") -> None:
        checks.one_of("merge", merge, tuple(_MERGES))
        check_layer("forward", forward)
        check_layer("backward", backward)
        if backward is forward:
            raise ValueError("backward must have parameters of its own, got the same layer twice")
        for shape in ("in_shape", "out_shape"):
            ahead, back = getattr(forward, shape), getattr(backward, shape)
            if ahead != back:
                raise ValueError(f"backward must have forward's {shape} {list(ahead)}, got {list(back)}")
        self.forward = forward
        self.backward = backward
        self.merge = merge

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.forward.in_shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        if self.merge == "none":
            raise ValueError(
                "merge must be other than 'none' where another layer takes the outputs, got a pair of them"
            )
        *grid, features = self.forward.out_shape
        return (*grid, 2 * features) if self.merge == "concat" else (*grid, features)

    @property
    def hidden_features(self) -> int | tuple[Any, ...]:
        """H of each direction."""
        return self.forward.hidden_features

    @property
    def cells(self) -> tuple[Cell[Any, Any], ...]:
        """The forward layer's, then the backward layer's."""
        return self.forward.cells + self.backward.cells

    def initial_state(self, batch_size: int) -> BidirectionalState:
        return BidirectionalState(self.forward.initial_state(batch_size), self.backward.initial_state(batch_size))

    def step(self, x: Float[Array, "B *in"], state: BidirectionalState) -> tuple[Any, BidirectionalState]:
        """Raises TypeError: the backward layer begins at a sequence's end, which no single step knows."""
        raise TypeError("a bidirectional layer has no step: its output at one step depends on all that come after it")

    @called_with_state_by_name
    def __call__(
        self,
        xs: Float[Array, "B T *in"],
        *,
        state: BidirectionalState | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[RunOptions],
    ) -> tuple[Any, BidirectionalState]:
        """Run both directions; see `lstmjax.unroll`. With `reverse`, the layers change places in time.

        Raises:
          TypeError: a state that is no pair.
        """
        if state is not None and not (isinstance(state, tuple) and len(state) == 2):
            raise TypeError(f"state must be a pair of states (forward, backward), got {type(state).__name__}")
        ahead, back = (None, None) if state is None else state
        key_ahead, key_back = (None, None) if key is None else jax.random.split(key)
        ys_ahead, ahead = self.forward(xs, state=ahead, key=key_ahead, **options)
        ys_back, back = self.backward(xs, state=back, key=key_back, **reversed_options(options, jnp.shape(xs)))
        checks.dtype_among("the backward layer's output", ys_back, [ys_ahead.dtype])
        return _MERGES[self.merge](ys_ahead, ys_back), BidirectionalState(ahead, back)
