"""A task's figures over a whole source, every batch once and in order."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from lstmjax.data.source import Source
from lstmjax.tasks import Mean, Task, add_means
from lstmjax.training.devices import ROWS, WHOLE, add_up, by_rows, everywhere
from lstmjax.types import PyTree

EvaluateFn = Callable[[PyTree, PyTree, Source[Any]], dict[str, float]]


def make_evaluate(task: Task, graphdef: nnx.GraphDef[Any], mesh: Mesh | None = None) -> EvaluateFn:
    """Compile `(params, other, source) -> figures`, exact over ragged batches: totals and weights are added up.

        figures = task.summary(sum over batches of task.loss(model, batch, carry))

    Args:
      task: gives the means, without noise, and the figures made of their sums.
      graphdef: of the model, from `split_model`.
      mesh: from `data_mesh`, see `make_train_step`; None means one device.

    Returns:
      the evaluation; it starts from the task's first carry and goes through `len(source)` batches.
    """

    def batch_means(params: PyTree, other: PyTree, batch: Any, carry: PyTree) -> tuple[dict[str, Mean], PyTree]:
        means, carry = task.loss(nnx.merge(graphdef, params, other), batch, carry, None)
        return means if mesh is None else add_up(means), carry

    if mesh is None:
        step = jax.jit(batch_means)
    else:
        step = jax.jit(
            jax.shard_map(batch_means, mesh=mesh, in_specs=(WHOLE, WHOLE, ROWS, ROWS), out_specs=(WHOLE, ROWS)),
            in_shardings=(everywhere(mesh), everywhere(mesh), by_rows(mesh), by_rows(mesh)),
        )

    def evaluate(params: PyTree, other: PyTree, source: Source[Any]) -> dict[str, float]:
        batch_size = len(jax.tree.leaves(source.batch(0))[0])
        carry = task.carry(nnx.merge(graphdef, params, other), batch_size)
        if mesh is not None:
            carry = jax.device_put(carry, by_rows(mesh))
        found = []
        for position in range(len(source)):
            means, carry = step(params, other, source.batch(position), carry)
            found.append(means)
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), jax.device_get(found))
        return task.summary(functools.reduce(add_means, wide))

    return evaluate
