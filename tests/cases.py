"""The enrolment tables: what stands here goes through every law."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import lstmjax as lx

IN, HIDDEN = 3, 4


@dataclasses.dataclass(frozen=True)
class Integrator:
    """A cell as unlike the LSTM as can be, to hold `unroll` to its word that any cell will do.

    Its state is a dict, its parameters one array, its projection a pair:  s' = s / 2 + x W,  y = s' * gate(x).
    """

    param_dtype: Any
    in_features: int = IN
    hidden_features: int = HIDDEN

    def init(self, key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (self.in_features, self.hidden_features), self.param_dtype)

    def initial_state(self, batch_shape: tuple[int, ...]) -> dict[str, jax.Array]:
        return {"sum": jnp.ones((*batch_shape, self.hidden_features), self.param_dtype)}

    def project(self, params: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x @ params, jax.nn.sigmoid(x[..., :1])

    def step(self, params: jax.Array, state: dict[str, jax.Array], z: Any) -> tuple[dict[str, jax.Array], jax.Array]:
        total = state["sum"] / 2 + z[0]
        return {"sum": total}, total * z[1]


CELLS: dict[str, Callable[[Any], Any]] = {
    "lstm": lambda dtype: lx.cells.LSTM(IN, HIDDEN, param_dtype=dtype),
    "integrator": Integrator,
}

every_cell = pytest.mark.parametrize("make_cell", CELLS.values(), ids=CELLS.keys())


def tolerance(dtype: Any) -> float:
    """A few hundred roundings of numbers near one."""
    return 300 * float(jnp.finfo(dtype).eps)
