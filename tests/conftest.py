"""The climate all tests run in: nothing is promoted or broadcast by accident (warnings are errors: pyproject.toml).

Programs are compiled quickly rather than well, here and in the processes that tests start: the same maths, less
optimised. What is compiled once is kept for the rest of the session, in a folder that is empty at first.
LSTMJAX_TEST_X64=1 turns 64 bits on for every test.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import hypothesis
import jax
import pytest

os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # PyTorch's threads wait by spinning, beside another worker for most of the time
if jax.__version_info__ < (0, 11):  # XLA's older way to compile elementwise loops takes half the time; then it went
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"  # small programs: parts cost more than help
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", os.environ.get("LSTMJAX_TEST_X64") == "1")
hypothesis.settings.register_profile("lstmjax", deadline=None, derandomize=True)  # a first call may compile
hypothesis.settings.load_profile("lstmjax")
gc.set_threshold(50_000)  # tracing makes many objects: looking through all of them so often took a tenth of the time


def pytest_configure(config: pytest.Config) -> None:
    """A folder for each worker: one that reads what another is writing would be warned of a damaged file."""
    folder = tempfile.mkdtemp(prefix="lstmjax-compiled-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_collection_finish() -> None:
    """What the tests import stays to the end, so no collection of garbage need look through it."""
    hypothesis.given(hypothesis.strategies.none())(lambda _: None)()  # it looks for who holds its generator, at first
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def programs_of_a_file() -> Iterator[None]:
    """Each file begins with none: the more lowered programs JAX keeps, the slower it lowers the next, up to 4 times."""
    yield
    jax.clear_caches()


@pytest.fixture
def x64() -> Iterator[None]:
    """float64 for the length of a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def lenient_promotion() -> Iterator[None]:
    """For tests that run an optax optimiser, which mixes float and integer scalars."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def full_compilation() -> Iterator[dict[str, bool]]:
    """The `compiler_options` of a program as users run it, for a test about what the compiler makes of it.

    What was compiled before stays in JAX's cache, so such a test needs functions of its own.
    """
    jax.config.update("jax_disable_most_optimizations", False)
    yield {"xla_cpu_use_fusion_emitters": True} if jax.__version_info__ < (0, 11) else {}
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Keras on JAX."""
    from experiments.peers.common import foreign

    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with foreign():
        return pytest.importorskip("keras")
