"""Object arrays from their pickles, without trusting them: what NumPy wrote is understood here, and nothing is run.

A pickle names the functions that it is made by. Each gets a stand-in that only keeps what it is given; even NumPy's own
would crash on what a damaged file gives them. The arrays are made from the stand-ins afterwards.
"""

import pickle
from typing import IO, Any

import numpy as np

HOMES = ("numpy", "numpy._core.multiarray", "numpy._core.numeric", "numpy.core.multiarray", "numpy.core.numeric")
FUNCTIONS = ("dtype", "_reconstruct", "_frombuffer", "scalar", "ndarray")
"""What arrays are made by; `ndarray` is only ever handed to `_reconstruct`."""


def load(file: IO[bytes]) -> np.ndarray:
    """An array of arrays, numbers, texts, or lists of them.

    Raises:
      Exception: of any kind, where the file is damaged or holds anything else.

    >>> import io, pickle
    >>> load(io.BytesIO(pickle.dumps(np.array([1, "a", [2.5]], object))))
    array([1, 'a', list([2.5])], dtype=object)
    """
    array = _made(_Unpickler(file).load())
    if not isinstance(array, np.ndarray):
        raise pickle.UnpicklingError(f"expected a pickled array, got {type(array).__name__}")
    return array


class _Unpickler(pickle.Unpickler):
    """Puts a stand-in for everything an array is made by, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in HOMES and name in FUNCTIONS:
            return lambda *arguments: _StandIn(name, arguments)
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no part of an array")


class _StandIn:
    """A function's name, its arguments, and the state that its result is to be given."""

    __match_args__ = ("function", "arguments", "state")

    def __init__(self, function: str, arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _made(value: Any) -> Any:
    """What stand-ins stand for, in lists as well."""
    match value:
        case _StandIn("_reconstruct", _, (_, shape, dtype, is_fortran, content)):
            return _array(content, dtype, shape, "F" if is_fortran else "C")
        case _StandIn("_frombuffer", (content, dtype, shape, order), None):
            return _array(content, dtype, shape, order)
        case _StandIn("scalar", (dtype, content), None):
            return _array(content, dtype, (1,), "C").item()
        case _StandIn(function=function):
            raise pickle.UnpicklingError(f"it holds a {function} that is no part of an array")
        case list() | tuple():
            return [_made(each) for each in value]
    return value


def _array(content: Any, dtype: _StandIn, shape: tuple[int, ...], order: Any) -> np.ndarray:
    kind = _dtype(dtype)
    if not kind.hasobject:
        return np.frombuffer(content, kind).reshape(shape, order=order).copy()
    array = np.empty(len(content), object)
    for place, each in enumerate(content):
        array[place] = _made(each)
    return array.reshape(shape, order=order)


def _dtype(written: _StandIn) -> np.dtype[Any]:
    """Such as f8, and, in the state, the order of its bytes."""
    (code, *_), state = written.arguments, written.state
    dtype: np.dtype[Any] = np.dtype((state[1] if state else "=") + code)
    if dtype.kind not in "biufSUO":
        raise pickle.UnpicklingError(f"it holds {dtype}, neither numbers nor texts")
    return dtype
