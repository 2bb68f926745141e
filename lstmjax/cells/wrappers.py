"""Cells made of cells: several stepped as one, and one that shows what happens inside."""

import dataclasses
import itertools
from typing import Any, NamedTuple

import jax

from lstmjax.cells.full_cell import FullCell, draw_noise, has_noise, input_shape, step_with_gates
from lstmjax.cells.shapes import output_shape
from lstmjax.types import Array, Cell, Float, Key, PyTree


@dataclasses.dataclass(frozen=True)
class Wrapper(FullCell):
    """A cell with another's sizes, parameters, states and steps, to be changed in one of them; not a cell itself."""

    cell: Cell[Any, Any]

    @property
    def in_features(self) -> int:
        return self.cell.in_features

    @property
    def hidden_features(self) -> int:
        return self.cell.hidden_features

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return input_shape(self.cell)[:-1]

    def init(self, key: Key[Array, ""]) -> Any:
        return self.cell.init(key)

    def initial_state(self, batch_shape: tuple[int, ...]) -> Any:
        return self.cell.initial_state(batch_shape)

    def project(self, params: Any, x: PyTree) -> PyTree:
        return self.cell.project(params, x)

    def step_with_gates(self, params: Any, state: Any, projected: PyTree) -> tuple[Any, Any, Any]:
        return step_with_gates(self.cell, params, state, projected)

    @property
    def has_noise(self) -> bool:
        return has_noise(self.cell)

    def draw_noise(self, params: Any, xs: Float[Array, "T B *in"], key: Key[Array, ""]) -> tuple[Any, Any, PyTree]:
        cell, params, inputs = draw_noise(self.cell, params, xs, key)
        return dataclasses.replace(self, cell=cell), params, inputs


class Record(NamedTuple):
    """What happened at a step: the output, the state after it, and the gates (`LSTMGates` of an LSTM)."""

    output: Float[Array, "*batch H"]
    state: Any
    gates: Any


@dataclasses.dataclass(frozen=True)
class Recording(Wrapper):
    """A look inside: the same steps, with a `Record` for an output.

    Run over time, every leaf of the record has a time axis, [B, T, ...]; as any output, it is zero at invalid steps.
    Parameters and states are those of `cell`, so a trained cell can be looked into as it is.

    Args:
      cell: any cell; of one without `gates` they are ().

    >>> cell = lx.cells.LSTM(3, 5)
    >>> record, _ = lx.unroll(lx.cells.Recording(cell), cell.init(jax.random.key(0)), jnp.ones((2, 7, 3)))
    >>> record.output.shape, record.state.c.shape, record.gates.f.shape
    ((2, 7, 5), (2, 7, 5), (2, 7, 5))
    """

    def step_with_gates(self, params: Any, state: Any, projected: PyTree) -> tuple[Any, Record, Any]:
        after, y, gates = step_with_gates(self.cell, params, state, projected)
        return after, Record(y, after, gates), gates


@dataclasses.dataclass(frozen=True)
class StackedCells(FullCell):
    """Cells one on another, stepped together: one cell whose parameters and state are tuples, bottom first.

    `lstmjax.Stacked` runs each layer over all time before the next and is faster; this is for where a whole stack
    must step at once, as in decoding with feedback.

    Args:
      cells: at least one; each takes as many features as the one below gives.

    Raises:
      ValueError: no cells, or sizes that do not chain.
      TypeError: a regularised cell, whose noise needs its inputs ahead of the step.

    >>> cell = StackedCells((lx.cells.LSTM(3, 5), lx.cells.GRU(5, 4)))
    >>> ys, (below, above) = lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((2, 7, 3)))
    >>> ys.shape, below.c.shape, above.h.shape
    ((2, 7, 4), (2, 5), (2, 4))
    """

    cells: tuple[Cell[Any, Any], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(self.cells))
        if not self.cells:
            raise ValueError("cells must hold at least one cell, got none")
        for number, cell in enumerate(self.cells):
            if has_noise(cell):
                raise TypeError(f"cells[{number}] must be a cell without noise (see lstmjax.Stacked), got {cell}")
        for number, (below, above) in enumerate(itertools.pairwise(self.cells), start=1):
            if output_shape(below) != input_shape(above):
                raise ValueError(
                    f"cells[{number}] must take what cells[{number - 1}] gives, {list(output_shape(below))}, "
                    f"got a cell that takes {list(input_shape(above))}"
                )

    @property
    def in_features(self) -> int:
        return self.cells[0].in_features

    @property
    def hidden_features(self) -> int:
        return self.cells[-1].hidden_features

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return input_shape(self.cells[0])[:-1]

    def init(self, key: Key[Array, ""]) -> tuple[Any, ...]:
        keys = jax.random.split(key, len(self.cells))
        return tuple(cell.init(k) for cell, k in zip(self.cells, keys, strict=True))

    def initial_state(self, batch_shape: tuple[int, ...]) -> tuple[Any, ...]:
        return tuple(cell.initial_state(batch_shape) for cell in self.cells)

    def project(self, params: tuple[Any, ...], x: Float[Array, "*batch I"]) -> PyTree:
        """Only the lowest cell's input is known before the step."""
        return self.cells[0].project(params[0], x)

    def step_with_gates(
        self, params: tuple[Any, ...], state: tuple[Any, ...], projected: PyTree
    ) -> tuple[tuple[Any, ...], Any, tuple[Any, ...]]:
        """One step of each cell, bottom first, each fed with the output of the one below."""
        steps: list[tuple[Any, Any, Any]] = []
        for cell, p, s in zip(self.cells, params, state, strict=True):
            inputs = cell.project(p, steps[-1][1]) if steps else projected
            steps.append(step_with_gates(cell, p, s, inputs))
        states, ys, gates = zip(*steps, strict=True)
        return states, ys[-1], gates
