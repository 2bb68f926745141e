"""Weights from and to `equinox.nn.LSTMCell` and `GRUCell`. Equinox itself is needed for `to_equinox` alone."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp

from lstmjax.interop.layouts import LAYOUTS
from lstmjax.interop.reading import class_of, guess, recurrent, stacked
from lstmjax.interop.writing import entries_of, imported, only_cell, style_for
from lstmjax.layers import Recurrent, Stacked

_NAMES = ("weight_ih", "weight_hh", "bias", "bias_n")


def from_equinox(source: Any) -> Stacked:
    """A stack that computes what Equinox cells do, one on another.

    Args:
      source: an `LSTMCell` or `GRUCell`; or a dict of arrays under the names of its fields; or a list of these,
        bottom first.

    Returns:
      `lx.Stacked` of `lx.Recurrent` layers over `lx.cells.LSTM` or `GRU`.

    Raises:
      TypeError: another kind of source, an entry that is no floating array, entries of several dtypes, float64 while
        jax_enable_x64 is off.
      ValueError: an entry that is missing, not known or of another shape.

    >>> layer = from_equinox({"weight_ih": jnp.ones((20, 3)), "weight_hh": jnp.ones((20, 5))})
    >>> layer(jnp.ones((2, 7, 3)))[0].shape
    (2, 7, 5)
    """
    sources = source if isinstance(source, Sequence) else [source]
    return stacked([_from_cell(one)] for one in sources)


def to_equinox(layer: Any) -> Any:
    """An Equinox cell that computes what `layer` does.

    Args:
      layer: a layer of one LSTM or GRU (reset_after) cell; of a stack, each of its `.layers`.

    Returns:
      An `equinox.nn.LSTMCell` or `GRUCell`.

    Raises:
      ImportError: equinox is not installed.
      TypeError: more than one cell, or one that Equinox has not.
      ValueError: other functions than Equinox has, or a learned initial state.

    >>> cell = to_equinox(lx.LSTM(3, 5, rngs=nnx.Rngs(0)))  # doctest: +SKIP
    >>> h, c = cell(jnp.ones(3), (jnp.zeros(5), jnp.zeros(5)))  # doctest: +SKIP
    """
    equinox = imported("equinox", "to_equinox", "state_dict")
    ours = only_cell(layer)
    entries = {name: jnp.array(array) for name, array in entries_of("equinox", ours).items()}
    kind, config = style_for("equinox", ours.cell), cast(Any, ours.cell)
    sizes = config.in_features, config.hidden_features
    blank = getattr(equinox.nn, kind)(*sizes, config.use_bias, config.param_dtype, key=jax.random.key(0))
    return equinox.tree_at(lambda cell: [getattr(cell, name) for name in entries], blank, list(entries.values()))


def _from_cell(source: Any) -> Recurrent:
    if isinstance(source, Mapping):
        return recurrent(guess(["equinox"], source), source)
    kind = class_of(source, "equinox", LAYOUTS["equinox"])
    if kind is None:
        raise TypeError(f"source must be an equinox LSTMCell or GRUCell or a dict, got {type(source).__name__}")
    fields = {name: getattr(source, name, None) for name in _NAMES}
    return recurrent(LAYOUTS["equinox"][kind], {name: array for name, array in fields.items() if array is not None})
