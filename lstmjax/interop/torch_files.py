"""What `torch.save` wrote, read without torch and without running anything that the file asks for.

Such a file is a zip archive: `data.pkl` pickles the objects, `data/0`, `data/1`, ... hold the tensors' numbers. A
pickle may call any function of any package. Here it gets an ordered dict and functions that make arrays, nothing else.
"""

import collections
import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from lstmjax.errors import InputError

_DTYPES: dict[str, Any] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_OLD_FORMAT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a number that files began with before they were archives


def read_torch(path: str | Path) -> Any:
    """What `torch.save` wrote, its tensors as NumPy arrays; torch is not needed, and no code in the file is run.

    Dicts, lists, tuples, numbers, strings and tensors are read, as in a state dict or a checkpoint made of some. A file
    that holds anything else, such as a whole module, is refused.

    Args:
      path: a file written by PyTorch 1.6 or later.

    Returns:
      What was saved: of `torch.save(module.state_dict(), path)`, arrays by their names, bfloat16 included. They are
      read-only views of the file's bytes, strides as they were saved.

    Raises:
      InputError: the file is missing, damaged, of an older format, or holds more than data.

    >>> arrays = read_torch("trained.pt")  # doctest: +SKIP
    >>> layer = from_torch(arrays, prefix="rnn.")  # doctest: +SKIP
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    if content.startswith(_OLD_FORMAT):
        raise InputError(
            f"{path} is of the format before PyTorch 1.6: torch.save(torch.load(path), path) in a newer one rewrites it"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _Reader(path, archive).load()
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(f"{path} is no sound file of torch.save: {error or type(error).__name__}") from error


class _Reader(pickle.Unpickler):
    """An unpickler that knows storages, and no function but those that make arrays of them."""

    def __init__(self, path: str | Path, archive: zipfile.ZipFile) -> None:
        if any(part.compress_type for part in archive.infolist()):  # what torch writes never is; a bomb would be
            raise InputError(f"{path} must be as torch.save writes files, not compressed")
        (pickled,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        super().__init__(io.BytesIO(archive.read(pickled)))
        self.path, self.archive, self.folder = path, archive, pickled.removesuffix("data.pkl")
        self.storages: dict[str, np.ndarray] = {}
        order = f"{self.folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise InputError(f"{path} must have its bytes in little-endian order, got {archive.read(order).decode()}")

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle means by a name: a new function each time, or a string, so that it changes nothing of ours."""
        known: dict[str, Callable[..., Any]] = {
            "torch._utils._rebuild_tensor_v2": lambda *args: _tensor(*args),
            "torch._utils._rebuild_parameter": lambda array, *_: array,
            "torch.Size": lambda sizes: tuple(sizes),
            "collections.OrderedDict": collections.OrderedDict,
        }
        if module == "torch" and name in _DTYPES:
            return name
        if f"{module}.{name}" not in known:
            raise InputError(
                f"{self.path} must hold tensors, dicts, lists, numbers and strings alone, got {module}.{name}; "
                "torch.save(module.state_dict(), path) writes such a file"
            )
        return known[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> np.ndarray:
        """The numbers of a storage, which several tensors may share."""
        _, kind, key, _, count = pid
        if key not in self.storages:
            self.storages[key] = np.frombuffer(self.archive.read(f"{self.folder}data/{key}"), _DTYPES[kind])
        if self.storages[key].dtype != _DTYPES[kind] or self.storages[key].size != count:
            raise ValueError(f"data/{key} is no {kind} of {count}")
        return self.storages[key]


def _tensor(
    storage: np.ndarray,
    start: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    requires_grad: bool = False,
    hooks: Any = None,
    metadata: Any = None,
) -> np.ndarray:
    """A view of a storage that stays inside it."""
    del requires_grad, hooks
    if metadata:
        raise ValueError(f"a tensor has the metadata {metadata}")
    if min(start, *shape, *strides, 0) < 0 or len(shape) != len(strides):
        raise ValueError(f"a tensor of shape {shape} has strides {strides} from {start}")
    end = start + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1
    if math.prod(shape) == 0:
        return np.zeros(shape, storage.dtype)
    if end > storage.size:
        raise ValueError(f"a tensor reaches to {end} in a storage of {storage.size}")
    steps = [stride * storage.itemsize for stride in strides]
    view: np.ndarray = np.lib.stride_tricks.as_strided(storage[start:], shape, steps, writeable=False)
    return view
