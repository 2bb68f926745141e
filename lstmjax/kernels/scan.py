"""The generic path: any cell, one `lax.scan`, every derivative JAX has."""

from typing import TypeVar

from jax import lax

from lstmjax.kernels.backend import Backend, never
from lstmjax.masking import Steps, where_rows, zeros
from lstmjax.types import Cell, PyTree

Params = TypeVar("Params")
State = TypeVar("State")


def run(
    cell: Cell[Params, State], params: Params, steps: Steps, state: State, initial: State, reverse: bool
) -> tuple[State, PyTree]:
    """The state after the last step, and the outputs, time first."""
    xs, valid, resets, _ = steps
    if valid is not None:  # a NaN that no valid step reads would come back through the gradient of the choice below
        xs = where_rows(valid, xs, zeros(xs))

    def step(state: State, inputs: PyTree) -> tuple[State, PyTree]:
        z, is_valid, is_reset = inputs
        before = state if is_reset is None else where_rows(is_reset, initial, state)
        if is_valid is None:
            return cell.step(params, before, z)
        after, y = cell.step(params, where_rows(is_valid, before, zeros(before)), z)
        return where_rows(is_valid, after, state), where_rows(is_valid, y, zeros(y))

    return lax.scan(step, state, (cell.project(params, xs), valid, resets), reverse=reverse)


BACKEND = Backend("scan", never, never, run)
