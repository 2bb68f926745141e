"""How each library lays out a cell's weights: one table, and the functions that read and write by it.

A *part* is one array of ours with its gates in our order; an *entry* is one array of theirs under its own name.

    part   shape        what it is
    w_x    [I, GH]      weights of the input
    w_h    [R, GH]      weights of the state; R is H, or P of a projected LSTM
    w      [I + R, GH]  both, one above the other
    w_p    [H, P]       the projection
    b      [GH]         a bias of all gates
    b_2    [GH]         a second one, added to the state's share
    bb     [2, GH]      both, one above the other
    b_n    [H]          a second one, of a GRU's candidate alone
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import cells
from lstmjax.types import Array

Arrays = dict[str, np.ndarray]
Function = Callable[[Array], Array]

OUR_GATES = {4: "ifgo", 3: "rzn", 1: "h"}
GATED = ("w_x", "w_h", "b", "b_2")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a library keeps what.

    Args:
      cell: our cell with the same equations.
      gates: the library's order of gates, in our letters.
      places: from each part to the entry that holds it, or to one entry a gate.
      transposed: matrices are [outputs, inputs].
      optional: groups of entries that may be absent, all of a group at once.
      reset_after: of a GRU, where its reset gate acts.
      negated: gates that let through what ours keep back: 1 - sigmoid(a) is sigmoid(-a), so weights change sign.
      plus_one: gates to whose bias the library adds 1 at run time.
      gate_fns, activation_fns: what the library can put there; None means anything.
    """

    cell: type[Any]
    gates: str
    places: Mapping[str, tuple[str, ...]]
    transposed: bool = False
    optional: tuple[tuple[str, ...], ...] = ()
    reset_after: bool | None = None
    negated: str = ""
    plus_one: str = ""
    gate_fns: tuple[Function, ...] | None = (jax.nn.sigmoid,)
    activation_fns: tuple[Function, ...] | None = (jnp.tanh,)

    @property
    def names(self) -> list[str]:
        return [name for names in self.places.values() for name in names]

    @property
    def parts(self) -> set[str]:
        """The parts there are once stacked ones are taken apart."""
        apart = {"w": ("w_x", "w_h"), "bb": ("b", "b_2")}
        return {part for place in self.places for part in apart.get(place, (place,))}

    @property
    def needs_bias(self) -> bool:
        name = next(names[0] for part, names in self.places.items() if part in ("b", "bb"))
        return not any(name in group for group in self.optional)

    def holds(self, cell: Any) -> bool:
        return type(cell) is self.cell and getattr(cell, "reset_after", None) == self.reset_after

    def shapes(self, i: int, h: int, r: int) -> dict[str, tuple[int, ...]]:
        """The shape of each entry."""
        width = len(self.gates) * h
        whole = {
            "w_x": (i, width),
            "w_h": (r, width),
            "w": (i + r, width),
            "w_p": (h, r),
            "b": (width,),
            "b_2": (width,),
            "bb": (2, width),
            "b_n": (h,),
        }
        pieces = {part: (*whole[part][:-1], whole[part][-1] // len(names)) for part, names in self.places.items()}
        return {name: self.turn(part, pieces[part]) for part, names in self.places.items() for name in names}

    def turn(self, part: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[::-1] if self.transposed and part.startswith("w") else shape


def read(layout: Layout, entries: Mapping[str, np.ndarray]) -> Arrays:
    """The parts, gates in our order, that a library's entries hold."""
    present = {part: names for part, names in layout.places.items() if names[0] in entries}
    parts = {part: np.concatenate([entries[name] for name in names], axis=-1) for part, names in present.items()}
    parts = _reordered(layout, _take_apart(layout, _turned(layout, parts)), OUR_GATES[len(layout.gates)], layout.gates)
    return _shifted(layout, parts, 1)


def write(layout: Layout, parts: Arrays) -> Arrays:
    """The library's entries, from our parts: the inverse of `read`."""
    return arrange(layout, _shifted(layout, parts, -1))


def arrange(layout: Layout, parts: Arrays) -> Arrays:
    """The linear part of `write`: gates in order, stacked, turned, named. Gradients go through it as weights do."""
    parts = _reordered(layout, parts, layout.gates, OUR_GATES[len(layout.gates)])
    parts = _turned(layout, _put_together(layout, parts))
    entries: Arrays = {}
    for part, names in layout.places.items():
        if part in parts:
            entries |= dict(zip(names, np.split(parts[part], len(names), axis=-1), strict=True))
    return {name: np.ascontiguousarray(array) for name, array in entries.items()}


def _turned(layout: Layout, parts: Arrays) -> Arrays:
    return {part: array.T if layout.turn(part, (0, 1)) == (1, 0) else array for part, array in parts.items()}


def _take_apart(layout: Layout, parts: Arrays) -> Arrays:
    parts = dict(parts)
    if "w" in parts:
        w = parts.pop("w")
        hidden = w.shape[-1] // len(layout.gates)
        parts |= {"w_x": w[:-hidden], "w_h": w[-hidden:]}
    if "bb" in parts:
        parts["b"], parts["b_2"] = parts.pop("bb")
    return parts


def _put_together(layout: Layout, parts: Arrays) -> Arrays:
    parts = dict(parts)
    if "w" in layout.places:
        parts["w"] = np.concatenate([parts.pop("w_x"), parts.pop("w_h")])
    if "bb" in layout.places and "b" in parts:
        parts["bb"] = np.stack([parts.pop("b"), parts.pop("b_2")])
    return parts


def _reordered(layout: Layout, parts: Arrays, to: str, order: str) -> Arrays:
    def reorder(array: np.ndarray) -> np.ndarray:
        blocks = dict(zip(order, np.split(array, len(order), axis=-1), strict=True))
        return np.concatenate([-blocks[gate] if gate in layout.negated else blocks[gate] for gate in to], axis=-1)

    return {part: reorder(array) if part in GATED else array for part, array in parts.items()}


def _shifted(layout: Layout, parts: Arrays, by: int) -> Arrays:
    """Biases with what the library adds at run time put in (1) or taken out (-1); gates in our order."""
    if not layout.plus_one or "b" not in parts:
        return parts
    b = parts["b"]
    hidden = b.shape[-1] // len(layout.gates)
    start = OUR_GATES[len(layout.gates)].index(layout.plus_one) * hidden
    shifted = b[start : start + hidden] + b.dtype.type(by)
    return parts | {"b": np.concatenate([b[:start], shifted, b[start + hidden :]])}


def _each(form: str, gates: str) -> tuple[str, ...]:
    return tuple(form.format(gate) for gate in gates)


# PyTorch calls its arrays weight_ih_l0, weight_ih_l0_reverse, ...; here they stand without the end.
_TORCH = {"w_x": ("weight_ih",), "w_h": ("weight_hh",), "b": ("bias_ih",), "b_2": ("bias_hh",)}
_TORCH_BIASES = (("bias_ih", "bias_hh"),)
_KERAS = {"w_x": ("kernel",), "w_h": ("recurrent_kernel",)}
_EQUINOX = {"w_x": ("weight_ih",), "w_h": ("weight_hh",), "b": ("bias",)}
_NNX = {"w_x": ("dense_i.kernel",), "w_h": ("dense_h.kernel",)}
_LSTM, _PROJECTED, _GRU, _ELMAN = cells.LSTM, cells.ProjectedLSTM, cells.GRU, cells.ElmanRNN

_LINEN_LSTM = Layout(
    _LSTM,
    "ifgo",
    {"w_x": _each("i{}.kernel", "ifgo"), "w_h": _each("h{}.kernel", "ifgo"), "b": _each("h{}.bias", "ifgo")},
    gate_fns=None,
    activation_fns=None,
)
_LINEN_GRU = {
    "w_x": _each("i{}.kernel", "rzn"),
    "w_h": _each("h{}.kernel", "rzn"),
    "b": _each("i{}.bias", "rzn"),
    "b_n": ("hn.bias",),
}
_NNX_LSTM = {**_LINEN_LSTM.places, "w_x": ("ii.kernel", "if_.kernel", "ig.kernel", "io.kernel")}

LAYOUTS: dict[str, dict[str, Layout]] = {
    "torch": {
        "LSTM": Layout(_LSTM, "ifgo", _TORCH, True, _TORCH_BIASES),
        "LSTM with proj_size": Layout(_PROJECTED, "ifgo", _TORCH | {"w_p": ("weight_hr",)}, True, _TORCH_BIASES),
        "GRU": Layout(_GRU, "rzn", _TORCH, True, _TORCH_BIASES, reset_after=True),
        "RNN": Layout(_ELMAN, "h", _TORCH, True, _TORCH_BIASES, activation_fns=(jnp.tanh, jax.nn.relu)),
    },
    "keras": {
        name: dataclasses.replace(layout, optional=(("bias",),), gate_fns=None, activation_fns=None)
        for name, layout in {
            "LSTM": Layout(_LSTM, "ifgo", _KERAS | {"b": ("bias",)}),
            "GRU": Layout(_GRU, "zrn", _KERAS | {"bb": ("bias",)}, reset_after=True),
            "GRU(reset_after=False)": Layout(_GRU, "zrn", _KERAS | {"b": ("bias",)}, reset_after=False),
            "SimpleRNN": Layout(_ELMAN, "h", _KERAS | {"b": ("bias",)}),
        }.items()
    },
    "nnx": {
        name: dataclasses.replace(layout, gate_fns=None, activation_fns=None)
        for name, layout in {
            "LSTMCell": Layout(_LSTM, "ifgo", _NNX_LSTM),
            "OptimizedLSTMCell": Layout(_LSTM, "ifgo", _NNX | {"b": ("dense_h.bias",)}),
            "GRUCell": Layout(_GRU, "rzn", _NNX | {"b": ("dense_i.bias",)}, reset_after=True),
            "SimpleCell": Layout(_ELMAN, "h", _NNX | {"b": ("dense_i.bias",)}),
        }.items()
    },
    "linen": {
        "LSTMCell": _LINEN_LSTM,
        "OptimizedLSTMCell": _LINEN_LSTM,
        "GRUCell": Layout(_GRU, "rzn", _LINEN_GRU, reset_after=True, gate_fns=None, activation_fns=None),
        "SimpleCell": Layout(
            _ELMAN, "h", {"w_x": ("i.kernel",), "w_h": ("h.kernel",), "b": ("i.bias",)}, activation_fns=None
        ),
    },
    "equinox": {
        "LSTMCell": Layout(_LSTM, "ifgo", _EQUINOX, True, (("bias",),)),
        "GRUCell": Layout(_GRU, "rzn", _EQUINOX | {"b_n": ("bias_n",)}, True, (("bias", "bias_n"),), reset_after=True),
    },
    "haiku": {
        "LSTM": Layout(_LSTM, "igfo", {"w": ("linear.w",), "b": ("linear.b",)}, plus_one="f"),
        "GRU": Layout(_GRU, "zrn", {"w_x": ("w_i",), "w_h": ("w_h",), "b": ("b",)}, reset_after=False, negated="z"),
        "VanillaRNN": Layout(
            _ELMAN,
            "h",
            {"w_x": ("linear.w",), "w_h": ("linear_1.w",), "b": ("linear.b",), "b_2": ("linear_1.b",)},
            optional=(("linear_1.b",),),
            activation_fns=(jax.nn.relu,),
        ),
    },
}
