"""Which backend serves a call, and why not another."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstmjax import checks
from lstmjax.cells.gru import GRU
from lstmjax.cells.lstm import LSTM
from lstmjax.cells.precision import Thinned
from lstmjax.types import Cell

BACKENDS = ("auto", "scan", "fused", "cudnn")


class Call(NamedTuple):
    """What of a call decides: its cell with its noise drawn, parameters, steps, and where it runs."""

    cell: Cell[Any, Any]
    params: Any
    num_steps: int
    right_padded: bool
    has_resets: bool
    platform: str


class Explanation(NamedTuple):
    """The backend that serves a call, and for each of the others why it does not."""

    backend: str
    reasons: dict[str, str]

    def __str__(self) -> str:
        return "\n".join([f"{self.backend} serves this call", *(f"not {k}: {v}" for k, v in self.reasons.items())])


def choose(backend: str, call: Call) -> Explanation:
    """The backend asked for if it can serve the call, else the next best; "auto" takes the fastest known.

    Raises:
      ValueError: no such backend.
    """
    checks.one_of("backend", backend, BACKENDS)
    reasons = {name: reason for name, refuses in _REFUSALS.items() if (reason := refuses(call)) is not None}
    if backend == "auto":
        reasons = _preferences(call) | reasons
        backend = "cudnn"
    order = ("cudnn", "fused", "scan")
    chosen = next(name for name in order[order.index(backend) :] if name not in reasons)
    rest = {name: reasons.get(name, f"{chosen} is faster or was asked for") for name in order if name != chosen}
    return Explanation(chosen, rest)


def _preferences(call: Call) -> dict[str, str]:
    """What "auto" passes over although it could serve."""
    wary = "it has not been measured against fused on a GPU yet; ask for it by name"
    return {"cudnn": wary} | ({"fused": "a single step has nothing to gain"} if call.num_steps == 1 else {})


def _not_fused(call: Call) -> str | None:
    cell = call.cell
    if type(cell) not in (LSTM, GRU):
        return f"it knows cells.LSTM and cells.GRU, got {type(cell).__name__}"
    if isinstance(cell, GRU) and not cell.reset_after:
        return "it knows the GRU with reset_after=True"
    return _other_functions(cell)


def _not_cudnn(call: Call) -> str | None:
    cell = call.cell
    if call.platform != "gpu":
        return f"it needs an NVIDIA GPU, and this runs on {call.platform}"
    if type(cell) is not LSTM:
        return f"it knows cells.LSTM, got {type(cell).__name__}"
    if not cell.param_dtype == cell.compute_dtype == jnp.float32:
        return f"it knows float32, got {cell.param_dtype} parameters computed in {cell.compute_dtype}"
    if isinstance(call.params.w_h, Thinned):
        return "it has no recurrent dropout"
    if not call.right_padded:
        return "it knows lengths, got a mask"
    return "it has no resets" if call.has_resets else _other_functions(cell)


def _other_functions(cell: Any) -> str | None:
    if cell.gate_fn is jax.nn.sigmoid and cell.activation_fn is jnp.tanh:
        return None
    return "it knows sigmoid gates and tanh, got another gate_fn or activation_fn"


_REFUSALS: dict[str, Callable[[Call], str | None]] = {"cudnn": _not_cudnn, "fused": _not_fused}
