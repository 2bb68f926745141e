"""One cell over time."""

from typing import Any, Literal, Protocol, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.cells import input_shape, output_shape
from lstmjax.cells.full_cell import has_noise
from lstmjax.layers.keywords import called_with_state_by_name
from lstmjax.masking import RunOptions
from lstmjax.regularizers import Noisy
from lstmjax.types import Array, Cell, Float, Key
from lstmjax.unroll import unroll

State = Any


class Layer(Protocol):
    """What can be stacked and run in two directions: `Recurrent`, `Bidirectional`, `Residual`, `Stacked`."""

    @property
    def in_shape(self) -> tuple[int, ...]: ...

    @property
    def out_shape(self) -> tuple[int, ...]: ...

    @property
    def hidden_features(self) -> int | tuple[Any, ...]: ...

    @property
    def cells(self) -> tuple[Cell[Any, Any], ...]: ...

    def initial_state(self, batch_size: int) -> State: ...

    def step(self, x: Float[Array, "B *in"], state: State) -> tuple[Float[Array, "B *out"], State]: ...

    def __call__(
        self,
        xs: Float[Array, "B T *in"],
        *,
        state: State | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[RunOptions],
    ) -> tuple[Float[Array, "B T *out"], State]: ...


class Sizes:
    """What a layer takes and gives."""

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The shape of one step's input: (I,), or (*spatial_shape, I) over a grid."""
        raise NotImplementedError

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of one step's output: (H,), or (*grid, H)."""
        raise NotImplementedError

    @property
    def in_features(self) -> int:
        """I, the last size of an input."""
        return self.in_shape[-1]

    @property
    def out_features(self) -> int:
        """The last size of an output: H, 2H in both directions, the projection's size."""
        return self.out_shape[-1]


class WeightedCell(nnx.Module):
    """A cell with its parameters in `nnx.Param`s."""

    def __init__(self, cell: Cell[Any, State], *, rngs: nnx.Rngs) -> None:
        if not hasattr(type(cell), "step") or isinstance(cell, nnx.Module):
            raise TypeError(f"cell must be a cell, such as lstmjax.cells.LSTM(3, 5), got {type(cell).__name__}")
        check_rngs("rngs", rngs)
        self.cell = cell
        self.weights = nnx.data(jax.tree.map(nnx.Param, cell.init(rngs.params())))

    @property
    def params(self) -> Any:
        """The cell's parameters as plain arrays, in the tuple that `cell.init` gives."""
        return plain(self.weights)

    def set_params(self, params: Any) -> None:
        """Put other values in place of the parameters.

        Raises:
          TypeError, ValueError: another tree, shape or dtype than the cell's.
        """
        checks.like("params", params, self.params)
        self.weights = nnx.data(jax.tree.map(lambda leaf: nnx.Param(jnp.array(leaf)), params))


class Recurrent(WeightedCell, Sizes, Noisy):
    """One cell run over time.

    Args:
      cell: any `lstmjax.types.Cell`.
      initial_state: "zeros" (the cell's own), or "learned": one trained state, from which every sequence starts.
      rngs: draws the initial parameters (stream "params").

    Raises:
      ValueError: another `initial_state`.

    >>> layer = lx.Recurrent(lx.cells.PeepholeLSTM(3, 5), initial_state="learned", rngs=nnx.Rngs(0))
    >>> ys, state = layer(jnp.ones((2, 7, 3)))
    >>> ys.shape, state.h.shape
    ((2, 7, 5), (2, 5))
    """

    def __init__(
        self, cell: Cell[Any, State], *, initial_state: Literal["zeros", "learned"] = "zeros", rngs: nnx.Rngs
    ) -> None:
        checks.one_of("initial_state", initial_state, ("zeros", "learned"))
        super().__init__(cell, rngs=rngs)
        learned = jax.tree.map(nnx.Param, cell.initial_state(())) if initial_state == "learned" else None
        self.initial = nnx.data(learned)

    @property
    def hidden_features(self) -> int:
        return self.cell.hidden_features

    @property
    def cells(self) -> tuple[Cell[Any, Any], ...]:
        """The cell, alone."""
        return (self.cell,)

    @property
    def in_shape(self) -> tuple[int, ...]:
        return input_shape(self.cell)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return output_shape(self.cell)

    def initial_state(self, batch_size: int) -> State:
        """What each of `batch_size` new sequences starts from."""
        checks.size("batch_size", batch_size)
        if self.initial is None:
            return self.cell.initial_state((batch_size,))
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (batch_size, *leaf.shape)), plain(self.initial))

    def step(self, x: Float[Array, "B *in"], state: State) -> tuple[Float[Array, "B *out"], State]:
        """One step, as a call over a sequence of one; without noise.

        Args:
          x: one step's inputs [B, I].
          state: from `initial_state`, a step or a call.

        Returns:
          The output [B, H] and the state after it.

        Raises:
          TypeError, ValueError: a state of another kind than the cell's, or inputs of another shape.

        >>> layer = lx.Recurrent(lx.cells.LSTM(3, 5), rngs=nnx.Rngs(0))
        >>> y, state = layer.step(jnp.ones((2, 3)), layer.initial_state(2))
        >>> y.shape
        (2, 5)
        """
        if has_noise(self.cell):
            self.check_key(None)
        x = jnp.asarray(x)
        checks.shape("x", x, ("B", *self.in_shape))
        checks.like("state", state, jax.eval_shape(lambda: self.cell.initial_state(x.shape[:1])))
        params = self.params
        state, y = self.cell.step(params, state, self.cell.project(params, x))
        return y, state

    @called_with_state_by_name
    def __call__(
        self,
        xs: Float[Array, "B T *in"],
        *,
        state: State | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[RunOptions],
    ) -> tuple[Float[Array, "B T *out"], State]:
        """See `lstmjax.unroll`."""
        if has_noise(self.cell):
            self.check_key(key)
        initial = None
        if self.initial is not None and jnp.ndim(xs) >= 2:  # if it is less, unroll says so
            initial = self.initial_state(jnp.shape(xs)[1 if options.get("time_major") else 0])
        return unroll(self.cell, self.params, xs, state, initial_state=initial, key=key, **options)


def check_rngs(name: str, rngs: object) -> None:
    """It draws initial parameters.

    Raises:
      TypeError: it is something else, such as a seed or a key.
    """
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(f"{name} must be an nnx.Rngs, such as nnx.Rngs(0), got {type(rngs).__name__}")


def check_layer(name: str, layer: object) -> None:
    """It can be run over time and stacked.

    Raises:
      TypeError: it is something else, such as a cell.
    """
    if not isinstance(layer, nnx.Module) or not hasattr(layer, "initial_state"):
        raise TypeError(f"{name} must be a layer, such as lstmjax.Recurrent of a cell, got {type(layer).__name__}")


def plain(tree: Any) -> Any:
    """The arrays in a tree of `nnx.Variable`s."""
    return jax.tree.map(lambda p: p[...], tree, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
