"""Cells without gates: the Elman network and the independently recurrent network."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lstmjax.cells.base import BaseCell, HiddenState
from lstmjax.cells.masked import masked
from lstmjax.cells.precision import scale
from lstmjax.types import Array, Float, Initializer, Key


class ElmanParams(NamedTuple):
    """`w_x [I, H]`, `w_h [H, H]` (of IndRNN: [H]), `b [H]` (None without biases)."""

    w_x: Float[Array, "I H"]
    w_h: Float[Array, "..."]
    b: Float[Array, "H"] | None


@dataclasses.dataclass(frozen=True)
class ElmanRNN(BaseCell):
    """The plain recurrent network.

        h' = activation_fn(x W_x + b + h W_h)

    Args:
      activation_fn: `jnp.tanh`, `jax.nn.relu` or any other; other fields are those of `BaseCell`.

    Source: Elman 1990, "Finding Structure in Time".

    >>> cell = ElmanRNN(3, 5, activation_fn=jax.nn.relu)
    >>> ys, _ = lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((2, 4, 3)))
    >>> ys.shape, bool(jnp.all(ys >= 0))
    ((2, 4, 5), True)
    """

    activation_fn: Callable[[Array], Array] = dataclasses.field(default=jnp.tanh, kw_only=True)

    gate_order: ClassVar[str] = "h"

    def init(self, key: Key[Array, ""]) -> ElmanParams:
        return ElmanParams(*self._init_weights(key, (self.in_features,), (self.hidden_features,)))

    def gates(self, params: ElmanParams, state: HiddenState, z: Float[Array, "*batch H"]) -> tuple[()]:
        """None: this cell has no gates."""
        return ()

    def step(
        self, params: ElmanParams, state: HiddenState, z: Float[Array, "*batch H"]
    ) -> tuple[HiddenState, Float[Array, "*batch H"]]:
        """One step from a projected input `z`; the output is the new hidden state."""
        h = self.activation_fn(z + self.recur(params, state.h)).astype(self.compute_dtype)
        return HiddenState(h), h


def _uniform_0_1(key: Key[Array, ""], shape: tuple[int, ...], dtype: object) -> Array:
    return jax.random.uniform(key, shape, dtype)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class IndRNN(ElmanRNN):
    """Independently recurrent network: each unit sees its own past only.

        h' = relu(x W_x + b + w_h * h)

    Fields: those of `ElmanRNN`, with other defaults: relu, and each entry of `w_h [H]` uniform in [0, 1).

    Source: Li et al. 2018, "Independently Recurrent Neural Network (IndRNN)".

    >>> IndRNN(3, 5).init(jax.random.key(0)).w_h.shape
    (5,)
    """

    recurrent_init: Initializer = dataclasses.field(default=_uniform_0_1, kw_only=True)
    activation_fn: Callable[[Array], Array] = dataclasses.field(default=jax.nn.relu, kw_only=True)

    def init(self, key: Key[Array, ""]) -> ElmanParams:
        return ElmanParams(*self._init_weights(key, (self.in_features,), ()))

    def recur(self, params: Any, h: Float[Array, "*batch H"]) -> Float[Array, "*batch H"]:
        h, w_h = masked(h, params.w_h)
        return scale(h, w_h, self.compute_dtype)
