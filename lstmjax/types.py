"""Types used everywhere: array aliases and the contract of a cell.

Dimension letters, the same everywhere: B batch, T time steps, I input features, H hidden features, L layers,
D embedding features, V vocabulary symbols.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

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
    "Lengths",
    "Mask",
    "NoisyCell",
    "PyTree",
]

PyTree = Any
Lengths = Int[Array, "B"] | None  # valid steps of each sequence; None where all are
Mask = Bool[Array, "B T"] | None  # True at valid steps; None where all are
Initializer = Callable[[Key[Array, ""], tuple[int, ...], DTypeLike], jax.Array]

Params = TypeVar("Params")
State = TypeVar("State")


class Cell(Protocol[Params, State]):
    """One step of a recurrent network, in two parts: all that `lstmjax.unroll` needs to run it over time.

    A cell is static: it is hashable, equal to a cell with the same settings, and holds no arrays, which are in `params`
    and `state`, trees of any kind. A frozen dataclass will do:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class LeakySum:  # s' = leak * s + x W,  y = s'
    ...     in_features: int
    ...     hidden_features: int
    ...     leak: float = 0.9
    ...
    ...     def init(self, key):
    ...         return {"w": jax.random.normal(key, (self.in_features, self.hidden_features))}
    ...
    ...     def initial_state(self, batch_shape):
    ...         return jnp.zeros((*batch_shape, self.hidden_features))
    ...
    ...     def project(self, params, x):
    ...         return x @ params["w"]
    ...
    ...     def step(self, params, state, projected):
    ...         s = self.leak * state + projected
    ...         return s, s
    >>> ys, state = lx.Recurrent(LeakySum(3, 5), rngs=nnx.Rngs(0))(jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4]))
    >>> ys.shape, state.shape
    ((2, 7, 5), (2, 5))

    A cell over a grid also has a `spatial_shape`, a tuple of sizes that stand before the features in its input.
    `GatedCell` and `NoisyCell` say what else a cell may have; `lstmjax.cells.base.BaseCell` has it for cells like ours.
    """

    def __hash__(self) -> int: ...

    @property
    def in_features(self) -> int:
        """I, the last size of a step's input."""

    @property
    def hidden_features(self) -> int:
        """H, the size of the hidden state."""

    def init(self, key: Key[Array, ""]) -> Params:
        """Fresh parameters: the same tree, shapes and dtypes for every key."""

    def initial_state(self, batch_shape: tuple[int, ...]) -> State:
        """The state of new sequences: leaves [*batch_shape, ...], in the dtypes that `step` gives them."""

    def project(self, params: Params, x: Float[Array, "*batch I"]) -> PyTree:
        """The part of a step that needs no state, such as `x W_x + b`: run once for the inputs of all steps.

        Args:
          x: inputs [*batch, I], or [*batch, *spatial_shape, I], with any number of axes in front.

        Returns:
          What `step` takes: a tree of arrays [*batch, ...]. Each row depends on its own row of `x` alone.
        """

    def step(self, params: Params, state: State, projected: PyTree) -> tuple[State, Float[Array, "*batch H"]]:
        """The rest of a step: the new state and the output.

        Args:
          state: leaves [*batch, ...], as `initial_state` or the step before gave them.
          projected: what `project` gave for this step.

        Returns:
          The new state, with the tree, shapes and dtypes of `state`, and the output [*batch, ...]: in this order, as
          `lax.scan` has it, while a layer's call gives outputs first. Each row depends on
          its own rows of `state` and `projected` alone: sequences in a batch do not see each other.
        """


@runtime_checkable
class GatedCell(Cell[Params, State], Protocol[Params, State]):
    """A cell whose gates `lstmjax.cells.Recording` can show."""

    def gates(self, params: Params, state: State, projected: PyTree) -> PyTree:
        """The gates of the step that `step` takes from the same arguments: a tree of arrays [*batch, ...]."""


@runtime_checkable
class NoisyCell(Cell[Params, State], Protocol[Params, State]):
    """A cell with noise in training. Running the cell itself is evaluation."""

    def draw_noise(
        self, params: Params, xs: Float[Array, "T B *in"], key: Key[Array, ""]
    ) -> tuple[Cell[Any, State], Any, PyTree]:
        """Draw the noise of a whole call: the cell, parameters and inputs [T, B, ...] to run in place of these."""
