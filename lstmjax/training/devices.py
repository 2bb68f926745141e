"""Several devices: each holds all parameters and a share of every batch's rows."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lstmjax.types import Array, PyTree

DATA = "data"
"""The mesh axis over which the rows of a batch are shared out."""
WHOLE, ROWS = PartitionSpec(), PartitionSpec(DATA)  # type: ignore[no-untyped-call]
"""All of an array on every device; its leading axis shared out over them."""


def data_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with the one axis "data".

    Args:
      devices: at least one; None means all there are.

    >>> dict(data_mesh(jax.devices()[:1]).shape)
    {'data': 1}
    """
    return Mesh(np.asarray(jax.devices() if devices is None else devices), (DATA,))


def everywhere(mesh: Mesh) -> NamedSharding:
    """All of an array on every device."""
    return NamedSharding(mesh, WHOLE)


def add_up(tree: PyTree) -> PyTree:
    """The sum over devices of what each one has; inside `jax.shard_map`."""
    return lax.psum(tree, DATA)  # type: ignore[no-untyped-call]


def average(leaf: Array) -> Array:
    """The mean over devices; whole numbers, such as a counter's, are the same on all.

    Raises:
      TypeError: an RNG key, which would draw the same noise on every device.
    """
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise TypeError(
            "a model must hold no RNG to be trained on several devices; its noise comes from the task's key"
        )
    combine: Callable[[Array, str], Array] = lax.pmean if jnp.issubdtype(leaf.dtype, jnp.inexact) else lax.pmax
    return combine(leaf, DATA)


def by_rows(mesh: Mesh) -> NamedSharding:
    """An array's leading axis shared out over the devices."""
    return NamedSharding(mesh, ROWS)
