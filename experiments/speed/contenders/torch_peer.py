"""`torch.nn.LSTM`, time-major as it is by default, on all cores; ragged batches as packed sequences."""

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.speed import jobs, machine
from experiments.speed.contenders.case import Answers, Case, Request, gradients
from experiments.speed.problem import Parts, Problem, Weights, draw

torch: Any = importlib.import_module("torch")


def prepare(request: Request) -> Case:
    torch.set_num_threads(machine.cores())
    problem = draw(request.row)
    if request.row.kind == "job":
        return jobs.prepare_torch(request, problem, filled(request, problem), torch)
    if request.row.kind == "generation":
        return _generation(request, problem)
    return _forward(request, problem) if request.mode == "forward" else _backward(request, problem)


def filled(request: Request, problem: Problem) -> Any:
    """The module with the problem's weights; of its two biases one is zero."""
    row = request.row
    module = torch.nn.LSTM(row.in_features, row.hidden, row.layers, bidirectional=row.bidirectional)
    entries = {}
    for depth, both in enumerate(problem.weights):
        for way, parts in enumerate(both):
            for name, array in _entries(parts).items():
                entries[f"{name}_l{depth}{'_reverse' * way}"] = torch.tensor(array)
    module.load_state_dict(entries)
    return module.to(request.device, _dtype(request))


def _forward(request: Request, problem: Problem) -> Case:
    module, xs, lengths = filled(request, problem), _tensor(request, problem.xs), _lengths(problem)

    def run() -> Any:
        with torch.inference_mode():
            return _wait(request, _call(module, xs, lengths))

    def answers(ys: Any) -> Answers:
        return {"outputs": np.where(problem.valid, _numpy(ys), 0)}

    return Case(run, answers)


def _backward(request: Request, problem: Problem) -> Case:
    module, xs, lengths = filled(request, problem), _tensor(request, problem.xs), _lengths(problem)
    xs.requires_grad_()
    loss_weights = _tensor(request, problem.loss_weights)
    names, parameters = zip(*module.named_parameters(), strict=True)

    def run() -> Any:
        loss = (_call(module, xs, lengths) * loss_weights).sum()
        return _wait(request, torch.autograd.grad(loss, [xs, *parameters]))

    def answers(slopes: Any) -> Answers:
        d_inputs, *d_parameters = map(_numpy, slopes)
        return gradients(problem, d_inputs, _weights(request, dict(zip(names, d_parameters, strict=True))))

    return Case(run, answers)


def _generation(request: Request, problem: Problem) -> Case:
    """A Python loop over `nn.LSTM` or `nn.LSTMCell`, one step at a time: whichever is faster here."""
    loops = {"nn.LSTM": _layer_loop(request, problem), "nn.LSTMCell": _cell_loop(request, problem)}
    name = min(loops, key=lambda one: _seconds(loops[one]))
    note = f"a Python loop over {name}"
    return Case(loops[name], lambda symbols: {"symbols": np.stack([s.cpu().numpy() for s in symbols], 1)}, note=note)


def _layer_loop(request: Request, problem: Problem) -> Callable[[], Any]:
    module = filled(request, problem)

    def step(x: Any, state: Any) -> tuple[Any, Any]:
        ys, state = module(x[None], state)
        return ys[0], state

    return _loop(request, problem, step)


def _cell_loop(request: Request, problem: Problem) -> Callable[[], Any]:
    cell = torch.nn.LSTMCell(request.row.in_features, request.row.hidden)
    cell.load_state_dict({name: torch.tensor(array) for name, array in _entries(problem.weights[0][0]).items()})
    cell = cell.to(request.device, _dtype(request))

    def step(x: Any, state: Any) -> tuple[Any, Any]:
        state = cell(x, state)
        return state[0], state

    return _loop(request, problem, step)


def _loop(request: Request, problem: Problem, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[], Any]:
    row = request.row
    embedding = _tensor(request, problem.embedding)
    kernel, bias = _tensor(request, problem.head[0]).T.contiguous(), _tensor(request, problem.head[1])
    first = torch.arange(row.batch, device=request.device) % row.symbols

    def run() -> Any:
        symbols, state, chosen = first, None, []
        with torch.inference_mode():
            for _ in range(row.steps):
                y, state = step(embedding[symbols], state)
                symbols = torch.nn.functional.linear(y, kernel, bias).argmax(dim=-1)
                chosen.append(symbols)
            return _wait(request, chosen)

    return run


def _seconds(run: Callable[[], Any]) -> float:
    run()
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _call(module: Any, xs: Any, lengths: Any) -> Any:
    if lengths is None:
        return module(xs)[0]
    rnn = torch.nn.utils.rnn
    packed = rnn.pack_padded_sequence(xs, lengths, enforce_sorted=False)
    return rnn.pad_packed_sequence(module(packed)[0], total_length=xs.shape[0])[0]


def _wait(request: Request, result: Any) -> Any:
    if request.device != "cpu":
        torch.cuda.synchronize()
    return result


def _dtype(request: Request) -> Any:
    return getattr(torch, request.dtype)


def _tensor(request: Request, array: np.ndarray) -> Any:
    return torch.tensor(array, dtype=_dtype(request), device=request.device)


def _lengths(problem: Problem) -> Any:
    return None if problem.lengths is None else torch.tensor(problem.lengths, dtype=torch.int64)


def _numpy(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.detach().float().cpu().numpy()
    return array


def _entries(parts: Parts) -> dict[str, np.ndarray]:
    return {
        "weight_ih": parts.w_x.T,
        "weight_hh": parts.w_h.T,
        "bias_ih": parts.b,
        "bias_hh": np.zeros_like(parts.b),
    }


def _weights(request: Request, slopes: dict[str, np.ndarray]) -> Weights:
    def parts(end: str) -> Parts:
        return Parts(slopes[f"weight_ih{end}"].T, slopes[f"weight_hh{end}"].T, slopes[f"bias_ih{end}"])

    ways = range(request.row.ways)
    return [[parts(f"_l{depth}{'_reverse' * way}") for way in ways] for depth in range(request.row.layers)]
