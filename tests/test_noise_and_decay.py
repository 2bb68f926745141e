"""Noise that ought to be independent is drawn from keys of its own; weight decay finds the weights."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import lstmjax as lx
from lstmjax.trees import split_model, to_table


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
    _, _, (_, keep) = cell.draw_noise(params, jnp.ones((6, 4, 3)), jax.random.key(1))
    for one, other in ((keep.h, keep.c), (keep.h, keep.m), (keep.c, keep.m)):
        assert 0.25 < np.mean(one == other) < 0.75


class Tagger(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(5, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.recurrent = lx.LSTM(3, 4, initial_state="learned", bidirectional=True, rngs=rngs)
        self.head = nnx.Linear(8, 2, rngs=rngs)
        self.transitions = nnx.Param(jnp.zeros((2, 2)))


def test_weight_decay_takes_the_weights_of_a_whole_model_and_nothing_else():
    mask = to_table(lx.regularizers.weight_decay_mask(split_model(Tagger(nnx.Rngs(0)))[1]))
    weights = [f"recurrent.layers.0.{way}.weights.{name}" for way in ("backward", "forward") for name in ("w_h", "w_x")]
    assert sorted(name for name, decays in mask.items() if decays) == ["head.kernel", *weights]
    assert {"embed.embedding", "norm.scale", "transitions", "recurrent.layers.0.forward.initial.h"} < mask.keys()
