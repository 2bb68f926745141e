"""ONNX Runtime's LSTM operator, time-major, on all cores; it has no gradients.

Weights are constants of the model, which the session packs once, when it is made; inputs and outputs are bound to
memory, so that a run copies neither. Ragged batches by the operator's lengths.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]

from experiments.peers.common import Weights

OPERATORS, FILE_FORMAT = 17, 8  # ONNX's own counts; what is used here has not changed since
# By default threads look for work for 50 ms after a run, into the next library's turn; the pause before it is 20 ms.
SPIN_MICROSECONDS = 5_000


class Graph:
    """A model in the making: what is added is computed in that order, and named by a number."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, array: Any) -> str:
        self._constants.append(onnx.numpy_helper.from_array(np.asarray(array), f"constant{len(self._constants)}"))
        return str(self._constants[-1].name)

    def add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Returns the name of the last output, which needs none of one's own."""
        outputs = outputs or [f"value{len(self._nodes)}"]
        self._nodes.append(onnx.helper.make_node(operator, inputs, outputs, **attributes))
        return outputs[-1]

    def session(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray], threads: int) -> Any:
        """Ready to run; the arrays tell shapes and types."""
        graph = onnx.helper.make_graph(self._nodes, "lstm", _ports(inputs), _ports(outputs), self._constants)
        operators = [onnx.helper.make_opsetid("", OPERATORS)]
        model = onnx.helper.make_model(graph, opset_imports=operators, ir_version=FILE_FORMAT)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def add_layers(graph: Graph, hidden: int, weights: Weights, xs: str, shape: tuple[int, int], lengths: str = "") -> str:
    """LSTM layers over [T, B, I]; returns the name of their outputs [T, B, H], or [T, B, 2, H] of two directions."""
    last, is_bidirectional = xs, len(weights[0]) == 2
    for depth, both in enumerate(weights):
        if depth:
            last = graph.add("Reshape", [last, graph.constant([*shape, -1])])
        direction = "bidirectional" if is_bidirectional else "forward"
        inputs = [last, *constants(graph, both), lengths]
        last = graph.add("LSTM", inputs, hidden_size=hidden, direction=direction)
        axes = [0, 2, 1, 3] if is_bidirectional else None  # it gives [T, directions, B, H]
        last = graph.add("Transpose", [last], perm=axes) if axes else graph.add("Squeeze", [last, graph.constant([1])])
    return last


def constants(graph: Graph, both: list[dict[str, np.ndarray]]) -> list[str]:
    """Our weights as [ways, 4H, I], [ways, 4H, H] and two biases, [ways, 8H], of which one is zero."""
    biases = [np.concatenate([_reordered(parts["b"]), np.zeros_like(parts["b"])]) for parts in both]
    matrices = [np.stack([_reordered(parts[name].T) for parts in both]) for name in ("w_x", "w_h")]
    return [graph.constant(array) for array in (*matrices, np.stack(biases))]


def _reordered(array: np.ndarray) -> np.ndarray:
    """ONNX has gates in the order i, o, f, g."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])


def _ports(arrays: Mapping[str, np.ndarray]) -> list[Any]:
    kind = onnx.helper.np_dtype_to_tensor_dtype
    return [onnx.helper.make_tensor_value_info(name, kind(one.dtype), one.shape) for name, one in arrays.items()]


def placed(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Copies that ONNX Runtime reads and writes in place."""
    return {name: onnxruntime.OrtValue.ortvalue_from_numpy(np.array(array)) for name, array in arrays.items()}


def bound(session: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name, value in outputs.items():
        binding.bind_ortvalue_output(name, value)
    return binding
