"""How weights and states are handed to other libraries' layers, and our gradients laid out as theirs."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lstmjax.interop.layouts import Arrays, Layout, arrange, write

Weights = list[list[dict[str, Any]]]
"""For each layer, bottom first, and each direction, forward first: arrays by the names in `interop.layouts`."""

States = list[list[tuple[Any, ...]]]
"""For each layer and each direction, (h, c) or (h,)."""


class JaxLayers(NamedTuple):
    """Layers of a library on JAX, one on another, as a function of their weights.

    Args:
      apply: `(weights, xs, states, valid) -> (ys, final states)`; `valid` is None or lengths [B], which Haiku and
        Equinox do not have; Keras takes a mask [B, T] too.
      source: what `lstmjax.interop` reads.
      time_major: whether xs and ys are [T, B, ...]; else [B, T, ...].
      step: `(weights, state, x [B, I]) -> (state, y)`, the first layer's cell alone.
    """

    apply: Callable[[Weights, Any, States, Any], tuple[Any, States]]
    source: Any
    time_major: bool = False
    step: Any = None

    def in_order(self, array: Any) -> Any:
        """An array [T, B, ...] with its axes as xs and ys have them, or such an array turned back."""
        return array if self.time_major else array.swapaxes(0, 1)


def entries_of(layout: Layout, parts: Mapping[str, np.ndarray]) -> Arrays:
    """An LSTM's arrays in a library's layout, a second bias zero."""
    zeros = {"b_2": np.zeros_like(parts["b"])}
    return write(layout, {part: array for part, array in {**parts, **zeros}.items() if part in layout.parts})


def gradients_in(layout: Layout, parts: Mapping[str, Any]) -> Arrays:
    """Our gradients in a library's layout: two biases that are added up each get the gradient of the sum."""
    own = {name: np.asarray(array) for name, array in parts.items() if array is not None}
    b_h = own.pop("b_h", None)
    if b_h is None:
        own["b_2"] = own["b"]
    else:
        own |= {"b_2": np.concatenate([own["b"][: -b_h.size], b_h]), "b_n": b_h}
    return arrange(layout, {part: array for part, array in own.items() if part in layout.parts})


@contextlib.contextmanager
def foreign() -> Iterator[None]:
    """Others' code may promote, broadcast and warn as it likes."""
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        warnings.catch_warnings(action="ignore"),
    ):
        yield
