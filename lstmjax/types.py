"""Names that every room shares: array aliases and the contract a cell fulfils.

Dimension letters, the same everywhere: B batch, T time steps, I input features, H hidden features, L layers,
D embedding features, V vocabulary symbols.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import jax
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key

__all__ = [
    "Array",
    "ArrayLike",
    "Bool",
    "Cell",
    "DTypeLike",
    "Float",
    "GatedCell",
    "Initializer",
    "Int",
    "Key",
    "NoisyCell",
    "PyTree",
]

PyTree = Any
Initializer = Callable[[Key[Array, ""], tuple[int, ...], DTypeLike], jax.Array]

Params = TypeVar("Params")
State = TypeVar("State")


class Cell(Protocol[Params, State]):
    """What `lstmjax.unroll` needs of a cell: sizes, fresh parameters, a fresh state, and one step in two parts.

    `project` is the part that needs no state, so it runs for all steps at once; `step` is the rest. A cell is static
    and hashable: arrays live in `params` and `state`, never in the cell. One over a grid also says its
    `spatial_shape`, which stands before the features in its input.
    """

    def __hash__(self) -> int: ...

    @property
    def in_features(self) -> int: ...

    @property
    def hidden_features(self) -> int: ...

    def init(self, key: Key[Array, ""]) -> Params: ...

    def initial_state(self, batch_shape: tuple[int, ...]) -> State: ...

    def project(self, params: Params, x: Float[Array, "*batch I"]) -> PyTree: ...

    def step(self, params: Params, state: State, z: PyTree) -> tuple[State, Float[Array, "*batch H"]]: ...


class GatedCell(Cell[Params, State], Protocol[Params, State]):
    """A cell one can look into: what its gates let through at a step, as a tree of [*batch, H]."""

    def gates(self, params: Params, state: State, z: PyTree) -> PyTree: ...


class NoisyCell(Cell[Params, State], Protocol[Params, State]):
    """A cell with noise in training: `draw_noise` draws it for a whole call, before any step is run.

    It gives a cell, parameters and inputs [T, B, ...] to run in place of these. Running the cell itself is evaluation.
    """

    def draw_noise(
        self, params: Params, xs: Float[Array, "T B *in"], key: Key[Array, ""]
    ) -> tuple[Cell[Any, State], Any, PyTree]: ...
