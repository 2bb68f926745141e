"""What a cell may have beside the members of `lstmjax.types.Cell`: noise, gates to look at, a grid."""

import abc
import sys
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp

from lstmjax import initializers
from lstmjax.types import Array, Cell, Float, GatedCell, Key, NoisyCell, PyTree


class FullCell(abc.ABC):
    """A cell with all of it: each writes its equations once, in `step_with_gates`."""

    @abc.abstractmethod
    def step_with_gates(self, params: Any, state: Any, projected: PyTree) -> tuple[Any, Any, Any]:
        """One step from what `project` gave: the new state, the output, and the gates as a tree of [*batch, H]."""

    def step(self, params: Any, state: Any, projected: PyTree) -> tuple[Any, Any]:
        """One step from what `project` gave: the new state and the output."""
        after, y, _ = self.step_with_gates(params, state, projected)
        return after, y

    def gates(self, params: Any, state: Any, projected: PyTree) -> Any:
        """The gates of that step."""
        return self.step_with_gates(params, state, projected)[2]

    @property
    def has_noise(self) -> bool:
        """Whether a key makes a difference to a run."""
        return False

    def draw_noise(self, params: Any, xs: Float[Array, "T B *in"], key: Key[Array, ""]) -> tuple[Any, Any, PyTree]:
        """What to run when the noise is on, see `lstmjax.types.NoisyCell`."""
        return self, params, xs

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, which can't take most of JAX's functions and initializers: their names, where they have one."""
        fields = {name: _NamedFunction.of(value) for name, value in vars(self).items()}
        return _from_fields, (type(self), fields)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: nothing in it changes, and a copied jitted function is unequal to its original."""
        return self


class _NamedFunction(NamedTuple):
    """Where a function is found: a module and its name there."""

    module: str
    name: str

    @classmethod
    def of(cls, value: Any) -> Any:
        if not callable(value):
            return value
        for module in (jax.nn, jnp, initializers, jax.nn.initializers):
            for name, known in vars(module).items():
                if known is value:
                    return cls(module.__name__, name)
        return value


def _from_fields(kind: type[FullCell], fields: dict[str, Any]) -> FullCell:
    def found(value: Any) -> Any:
        return getattr(sys.modules[value.module], value.name) if isinstance(value, _NamedFunction) else value

    return kind(**{name: found(value) for name, value in fields.items()})


# The same of any cell, for one that has the members of `Cell` alone too.


def input_shape(cell: Cell[Any, Any]) -> tuple[int, ...]:
    """The shape of one step's input: (I,), or (*spatial_shape, I) of a cell over a grid.

    >>> input_shape(lx.cells.LSTM(3, 5))
    (3,)
    """
    return (*getattr(cell, "spatial_shape", ()), cell.in_features)


def step_with_gates(cell: Cell[Any, Any], params: Any, state: Any, projected: PyTree) -> tuple[Any, Any, Any]:
    """`FullCell.step_with_gates`; the gates are () of a cell without."""
    if isinstance(cell, FullCell):
        return cell.step_with_gates(params, state, projected)
    gates = cell.gates(params, state, projected) if isinstance(cell, GatedCell) else ()
    return *cell.step(params, state, projected), gates


def has_noise(cell: Cell[Any, Any]) -> bool:
    """`FullCell.has_noise`."""
    return cell.has_noise if isinstance(cell, FullCell) else isinstance(cell, NoisyCell)


def draw_noise(
    cell: Cell[Any, Any], params: Any, xs: Float[Array, "T B *in"], key: Key[Array, ""]
) -> tuple[Cell[Any, Any], Any, PyTree]:
    """`FullCell.draw_noise`."""
    return cell.draw_noise(params, xs, key) if isinstance(cell, NoisyCell) else (cell, params, xs)
