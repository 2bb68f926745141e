"""One optimisation step of any task, compiled, on one device or several."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx
from jax import lax
from jax.sharding import Mesh

from lstmjax.tasks import Mean, Task
from lstmjax.training.devices import DATA, ROWS, WHOLE, add_up, average, by_rows, everywhere
from lstmjax.training.state import Metrics, TrainState, TrainStep
from lstmjax.trees import split_model
from lstmjax.types import Array, Float, Key, PyTree


class Gradients(NamedTuple):
    """What a batch gives: gradients of the loss, all means, and new values of untrained variables and of the carry."""

    params: PyTree
    means: dict[str, Mean]
    other: PyTree
    carry: PyTree


def make_train_step(
    task: Task, graphdef: nnx.GraphDef[Any], optimizer: optax.GradientTransformation, mesh: Mesh | None = None
) -> TrainStep:
    """Compile `(state, batch) -> (state, metrics)`; the old state's buffers are donated to the new one.

        loss = sum of the rows' totals / sum of the rows' weights,    params += optimizer(d loss / d params)

    Args:
      task: gives the loss.
      graphdef: of the model, from `split_model`.
      optimizer: from `make_optimizer`, or any of optax.
      mesh: from `data_mesh`: every device takes an equal share of the batch's rows, and sums and gradients are added
        over devices, so that the result is one device's. Noise is drawn per device, and a batch normalisation sees its
        own device's rows, unless it has `axis_name="data"`. None means one device.

    Returns:
      the step. Its metrics are scalars: every `Mean` of the task, such as `loss`, and `grad_norm` (before clipping).
    """
    gradients = gradients_of(task, graphdef) if mesh is None else _sharded(task, graphdef, mesh)

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        found = gradients(state.params, state.other, batch, state.carry, key)
        updates, opt_state = optimizer.update(found.params, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {name: mean.value for name, mean in found.means.items() if isinstance(mean, Mean)}
        metrics["grad_norm"] = optax.tree.norm(found.params)
        return TrainState(params, found.other, opt_state, state.step + 1, state.key, found.carry), metrics

    if mesh is None:
        return jax.jit(train_step, donate_argnums=0)
    whole, rows = everywhere(mesh), by_rows(mesh)
    shardings: Any = (*[whole] * 5, rows)  # as TrainState's fields
    shardings = TrainState(*shardings)
    return jax.jit(train_step, donate_argnums=0, in_shardings=(shardings, rows), out_shardings=(shardings, whole))


def gradients_of(
    task: Task, graphdef: nnx.GraphDef[Any], over_shards: Callable[[PyTree], PyTree] = lambda tree: tree
) -> Callable[[PyTree, PyTree, Any, PyTree, Key[Array, ""]], Gradients]:
    """`(params, other, batch, carry, key) -> Gradients` of the mean loss over all shards.

    Args:
      task: gives the loss.
      graphdef: of the model.
      over_shards: the sum over shards of what each one has; the identity where there is one.
    """

    def gradients(params: PyTree, other: PyTree, batch: Any, carry: PyTree, key: Key[Array, ""]) -> Gradients:
        def loss_of(params: PyTree) -> tuple[Float[Array, ""], tuple[dict[str, Mean], PyTree, PyTree]]:
            model = nnx.merge(graphdef, params, other)
            means, after = task.loss(model, batch, carry, key)
            loss = means["loss"]._replace(weight=lax.stop_gradient(over_shards(means["loss"].weight)))
            return loss.value, (means, split_model(model)[2], after)

        grads, (means, new_other, after) = jax.grad(loss_of, has_aux=True)(params)
        return Gradients(over_shards(grads), over_shards(means), new_other, after)

    return gradients


def _sharded(
    task: Task, graphdef: nnx.GraphDef[Any], mesh: Mesh
) -> Callable[[PyTree, PyTree, Any, PyTree, Key[Array, ""]], Gradients]:
    """As `gradients_of`, each device with its own rows; the carry stays where its rows are."""
    local = gradients_of(task, graphdef, add_up)

    def on_shard(params: PyTree, other: PyTree, batch: Any, carry: PyTree, key: Key[Array, ""]) -> Gradients:
        # Parameters count as a device's own, so that its gradients are too, and are added over devices once, by us.
        params, other, key = jax.tree.map(_own, (params, other, key))
        found = local(params, other, batch, carry, jax.random.fold_in(key, lax.axis_index(DATA)))
        return found._replace(other=jax.tree.map(average, found.other))

    specs: Any = (WHOLE, WHOLE, WHOLE, ROWS)  # as Gradients' fields
    return jax.shard_map(on_shard, mesh=mesh, in_specs=(WHOLE, WHOLE, ROWS, ROWS, WHOLE), out_specs=Gradients(*specs))


def _own(leaf: Array) -> Array:
    # The oldest JAX that is supported knows this by another name.
    if hasattr(lax, "pcast"):
        varying: Array = lax.pcast(leaf, DATA, to="varying")
        return varying
    return lax.pvary(leaf, DATA)  # type: ignore[attr-defined,no-any-return]
