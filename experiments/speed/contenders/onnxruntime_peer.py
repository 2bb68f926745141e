"""ONNX Runtime's LSTM operator, time-major, on all cores; forward only, for it has no gradients.

Weights are constants of the model, which the session packs once, when it is made; inputs and outputs are bound to
memory, so that a run copies neither. Ragged batches by the operator's lengths.
"""

import importlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from experiments.speed import machine
from experiments.speed.contenders.case import Answers, Case, Request
from experiments.speed.problem import Parts, Problem, draw

onnx: Any = importlib.import_module("onnx")
onnxruntime: Any = importlib.import_module("onnxruntime")

OPERATORS, FILE_FORMAT = 17, 8  # ONNX's own counts; what is used here has not changed since
# By default threads look for work for 50 ms after a run, into the next contender's turn; the pause before it is 20 ms.
SPIN_MICROSECONDS = 5_000


def prepare(request: Request) -> Case:
    if request.device != "cpu":
        raise ValueError(f"it takes part on the CPU only, got {request.device}")  # what pip brings has no other
    problem = draw(request.row)
    return _generation(problem, request) if request.row.kind == "generation" else _layers(problem, request)


class Graph:
    """A model in the making: what is added is computed in that order, and named by a number."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, array: np.ndarray) -> str:
        self._constants.append(onnx.numpy_helper.from_array(array, f"constant{len(self._constants)}"))
        return str(self._constants[-1].name)

    def add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Returns the name of the last output, which needs none of one's own."""
        outputs = outputs or [f"value{len(self._nodes)}"]
        self._nodes.append(onnx.helper.make_node(operator, inputs, outputs, **attributes))
        return outputs[-1]

    def session(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> Any:
        """Ready to run, on all cores; the arrays tell shapes and types."""
        graph = onnx.helper.make_graph(self._nodes, "lstm", _ports(inputs), _ports(outputs), self._constants)
        operators = [onnx.helper.make_opsetid("", OPERATORS)]
        model = onnx.helper.make_model(graph, opset_imports=operators, ir_version=FILE_FORMAT)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = machine.cores(), 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _layers(problem: Problem, request: Request) -> Case:
    row, graph, last = request.row, Graph(), "xs"
    lengths = {} if problem.lengths is None else {"lengths": problem.lengths}
    direction = "bidirectional" if row.bidirectional else "forward"
    for depth, both in enumerate(problem.weights):
        if depth:
            last = graph.add("Reshape", [last, graph.constant(np.array([row.steps, row.batch, -1]))])
        arrays = map(graph.constant, _weights(both))
        last = graph.add("LSTM", [last, *arrays, *lengths], hidden_size=row.hidden, direction=direction)
        if row.bidirectional:  # [T, 2, B, H], and a step's outputs belong side by side
            last = graph.add("Transpose", [last], perm=[0, 2, 1, 3])
    inputs = {"xs": problem.xs, **lengths}
    ways = (row.batch, 2) if row.bidirectional else (1, row.batch)
    outputs = {last: np.empty((row.steps, *ways, row.hidden), np.float32)}
    session, placed = graph.session(inputs, outputs), _placed(outputs)
    binding = _binding(session, _placed(inputs), placed)

    def run() -> Any:
        session.run_with_iobinding(binding)
        return placed[last]

    def answers(ys: Any) -> Answers:
        return {"outputs": np.where(problem.valid, ys.numpy().reshape(row.steps, row.batch, row.out_features), 0)}

    return Case(run, answers)


def _generation(problem: Problem, request: Request) -> Case:
    """A Python loop over a session of one step; where each step reads and writes is bound beforehand."""
    row, graph = request.row, Graph()
    rows = graph.add("Gather", [graph.constant(problem.embedding), "symbols"])
    x = graph.add("Unsqueeze", [rows, graph.constant(np.array([0]))])
    arrays = map(graph.constant, _weights(problem.weights[0]))
    graph.add("LSTM", [x, *arrays, "", "h", "c"], ["", "next_h", "next_c"], hidden_size=row.hidden)
    y = graph.add("Squeeze", ["next_h", graph.constant(np.array([0]))])
    scores = graph.add("Gemm", [y, *map(graph.constant, problem.head)])
    graph.add("ArgMax", [scores], ["next_symbols"], axis=1, keepdims=0)

    symbols, zeros = np.arange(row.batch) % row.symbols, np.zeros((1, row.batch, row.hidden), np.float32)
    start: dict[str, np.ndarray] = {"symbols": symbols, "h": zeros, "c": zeros}
    session = graph.session(start, {f"next_{name}": array for name, array in start.items()})
    first, one, other = (_placed({"h": zeros, "c": zeros}) for _ in range(3))
    chosen = [_placed({"symbols": symbols}) for _ in range(row.steps + 1)]
    states = [first, *(one if step % 2 else other for step in range(row.steps))]
    at = [symbol | state for symbol, state in zip(chosen, states, strict=True)]
    bindings = [_binding(session, now, {f"next_{name}": v for name, v in then.items()}) for now, then in pairwise(at)]

    def run() -> Any:
        for binding in bindings:
            session.run_with_iobinding(binding)
        return chosen[1:]

    def answers(chosen: Any) -> Answers:
        return {"symbols": np.stack([step["symbols"].numpy() for step in chosen], axis=1)}

    return Case(run, answers, note="a Python loop over a session of one step")


def _weights(both: Sequence[Parts]) -> list[np.ndarray]:
    """[ways, 4H, I], [ways, 4H, H] and two biases, [ways, 8H], of which one is zero."""
    biases = [np.concatenate([_reordered(parts.b), np.zeros_like(parts.b)]) for parts in both]
    return [
        np.stack([_reordered(parts.w_x.T) for parts in both]),
        np.stack([_reordered(parts.w_h.T) for parts in both]),
        np.stack(biases),
    ]


def _reordered(array: np.ndarray) -> np.ndarray:
    """ONNX has gates in the order i, o, f, g."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])


def _ports(arrays: Mapping[str, np.ndarray]) -> list[Any]:
    kind = onnx.helper.np_dtype_to_tensor_dtype
    return [onnx.helper.make_tensor_value_info(name, kind(one.dtype), one.shape) for name, one in arrays.items()]


def _placed(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Copies in memory of ONNX Runtime's own."""
    make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
    values = {name: make(list(array.shape), array.dtype.type) for name, array in arrays.items()}
    for name, array in arrays.items():
        values[name].update_inplace(np.ascontiguousarray(array))
    return values


def _binding(session: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name, value in outputs.items():
        binding.bind_ortvalue_output(name, value)
    return binding
