"""What training on a long sequence keeps in memory, by backend and with `remat`, by the compiler's own account.

Temporary memory of one loss and its gradient over a whole sequence, as JAX's memory analysis of the compiled program
gives it, in megabytes, and how many times less than that of scan; nothing is run. With the loss on every output,
outputs and their gradients are part of it, whatever one does.

Usage: python -m experiments.memory [--steps 8000] ...
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import lstmjax as lx
from experiments import cli
from lstmjax import checks
from lstmjax.types import Cell

LOSSES = {
    "every output": lambda ys, end: jnp.sum(jnp.square(ys)),
    "the last state": lambda ys, end: jnp.sum(jnp.square(end.h)),
}


@dataclasses.dataclass(frozen=True)
class MemoryConfig:
    """Sizes to compile for, each at least 1."""

    steps: int = 8000
    """T."""
    batch_size: int = 8
    """B."""
    in_features: int = 16
    """I."""
    hidden_features: int = 64
    """H."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            checks.positive_int(field.name, getattr(self, field.name))


def temporary_megabytes(
    cell: Cell[Any, Any],
    config: MemoryConfig,
    loss_of: Callable[[jax.Array, Any], jax.Array],
    backend: str,
    remat: int | None,
) -> float:
    """What forward and backward pass need beside their arguments and results."""

    def loss(params: object, xs: jax.Array) -> jax.Array:
        return loss_of(*lx.unroll(cell, params, xs, backend=backend, remat=remat))

    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((config.batch_size, config.steps, config.in_features), jnp.float32)  # type: ignore[no-untyped-call]
    analysis: Any = jax.jit(jax.grad(loss)).lower(params, xs).compile().memory_analysis()
    return float(analysis.temp_size_in_bytes / 1e6)


def main() -> int:
    config = cli.parse(MemoryConfig, __doc__)
    sizes = config.in_features, config.hidden_features
    cells = {"LSTM": lx.cells.LSTM(*sizes), "GRU": lx.cells.GRU(*sizes), "ElmanRNN": lx.cells.ElmanRNN(*sizes)}
    chunk = math.isqrt(config.steps)
    ways = list(itertools.product(("scan", "auto"), (None, chunk)))
    names = [backend if remat is None else f"{backend}, remat={remat}" for backend, remat in ways]
    table = Table("cell", "loss on", *names)
    console = Console()
    with console.status("compiling"):
        for (name, cell), (where, loss_of) in itertools.product(cells.items(), LOSSES.items()):
            sizes_of = [temporary_megabytes(cell, config, loss_of, *way) for way in ways]
            table.add_row(name, where, *(f"{size:.1f} ({sizes_of[0] / size:.1f}x)" for size in sizes_of))
    console.print(table)
    return 0


if __name__ == "__main__":
    cli.run(main)
