"""Pictures of drawings, and of where a model expects their points."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.canvas import plt, save
from lstmjax.data.strokes import to_strokes
from lstmjax.densities import log_density
from lstmjax.models import MixtureDensity


def draw(image: Path, rows: Mapping[str, Sequence[np.ndarray]], titles: bool = True) -> None:
    """Drawings in rows, each with its name on the left; the file's ending says PNG or SVG."""
    columns = max(map(len, rows.values()))
    figure, panels = plt.subplots(
        len(rows), columns, figsize=(2.2 * columns, 1.4 * len(rows)), layout="constrained", squeeze=False
    )
    for name, row in zip(rows, panels, strict=True):
        for axes in row:
            axes.set_axis_off()
        for axes, points in zip(row, rows[name], strict=False):
            draw_one(axes, points)
        if titles:
            row[0].set_title(name, loc="left", fontsize=9)
    save(figure, image, dpi=90)


def draw_one(axes: Any, points: np.ndarray, **line: Any) -> None:
    """A line for each stroke, and a dot for each of a single point; y downwards."""
    for stroke in to_strokes(points):
        axes.plot(*stroke.T, **{"color": "black", "linewidth": 1.2, "marker": "." if len(stroke) == 1 else None} | line)
    axes.set_aspect("equal", adjustable="datalim")
    if not axes.yaxis_inverted():
        axes.invert_yaxis()


def draw_densities(image: Path, model: MixtureDensity, points: np.ndarray) -> None:
    """The drawing, and where each of its points was expected: the densities of all predictions, added up."""
    scores, _ = jax.jit(lambda xs: model(xs))(jnp.asarray(points[None, :-1]))
    mixtures = jax.tree.map(lambda leaf: leaf[0], scores.offset)
    where = np.cumsum(points[:, :2], axis=0)
    low, high = where.min(axis=0), where.max(axis=0)
    margin = 0.15 * (high - low).max()
    x, y = (np.linspace(low[k] - margin, high[k] + margin, size) for k, size in enumerate((300, 150)))
    grid = jnp.asarray(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), jnp.float32)

    def on_grid(step: Any) -> Any:
        mixture, origin = step
        everywhere = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(grid), *leaf.shape)), mixture)
        return jnp.exp(log_density(everywhere, grid - origin[None]))

    maps = jax.jit(lambda *steps: jax.lax.map(on_grid, steps))(mixtures, jnp.asarray(where[:-1], jnp.float32))
    heat = np.asarray(maps).sum(axis=0).reshape(len(y), len(x))
    figure, axes = plt.subplots(figsize=(10, min(10.0, 10 * np.ptp(y) / np.ptp(x) + 0.4)), layout="constrained")
    extent = (x[0], x[-1], y[-1], y[0])
    axes.imshow((heat / np.quantile(heat, 0.999)) ** 0.3, cmap="magma", vmin=0, vmax=1, extent=extent, origin="upper")
    draw_one(axes, points, color="white", linewidth=0.5, alpha=0.7)
    axes.set_aspect("equal", adjustable="box")
    axes.set(title="Where each next point was expected: predicted densities, added up", xticks=[], yticks=[])
    save(figure, image, dpi=90)
