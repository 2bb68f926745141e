"""Flax's cells under `nnx.RNN` and `nnx.Bidirectional`, batch-major as they are by default; and linen's.

Their `seq_lengths` choose the final carry and turn reversed sequences; every step of the padding is computed.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from flax.traverse_util import unflatten_dict

from experiments.peers.common import JaxLayers, States, Weights


def nnx_layers(kind: str, hidden: int, weights: Weights) -> JaxLayers:
    cells = [[_nnx_cell(kind, hidden, one) for one in both] for both in weights]
    graphdefs = [nnx.split(both[0])[0] for both in cells]

    def apply(weights: Weights, xs: Any, states: States, lengths: Any) -> tuple[Any, States]:
        ends: States = []
        for graphdef, both, state in zip(graphdefs, weights, states, strict=True):
            rnns = [nnx.RNN(nnx.merge(graphdef, _nested(one)), return_carry=True, rngs=False) for one in both]
            layer: Any = nnx.Bidirectional(*rnns, return_carry=True, rngs=False) if len(both) == 2 else rnns[0]
            carry, xs = layer(xs, initial_carry=_carry(state), seq_lengths=lengths)
            ends.append(_state(carry, len(both)))
        return xs, ends

    def step(weights: Weights, state: Any, x: Any) -> tuple[Any, Any]:
        cell: Any = nnx.merge(graphdefs[0], _nested(weights[0][0]))
        carry, y = cell(_carry([state]), x)
        return _state(carry, 1)[0], y

    return JaxLayers(apply, cells, step=step)


def _nnx_cell(kind: str, hidden: int, entries: dict[str, Any]) -> Any:
    """A cell with these weights: a module."""
    kernel = next(iter(entries.values()))
    dtypes = {"dtype": kernel.dtype, "param_dtype": kernel.dtype}
    cell = getattr(nnx, kind)(kernel.shape[0], hidden, **dtypes, rngs=nnx.Rngs(0))
    nnx.update(cell, _nested(entries))
    return cell


def linen_layers(kind: str, hidden: int, weights: Weights) -> JaxLayers:
    dtype = next(iter(weights[0][0].values())).dtype

    def rnn() -> Any:
        return nn.RNN(getattr(nn, kind)(hidden, param_dtype=dtype), return_carry=True)

    def apply(weights: Weights, xs: Any, states: States, lengths: Any) -> tuple[Any, States]:
        ends: States = []
        for both, state in zip(weights, states, strict=True):
            cells = [{"cell": _nested(one)} for one in both]
            layer, params = rnn(), cells[0]
            if len(both) == 2:
                layer = nn.Bidirectional(rnn(), rnn(), return_carry=True)
                params = dict(zip(("forward_rnn", "backward_rnn"), cells, strict=True))
            carry, xs = layer.apply({"params": params}, xs, initial_carry=_carry(state), seq_lengths=lengths)
            ends.append(_state(carry, len(both)))
        return xs, ends

    return JaxLayers(apply, [[_nested(one) for one in both] for both in weights])


def _nested(entries: dict[str, Any]) -> Any:
    return unflatten_dict(jax.tree.map(jnp.asarray, entries), sep=".")  # type: ignore[no-untyped-call]


def _carry(state: list[tuple[Any, ...]]) -> Any:
    """Flax hands on (c, h), or h alone."""
    carries = [(*reversed(one),) if len(one) == 2 else one[0] for one in state]
    return tuple(carries) if len(carries) == 2 else carries[0]


def _state(carry: Any, directions: int) -> list[tuple[Any, ...]]:
    carries = carry if directions == 2 else [carry]
    return [(*reversed(one),) if isinstance(one, tuple) else (one,) for one in carries]
