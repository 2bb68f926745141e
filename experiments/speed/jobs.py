"""A whole job, the way each library's users do it: one epoch of training a forecaster.

An LSTM reads 1000 sequences of 1000 steps, a dense layer makes a number from its last output, the loss is the mean
squared error, Adam learns from batches of 64, in the same order from the same weights. An epoch gives its mean loss.
"""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lstmjax as lx
from experiments.speed.contenders.case import Answers, Case, Request
from experiments.speed.problem import Problem

LEARNING_RATE = 1e-3


def batches(problem: Problem, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(xs [B, T, I], targets [B, 1]), the last as small as it comes."""
    cuts = range(0, len(problem.xs), size)
    return [(problem.xs[at : at + size], problem.targets[at : at + size]) for at in cuts]


@dataclasses.dataclass
class Epochs:
    """Call it for one more epoch; it gives the mean loss over the sequences. `step(batch)` learns and gives a loss."""

    step: Callable[[Any], Any]
    data: list[tuple[Any, Any]]

    def __call__(self) -> float:
        losses = [self.step(batch) for batch in self.data]
        counts = [len(targets) for _, targets in self.data]
        return float(np.average([float(loss) for loss in losses], weights=counts))


def prepare_lstmjax(request: Request, problem: Problem) -> Case:
    cell = lx.cells.LSTM(request.row.in_features, request.row.hidden, param_dtype=jnp.dtype(request.dtype))
    optimizer, place = optax.adam(LEARNING_RATE), _place(request)
    params = {
        "cell": lx.LSTMParams(*map(place, problem.weights[0][0])),
        "kernel": place(problem.head[0]),
        "bias": place(problem.head[1]),
    }
    data = jax.tree.map(place, batches(problem, request.row.batch))
    slopes = jax.value_and_grad(lambda params, batch: _loss(cell, request.option, params, batch))

    @jax.jit
    def learn(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, d_params = slopes(params, batch)
        updates, opt_state = optimizer.update(d_params, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    now = [params, optimizer.init(params)]

    def step(batch: Any) -> Any:
        *now[:], loss = learn(*now, batch)
        return loss

    return Case(Epochs(step, data), _answers)


def prepare_keras(request: Request, problem: Problem) -> Case:
    keras: Any = importlib.import_module("keras")
    row = request.row
    model = keras.Sequential(
        [keras.layers.Input((row.steps, row.in_features)), keras.layers.LSTM(row.hidden), keras.layers.Dense(1)]
    )
    model.set_weights([*problem.weights[0][0], *problem.head])
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="mse")

    def epoch() -> float:
        history = model.fit(problem.xs, problem.targets, batch_size=row.batch, epochs=1, shuffle=False, verbose=0)
        return float(history.history["loss"][0])

    return Case(epoch, _answers)


def prepare_torch(request: Request, problem: Problem, module: Any, torch: Any) -> Case:
    head = torch.nn.Linear(request.row.hidden, 1)
    head.load_state_dict({"weight": torch.tensor(problem.head[0].T), "bias": torch.tensor(problem.head[1])})
    head = head.to(request.device, getattr(torch, request.dtype))
    optimizer = torch.optim.Adam([*module.parameters(), *head.parameters()], lr=LEARNING_RATE)

    def place(array: np.ndarray) -> Any:
        return torch.tensor(array, dtype=getattr(torch, request.dtype), device=request.device)

    def step(batch: Any) -> Any:
        xs, targets = batch
        loss = torch.nn.functional.mse_loss(head(module(xs)[1][0][-1]), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    data = [(place(xs.swapaxes(0, 1)), place(targets)) for xs, targets in batches(problem, request.row.batch)]
    return Case(Epochs(step, data), _answers)


def _loss(cell: Any, backend: str, params: Any, batch: Any) -> Any:
    xs, targets = batch
    _, state = lx.unroll(cell, params["cell"], xs, backend=backend)
    predictions = state.h @ params["kernel"] + jnp.broadcast_to(params["bias"], targets.shape)
    return jnp.mean(jnp.square(predictions - targets))


def _place(request: Request) -> Callable[[Any], Any]:
    return lambda array: jnp.asarray(array, request.dtype)


def _answers(loss: float) -> Answers:
    return {"loss": np.array([loss])}
