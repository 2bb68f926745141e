"""Cells without gates: the Elman network and the independently recurrent network."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lstmjax.cells.base import BaseCell, HiddenState
from lstmjax.cells.masked import recurrent_factors
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
      activation_fn: by default tanh. Other arguments: those of `LSTM` but for forget_bias and gate_fn.

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

    def step_with_gates(
        self, params: ElmanParams, state: HiddenState, projected: Float[Array, "*batch H"]
    ) -> tuple[HiddenState, Float[Array, "*batch H"], tuple[()]]:
        h = self.activation_fn(projected + self.recur(params, state.h)).astype(self.compute_dtype)
        return HiddenState(h), h, ()


@dataclasses.dataclass(frozen=True)
class IndRNN(ElmanRNN):
    """Independently recurrent network: each unit sees its own past only.

        h' = activation_fn(x W_x + b + w_h * h)

    Args:
      recurrent_init: draws `w_h [H]`; by default uniform in [0, 1).
      activation_fn: by default relu. Other arguments: those of `LSTM` but for forget_bias and gate_fn.

    Source: Li et al. 2018, "Independently Recurrent Neural Network (IndRNN)".

    >>> IndRNN(3, 5).init(jax.random.key(0)).w_h.shape
    (5,)
    """

    recurrent_init: Initializer = dataclasses.field(default=jax.nn.initializers.uniform(1.0), kw_only=True)
    activation_fn: Callable[[Array], Array] = dataclasses.field(default=jax.nn.relu, kw_only=True)

    def init(self, key: Key[Array, ""]) -> ElmanParams:
        return ElmanParams(*self._init_weights(key, (self.in_features,), ()))

    def step_with_gates(
        self, params: ElmanParams, state: HiddenState, projected: Float[Array, "*batch H"]
    ) -> tuple[HiddenState, Float[Array, "*batch H"], tuple[()]]:
        h, w_h = recurrent_factors(state.h, params.w_h)
        h = self.activation_fn(projected + scale(h, w_h, self.compute_dtype)).astype(self.compute_dtype)
        return HiddenState(h), h, ()
