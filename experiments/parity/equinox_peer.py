"""`equinox.nn.LSTMCell` and `GRUCell`, scanned as their documentation does."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.parity.measuring import HIDDEN, IN, Form, Peer, Problem, Result, States, foreign, run_jax
from lstmjax.interop import from_equinox
from lstmjax.interop.layouts import LAYOUTS

CELLS = ("LSTMCell", "GRUCell")


def make(cell: str, form: Form, dtype: Any) -> Peer:
    eqx: Any = importlib.import_module("equinox")
    with foreign():
        blank = getattr(eqx.nn, cell)(IN, HIDDEN, dtype=dtype, key=jax.random.key(0))
    layout = LAYOUTS["equinox"][cell]
    weights = [[{name: np.asarray(getattr(blank, name)) for name in layout.names}]]

    def apply(weights: list[list[dict[str, Any]]], xs: Any, states: States) -> tuple[Any, States]:
        filled = eqx.tree_at(
            lambda c: [getattr(c, name) for name in layout.names], blank, [weights[0][0][name] for name in layout.names]
        )

        def step(state: Any, x: Any) -> tuple[Any, Any]:
            state = jax.vmap(filled)(x, state)
            return state, state[0] if isinstance(state, tuple) else state

        begin = states[0][0] if len(states[0][0]) == 2 else states[0][0][0]
        end, ys = jax.lax.scan(step, begin, jnp.swapaxes(xs, 0, 1))
        return jnp.swapaxes(ys, 0, 1), [[end if isinstance(end, tuple) else (end,)]]

    def run(problem: Problem) -> Result:
        return run_jax(apply, weights, form, problem)

    return Peer(from_equinox(blank), layout, run)
