"""A model's parts and the sizes of their parameters, as a table."""

from collections import defaultdict
from typing import Any

import jax
from flax import nnx

from lstmjax import checks


def summary(model: nnx.Module) -> str:
    """Every part of a model that has parameters: its path, its kind, how many numbers they are, and their shapes.

    `nnx.tabulate`, which runs the model too, can't show states with named fields such as `LSTMState`.

    Args:
      model: any nnx module.

    Returns:
      The table, a line a part, with the total at the end.

    Raises:
      TypeError: it is no module.

    >>> print(lx.summary(lx.LSTM(3, 5, num_layers=2, rngs=nnx.Rngs(0))))
    part      kind       parameters  shapes
    layers.0  Recurrent         180  w_x [3, 20], w_h [5, 20], b [20]
    layers.1  Recurrent         220  w_x [5, 20], w_h [5, 20], b [20]
    total     LSTM              400
    """
    checks.instance("model", model, nnx.Module)
    kinds = {path: type(module).__name__ for path, module in nnx.iter_modules(model)}
    parts: dict[tuple[Any, ...], list[tuple[str, jax.Array]]] = defaultdict(list)
    for path, param in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        owner = max((path[:depth] for depth in range(len(path)) if path[:depth] in kinds), key=len)
        parts[owner].append((str(path[-1]), param[...]))
    rows = [("part", "kind", "parameters", "shapes")]
    for owner, params in parts.items():
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in params)
        rows.append((_dotted(owner), kinds[owner], _count(params), shapes))
    rows.append(("total", kinds[()], _count([param for params in parts.values() for param in params]), ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{part:{widths[0]}}  {kind:{widths[1]}}  {count:>{widths[2]}}  {shapes}" for part, kind, count, shapes in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _count(params: list[tuple[str, jax.Array]]) -> str:
    return f"{sum(array.size for _, array in params):,}"
