"""Cells made of cells: several stepped as one, and one that shows what happens inside."""

import dataclasses
import itertools
from typing import Any, NamedTuple, Self, cast

import jax

from lstmjax.cells.shapes import input_shape, output_shape
from lstmjax.types import Array, Cell, Float, GatedCell, Key, NoisyCell, PyTree


@dataclasses.dataclass(frozen=True)
class Wrapper:
    """A cell with another's sizes, parameters, states and steps, to be changed in one of them; not a cell itself."""

    cell: Cell[Any, Any]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # see BaseCell

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

    def gates(self, params: Any, state: Any, z: PyTree) -> Any:
        return self.cell.gates(params, state, z)  # type: ignore[attr-defined]

    def step(self, params: Any, state: Any, z: PyTree) -> tuple[Any, Any]:
        return self.cell.step(params, state, z)


def draw_noise(
    cell: Cell[Any, Any], params: Any, xs: Float[Array, "T B *in"], key: Key[Array, ""]
) -> tuple[Cell[Any, Any], Any, PyTree]:
    """What to run in place of `cell` on `xs` when its noise, if it has any, is on."""
    if not hasattr(cell, "draw_noise"):
        return cell, params, xs
    return cast(NoisyCell[Any, Any], cell).draw_noise(params, xs, key)


def has_noise(cell: Cell[Any, Any]) -> bool:
    """Whether a key makes a difference to a run of `cell`."""
    return has_noise(cell.cell) if isinstance(cell, Recording) else hasattr(cell, "draw_noise")


class Record(NamedTuple):
    """What happened at a step: the output, the state after it, and what the gates let through."""

    output: Float[Array, "*batch H"]
    state: Any
    gates: Any


@dataclasses.dataclass(frozen=True)
class Recording(Wrapper):
    """A look inside: the same steps, with a `Record` for an output.

    Run over time, every leaf of the record has a time axis, [B, T, ...]; as any output, it is zero at invalid steps.
    Parameters and states are those of `cell`, so a trained cell can be looked into as it is.

    Args:
      cell: any cell with `gates`; every cell of lstmjax has them.

    >>> cell = lx.cells.LSTM(3, 5)
    >>> record, _ = lx.unroll(lx.cells.Recording(cell), cell.init(jax.random.key(0)), jnp.ones((2, 7, 3)))
    >>> record.output.shape, record.state.c.shape, record.gates.f.shape
    ((2, 7, 5), (2, 7, 5), (2, 7, 5))
    """

    cell: GatedCell[Any, Any]

    def step(self, params: Any, state: Any, z: PyTree) -> tuple[Any, Record]:
        after, y = self.cell.step(params, state, z)
        return after, Record(y, after, self.cell.gates(params, state, z))

    def draw_noise(self, params: Any, xs: Float[Array, "T B *in"], key: Key[Array, ""]) -> tuple[Any, Any, PyTree]:
        cell: Any
        cell, params, inputs = draw_noise(self.cell, params, xs, key)
        return dataclasses.replace(self, cell=cell), params, inputs


@dataclasses.dataclass(frozen=True)
class StackedCells:
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

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # see BaseCell

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

    def gates(self, params: tuple[Any, ...], state: tuple[Any, ...], z: PyTree) -> tuple[Any, ...]:
        """What each cell's gates let through."""
        inputs = [z for z, _, _ in self._climb(params, state, z)]
        cells: tuple[Any, ...] = self.cells
        return tuple(cell.gates(p, s, z) for cell, p, s, z in zip(cells, params, state, inputs, strict=True))

    def step(self, params: tuple[Any, ...], state: tuple[Any, ...], z: PyTree) -> tuple[tuple[Any, ...], Any]:
        """One step of each cell, bottom first, each fed with the output of the one below."""
        floors = self._climb(params, state, z)
        return tuple(after for _, after, _ in floors), floors[-1][2]

    def _climb(self, params: tuple[Any, ...], state: tuple[Any, ...], z: PyTree) -> list[tuple[PyTree, Any, Any]]:
        """Projected input, new state and output of each cell."""
        floors: list[tuple[PyTree, Any, Any]] = []
        for cell, p, s in zip(self.cells, params, state, strict=True):
            here = cell.project(p, floors[-1][2]) if floors else z
            floors.append((here, *cell.step(p, s, here)))
        return floors
