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
    batch: int
    right_padded: bool
    has_resets: bool
    platform: str
    explicitly_sharded: bool


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
    reasons = _preferences(call) | reasons if backend == "auto" else reasons
    order = ("cudnn", "fused", "scan")
    first = 0 if backend == "auto" else order.index(backend)
    chosen = next(name for name in order[first:] if name not in reasons)
    why = "was asked for" if chosen == backend else "is faster"
    return Explanation(chosen, {name: reasons.get(name, f"{chosen} {why}") for name in order if name != chosen})


def _preferences(call: Call) -> dict[str, str]:
    """What "auto" passes over although it could serve."""
    wary = "it has first derivatives only and has not been measured against fused yet; ask for it by name"
    return {"cudnn": wary} | ({"fused": "a single step has nothing to gain"} if call.num_steps == 1 else {})


def _not_fused(call: Call) -> str | None:
    cell = call.cell
    if call.explicitly_sharded:
        return "it puts steps and sequences in one axis, which explicit sharding does not allow"
    if type(cell) not in (LSTM, GRU):
        return f"it knows cells.LSTM and cells.GRU, got {type(cell).__name__}"
    if isinstance(cell, GRU) and not cell.reset_after:
        return "it knows the GRU with reset_after=True"
    return _other(call)


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
    return "it has no resets" if call.has_resets else _other(call)


def _other(call: Call) -> str | None:
    cell: Any = call.cell
    if call.batch == 0:
        return "an empty batch leaves it nothing to do"
    if cell.gate_fn is jax.nn.sigmoid and cell.activation_fn is jnp.tanh:
        return None
    return "it knows sigmoid gates and tanh, got another gate_fn or activation_fn"


_REFUSALS: dict[str, Callable[[Call], str | None]] = {"cudnn": _not_cudnn, "fused": _not_fused}
