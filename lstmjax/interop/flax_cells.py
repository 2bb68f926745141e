"""Weights from and to Flax's `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` and `SimpleCell`, of nnx and of linen."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.interop.layouts import LAYOUTS, Layout
from lstmjax.interop.reading import class_of, flat, guess, recurrent, settle, stacked
from lstmjax.interop.writing import entries_of, nested, only_cell
from lstmjax.layers import Recurrent, Stacked
from lstmjax.types import Array

Function = Callable[[Array], Array]
Style = Literal[
    "nnx.LSTMCell",
    "nnx.OptimizedLSTMCell",
    "nnx.GRUCell",
    "nnx.SimpleCell",
    "linen.LSTMCell",
    "linen.OptimizedLSTMCell",
    "linen.GRUCell",
    "linen.SimpleCell",
]


def from_flax(source: Any, *, gate_fn: Function | None = None, activation_fn: Function | None = None) -> Stacked:
    """A stack that computes what Flax cells do, one on another.

    The GRU of nnx has no second bias for its candidate; ours gets zeros there.

    Args:
      source: an nnx cell; or parameters as nested dicts of arrays, such as linen's `cell.init(...)["params"]` and
        `nnx.to_pure_dict(nnx.state(cell))` give; or a list of any of these, bottom first.
      gate_fn, activation_fn: an nnx cell knows its own, parameters don't, and None means `jax.nn.sigmoid` and
        `jnp.tanh`.

    Returns:
      `lx.Stacked` of `lx.Recurrent` layers over `lx.cells.LSTM`, `GRU` or `ElmanRNN`.

    Raises:
      TypeError: another kind of source or cell, an entry that is no floating array, entries of several dtypes,
        float64 while jax_enable_x64 is off.
      ValueError: an entry that is missing, not known or of another shape; a cell with `residual` or a `carry_init`; an
        argument that the cell contradicts.

    >>> layer = from_flax(nnx.LSTMCell(3, 5, rngs=nnx.Rngs(0)))
    >>> layer(jnp.ones((2, 7, 3)))[0].shape
    (2, 7, 5)
    """
    sources = source if isinstance(source, Sequence) else [source]
    return stacked([_from_cell(one, {"gate_fn": gate_fn, "activation_fn": activation_fn})] for one in sources)


def to_flax(layer: Any, style: Style) -> dict[str, Any]:
    """The parameters of the Flax cell that computes what `layer` does, as nested dicts of NumPy arrays.

    Those for nnx go in by `nnx.update(cell, parameters)`, those for linen are `{"params": parameters}`. The Flax cell
    must be made with our sizes, functions and `dtype`; these are no parameters. Its LSTMs and GRUs always have biases:
    a layer without any gives zeros.

    Args:
      layer: a layer of one LSTM, GRU (reset_after) or ElmanRNN cell; of a stack, each of its `.layers`.
      style: which cell, such as "nnx.LSTMCell" or "linen.GRUCell".

    Raises:
      TypeError: more than one cell, or one that the style has not.
      ValueError: another style, a learned initial state, or a `b_h` other than zero for "nnx.GRUCell", which has none.

    >>> parameters = to_flax(lx.GRU(3, 5, rngs=nnx.Rngs(0)), "nnx.GRUCell")
    >>> jax.tree.map(lambda array: array.shape, parameters)
    {'dense_h': {'kernel': (5, 15)}, 'dense_i': {'bias': (15,), 'kernel': (3, 15)}}
    """
    checks.one_of("style", style, get_args(Style))
    library, kind = style.split(".")
    return nested(entries_of(library, only_cell(layer), kind))


def _from_cell(source: Any, given: Mapping[str, Any]) -> Recurrent:
    if isinstance(source, Mapping):
        entries = flat(source)
        layout = guess(("nnx", "linen"), entries)
        return recurrent(layout, entries, str, _functions(layout, given, None))
    kind = class_of(source, "flax", LAYOUTS["nnx"]) if isinstance(source, nnx.Module) else None
    if kind is None:
        raise TypeError(
            f"source must be an nnx {', '.join(LAYOUTS['nnx'])} or a dict of parameters, got {type(source).__name__}"
        )
    for name in ("residual", "carry_init"):
        if getattr(source, name, None):
            raise ValueError(f"source must be a cell without {name}, for which ours has no place, got one with it")
    layout = LAYOUTS["nnx"][kind]
    options = _functions(layout, given, source)
    return recurrent(
        layout, flat(nnx.to_pure_dict(nnx.state(source, nnx.Param))), str, options | {"dtype": source.dtype}
    )


def _functions(layout: Layout, given: Mapping[str, Any], source: Any) -> dict[str, Any]:
    defaults: dict[str, Function] = {"gate_fn": jax.nn.sigmoid, "activation_fn": jnp.tanh}
    if len(layout.gates) == 1:
        if given["gate_fn"] is not None:
            raise ValueError("gate_fn is for gates, of which source has none, got one")
        del defaults["gate_fn"]
    return {name: settle(name, given[name], getattr(source, name, None), defaults[name]) for name in defaults}
