"""Object arrays from their pickles, without trusting them: what NumPy wrote is understood here, and nothing is run.

A pickle names the functions that it is made by. Each gets a stand-in that only keeps what it is given; even NumPy's own
would crash on what a damaged file gives them. The arrays are made from the stand-ins afterwards.
"""

import pickle
from typing import IO, Any

import numpy as np

HOMES = ("numpy", "numpy._core.multiarray", "numpy._core.numeric", "numpy.core.multiarray", "numpy.core.numeric")


def load(file: IO[bytes]) -> np.ndarray:
    """An array of arrays, numbers, texts, or lists of them.

    Raises:
      Exception: of any kind, where the file is damaged or holds anything else.

    >>> import io, pickle
    >>> load(io.BytesIO(pickle.dumps(np.array([1, "a", [2.5]], object))))
    array([1, 'a', list([2.5])], dtype=object)
    """
    array = _made(ArrayUnpickler(file).load())
    if not isinstance(array, np.ndarray):
        raise pickle.UnpicklingError(f"expected a pickled array, got {type(array).__name__}")
    return array


class ArrayUnpickler(pickle.Unpickler):
    """Puts a stand-in for everything an array is made by, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in HOMES and name == "ndarray":
            return name  # only ever handed to _reconstruct
        if module in HOMES and name in STAND_INS:
            return STAND_INS[name]
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no part of an array")


class Dtype:
    """For `numpy.dtype`: such as f8, and then the order of the bytes."""

    def __init__(self, code: str, *flags: object) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def made(self) -> np.dtype[Any]:
        dtype = np.dtype(self.order + self.code)
        if dtype.kind not in "biufSUO":
            raise pickle.UnpicklingError(f"it holds {dtype}, neither numbers nor texts")
        return dtype


class Array:
    """For `_reconstruct`, which makes an array with nothing in it; all comes with the state."""

    def __init__(self, *empty: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def made(self) -> np.ndarray:
        _, shape, dtype, is_fortran, content = self.state
        return _array(content, dtype.made(), shape, "F" if is_fortran else "C")


class Whole:
    """For `_frombuffer`, which is given all at once."""

    def __init__(self, content: bytes, dtype: Dtype, shape: tuple[int, ...], order: str) -> None:
        self.given = content, dtype, shape, order

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it holds an array with a second state")

    def made(self) -> np.ndarray:
        content, dtype, shape, order = self.given
        return _array(content, dtype.made(), shape, order)


class Scalar(Whole):
    """For `scalar`: an array of one number or text."""

    def __init__(self, dtype: Dtype, content: bytes) -> None:
        super().__init__(content, dtype, (1,), "C")

    def made(self) -> Any:
        return super().made().item()


STAND_INS = {"dtype": Dtype, "_reconstruct": Array, "_frombuffer": Whole, "scalar": Scalar}


def _made(value: Any) -> Any:
    """What stand-ins stand for, in lists as well."""
    if isinstance(value, Array | Whole):
        return value.made()
    return [_made(each) for each in value] if isinstance(value, list | tuple) else value


def _array(content: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> np.ndarray:
    if dtype.kind != "O":
        return np.frombuffer(content, dtype).reshape(shape, order=order).copy()
    array = np.empty(len(content), object)
    for place, each in enumerate(content):
        array[place] = _made(each)
    return array.reshape(shape, order=order)
