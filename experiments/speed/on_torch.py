"""PyTorch, on all cores: its layers under `inference_mode` forward, and a Python loop for generation."""

from typing import Any

import numpy as np
import torch

from experiments.peers import torch_layers
from experiments.peers.common import entries_of
from experiments.speed import machine
from experiments.speed.problem import LEARNING_RATE, Problem, Request, draw, prepare_epoch
from experiments.speed.rows import SYMBOLS
from experiments.speed.turns import Prepared
from lstmjax.interop.layouts import LAYOUTS


def prepare(request: Request) -> Prepared:
    torch.set_num_threads(machine.cores())
    problem = draw(request.row)
    weights = [[entries_of(LAYOUTS["torch"]["LSTM"], parts) for parts in both] for both in problem.weights]
    module = torch_layers.layers("LSTM", request.row.hidden, weights)
    module = module.to(request.device, getattr(torch, request.dtype))
    cases = {"forward": _forward, "forward+backward": _backward, "generate": _generation, "epoch": _training}
    return cases[request.mode](request, problem, module)


def _forward(request: Request, problem: Problem, module: Any) -> Prepared:
    xs, lengths = _tensor(request, problem.xs), _lengths(problem)

    def run() -> Any:
        with torch.inference_mode():
            return _wait(request, torch_layers.run(module, xs, lengths=lengths)[0])

    def check() -> Any:
        return {"outputs": np.where(problem.valid, torch_layers.to_numpy(run()), 0)}

    return Prepared({"forward": run}, check)


def _backward(request: Request, problem: Problem, module: Any) -> Prepared:
    xs, lengths = _tensor(request, problem.xs).requires_grad_(), _lengths(problem)
    loss_weights, parameters = _tensor(request, problem.loss_weights), list(module.parameters())

    def run() -> Any:
        loss = (torch_layers.run(module, xs, lengths=lengths)[0] * loss_weights).sum()
        return _wait(request, torch.autograd.grad(loss, [xs, *parameters]))

    def check() -> Any:
        d_inputs, *d_weights = map(torch_layers.to_numpy, run())
        d_inputs = np.where(problem.valid, d_inputs, 0)
        return {"d_inputs": d_inputs, "d_weights": torch_layers.by_layer(module, d_weights)}

    return Prepared({"forward+backward": run}, check)


def _generation(request: Request, problem: Problem, module: Any) -> Prepared:
    """A Python loop over `nn.LSTMCell`, which is faster here than `nn.LSTM` one step at a time."""
    cell = torch.nn.LSTMCell(request.row.in_features, request.row.hidden)
    cell.load_state_dict({name.removesuffix("_l0"): array for name, array in module.state_dict().items()})
    cell = cell.to(request.device, getattr(torch, request.dtype))
    embedding = _tensor(request, problem.embedding)
    kernel, bias = _tensor(request, problem.head[0]).T.contiguous(), _tensor(request, problem.head[1])
    first = torch.arange(request.row.batch, device=request.device) % SYMBOLS

    def run() -> Any:
        symbols, state, chosen = first, None, []
        with torch.inference_mode():
            for _ in range(request.row.steps):
                state = cell(embedding[symbols], state)
                symbols = torch.nn.functional.linear(state[0], kernel, bias).argmax(dim=-1)
                chosen.append(symbols)
            return _wait(request, chosen)

    def check() -> Any:
        return {"symbols": torch.stack(run(), dim=1).cpu().numpy()}

    return Prepared({"generate": run}, check)


def _training(request: Request, problem: Problem, module: Any) -> Prepared:
    head = torch.nn.Linear(request.row.hidden, 1)
    head.load_state_dict({"weight": torch.tensor(problem.head[0].T), "bias": torch.tensor(problem.head[1])})
    head.to(request.device, getattr(torch, request.dtype))
    optimizer = torch.optim.Adam([*module.parameters(), *head.parameters()], lr=LEARNING_RATE)

    def step(xs: Any, targets: Any) -> Any:
        loss: Any = torch.nn.functional.mse_loss(head(module(xs)[1][0][-1]), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    batches = [(_tensor(request, xs), _tensor(request, targets)) for xs, targets in problem.batches]
    return prepare_epoch(step, batches)


def _wait(request: Request, result: Any) -> Any:
    if request.device != "cpu":
        torch.cuda.synchronize()
    return result


def _tensor(request: Request, array: np.ndarray) -> Any:
    return torch.tensor(array, dtype=getattr(torch, request.dtype), device=request.device)


def _lengths(problem: Problem) -> Any:
    return None if problem.lengths is None else torch.tensor(problem.lengths, dtype=torch.int64)
