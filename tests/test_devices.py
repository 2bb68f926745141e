"""Data-parallel training: on four devices, losses and parameters are one device's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lstmjax as lx
from lstmjax import training
from lstmjax.tasks import Mean, Task
from lstmjax.training.devices import everywhere

pytestmark = pytest.mark.usefixtures("lenient_promotion")

ROWS, STEPS, IN, HIDDEN = 8, 5, 3, 4


class Batch(NamedTuple):
    xs: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray


class Regressor(nnx.Module):
    """A normalised input, a recurrent layer with noise, and one number a step."""

    def __init__(self, cell, rngs, initial_state="zeros"):
        self.norm = nnx.BatchNorm(IN, rngs=rngs)
        self.layer = lx.Recurrent(lx.regularizers.RecurrentDropout(cell, 0.5), initial_state=initial_state, rngs=rngs)
        self.head = nnx.Linear(HIDDEN, 1, rngs=rngs)

    def __call__(self, batch, carry, backend, key):
        xs = self.norm(batch.xs, use_running_average=True)
        ys, carry = self.layer(xs, state=carry, lengths=batch.lengths, backend=backend, key=key)
        return self.head(ys)[..., 0], carry


def regression(backend, noise):
    def loss(model, batch, carry, key):
        predicted, carry = model(batch, carry, backend, key if noise else None)
        valid = lx.valid_steps(batch.lengths, None, STEPS, len(batch.xs)).T
        return {"loss": Mean.of(jnp.square(predicted - batch.targets), valid)}, carry

    return Task(loss, lambda model, rows: model.layer.initial_state(rows))


def batches(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        lengths = rng.integers(0, STEPS + 1, ROWS).astype(np.int32)
        yield Batch(
            rng.normal(size=(ROWS, STEPS, IN)).astype(np.float32),
            lengths,
            rng.normal(size=(ROWS, STEPS)).astype(np.float32),
        )


def trained(cell, backend, noise, mesh, steps=3):
    model, task = Regressor(cell, nnx.Rngs(0)), regression(backend, noise)
    optimizer = optax.adam(0.01)
    graphdef = training.split_model(model)[0]
    state = training.initial_train_state(model, task, optimizer, ROWS, jax.random.key(1))
    step = training.make_train_step(task, graphdef, optimizer, mesh)
    losses = []
    for batch in batches(steps):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    return losses, state, step


@pytest.mark.parametrize("backend", ["scan", "fused", "native"])
@pytest.mark.parametrize("make_cell", [lx.cells.LSTM, lx.cells.GRU])
def test_four_devices_are_one(make_cell, backend):
    cell = make_cell(IN, HIDDEN)
    expected, one, _ = trained(cell, backend, False, None)
    losses, four, step = trained(cell, backend, False, training.data_mesh())
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-6)
    for name in ("params", "other", "carry"):
        for got, want in zip(jax.tree.leaves(getattr(four, name)), jax.tree.leaves(getattr(one, name)), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    assert len(four.carry.h.sharding.device_set) == 4
    text = step.lower(four, next(batches(1))).compile().as_text()
    assert "all-reduce" in text
    assert "all-gather" not in text


def test_every_device_draws_its_own_noise():
    cell = lx.cells.LSTM(IN, HIDDEN)
    losses, _, _ = trained(cell, "fused", True, training.data_mesh())
    again, _, _ = trained(cell, "fused", True, training.data_mesh())
    plain, _, _ = trained(cell, "fused", False, training.data_mesh())
    assert losses == again
    assert np.isfinite(losses).all()
    assert losses != plain


class Weight(nnx.Module):
    """A model with one parameter."""

    def __init__(self):
        self.weight = nnx.Param(jnp.zeros(()))


def test_rows_on_different_devices_have_different_noise():
    def loss(model, batch, carry, key):
        drawn = jax.random.normal(key, (len(batch.xs),))
        return {"loss": Mean.of(model.weight[...] * jnp.ones(len(batch.xs)))}, drawn

    task = Task(loss, lambda model, rows: jnp.zeros(rows))
    model, optimizer = Weight(), optax.sgd(0.1)
    state = training.initial_train_state(model, task, optimizer, ROWS, jax.random.key(1))
    step = training.make_train_step(task, training.split_model(model)[0], optimizer, training.data_mesh())
    state, _ = step(state, next(batches(1)))
    assert len(set(np.asarray(state.carry).tolist())) == ROWS


def test_an_evaluation_on_four_devices_is_one_on_one():
    """With a carry that starts from a learned state, and parameters that lie on all devices."""
    cell = lx.cells.LSTM(IN, HIDDEN)
    model, task = Regressor(cell, nnx.Rngs(0), "learned"), regression("auto", False)
    graphdef, *variables = training.split_model(model)
    params, other = jax.device_put(variables, everywhere(training.data_mesh()))
    held = list(batches(3))

    class Held:
        def __len__(self):
            return len(held)

        def batch(self, position):
            return held[position]

    one = training.make_evaluate(task, graphdef)(*variables, Held())
    four = training.make_evaluate(task, graphdef, training.data_mesh())(params, other, Held())
    np.testing.assert_allclose(four["loss"], one["loss"], rtol=1e-6)
    carry, squares = None, []
    for batch in held:
        predicted, carry = model(batch, carry, "auto", None)
        errors = np.square(np.asarray(predicted) - batch.targets)
        squares += [row[:length] for row, length in zip(errors, batch.lengths, strict=True)]
    np.testing.assert_allclose(one["loss"], np.concatenate(squares).mean(), rtol=1e-5)


def test_a_model_that_holds_an_rng_is_refused_on_several_devices():
    class Noisy(nnx.Module):
        def __init__(self):
            self.weight, self.drop = nnx.Param(jnp.zeros(())), nnx.Dropout(0.5, rngs=nnx.Rngs(0))

    def loss(model, batch, carry, key):
        return {"loss": Mean.of(model.weight[...] * jnp.ones(len(batch.xs)))}, carry

    model, task, optimizer = Noisy(), Task(loss), optax.sgd(0.1)
    state = training.initial_train_state(model, task, optimizer, ROWS, jax.random.key(1))
    step = training.make_train_step(task, training.split_model(model)[0], optimizer, training.data_mesh())
    with pytest.raises(TypeError, match="a model must hold no RNG to be trained on several devices"):
        step(state, next(batches(1)))
