"""The loss on a whole text: every symbol predicted once, from the state carried up to it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from lstmjax import checks
from lstmjax.errors import InputError
from lstmjax.types import Array, Bool, Float, Int, PyTree

EvaluateFn = Callable[[PyTree, np.ndarray], float]


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """How a text of N symbols is read: in R rows side by side, each warmed up on the text before it.

    With one row this is one state carried from the first symbol to the last. With more, each row but the first starts
    from zeros `warmup` symbols before its own part, which are read but not counted.
    """

    rows: int = 32
    """R, how many parts of the text are read at once."""
    warmup: int = 256
    """Symbols read before a row's own part to bring its state up."""
    chunk_length: int = 256
    """Steps in one compiled call."""

    def __post_init__(self) -> None:
        checks.positive_int("rows", self.rows)
        checks.index("warmup", self.warmup, 0)
        checks.positive_int("chunk_length", self.chunk_length)


EXACT = EvaluationPlan(rows=1, warmup=0, chunk_length=1024)


def make_evaluate(graphdef: nnx.GraphDef[Any], plan: EvaluationPlan) -> EvaluateFn:
    """Compile `(params, ids) -> loss`, the mean over all N - 1 predictions in a text, in nats per symbol.

    Args:
      graphdef: of a `LanguageModel`.
      plan: how the text is read; `EXACT` carries one state from start to end.

    Returns:
      a function of the parameters and the text's symbols [N]; it raises InputError when N < 2.
    """

    @jax.jit
    def chunk_loss(
        params: PyTree,
        carry: tuple[Any, ...],
        inputs: Int[Array, "R T"],
        targets: Int[Array, "R T"],
        valid: Bool[Array, "R T"],
        counted: Bool[Array, "R T"],
    ) -> tuple[tuple[Any, ...], Float[Array, ""]]:
        logits, carry = nnx.merge(graphdef, params)(inputs, carry, mask=valid)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return carry, jnp.sum(jnp.where(counted, losses, 0.0))

    def evaluate(params: PyTree, ids: np.ndarray) -> float:
        places, counted = _layout(len(ids), plan)
        valid = (places >= 0) & (places < len(ids) - 1)
        inside = np.clip(places, 0, len(ids) - 2)
        carry = nnx.merge(graphdef, params).initial_state(plan.rows)
        sums = []
        for start in range(0, places.shape[1], plan.chunk_length):
            part = np.s_[:, start : start + plan.chunk_length]
            carry, loss = chunk_loss(
                params, carry, ids[inside[part]], ids[inside[part] + 1], valid[part], counted[part]
            )
            sums.append(loss)
        return float(np.sum(np.asarray(jax.device_get(sums), np.float64))) / int(counted.sum())

    return evaluate


def _layout(symbols: int, plan: EvaluationPlan) -> tuple[np.ndarray, np.ndarray]:
    """Which symbol each row reads at each step [R, steps], and whether the prediction it makes counts."""
    if symbols < 2:
        raise InputError(f"the text to evaluate has {symbols} symbols; expected at least 2")
    own = -(-(symbols - 1) // plan.rows)
    steps = -(-(plan.warmup + own) // plan.chunk_length) * plan.chunk_length
    offset = np.arange(steps)[None, :] - plan.warmup
    places = np.arange(plan.rows)[:, None] * own + offset
    counted = (offset >= 0) & (offset < own) & (places < symbols - 1)
    return places, counted
