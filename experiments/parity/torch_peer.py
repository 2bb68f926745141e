"""`torch.nn.LSTM`, `GRU` and `RNN`; ragged batches as packed sequences."""

import importlib
from typing import Any

import numpy as np

from experiments.parity.measuring import BATCH, HIDDEN, IN, STEPS, Form, Peer, Problem, Result, States, foreign
from lstmjax.interop import from_torch
from lstmjax.interop.layouts import LAYOUTS

CELLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "LSTM": ("LSTM", {}, "LSTM"),
    "LSTM, proj_size=2": ("LSTM", {"proj_size": 2}, "LSTM with proj_size"),
    "GRU": ("GRU", {}, "GRU"),
    "RNN, tanh": ("RNN", {"nonlinearity": "tanh"}, "RNN"),
    "RNN, relu": ("RNN", {"nonlinearity": "relu"}, "RNN"),
}


def make(cell: str, form: Form, dtype: Any) -> Peer:
    torch: Any = importlib.import_module("torch")
    kind, options, layout = CELLS[cell]
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(
        IN,
        HIDDEN,
        form.layers,
        batch_first=True,
        bidirectional=form.bidirectional,
        dtype=getattr(torch, np.dtype(dtype).name),
        **options,
    )
    return Peer(from_torch(module), LAYOUTS["torch"][layout], lambda problem: _run(module, form, problem))


def _run(module: Any, form: Form, problem: Problem) -> Result:
    torch: Any = importlib.import_module("torch")
    xs = torch.tensor(problem.xs, requires_grad=True)
    flat = [one for layer in problem.states for one in layer]
    states = [torch.tensor(np.stack(leaves), requires_grad=True) for leaves in zip(*flat, strict=True)]
    with foreign():
        ys, ends = _call(module, form, xs, states)
    sum(torch.sin(leaf).sum() for leaf in (ys, *ends)).backward()
    d_weights = [
        [
            {name.split("_l")[0]: w.grad.numpy() for name, w in module.named_parameters() if _is_at(name, depth, way)}
            for way in range(form.ways)
        ]
        for depth in range(form.layers)
    ]
    return Result(
        ys.detach().numpy(),
        _apart(form, [end.detach().numpy() for end in ends]),
        d_weights,
        xs.grad.numpy(),
        _apart(form, [state.grad.numpy() for state in states]),
    )


def _call(module: Any, form: Form, xs: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    rnn: Any = importlib.import_module("torch.nn.utils.rnn")
    if form.lengths is not None:
        xs = rnn.pack_padded_sequence(xs, list(form.lengths), batch_first=True, enforce_sorted=False)
    ys, ends = module(xs, tuple(states) if len(states) == 2 else states[0])
    if form.lengths is not None:
        ys, _ = rnn.pad_packed_sequence(ys, batch_first=True, total_length=STEPS)
    return ys, list(ends) if len(states) == 2 else [ends]


def _is_at(name: str, depth: int, way: int) -> bool:
    return name.endswith(f"_l{depth}_reverse" if way else f"_l{depth}")


def _apart(form: Form, stacks: list[np.ndarray]) -> States:
    """[layers * ways, B, H] of h and of c, by layer and direction."""
    assert all(len(stack) == form.layers * form.ways and stack.shape[1] == BATCH for stack in stacks)
    rows = [tuple(stack[row] for stack in stacks) for row in range(len(stacks[0]))]
    return [rows[at : at + form.ways] for at in range(0, len(rows), form.ways)]
