"""The machine: what it is, and how fast it multiplies matrices when that is all it does."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.speed.turns import seconds_a_run

PACKAGES = ("lstmjax", "jax", "jaxlib", "flax", "torch", "onnxruntime", "keras", "dm-haiku", "numpy")


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


def rate(device: str) -> dict[str, Any]:
    """Float32 operations a second in a large matrix product, the best of a few."""
    jax.config.update("jax_platforms", device)  # type: ignore[no-untyped-call]
    side = 4096
    matrix = jnp.full((side, side), 0.5, jnp.float32)
    product = jax.jit(lambda a: a @ a).lower(matrix).compile()
    seconds = [seconds_a_run(lambda: product(matrix).block_until_ready(), 0.1) for _ in range(5)]
    return {"device": jax.devices()[0].device_kind, "matrix_flops_per_second": 2 * side**3 / min(seconds)}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
