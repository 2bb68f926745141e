"""Haiku: `hk.dynamic_unroll` over its cores, time-major; back in time, over flipped inputs. It has no lengths."""

import importlib
from typing import Any

import jax.numpy as jnp

from experiments.peers.common import JaxLayers, States, Weights


def layers(kind: str, hidden: int, weights: Weights) -> JaxLayers:
    hk: Any = importlib.import_module("haiku")

    def one_way(depth: int, way: int, xs: Any, state: tuple[Any, ...]) -> tuple[Any, Any]:
        core = getattr(hk, kind)(hidden, name=_name(depth, way))
        begin = hk.LSTMState(*state) if kind == "LSTM" else state[0]
        ys, end = hk.dynamic_unroll(core, jnp.flip(xs, 0) if way else xs, begin)
        return jnp.flip(ys, 0) if way else ys, tuple(end) if kind == "LSTM" else (end,)

    def unroll(xs: Any, states: States) -> tuple[Any, States]:
        ends: States = []
        for depth, both in enumerate(states):
            runs = [one_way(depth, way, xs, state) for way, state in enumerate(both)]
            xs = jnp.concatenate([ys for ys, _ in runs], axis=-1)
            ends.append([end for _, end in runs])
        return xs, ends

    def once(x: Any, state: Any) -> Any:
        return getattr(hk, kind)(hidden, name=_name(0, 0))(x, hk.LSTMState(*state))

    def apply(weights: Weights, xs: Any, states: States, _: None) -> tuple[Any, States]:
        ys, ends = model.apply(_params(weights), xs, states)
        return ys, ends

    def step(weights: Weights, state: Any, x: Any) -> tuple[Any, Any]:
        y, state = cell.apply(_params(weights), x, state)
        return tuple(state), y

    model, cell = (hk.without_apply_rng(hk.transform(function)) for function in (unroll, once))
    cores = [_params([[one]]) for both in weights for one in both]
    return JaxLayers(apply, cores, time_major=True, step=step)


def _name(depth: int, way: int) -> str:
    return f"layer{depth}_way{way}"


def _params(weights: Weights) -> dict[str, dict[str, Any]]:
    """Arrays by module and name: "linear.w" is "w" of the core's module "linear"."""
    params: dict[str, dict[str, Any]] = {}
    for depth, both in enumerate(weights):
        for way, entries in enumerate(both):
            for name, array in entries.items():
                *module, last = name.split(".")
                params.setdefault("/".join([_name(depth, way), *module]), {})[last] = jnp.asarray(array)
    return params
