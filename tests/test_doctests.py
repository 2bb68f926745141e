"""Every example in a docstring runs and says what it says."""

import doctest
import importlib
import math
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx

NAMES = {"jax": jax, "jnp": jnp, "np": np, "nnx": nnx, "lx": lx, "math": math}
MODULES = [module.name for module in pkgutil.walk_packages(lx.__path__, "lstmjax.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str, lenient_promotion: None) -> None:
    assert doctest.testmod(importlib.import_module(name), extraglobs=NAMES).failed == 0
