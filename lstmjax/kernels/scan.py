"""The generic path: any cell, one `lax.scan`, every derivative JAX has."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax.steps import Steps, choose
from lstmjax.types import Cell, PyTree

Params = TypeVar("Params")
State = TypeVar("State")


def run(
    cell: Cell[Params, State], params: Params, steps: Steps, state: State, initial: State, reverse: bool
) -> tuple[State, PyTree]:
    """The state after the last step, and the outputs, time first."""
    xs, valid, resets = steps
    if valid is not None:  # a NaN in the padding would otherwise come back through the gradient of `where`
        xs = choose(valid, xs, jax.tree.map(jnp.zeros_like, xs))

    def step(state: State, inputs: PyTree) -> tuple[State, PyTree]:
        z, is_valid, is_reset = inputs
        before = state if is_reset is None else choose(is_reset, initial, state)
        after, y = cell.step(params, before, z)
        if is_valid is None:
            return after, y
        return choose(is_valid, after, state), choose(is_valid, y, jax.tree.map(jnp.zeros_like, y))

    return lax.scan(step, state, (cell.project(params, xs), valid, resets), reverse=reverse)
