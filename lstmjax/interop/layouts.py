"""How each library lays out a cell's weights: one table, and the functions that read and write by it.

A *part* is one array of ours with its gates in our order; an *entry* is one array of theirs under its own name.

    part   shape        what it is
    w_x    [I, GH]      weights of the input
    w_h    [R, GH]      weights of the state; R is H, or P of a projected LSTM
    w      [I + R, GH]  both, one above the other
    w_p    [H, P]       the projection
    b      [GH]         a bias of all gates
    b_2    [GH]         a second one, added to h w_h
    bb     [2, GH]      both, one above the other
    b_n    [H]          a second one, of a GRU's candidate alone
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import cells
from lstmjax.types import Array, DTypeLike

Arrays = dict[str, np.ndarray]
Function = Callable[[Array], Array]

KERAS_FUNCTIONS = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "linear": jax.nn.identity,
    "hard_tanh": jax.nn.hard_tanh,
    "softsign": jax.nn.soft_sign,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
}
OUR_GATES = {4: "ifgo", 3: "rzn", 1: "h"}
GATED = ("w_x", "w_h", "b", "b_2")


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Where a library keeps what.

    Args:
      cell: our cell with the same equations.
      gates: the library's order of gates, in our letters.
      places: from each part to the entry that holds it, or to one entry a gate.
      transposed: matrices are [outputs, inputs].
      optional: groups of entries that may be absent, all of a group at once.
      reset_after: of a GRU, where its reset gate acts.
      negated: gates whose sense is inverted in the library: as 1 - sigmoid(a) = sigmoid(-a), their weights change sign.
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
    def our_gates(self) -> str:
        return OUR_GATES[len(self.gates)]

    @property
    def parts(self) -> set[str]:
        """The parts there are once stacked ones are taken apart."""
        return set(self.blank(0, 0, 0, self.names))

    @property
    def needs_bias(self) -> bool:
        name = next(names[0] for part, names in self.places.items() if part in ("b", "bb"))
        return not any(name in group for group in self.optional)

    def holds(self, cell: Any) -> bool:
        return type(cell) is self.cell and getattr(cell, "reset_after", None) == self.reset_after

    def blank(
        self, i: int, h: int, r: int, entries: Collection[str], dtype: DTypeLike = jnp.float32
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """The shape and dtype of each part that these entries hold."""
        width = len(self.gates) * h
        shapes = {"w_x": (i, width), "w_h": (r, width), "w_p": (h, r), "b": (width,), "b_2": (width,), "b_n": (h,)}
        apart = {"w": ("w_x", "w_h"), "bb": ("b", "b_2")}
        present = [place for place, names in self.places.items() if names[0] in entries]
        parts = [part for place in present for part in apart.get(place, (place,))]
        return {part: jax.ShapeDtypeStruct(shapes[part], dtype) for part in parts}  # type: ignore[no-untyped-call]

    def shapes(self, i: int, h: int, r: int) -> dict[str, tuple[int, ...]]:
        """The shape of each entry."""
        entries = jax.eval_shape(functools.partial(_laid_out, self), self.blank(i, h, r, self.names))
        return {name: entries[name].shape for name in self.names}

    def sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int, int]:
        """I, H and R from the shapes of the matrices, which have two axes: the inverse of `shapes`."""
        matrices = {part: shapes[names[0]] for part, names in self.places.items() if part.startswith("w")}
        matrices = {part: shape[::-1] if self.is_turned(part) else shape for part, shape in matrices.items()}
        if "w" in matrices:
            rows, width = matrices["w"]
            hidden = width // len(self.gates)
            return max(rows - hidden, 0), hidden, hidden
        r = matrices["w_h"][0]
        return matrices["w_x"][0], matrices.get("w_p", (r,))[0], r

    def is_turned(self, part: str) -> bool:
        return self.transposed and part.startswith("w")


def read(layout: Layout, entries: Mapping[str, np.ndarray]) -> Arrays:
    """The parts, gates in our order, that a library's entries hold.

    `_laid_out` permutes numbers and changes signs, so its inverse is its transpose, which JAX derives.
    """
    found = _taken_apart(layout, dict(entries))
    return _shifted(layout, {part: np.array(array) for part, array in found.items()}, 1)


# This and `_laid_out` are compiled: a layer has many small arrays, and one operation at a time takes longer.
@functools.partial(jax.jit, static_argnames="layout")
def _taken_apart(layout: Layout, entries: dict[str, Array]) -> dict[str, Array]:
    sizes = layout.sizes({name: array.shape for name, array in entries.items()})
    parts = layout.blank(*sizes, entries, next(iter(entries.values())).dtype)
    found: dict[str, Array]
    (found,) = jax.linear_transpose(functools.partial(_laid_out, layout), parts)(entries)
    return found


def write(layout: Layout, parts: Arrays) -> Arrays:
    """The library's entries, from our parts: the inverse of `read`."""
    return arrange(layout, _shifted(layout, parts, -1))


def arrange(layout: Layout, parts: Arrays) -> Arrays:
    """The linear part of `write`. Gradients go through it as weights do."""
    entries = _laid_out(layout, parts)
    return {name: np.array(entries[name]) for name in layout.names if name in entries}


