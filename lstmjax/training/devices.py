"""Several devices: each holds all parameters and a share of every batch's rows."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

DATA = "data"
"""The mesh axis over which the rows of a batch are shared out."""


def data_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with the one axis "data".

    Args:
      devices: at least one; None means all there are.

    >>> data_mesh(jax.devices()[:1]).shape
    OrderedDict({'data': 1})
    """
    return Mesh(np.asarray(jax.devices() if devices is None else devices), (DATA,))


def everywhere(mesh: Mesh) -> NamedSharding:
    """All of an array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh) -> NamedSharding:
    """An array's leading axis shared out over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA))
