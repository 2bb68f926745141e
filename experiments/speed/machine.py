"""The machine: what it is, and how fast it multiplies matrices and reads memory when that is all it does."""

import importlib.metadata
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp

from experiments.speed.turns import seconds_a_run

PACKAGES = ("lstmjax", "jax", "jaxlib", "flax", "torch", "onnxruntime", "keras", "dm-haiku", "numpy")
_SIDES = (2048, 4096)
_FLOATS = 2**26  # 256 MB, more than any cache
_CALLS = 5


def describe() -> dict[str, Any]:
    """Processor, cores, memory, system and versions; nothing of JAX is started."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := version_of(name)) is not None},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def measure(device: str) -> dict[str, Any]:
    """Best of a few: float32 operations a second in a large matrix product, bytes a second in reading a large one."""
    jax.config.update("jax_platforms", device)  # type: ignore[no-untyped-call]
    return {
        "device": jax.devices()[0].device_kind,
        "matrix_flops_per_second": max(map(_matrix_rate, _SIDES)),
        "bytes_per_second": _product_rate(),
    }


def _matrix_rate(side: int) -> float:
    a = jnp.full((side, side), 0.5, jnp.float32)
    return 2 * side**3 / _best(lambda a: a @ a, a)


def _product_rate() -> float:
    """A matrix by a vector, which is what generation does with each weight."""
    matrix, vector = jnp.ones((2**13, _FLOATS // 2**13), jnp.float32), jnp.ones(2**13, jnp.float32)
    return 4 * _FLOATS / _best(lambda matrix, vector: vector @ matrix, matrix, vector)


def _best(function: Callable[..., Any], *arrays: Any) -> float:
    program, wait = jax.jit(function), cast(Any, jax.block_until_ready)
    wait(program(*arrays))
    return min(seconds_a_run(lambda: wait(program(*arrays)), 0.0) for _ in range(_CALLS))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
