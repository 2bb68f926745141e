"""Our layers into other libraries' arrays, where these can hold what the layer computes; refused where they can't."""

import importlib
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from lstmjax.interop.layouts import LAYOUTS, Arrays, Layout, write
from lstmjax.layers import Bidirectional, Recurrent, Stacked

_WITH_COMPUTE_DTYPE = ("keras", "linen", "nnx")


def imported(library: str, wanted_by: str, instead: str) -> Any:
    """A library that one function alone needs.

    Raises:
      ImportError: it is not installed.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ImportError(f"{wanted_by} needs {library}, which is not installed; {instead} does without") from error


def layers_of(layer: Any) -> list[Any]:
    """The layers of a stack, bottom first; a layer that is no stack is its own."""
    return list(layer.layers) if isinstance(layer, Stacked) else [layer]


def directions_of(layer: Any) -> list[Recurrent]:
    """The one or two `Recurrent`s that a layer is made of.

    Raises:
      TypeError: it is made of anything else.
      ValueError: it learns its initial state, for which other libraries have no place.
    """
    both: list[Any] = [layer.forward, layer.backward] if isinstance(layer, Bidirectional) else [layer]
    for one in both:
        if not isinstance(one, Recurrent):
            raise TypeError(f"layer must be made of Recurrent and Bidirectional layers, got {type(one).__name__}")
        if one.initial is not None:
            raise ValueError("layer must start from zeros to go to another library, got initial_state='learned'")
    return both


def only_cell(layer: Any) -> Recurrent:
    """The `Recurrent` that a layer is.

    Raises:
      TypeError: there is more than one.
    """
    found = [one for below in layers_of(layer) for one in directions_of(below)]
    if len(found) != 1:
        raise TypeError(f"layer must have one cell, as each of a stack's .layers has, got {len(found)}")
    return found[0]


def entries_of(library: str, layer: Recurrent, style: str | None = None) -> Arrays:
    """One cell's weights as a library lays them out.

    Args:
      library: a key of `LAYOUTS`.
      layer: a layer of one cell.
      style: which of the library's cells; None means the first that computes what ours does.

    Raises:
      TypeError: the library has no cell like ours.
      ValueError: its cell can't compute what ours does, or not in another dtype than that of its parameters.
    """
    layout = LAYOUTS[library][style_for(library, layer.cell, style)]
    _check_dtype(library, layer.cell)
    return write(layout, parts_of(layout, layer))


def style_for(library: str, cell: Any, only: str | None = None) -> str:
    """Which of a library's cells computes what ours does.

    Raises:
      TypeError: there is none, or it is not the `only` one that is wanted.
      ValueError: it has other functions.
    """
    styles = LAYOUTS[library] if only is None else {only: LAYOUTS[library][only]}
    style = next((name for name, layout in styles.items() if layout.holds(cell)), None)
    if style is None:
        form = f"(reset_after={cell.reset_after})" if hasattr(cell, "reset_after") else ""
        raise TypeError(
            f"layer must have a cell that {library}'s {', '.join(styles)} can hold, got {type(cell).__name__}{form}"
        )
    for field in ("gate_fn", "activation_fn"):
        allowed, function = getattr(styles[style], f"{field}s"), getattr(cell, field, None)
        if allowed is not None and function is not None and function not in allowed:
            names, came = " or ".join(one.__name__ for one in allowed), getattr(function, "__name__", repr(function))
            raise ValueError(f"layer's {field} must be {names} to go to {library}, got {came}")
    return style


def _check_dtype(library: str, cell: Any) -> None:
    """Compute and parameter dtypes are one, unless the library's cells have an argument for each."""
    if library not in _WITH_COMPUTE_DTYPE and cell.compute_dtype != cell.param_dtype:
        raise ValueError(
            f"layer must compute in the dtype of its parameters to go to {library}, "
            f"got dtype {cell.compute_dtype.name} over {cell.param_dtype.name}"
        )


def parts_of(layout: Layout, layer: Recurrent) -> Arrays:
    """The parts that the layout has a place for; what there is no second bias for must be zero."""
    cell: Any = layer.cell
    parts = {name: np.asarray(value) for name, value in layer.params._asdict().items() if value is not None}
    if "b" not in parts and not layout.needs_bias:
        return parts
    hidden, dtype = cell.hidden_features, parts["w_x"].dtype
    b = parts.get("b", np.zeros(cell.num_gates * hidden, dtype))
    b_h = parts.pop("b_h", np.zeros(hidden, dtype))
    seconds = {"b_2": np.concatenate([np.zeros(b.size - hidden, dtype), b_h]), "b_n": b_h}
    if not layout.parts & seconds.keys() and np.any(b_h != 0):
        raise ValueError("layer's b_h must be zero to go to a cell without a second bias, got values other than zero")
    return parts | {"b": b} | {part: seconds[part] for part in seconds.keys() & layout.parts}


def nested(entries: Arrays) -> dict[str, Any]:
    """{"dense_i.kernel": k} as {"dense_i": {"kernel": k}}."""
    tree: dict[str, Any] = unflatten_dict(entries, sep=".")  # type: ignore[no-untyped-call]
    return tree
