"""The arguments of a layer's run as trees of arrays, and the run that all derivatives can be taken of."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp

from lstmjax.cells.masked import MaskedWeight
from lstmjax.kernels import scan
from lstmjax.masking import Steps
from lstmjax.types import Array, Cell, Float


class Arguments(NamedTuple):
    """A run's arguments.

    `h_mask` [B, H] multiplies the state before W_h, as recurrent dropout does. `initial` is the state that a reset goes
    back to, None where nothing is reset: JAX differentiates no linear system with an argument that is not used.
    """

    params: Any
    h_mask: Float[Array, "B H"] | None
    steps: Steps
    state: Any
    initial: Any

    def gradients(self, params: Any, xs: Float[Array, "T B I"], state: Any, initial: Any) -> Self:
        """These gradients in the dtypes of the arguments; the mask is drawn from a key, where gradients end."""
        h_mask = None if self.h_mask is None else jnp.zeros_like(self.h_mask)
        wide = type(self)(params, h_mask, dataclasses.replace(self.steps, xs=xs), state, initial)
        cast: Self = jax.tree.map(lambda gradient, leaf: gradient.astype(leaf.dtype), wide, self)
        return cast


def arguments_of(params: Any, steps: Steps, state: Any, initial: Any) -> Arguments:
    """With a plain `w_h` in the parameters, and the mask of a masked one beside them."""
    w_h, h_mask = params.w_h, None
    if isinstance(w_h, MaskedWeight):
        w_h, h_mask = w_h
    return Arguments(params._replace(w_h=w_h), h_mask, steps, state, None if steps.resets is None else initial)


def by_scan(cell: Cell[Any, Any], reverse: bool) -> Callable[[Arguments], tuple[Any, Any]]:
    """The run by `scan`, of which JAX has every derivative."""

    def run(arguments: Arguments) -> tuple[Any, Any]:
        params, h_mask, steps, state, initial = arguments
        params = params if h_mask is None else params._replace(w_h=MaskedWeight(params.w_h, h_mask))
        return scan.run(cell, params, steps, state, initial, reverse)

    return run
