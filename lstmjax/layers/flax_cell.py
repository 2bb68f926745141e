"""Any cell where Flax wants one of its own."""

from typing import Any

from flax import nnx

from lstmjax.cells.full_cell import has_noise, input_shape
from lstmjax.layers.recurrent import WeightedCell
from lstmjax.types import Array, Cell, Float


class FlaxCell(WeightedCell, nnx.RNNCellBase):
    """A cell for `flax.nnx.RNN`, which then runs it over time by Flax's rules.

    Args:
      cell: any `lstmjax.types.Cell`.
      rngs: draws the initial parameters (stream "params").

    Raises:
      TypeError: a regularised cell, whose noise would never be drawn.

    >>> rnn = nnx.RNN(lx.FlaxCell(lx.cells.PeepholeLSTM(3, 5), rngs=nnx.Rngs(0)))
    >>> rnn(jnp.ones((2, 7, 3))).shape
    (2, 7, 5)
    """

    def __init__(self, cell: Cell[Any, Any], *, rngs: nnx.Rngs) -> None:
        if has_noise(cell):
            raise TypeError(f"cell must be without noise, for which nnx.RNN has no key, got {cell}")
        super().__init__(cell, rngs=rngs)

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None) -> Any:
        """The cell's initial state for inputs [*batch, I]; Flax always passes `rngs`; none are needed."""
        if carry_init is not None:
            raise ValueError(f"carry_init must be None: the cell has its own initial state, got {carry_init}")
        return self.cell.initial_state(input_shape[: len(input_shape) - self.num_feature_axes])

    def __call__(self, carry: Any, inputs: Float[Array, "*batch I"]) -> tuple[Any, Any]:
        params = self.params
        return self.cell.step(params, carry, self.cell.project(params, inputs))

    @property
    def num_feature_axes(self) -> int:
        return len(input_shape(self.cell))