@functools.partial(jax.jit, static_argnames="layout")
def _laid_out(layout: Layout, parts: Mapping[str, Any]) -> dict[str, Array]:
    """Gates in the library's order, what it stacks stacked, what it transposes transposed, what it splits split."""
    arrays = {part: _reordered(layout, array) if part in GATED else array for part, array in parts.items()}
    if "w" in layout.places:
        arrays["w"] = jnp.concatenate([arrays.pop("w_x"), arrays.pop("w_h")])
    if "bb" in layout.places and "b" in arrays:
        arrays["bb"] = jnp.stack([arrays.pop("b"), arrays.pop("b_2")])
    entries: dict[str, Array] = {}
    for part, names in layout.places.items():
        if part in arrays:
            array = arrays[part].T if layout.is_turned(part) else arrays[part]
            entries |= dict(zip(names, jnp.split(array, len(names), axis=-1), strict=True))
    return entries


def _reordered(layout: Layout, array: Array) -> Array:
    blocks = dict(zip(layout.our_gates, jnp.split(array, len(layout.gates), axis=-1), strict=True))
    return jnp.concatenate(
        [-blocks[gate] if gate in layout.negated else blocks[gate] for gate in layout.gates], axis=-1
    )


def _shifted(layout: Layout, parts: Arrays, by: int) -> Arrays:
    """Biases with what the library adds at run time put in (1) or taken out (-1); gates in our order."""
    if not layout.plus_one or "b" not in parts:
        return parts
    b = parts["b"]
    is_shifted = np.repeat([gate in layout.plus_one for gate in layout.our_gates], len(b) // len(layout.gates))
    return parts | {"b": np.where(is_shifted, b + b.dtype.type(by), b)}


def _each(form: str, gates: str) -> tuple[str, ...]:
    return tuple(form.format(gate) for gate in gates)


# PyTorch calls its arrays weight_ih_l0, weight_ih_l0_reverse, ...; here they stand without the end.
_TORCH = {"w_x": ("weight_ih",), "w_h": ("weight_hh",), "b": ("bias_ih",), "b_2": ("bias_hh",)}
_TORCH_BIASES = (("bias_ih", "bias_hh"),)
_KERAS = {"w_x": ("kernel",), "w_h": ("recurrent_kernel",)}
_EQUINOX = {"w_x": ("weight_ih",), "w_h": ("weight_hh",), "b": ("bias",)}
_NNX = {"w_x": ("dense_i.kernel",), "w_h": ("dense_h.kernel",)}
_LSTM, _PROJECTED, _GRU, _ELMAN = cells.LSTM, cells.ProjectedLSTM, cells.GRU, cells.ElmanRNN

_flax = functools.partial(Layout, gate_fns=None, activation_fns=None)
_keras = functools.partial(
    Layout,
    optional=(("bias",),),
    gate_fns=tuple(KERAS_FUNCTIONS.values()),
    activation_fns=tuple(KERAS_FUNCTIONS.values()),
)

_LINEN_LSTM = _flax(
    _LSTM,
    "ifgo",
    {"w_x": _each("i{}.kernel", "ifgo"), "w_h": _each("h{}.kernel", "ifgo"), "b": _each("h{}.bias", "ifgo")},
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
        "LSTM": Layout(_LSTM, "ifgo", _TORCH, transposed=True, optional=_TORCH_BIASES),
        "LSTM with proj_size": Layout(
            _PROJECTED, "ifgo", _TORCH | {"w_p": ("weight_hr",)}, transposed=True, optional=_TORCH_BIASES
        ),
        "GRU": Layout(_GRU, "rzn", _TORCH, transposed=True, optional=_TORCH_BIASES, reset_after=True),
        "RNN": Layout(
            _ELMAN, "h", _TORCH, transposed=True, optional=_TORCH_BIASES, activation_fns=(jnp.tanh, jax.nn.relu)
        ),
    },
    "keras": {
        "LSTM": _keras(_LSTM, "ifgo", _KERAS | {"b": ("bias",)}),
        "GRU": _keras(_GRU, "zrn", _KERAS | {"bb": ("bias",)}, reset_after=True),
        "GRU(reset_after=False)": _keras(_GRU, "zrn", _KERAS | {"b": ("bias",)}, reset_after=False),
        "SimpleRNN": _keras(_ELMAN, "h", _KERAS | {"b": ("bias",)}),
        "ConvLSTM": _keras(cells.ConvLSTM, "ifgo", _KERAS | {"b": ("bias",)}),
    },
    "nnx": {
        "LSTMCell": _flax(_LSTM, "ifgo", _NNX_LSTM),
        "OptimizedLSTMCell": _flax(_LSTM, "ifgo", _NNX | {"b": ("dense_h.bias",)}),
        "GRUCell": _flax(_GRU, "rzn", _NNX | {"b": ("dense_i.bias",)}, reset_after=True),
        "SimpleCell": _flax(_ELMAN, "h", _NNX | {"b": ("dense_i.bias",)}),
    },
    "linen": {
        "LSTMCell": _LINEN_LSTM,
        "OptimizedLSTMCell": _LINEN_LSTM,
        "GRUCell": _flax(_GRU, "rzn", _LINEN_GRU, reset_after=True),
        "SimpleCell": _flax(_ELMAN, "h", {"w_x": ("i.kernel",), "w_h": ("h.kernel",), "b": ("i.bias",)}),
    },
    "equinox": {
        "LSTMCell": Layout(_LSTM, "ifgo", _EQUINOX, transposed=True, optional=(("bias",),)),
        "GRUCell": Layout(
            _GRU,
            "rzn",
            _EQUINOX | {"b_n": ("bias_n",)},
            transposed=True,
            optional=(("bias", "bias_n"),),
            reset_after=True,
        ),
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
