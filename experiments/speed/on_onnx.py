"""ONNX Runtime, forward only: its layers, and a Python loop over a session of one step for generation."""

from itertools import pairwise
from typing import Any

import numpy as np

from experiments.peers.onnx_layers import Graph, add_layers, bound, constants, placed
from experiments.speed import machine
from experiments.speed.problem import Problem, Request, draw
from experiments.speed.rows import Row
from experiments.speed.turns import Prepared


def prepare(request: Request) -> Prepared:
    if request.device != "cpu":
        raise ValueError(f"it takes part on the CPU only, got {request.device}")  # what pip brings has no other
    problem = draw(request.row)
    return _generation(request.row, problem) if request.mode == "generate" else _layers(request.row, problem)


def _layers(row: Row, problem: Problem) -> Prepared:
    graph = Graph()
    inputs = {"xs": problem.xs} | ({} if problem.lengths is None else {"lengths": problem.lengths})
    lengths = "" if problem.lengths is None else "lengths"
    last = add_layers(graph, row.hidden, problem.weights, "xs", (row.steps, row.batch), lengths)
    ways = [2] * row.bidirectional
    outputs = {last: np.empty((row.steps, row.batch, *ways, row.hidden), np.float32)}
    session = graph.session(inputs, outputs, machine.cores())
    ys = placed(outputs)
    binding = bound(session, placed(inputs), ys)

    def check() -> Any:
        session.run_with_iobinding(binding)
        return {"outputs": np.where(problem.valid, ys[last].numpy().reshape(row.steps, row.batch, -1), 0)}

    return Prepared({"forward": lambda: session.run_with_iobinding(binding)}, check)


def _generation(row: Row, problem: Problem) -> Prepared:
    """Where each step reads and writes is bound beforehand."""
    graph = Graph()
    rows = graph.add("Gather", [graph.constant(problem.embedding), "symbols"])
    x = graph.add("Unsqueeze", [rows, graph.constant([0])])
    inputs = [x, *constants(graph, problem.weights[0]), "", "h", "c"]
    graph.add("LSTM", inputs, ["", "next_h", "next_c"], hidden_size=row.hidden)
    y = graph.add("Squeeze", ["next_h", graph.constant([0])])
    scores = graph.add("Gemm", [y, *map(graph.constant, problem.head)])
    graph.add("ArgMax", [scores], ["next_symbols"], axis=1, keepdims=0)

    symbols, zeros = np.arange(row.batch) % row.symbols, np.zeros((1, row.batch, row.hidden), np.float32)
    start: dict[str, np.ndarray] = {"symbols": symbols, "h": zeros, "c": zeros}
    following = {f"next_{name}": array for name, array in start.items()}
    session = graph.session(start, following, machine.cores())
    first, one, other = (placed({"h": zeros, "c": zeros}) for _ in range(3))
    chosen = [placed({"symbols": symbols}) for _ in range(row.steps + 1)]
    states = [first, *(one if step % 2 else other for step in range(row.steps))]
    at = [symbol | state for symbol, state in zip(chosen, states, strict=True)]
    bindings = [bound(session, now, {f"next_{name}": v for name, v in then.items()}) for now, then in pairwise(at)]

    def run() -> None:
        for binding in bindings:
            session.run_with_iobinding(binding)

    def check() -> Any:
        run()
        return {"symbols": np.stack([step["symbols"].numpy() for step in chosen[1:]], axis=1)}

    return Prepared({"generate": run}, check, {"note": "a Python loop over a session of one step"})
