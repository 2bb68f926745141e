"""`haiku.LSTM`, `GRU` and `VanillaRNN` under `haiku.dynamic_unroll`; several layers as `haiku.DeepRNN`."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.parity.measuring import (
    BATCH,
    HIDDEN,
    IN,
    STEPS,
    Form,
    Peer,
    Problem,
    Result,
    States,
    foreign,
    random_like,
    run_jax,
)
from lstmjax.interop import from_haiku
from lstmjax.interop.haiku_cores import core_entries
from lstmjax.interop.layouts import LAYOUTS

CELLS = ("LSTM", "GRU", "VanillaRNN")


def make(cell: str, form: Form, dtype: Any) -> Peer:
    hk: Any = importlib.import_module("haiku")

    def unroll(xs: Any, states: Any) -> Any:
        core = hk.DeepRNN([getattr(hk, cell)(HIDDEN, name=f"core{depth}") for depth in range(form.layers)])
        return hk.dynamic_unroll(core, xs, states, time_major=False)

    def their_states(states: States) -> Any:
        return tuple(hk.LSTMState(*one) if cell == "LSTM" else one[0] for (one,) in states)

    def apply(weights: list[list[Any]], xs: Any, states: States) -> tuple[Any, States]:
        params = {module: arrays for (one,) in weights for module, arrays in one.items()}
        ys, ends = model.apply(params, xs, their_states(states))
        return ys, [[tuple(end) if cell == "LSTM" else (end,)] for end in ends]

    def run(problem: Problem) -> Result:
        result = run_jax(apply, weights, form, problem)
        return result._replace(d_weights=[[core_entries(one)[1]] for (one,) in result.d_weights])

    model = hk.without_apply_rng(hk.transform(unroll))
    zeros = [[(jnp.zeros((BATCH, HIDDEN), dtype),) * (2 if cell == "LSTM" else 1)]] * form.layers
    with foreign():
        blank = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((BATCH, STEPS, IN), dtype), their_states(zeros))
    params = random_like(dict(blank), np.random.default_rng(0), dtype)
    weights = [[{name: params[name] for name in params if f"core{depth}" in name}] for depth in range(form.layers)]
    return Peer(from_haiku([one for (one,) in weights]), LAYOUTS["haiku"][cell], run)
