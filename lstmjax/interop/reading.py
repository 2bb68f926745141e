"""Other libraries' arrays into our layers: every entry is accounted for, none is broadcast or cast."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax import checks, initializers
from lstmjax.interop.layouts import LAYOUTS, Arrays, Layout, read
from lstmjax.layers import Bidirectional, Recurrent, Stacked
from lstmjax.layers.bidirectional import Merge
from lstmjax.regularizers import Dropout

# What a class of another library, derived from its layer or cell, would compute something of its own by.
_METHODS = ("forward", "__call__", "call", "step", "inner_loop", "initialize_carry", "get_initial_state")

Naming = Callable[[str], str]


def recurrent(
    layout: Layout, entries: Mapping[str, Any], called: Naming = str, options: Mapping[str, Any] | None = None
) -> Recurrent:
    """A layer of one cell from a library's entries.

    Args:
      layout: how the library lays this cell out.
      entries: arrays under the layout's names.
      called: from a layout's name to what the user knows the entry by.
      options: further fields of the cell: its functions, its compute dtype.

    Raises:
      TypeError: an entry that is no floating array, of another dtype than the others, or of one JAX would cut short.
      ValueError: an entry that is missing, not known, or of another shape.
    """
    _check_names(layout, entries, called)
    arrays = {name: copied(called(name), value) for name, value in entries.items()}
    dtype = common_dtype(arrays, called)
    _check_matrices(layout, arrays, called)
    i, h, r = layout.sizes({name: array.shape for name, array in arrays.items()})
    for name, shape in layout.shapes(i, h, r).items():
        if name in arrays:
            checks.shape(called(name), arrays[name], shape)
    parts = read(layout, arrays)
    fields = _fields(layout, parts, dtype) | dict(options or {})
    if "w_p" in parts:
        fields["proj_features"] = r
    if fields["dtype"] is not None and fields["dtype"] == dtype:
        fields["dtype"] = None
    return filled(layout.cell(i, h, **fields), parts)


def stacked(
    directions: Iterable[Sequence[Recurrent]], merges: Iterable[Merge | None] | None = None, dropout: float = 0.0
) -> Stacked:
    """Layers of one or two directions each, bottom first, as a stack."""
    directions = list(directions)
    merges = ["concat"] * len(directions) if merges is None else list(merges)
    layers = [
        Bidirectional(both[0], both[1], merge or "concat") if len(both) == 2 else both[0]
        for both, merge in zip(directions, merges, strict=True)
    ]
    return Stacked(layers, Dropout(dropout))


def guess(libraries: Sequence[str], entries: Mapping[str, Any]) -> Layout:
    """The layout that matches the most names and then the most shapes. `recurrent` reports a mismatch that remains."""

    def fit(layout: Layout) -> tuple[int, int]:
        shapes = {name: np.shape(value) for name, value in entries.items() if name in layout.names}
        try:
            expected = layout.shapes(*layout.sizes(shapes))
        except (IndexError, KeyError, TypeError, ValueError):  # no shapes of this layout
            return len(shapes), 0
        return len(shapes), sum(expected[name] == shape for name, shape in shapes.items())

    return max((layout for library in libraries for layout in LAYOUTS[library].values()), key=fit)


def kinds(source: object, package: str) -> list[str]:
    """The names of `source`'s classes, its own first, that a package defines; it is not imported."""
    return [kind.__name__ for kind in type(source).__mro__ if kind.__module__.split(".")[0] == package]


def class_of(source: object, package: str, known: Iterable[str]) -> str | None:
    """Which of the classes `known` in a package `source` is of; None if of none.

    Raises:
      TypeError: it is of a class derived from one of these that computes something of its own.
    """
    found = next((name for name in kinds(source, package) if name in known), None)
    if found is not None:
        _check_computes_as(source, package, found)
    return found


def _check_computes_as(source: object, package: str, name: str) -> None:
    """Neither the source itself nor a class between it and the package's puts a method of its own in the way."""
    own = [vars(source)] if hasattr(source, "__dict__") else []
    derived = list(itertools.takewhile(lambda kind: kind.__module__.split(".")[0] != package, type(source).__mro__))
    for method in _METHODS:
        if any(method in namespace for namespace in (*own, *map(vars, derived))):
            raise TypeError(
                f"source must compute what {package}'s {name} does, got {type(source).__name__} with a {method} of its "
                "own; its arrays in a dict are taken as those of a plain one"
            )


