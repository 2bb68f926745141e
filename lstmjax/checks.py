"""Argument checks: each failure is one sentence that names the argument, what was expected and what came."""

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax.types import Array, ArrayLike, DTypeLike, Int, PyTree


def index(name: str, value: int, low: int, high: int | None = None) -> int:
    """A whole number of at least `low` and at most `high`, as a Python int."""
    try:
        whole = operator.index(value)
    except TypeError:
        whole = None
    if whole is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {_brief(value)}")
    if whole < low:
        raise ValueError(f"{name} must be at least {low}, got {whole}")
    if high is not None and whole > high:
        raise ValueError(f"{name} must be at most {high}, got {whole}")
    return whole


def positive_int(name: str, value: int) -> int:
    """A whole number of at least 1, as a Python int."""
    return index(name, value, 1)


def size(name: str, value: int, low: int = 0) -> None:
    """A whole number of at least `low`, or one that an exported function leaves open."""
    if not jax.export.is_symbolic_dim(value):
        index(name, value, low)


def number(name: str, value: float) -> None:
    """A real number; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {_brief(value)}")


def finite(name: str, value: float) -> None:
    """A real number, neither infinite nor NaN."""
    number(name, value)
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")


def at_least_zero(name: str, value: float) -> None:
    """A finite number, 0 or more."""
    finite(name, value)
    if value < 0.0:
        raise ValueError(f"{name} must be at least 0, got {value}")


def positive(name: str, value: float) -> None:
    """A finite number above 0."""
    number(name, value)
    if not 0.0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value}")


def rate(name: str, value: float) -> None:
    """A probability of dropping: 0 keeps everything; 1 would keep nothing, so it is refused."""
    number(name, value)
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be in [0, 1), got {value}")


def fraction(name: str, value: float) -> None:
    """A part of a whole, neither nothing nor all of it."""
    number(name, value)
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must be in (0, 1), got {value}")


def floating_dtype(name: str, dtype: DTypeLike) -> None:
    """float16, bfloat16, float32 or, if JAX would keep it, float64."""
    try:
        known = jnp.dtype(dtype).name
    except TypeError:
        known = str(dtype)
    if known not in ("float16", "bfloat16", "float32", "float64"):
        raise TypeError(f"{name} must be a floating dtype of 16, 32 or 64 bits, got {known}")
    if jax.dtypes.canonicalize_dtype(dtype).name != known:
        raise TypeError(f"{name} must be float32, float16 or bfloat16 unless jax_enable_x64 is set, got {known}")


def boolean(name: str, value: bool) -> None:
    """True or False, and nothing that only counts as such."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {_brief(value)}")


def function(name: str, value: object) -> None:
    """Something that can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {_brief(value)}")


def instance(name: str, value: object, *kinds: type) -> None:
    """An object of one of these classes."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{name} must be of the class {wanted}, got {type(value).__name__}")


def random_key(name: str, key: Any) -> None:
    """One key of `jax.random`, typed or as two raw uint32."""
    dtype = key.dtype if isinstance(key, jax.Array | np.ndarray) else None
    is_typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not (is_typed or str(dtype) == "uint32"):
        raise TypeError(
            f"{name} must be a key of jax.random, such as jax.random.key(0) or, of an nnx.Rngs, rngs.dropout(), "
            f"got {type(key).__name__}"
        )
    if np.shape(key) != (() if is_typed else (2,)):
        raise ValueError(f"{name} must be one key, got keys of shape {list(np.shape(key))}")


def one_half_precision(name: str, dtype: DTypeLike, other_name: str, other: DTypeLike) -> None:
    """float16 and bfloat16 do not meet: neither holds the other's numbers."""
    if {jnp.dtype(dtype).name, jnp.dtype(other).name} == {"float16", "bfloat16"}:
        raise TypeError(f"{name} {jnp.dtype(dtype).name} does not go with {other_name} {jnp.dtype(other).name}")


def dtype_among(name: str, array: Array | np.ndarray, allowed: Sequence[DTypeLike]) -> None:
    """The dtype is one of these."""
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
    """Two sizes, one the same as the other."""
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
    if jax.tree.structure(expected) != jax.tree.structure(tree):  # type: ignore[operator]
        raise TypeError(f"{name} must have the structure {_outline(expected)}, got {_outline(tree)}")
    paths = jax.tree_util.tree_leaves_with_path(expected)
    for (path, want), leaf in zip(paths, jax.tree.leaves(tree), strict=True):
        leaf_name = name + jax.tree_util.keystr(path)
        if not hasattr(leaf, "shape"):
            raise TypeError(f"{leaf_name} must be an array, got {type(leaf).__name__}")
        shape(leaf_name, leaf, want.shape)
        dtype_among(leaf_name, leaf, [want.dtype])


def _outline(tree: PyTree) -> str:
    """A tree's structure as one would write it: LSTMState(h, c), (array, array), {'sum'}."""
    if hasattr(tree, "_fields"):
        parts = (f"{name}=None" if value is None else name for name, value in tree._asdict().items())
        return f"{type(tree).__name__}({', '.join(parts)})"
    if isinstance(tree, dict):
        return f"{{{', '.join(f'{name!r}: None' if value is None else repr(name) for name, value in tree.items())}}}"
    if isinstance(tree, tuple | list):
        return f"({', '.join(map(_outline, tree))})"
    if tree is None:
        return "None"
    return "array" if hasattr(tree, "shape") else type(tree).__name__


def _brief(value: object) -> str:
    """A value as it is written, or, where that would be long, its type."""
    written = repr(value)
    return written if len(written) <= 60 and "\n" not in written else type(value).__name__


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """One of a few words."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def whole_numbers(
    name: str, values: ArrayLike | Sequence[Any], expected: Sequence[int | str], low: int, high: int
) -> Int[Array, "..."]:
    """Integers of this shape in [low, high], as int32; looked at before JAX would cut 64 bits to 32."""
    try:
        array = values if isinstance(values, jax.Array) else np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must have rows of one length") from error
    if array.size == 0 and isinstance(values, Sequence):
        array = np.zeros(array.shape, np.int32)  # an empty list says nothing of its numbers
    kind(name, array, jnp.integer)
    shape(name, array, expected)
    within(name, array, low, high)
    return jnp.asarray(array, jnp.int32)
