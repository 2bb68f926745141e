"""Shapes of a cell's output and parameters, found without computing anything."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lstmjax.cells.full_cell import input_shape
from lstmjax.types import Array, Cell, PyTree


@functools.cache
def output_shape(cell: Cell[Any, Any]) -> tuple[int, ...]:
    """The shape of one step's output.

    Raises:
      TypeError: the output is no array but a tree of them, as a recording cell's is.

    >>> output_shape(lx.cells.ProjectedLSTM(3, 5, proj_features=2))
    (2,)
    """

    def first(key: Array) -> PyTree:
        state = cell.initial_state(())
        x = jnp.zeros(input_shape(cell), jax.tree.leaves(state)[0].dtype)
        params = cell.init(key)
        return cell.step(params, state, cell.project(params, x))[1]

    y = jax.eval_shape(first, jax.random.key(0))
    if not hasattr(y, "shape"):
        raise TypeError(
            f"cell must give one array at each step here (Recording goes outermost), got {type(y).__name__}"
        )
    return tuple(y.shape)


@functools.cache  # tracing `init` costs milliseconds, most of a small call outside jit
def expected_params(cell: Cell[Any, Any], default_float: jnp.dtype) -> PyTree:
    """Shapes and dtypes of the cell's parameters; the default float (float64 or not) is there for the cache alone."""
    return jax.eval_shape(cell.init, jax.random.key(0))