def settle(name: str, given: Any, own: Any, default: Any) -> Any:
    """A setting that a source has of its own, or that an argument gives, or else a default.

    Raises:
      ValueError: the source has it and the argument says otherwise.
    """
    if own is None:
        return default if given is None else given
    if given not in (None, own):
        raise ValueError(f"{name} must be left out or be the source's own {own!r}, got {given!r}")
    return own


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"dense_i": {"kernel": k}} as {"dense_i.kernel": k}."""
    entries: dict[str, Any] = {}
    for name, value in tree.items():
        dotted = ".".join(part for part in (prefix, name) if part)
        entries |= flat(value, dotted) if isinstance(value, Mapping) else {dotted: value}
    return entries


def copied(name: str, value: Any) -> np.ndarray:
    """A copy of an array of any library in NumPy, bit for bit.

    Raises:
      TypeError: it is no array.
    """
    if kinds(value, "keras"):  # a variable, around an array of Keras' backend
        value = value.value
    if isinstance(value, nnx.Variable):
        value = value[...]
    if hasattr(value, "detach"):  # torch, whose bfloat16 NumPy does not know
        value = value.detach().cpu()
        value = value.float().numpy().astype(jnp.bfloat16) if "bfloat16" in str(value.dtype) else value.numpy()
    if not hasattr(value, "__array__"):
        raise TypeError(f"{name} must be an array, got {type(value).__name__}")
    return np.array(value)


def _check_names(layout: Layout, entries: Mapping[str, Any], called: Naming) -> None:
    absent = {name for group in layout.optional if not entries.keys() & set(group) for name in group}
    got = ", ".join(map(called, entries)) or "nothing"
    for name in layout.names:
        if name not in entries and name not in absent:
            raise ValueError(f"source must hold {called(name)}, got {got}")
    for name in entries:
        if name not in layout.names:
            wanted = ", ".join(map(called, layout.names))
            raise ValueError(f"source must hold nothing but {wanted}, got {called(name)} too")


def _check_matrices(layout: Layout, arrays: Arrays, called: Naming) -> None:
    for part, names in layout.places.items():
        for name in names:
            if part.startswith("w") and arrays[name].ndim != 2:
                raise ValueError(f"{called(name)} must have two axes, got shape {list(arrays[name].shape)}")


def common_dtype(arrays: Arrays, called: Naming) -> np.dtype[Any]:
    """The dtype of all entries, if it is one that JAX would keep.

    Raises:
      TypeError: it is not floating, there are several, or it is float64 and JAX would make float32 of it.
    """
    first = next(iter(arrays.values())).dtype
    array: Any
    for name, array in arrays.items():
        checks.kind(called(name), array, jnp.floating)
        checks.floating_dtype(f"the dtype of {called(name)}", array.dtype)
        checks.dtype_among(called(name), array, [first])
    return first


def _fields(layout: Layout, parts: Arrays, dtype: np.dtype[Any]) -> dict[str, Any]:
    """The cell's fields that the layout and the arrays decide."""
    fields = {"use_bias": "b" in parts, "param_dtype": getattr(jnp, dtype.name), "dtype": None}
    if layout.activation_fns is not None:
        fields["activation_fn"] = layout.activation_fns[0]
    if layout.reset_after is not None:
        fields["reset_after"] = layout.reset_after
    return fields


def filled(cell: Any, parts: Arrays) -> Recurrent:
    """The cell as a layer with these weights, biases of the same sum added up."""
    # Zeros to start from: orthogonal ones would be drawn for nothing, and can't be in half precision.
    blank = dataclasses.replace(cell, kernel_init=initializers.zeros, recurrent_init=initializers.zeros)
    layer = Recurrent(blank, rngs=nnx.Rngs(0))
    layer.cell = cell
    fields: dict[str, Any] = {**parts, **_biases(cell, parts)}
    params = type(layer.params)(*(fields[field] for field in layer.params._fields))
    layer.set_params(jax.tree.map(jnp.array, params))
    return layer


def _biases(cell: Any, parts: Arrays) -> dict[str, np.ndarray | None]:
    """`b`, to which a second bias is added; but that of a GRU's candidate, inside its reset gate, is `b_h`."""
    if "b" not in parts:
        return {"b": None, "b_h": None}
    b, hidden = parts["b"], cell.hidden_features
    b_2, b_h = parts.get("b_2", np.zeros_like(b)), None
    if getattr(cell, "reset_after", False):
        b_h = parts.get("b_n", b_2[-hidden:])
        b_2 = np.concatenate([b_2[:-hidden], np.zeros_like(b_h)])
    return {"b": np.where(b_2 == 0, b, b + b_2), "b_h": b_h}  # b itself, -0 included, where nothing is added
