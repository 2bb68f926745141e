"""Argument checks: each failure is one sentence that names the argument, what was expected and what came."""

import numbers
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax.types import Array, DTypeLike, PyTree


def index(name: str, value: int, low: int, high: int | None = None) -> int:
    """A whole number of at least `low` and at most `high`, as a Python int."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    whole = operator.index(value)
    if whole < low:
        raise ValueError(f"{name} must be at least {low}, got {whole}")
    if high is not None and whole > high:
        raise ValueError(f"{name} must be at most {high}, got {whole}")
    return whole


def positive_int(name: str, value: int) -> None:
    index(name, value, 1)


def number(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")


def positive(name: str, value: float) -> None:
    number(name, value)
    if not 0.0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value}")


def rate(name: str, value: float) -> None:
    """A probability of dropping: 0 keeps everything; 1 would keep nothing, so it is refused."""
    number(name, value)
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be in [0, 1), got {value}")


def floating_dtype(name: str, dtype: DTypeLike) -> None:
    try:
        is_floating = jnp.issubdtype(dtype, jnp.floating)
    except TypeError:
        is_floating = False
    if not is_floating:
        raise TypeError(f"{name} must be a floating dtype, got {getattr(dtype, '__name__', dtype)}")


def one_half_precision(name: str, dtype: DTypeLike, other_name: str, other: DTypeLike) -> None:
    """float16 and bfloat16 do not meet: neither holds the other's numbers."""
    if {jnp.dtype(dtype).name, jnp.dtype(other).name} == {"float16", "bfloat16"}:
        raise TypeError(f"{name} {jnp.dtype(dtype).name} does not go with {other_name} {jnp.dtype(other).name}")


def dtype_among(name: str, array: Array | np.ndarray, allowed: Sequence[DTypeLike]) -> None:
    names = list(dict.fromkeys(jnp.dtype(dtype).name for dtype in allowed))
    if array.dtype.name not in names:
        raise TypeError(f"{name} must have dtype {' or '.join(names)}, got {array.dtype.name}")


def kind(name: str, array: Array | np.ndarray, expected: Any) -> None:
    """The dtype is of a family such as `jnp.integer` or `jnp.bool_`."""
    if not jnp.issubdtype(array.dtype, expected):
        raise TypeError(f"{name} must have dtype {expected.__name__.rstrip('_')}, got {array.dtype.name}")


def shape(name: str, array: Array | np.ndarray, expected: Sequence[int | str]) -> None:
    """Match a shape in which a letter stands for any size: `shape("xs", xs, ("B", "T", 8))`."""
    sizes_match = len(array.shape) == len(expected) and all(
        isinstance(want, str) or want == got for want, got in zip(expected, array.shape, strict=True)
    )
    if not sizes_match:
        wanted = ", ".join(map(str, expected))
        raise ValueError(f"{name} must have shape [{wanted}], got {list(array.shape)}")


def sizes(name: str, values: Sequence[int], counts: Sequence[int]) -> None:
    """A tuple of whole numbers of at least 1, as many as one of `counts` says."""
    if not isinstance(values, tuple) or len(values) not in counts:
        *most, last = map(str, counts)
        wanted = f"{', '.join(most)} or {last}" if most else last
        raise ValueError(f"{name} must be a tuple of {wanted} whole numbers, got {values!r}")
    for value in values:
        index(name, value, 1)


def square(name: str, sizes: Sequence[int]) -> None:
    if len(sizes) != 2 or sizes[0] != sizes[1]:
        raise ValueError(f"{name} must be square, got {list(sizes)}")


def within(name: str, array: Array | np.ndarray, low: int, high: int) -> None:
    """Every entry lies in [low, high]. Values are unknown while tracing, so inside `jit` this passes everything."""
    if isinstance(array, jax.core.Tracer) or array.size == 0:
        return
    values = np.asarray(array)
    smallest, largest = int(values.min()), int(values.max())
    if smallest < low or largest > high:
        raise ValueError(f"{name} must lie in [{low}, {high}], got values from {smallest} to {largest}")


def like(name: str, tree: PyTree, expected: PyTree) -> None:
    """`tree` has the structure, shapes and dtypes of `expected`, whose leaves may be `jax.ShapeDtypeStruct`s."""
    wanted, got = jax.tree.structure(expected), jax.tree.structure(tree)
    if wanted != got:  # type: ignore[operator]
        raise TypeError(f"{name} must have the structure {wanted}, got {got}")
    paths = jax.tree_util.tree_leaves_with_path(expected)
    for (path, want), leaf in zip(paths, jax.tree.leaves(tree), strict=True):
        leaf_name = name + jax.tree_util.keystr(path)
        if not hasattr(leaf, "shape"):
            raise TypeError(f"{leaf_name} must be an array, got {type(leaf).__name__}")
        shape(leaf_name, leaf, want.shape)
        dtype_among(leaf_name, leaf, [want.dtype])


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
