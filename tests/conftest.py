"""The climate all tests run in: nothing is promoted or broadcast by accident (warnings are errors: pyproject.toml).

Programs are compiled quickly rather than well, here and in the processes that tests start: the same maths, less
optimised. LSTMJAX_TEST_X64=1 turns 64 bits on for every test.
"""

import os
from collections.abc import Iterator

import hypothesis
import jax
import pytest

os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", os.environ.get("LSTMJAX_TEST_X64") == "1")
hypothesis.settings.register_profile("lstmjax", deadline=None, derandomize=True)  # a first call may compile
hypothesis.settings.load_profile("lstmjax")

RUN_ONCE = ("test_command_lines", "test_checkpoint")  # modules whose tests share a whole run


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep on one worker what shares a costly fixture, for `--dist loadgroup`."""
    for item in items:
        if item.path.stem in RUN_ONCE:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


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
def full_compilation() -> Iterator[None]:
    """For a test that is about what the compiler makes of it, or tries a program as users run it.

    What was compiled before stays in JAX's cache, so such a test needs functions of its own.
    """
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def quick_compilation() -> None:
    """What every test has anyway."""
