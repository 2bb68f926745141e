"""A whole job, the way each library's users do it: one epoch of training a forecaster.

An LSTM reads 1000 sequences of 1000 steps, a dense layer makes a number from its last output, the loss is the mean
squared error, Adam learns from batches of 64, in the same order from the same weights. An epoch gives its mean loss.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lstmjax as lx
from experiments.peers.keras_layers import keras_on_jax
from experiments.speed.problem import Problem, Request
from experiments.speed.turns import Prepared

LEARNING_RATE = 1e-3


def batches(problem: Problem, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(xs [B, T, I], targets [B, 1]), the last as small as it comes."""
    return list(zip(_cut(problem.xs, size), _cut(problem.targets, size), strict=True))


def _cut(array: np.ndarray, size: int) -> list[np.ndarray]:
    return [array[at : at + size] for at in range(0, len(array), size)]


def prepared(epoch: Callable[[], float]) -> Prepared:
    return Prepared({"epoch": epoch}, lambda: {"loss": np.array([epoch()])})


def epoch_of(step: Callable[[Any], Any], data: Sequence[tuple[Any, Any]]) -> Callable[[], float]:
    """The mean loss over the sequences, from `step(batch)`, which learns and gives a loss."""

    def epoch() -> float:
        losses = [step(batch) for batch in data]
        return float(np.average([float(loss) for loss in losses], weights=[len(targets) for _, targets in data]))

    return epoch


def prepare_ours(request: Request, problem: Problem, backend: str) -> Prepared:
    cell = lx.cells.LSTM(request.row.in_features, request.row.hidden, param_dtype=jnp.dtype(request.dtype))
    optimizer = optax.adam(LEARNING_RATE)

    def place(tree: Any) -> Any:
        return jax.tree.map(lambda array: jnp.asarray(array, request.dtype), tree)

    def loss(params: Any, xs: Any, targets: Any) -> Any:
        _, state = lx.unroll(cell, params["cell"], xs, backend=backend)
        kernel, bias = params["head"]
        return jnp.mean(jnp.square(state.h @ kernel + jnp.broadcast_to(bias, targets.shape) - targets))

    @jax.jit
    def learn(params: Any, opt_state: Any, xs: Any, targets: Any) -> Any:
        value, slopes = jax.value_and_grad(loss)(params, xs, targets)
        updates, opt_state = optimizer.update(slopes, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    params = place({"cell": lx.LSTMParams(**problem.weights[0][0]), "head": problem.head})
    now = [params, optimizer.init(params)]

    def step(batch: Any) -> Any:
        *now[:], value = learn(*now, *batch)
        return value

    return prepared(epoch_of(step, place(batches(problem, request.row.batch))))


def prepare_keras(request: Request, problem: Problem) -> Prepared:
    keras = keras_on_jax()
    row = request.row
    layers = [keras.layers.Input((row.steps, row.in_features)), keras.layers.LSTM(row.hidden), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.set_weights([*problem.weights[0][0].values(), *problem.head])
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="mse")

    def epoch() -> float:
        history = model.fit(problem.xs, problem.targets, batch_size=row.batch, epochs=1, shuffle=False, verbose=0)
        return float(history.history["loss"][0])

    return prepared(epoch)


def prepare_torch(request: Request, problem: Problem, module: Any) -> Prepared:
    import torch

    to = {"device": request.device, "dtype": getattr(torch, request.dtype)}
    head = torch.nn.Linear(request.row.hidden, 1)
    head.load_state_dict({"weight": torch.tensor(problem.head[0].T), "bias": torch.tensor(problem.head[1])})
    head.to(**to)
    parameters = itertools.chain(module.parameters(), head.parameters())
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)

    def step(batch: Any) -> Any:
        xs, targets = batch
        loss: Any = torch.nn.functional.mse_loss(head(module(xs)[1][0][-1]), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    data = [
        (torch.tensor(xs.swapaxes(0, 1), **to), torch.tensor(targets, **to))
        for xs, targets in batches(problem, request.row.batch)
    ]
    return prepared(epoch_of(step, data))
