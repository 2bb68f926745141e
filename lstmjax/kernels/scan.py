"""The generic path: any cell, one `lax.scan`, every derivative JAX has."""

import dataclasses
from typing import TypeVar

from jax import lax

from lstmjax.kernels.backend import Backend, never
from lstmjax.masking import Steps, where_rows, zero_invalid
from lstmjax.types import Cell, PyTree

Params = TypeVar("Params")
State = TypeVar("State")


def run(
    cell: Cell[Params, State], params: Params, steps: Steps, state: State, initial: State, reverse: bool
) -> tuple[State, PyTree]:
    """The state after the last step, and the outputs, time first."""

    def step(state: State, inputs: Steps) -> tuple[State, PyTree]:
        valid = inputs.valid
        before = state if inputs.resets is None else where_rows(inputs.resets, initial, state)
        after, y = cell.step(params, zero_invalid(valid, before), inputs.xs)
        return after if valid is None else where_rows(valid, after, state), zero_invalid(valid, y)

    # Zeros for a NaN that no valid step reads: a select alone would let it into the gradient.
    projected = cell.project(params, zero_invalid(steps.valid, steps.xs))
    return lax.scan(step, state, dataclasses.replace(steps, xs=projected), reverse=reverse)


BACKEND = Backend("scan", never, never, run)
