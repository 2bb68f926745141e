"""ONNX Runtime's LSTM operator, time-major, on all cores, forward only; generation is a Python loop over one step.

Weights are constants of the model, which the session packs once, when it is made; inputs and outputs are bound to
memory, so that a run copies neither. Ragged batches by the operator's lengths.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import onnx.parser
import onnxruntime  # type: ignore[import-untyped]

from experiments.speed import machine
from experiments.speed.problem import Problem, Request, draw
from experiments.speed.rows import SYMBOLS, Row
from experiments.speed.turns import Prepared

# By default threads look for work for 50 ms after a run, into the next library's turn; the pause before it is 20 ms.
SPIN_MICROSECONDS = 5_000

MODEL = '<ir_version: 8, opset_import: ["": 17]> lstm ({inputs}) => ({outputs}) {{ {nodes} }}'
# LSTM gives [T, directions, B, H]; ONNX Runtime drops the last layer's Reshape, which nothing reads.
LAYER = """
y{depth} = LSTM<hidden_size={hidden}, direction="{direction}">(xs{depth}, w{depth}, r{depth}, b{depth}, {lengths})
ys{depth} = {joined}
xs{above} = Reshape(ys{depth}, flat)
"""
STEP = """
rows = Gather(embedding, symbols)
xs = Unsqueeze(rows, zero)
"", next_h, next_c = LSTM<hidden_size={hidden}>(xs, w0, r0, b0, "", h, c)
y = Squeeze(next_h, zero)
scores = Gemm(y, kernel, bias)
next_symbols = ArgMax<axis=1, keepdims=0>(scores)
"""

Arrays = Mapping[str, np.ndarray]


def prepare(request: Request) -> Prepared:
    if request.device != "cpu":
        raise ValueError(f"it takes part on the CPU only, got {request.device}")  # what pip brings has no other
    problem = draw(request.row)
    return _generation(request.row, problem) if request.mode == "generate" else _layers(request.row, problem)


def _layers(row: Row, problem: Problem) -> Prepared:
    ways = "bidirectional" if row.bidirectional else "forward"
    joined = "Transpose<perm=[0, 2, 1, 3]>(y{})" if row.bidirectional else "Squeeze(y{}, one)"
    lengths = "" if problem.lengths is None else "lengths"
    form = {"hidden": row.hidden, "direction": ways, "lengths": lengths or '""'}
    nodes = [
        LAYER.format(depth=depth, above=depth + 1, joined=joined.format(depth), **form) for depth in range(row.layers)
    ]
    constants = _weights(problem) | {"one": np.array([1]), "flat": np.array([row.steps, row.batch, -1])}
    inputs = {"xs0": problem.xs} | ({} if problem.lengths is None else {"lengths": problem.lengths})
    last, directions = f"ys{row.layers - 1}", [2] * row.bidirectional
    outputs = {last: np.empty((row.steps, row.batch, *directions, row.hidden), np.float32)}
    session = _session("".join(nodes), inputs, outputs, constants)
    ys = _placed(outputs)
    binding = _bound(session, _placed(inputs), ys)

    def check() -> Any:
        session.run_with_iobinding(binding)
        return {"outputs": np.where(problem.valid, ys[last].numpy().reshape(row.steps, row.batch, -1), 0)}

    return Prepared({"forward": lambda: session.run_with_iobinding(binding)}, check)


def _generation(row: Row, problem: Problem) -> Prepared:
    """Where each step reads and writes is bound beforehand."""
    kernel, bias = problem.head
    constants = {"embedding": problem.embedding, "zero": np.array([0]), "kernel": kernel, "bias": bias}
    symbols, zeros = np.arange(row.batch) % SYMBOLS, np.zeros((1, row.batch, row.hidden), np.float32)
    start: Arrays = {"symbols": symbols, "h": zeros, "c": zeros}
    following: Arrays = {f"next_{name}": array for name, array in start.items()}
    session = _session(STEP.format(hidden=row.hidden), start, following, constants | _weights(problem))
    first, one, other = (_placed({"h": zeros, "c": zeros}) for _ in range(3))
    chosen = [_placed({"symbols": symbols}) for _ in range(row.steps + 1)]
    states = [first, *(one if step % 2 else other for step in range(row.steps))]
    at = [symbol | state for symbol, state in zip(chosen, states, strict=True)]
    bindings = [_bound(session, now, {f"next_{name}": v for name, v in then.items()}) for now, then in pairwise(at)]

    def run() -> None:
        for binding in bindings:
            session.run_with_iobinding(binding)

    def check() -> Any:
        run()
        return {"symbols": np.stack([step["symbols"].numpy() for step in chosen[1:]], axis=1)}

    return Prepared({"generate": run}, check)


def _weights(problem: Problem) -> dict[str, np.ndarray]:
    """Of each layer [ways, 4H, I], [ways, 4H, H] and two biases, [ways, 8H], of which one is zero."""
    found = {}
    for depth, both in enumerate(problem.weights):
        found[f"w{depth}"] = np.stack([_reordered(parts["w_x"].T) for parts in both])
        found[f"r{depth}"] = np.stack([_reordered(parts["w_h"].T) for parts in both])
        biases = np.stack([_reordered(parts["b"]) for parts in both])
        found[f"b{depth}"] = np.concatenate([biases, np.zeros_like(biases)], axis=1)
    return found


def _reordered(array: np.ndarray) -> np.ndarray:
    """ONNX has gates in the order i, o, f, g."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])


def _session(nodes: str, inputs: Arrays, outputs: Arrays, constants: Arrays) -> Any:
    """Ready to run; of inputs and outputs only types and shapes are read."""
    model = onnx.parser.parse_model(MODEL.format(nodes=nodes, inputs=_ports(inputs), outputs=_ports(outputs)))
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in constants.items())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = machine.cores(), 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _ports(arrays: Arrays) -> str:
    """Such as "float[5, 2, 3] xs, int32[2] lengths"."""
    kinds = {name: "float" if one.dtype == np.float32 else one.dtype.name for name, one in arrays.items()}
    return ", ".join(f"{kinds[name]}{list(one.shape)} {name}" for name, one in arrays.items())


def _placed(arrays: Arrays) -> dict[str, Any]:
    """Copies that ONNX Runtime reads and writes in place."""
    return {name: onnxruntime.OrtValue.ortvalue_from_numpy(np.array(array)) for name, array in arrays.items()}


def _bound(session: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name, value in outputs.items():
        binding.bind_ortvalue_output(name, value)
    return binding
