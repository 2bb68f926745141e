"""The library of the native backend: loaded and made known to XLA when first asked for, or the reason why not."""

import ctypes
import functools
import os
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np

TARGETS = {"lstmjax_pack": "LstmjaxPack", "lstmjax_forward": "LstmjaxForward", "lstmjax_backward": "LstmjaxBackward"}
"""For each name under which XLA calls a handler, the name that the library has for it."""

BUILD = "build it by `python -m lstmjax.kernels.native.compile`"
_ONE_AT_A_TIME = threading.Lock()


def why_not() -> str | None:
    """Why the library can't serve, or None if it can. The first time it is loaded for that; nothing is raised."""
    found = _found()
    return found if isinstance(found, str) else None


def load() -> ctypes.CDLL:
    """The library, with its three handlers registered for CPUs.

    Raises:
      RuntimeError: it can't serve; the message is what `why_not` says.
    """
    found = _found()
    if isinstance(found, str):
        raise RuntimeError(f"the native library can't be used: {found}")
    return found


def lanes(dtype: Any) -> int:
    """How many values of `dtype` one vector of the instruction set in use holds.

    Raises:
      RuntimeError: the library can't serve.
    """
    return int(load().lstmjax_native_lanes(np.dtype(dtype).itemsize))


def isa() -> str:
    """The instruction set in use.

    Raises:
      RuntimeError: the library can't serve.
    """
    name: bytes = load().lstmjax_native_isa()
    return name.decode()


def _found() -> ctypes.CDLL | str:
    """The library or the reason, by the environment as it is now: LSTMJAX_NATIVE is "off" or another file to load."""
    from lstmjax.kernels.native.compile import LIBRARY  # late, as Python warns when what it runs was imported before

    asked = os.environ.get("LSTMJAX_NATIVE", "")
    if asked == "off":
        return "switched off by the environment variable LSTMJAX_NATIVE"
    with _ONE_AT_A_TIME:  # two libraries of one name would be registered by two threads
        return _opened(Path(asked or LIBRARY))


@functools.cache
def _opened(path: Path) -> ctypes.CDLL | str:
    from lstmjax.kernels.native.compile import BuildError, host, source_digest

    if not path.is_file():
        return f"there is no {path.name} in {path.parent}; {BUILD}"
    try:
        library = ctypes.CDLL(str(path))
        library.lstmjax_native_digest.restype = library.lstmjax_native_isa.restype = ctypes.c_char_p
        if library.lstmjax_native_digest().decode() != source_digest(host()):
            return f"{path.name} was built of other sources than those beside it; {BUILD}"
    except (AttributeError, OSError, BuildError) as error:
        return f"{path.name} could not be loaded: {error}; {BUILD}"
    return _registered(library) or library


def _registered(library: ctypes.CDLL) -> str | None:
    """Tell XLA, or say why it won't hear of it: it refuses interfaces that are too old or too new for it."""
    try:
        jax.local_devices(backend="cpu")  # until there are CPUs, names are only noted, and a refusal would end those
        for name, handler in TARGETS.items():
            function = jax.ffi.pycapsule(getattr(library, handler))  # type: ignore[no-untyped-call]
            jax.ffi.register_ffi_target(name, function, platform="cpu")
    except Exception as error:  # of whatever kind JAX's are: another backend serves
        return f"JAX {jax.__version__} can't use the library: {str(error).strip() or type(error).__name__}; {BUILD}"
    return None
