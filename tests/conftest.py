"""The climate all tests run in: nothing is promoted or broadcast by accident (warnings are errors: pyproject.toml)."""

from collections.abc import Iterator

import hypothesis
import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 4)
hypothesis.settings.register_profile("lstmjax", deadline=None, derandomize=True)  # a first call may compile
hypothesis.settings.load_profile("lstmjax")


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
def quick_compilation() -> Iterator[None]:
    """For tests that spend their time compiling: the same maths, less optimised.

    What is compiled meanwhile stays in JAX's cache for later tests, so two functions, even of the same maths, are
    compared by a dtype's tolerance and not bit for bit.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def full_compilation(quick_compilation: None) -> None:
    """For a test among those that is about what the compiler makes of it."""
    jax.config.update("jax_disable_most_optimizations", False)
