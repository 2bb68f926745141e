"""Noise that ought to be independent is drawn from keys of its own."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lstmjax as lx


class TwoMemories(NamedTuple):
    h: Any
    c: Any
    m: Any


@dataclasses.dataclass(frozen=True)
class Remembering(lx.cells.LSTM):
    """An LSTM that also hands on a memory of its memory."""

    def initial_state(self, batch_shape):
        h, c = super().initial_state(batch_shape)
        return TwoMemories(h, c, c)

    def step(self, params, state, z):
        after, y = super().step(params, lx.LSTMState(state.h, state.c), z)
        return TwoMemories(after.h, after.c, state.m + after.c), y


def test_zoneout_draws_what_each_leaf_keeps_on_its_own():
    cell = lx.regularizers.Zoneout(Remembering(3, 8), 0.5, 0.5)
    params = cell.init(jax.random.key(0))
    _, _, (_, keep) = cell.noisy(params, jnp.ones((6, 4, 3)), jax.random.key(1))
    for one, other in ((keep.h, keep.c), (keep.h, keep.m), (keep.c, keep.m)):
        assert 0.25 < np.mean(one == other) < 0.75
