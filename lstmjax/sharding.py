"""What `jax.shard_map` asks of the arrays of a scan."""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from lstmjax.types import PyTree


def vary_alike(tree: PyTree) -> PyTree:
    """Mark every leaf as varying over the mesh of `jax.shard_map` if any leaf does.

    A scan's carry must keep its type, and zeros made inside vary over nothing.
    """
    if AxisType.Manual not in jax.sharding.get_abstract_mesh().axis_types:
        return tree
    nowhere = jnp.array(False)
    for leaf in jax.tree.leaves(tree):
        nowhere = nowhere | jnp.any((leaf != leaf) & jnp.array(False))
    return jax.tree.map(lambda leaf: jnp.where(nowhere, jnp.zeros_like(leaf), leaf), tree)
