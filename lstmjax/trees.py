"""Modules as pytrees, and pytrees as flat tables of named host arrays, the form in which they are kept on disk."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax.errors import InputError
from lstmjax.regularizers import Noisy
from lstmjax.types import PyTree

Table = dict[str, np.ndarray]


def split_model(model: nnx.Module) -> tuple[nnx.GraphDef[Any], PyTree, PyTree]:
    """A module as its static part, its trained parameters, and its other variables.

    `nnx.merge(graphdef, params, other)` puts them together again, without what `train()` or `eval()` said of noise: a
    task's key says what is training.

    Returns:
      the graph definition; every `nnx.Param` as nested dicts of arrays; all other variables, such as the running
      statistics of a batch normalisation, likewise ({} where there are none).

    >>> graphdef, params, other = split_model(nnx.BatchNorm(2, rngs=nnx.Rngs(0)))
    >>> sorted(params), sorted(other)
    (['bias', 'scale'], ['mean', 'var'])
    """
    graphdef, params, *other = nnx.split(_without_mode(model), nnx.Param, ...)
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(other[0])


def _without_mode(model: nnx.Module) -> nnx.Module:
    if all(noisy.deterministic is None for noisy in _noisy(model)):
        return model
    model = nnx.clone(model)
    for noisy in _noisy(model):
        noisy.deterministic = None
    return model


def _noisy(model: nnx.Module) -> list[Noisy]:
    return [module for _, module in nnx.iter_modules(model) if isinstance(module, Noisy)]


def to_table(tree: PyTree) -> Table:
    """Copy each leaf to the host, under the dotted path that leads to it; random keys as the numbers they are made of.

    >>> to_table({"layers": [{"b": jnp.zeros(2)}]})
    {'layers.0.b': array([0., 0.], dtype=float32)}
    """
    # np.array copies; a view would share memory with a buffer that the next training step gives up
    return {name: np.array(leaf) for name, leaf in _named_leaves(without_keys(tree)).items()}


def from_table(template: PyTree, table: Table) -> PyTree:
    """Put a table's arrays into the tree of `template`, as random keys where it has them."""
    leaves = [_as_leaf(table[name], like) for name, like in _named_leaves(template).items()]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _as_leaf(array: np.ndarray, like: Any) -> Any:
    if not is_key(like):
        return jnp.array(array)
    return jax.random.wrap_key_data(jnp.array(array), impl=jax.random.key_impl(jnp.zeros((), like.dtype)))


def without_keys(tree: PyTree) -> PyTree:
    """A tree with random keys as the numbers they are made of."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)


def is_key(leaf: Any) -> bool:
    """Whether it is an array of random keys."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def check_fit(what: str, table: Table, template: PyTree) -> None:
    """The table has the names, shapes and dtypes of `template`, or InputError says where `what` differs."""
    got = {name: _describe(leaf) for name, leaf in table.items()}
    wanted = {name: _describe(leaf) for name, leaf in _named_leaves(jax.eval_shape(without_keys, template)).items()}
    for name in sorted(got.keys() | wanted.keys()):
        if got.get(name) != wanted.get(name):
            raise InputError(
                f"{what} is from another config: {name} is {got.get(name, 'absent')} in it, "
                f"and {wanted.get(name, 'absent')} by the run's settings"
            )


def digest(table: Table) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in hex."""
    total = hashlib.sha256()
    for name in sorted(table):
        total.update(f"{name} {_describe(table[name])}".encode())
        total.update(np.ascontiguousarray(table[name]).tobytes())
    return total.hexdigest()


def _named_leaves(tree: PyTree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _describe(leaf: Any) -> str:
    return f"{leaf.dtype.name} {list(leaf.shape)}"
