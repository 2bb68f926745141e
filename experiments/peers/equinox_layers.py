"""`equinox.nn.LSTMCell` and `GRUCell`, scanned as Equinox's documentation does: one layer, one direction."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.peers.common import JaxLayers, States, Weights


def layers(kind: str, hidden: int, weights: Weights) -> JaxLayers:
    import equinox as eqx

    [[entries]] = weights
    features, dtype = entries["weight_ih"].shape[1], entries["weight_ih"].dtype
    blank = getattr(eqx.nn, kind)(features, hidden, dtype=dtype, key=jax.random.key(0))

    def filled(entries: dict[str, Any]) -> Any:
        arrays = [jnp.asarray(array) for array in entries.values()]
        return eqx.tree_at(lambda cell: [getattr(cell, name) for name in entries], blank, arrays)

    def apply(weights: Weights, xs: Any, states: States, _: None) -> tuple[Any, States]:
        cell = filled(weights[0][0])

        def step(state: Any, x: Any) -> tuple[Any, Any]:
            state = jax.vmap(cell)(x, state)
            return state, state[0] if isinstance(state, tuple) else state

        begin = states[0][0]
        end, ys = jax.lax.scan(step, begin if len(begin) == 2 else begin[0], xs)
        return ys, [[end if isinstance(end, tuple) else (end,)]]

    return JaxLayers(apply, filled(entries), time_major=True)
