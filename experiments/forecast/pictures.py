"""Pictures of forecasts: what was said beside what came, errors by step, how often intervals held."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.forecast.backtest import LEVELS, ROWS, Backtest
from lstmjax.scores import Totals

if TYPE_CHECKING:
    from experiments.forecast.predictions import Ahead

MOST_PANELS = 12
OWN: dict[str, Any] = {"linewidth": 2.2, "color": "C3", "zorder": 5}
OTHER: dict[str, Any] = {"linewidth": 1.0}
BANDS = ((95, 0.18), (80, 0.32))  # nominal coverage in percent, and how dark


def draw(folder: Path, test: Backtest, model: Any, totals: Mapping[str, Totals], config: Any) -> list[str]:
    """All pictures of a look back; returns the names of the files.

    Args:
      folder: where to.
      test: the test part.
      model: the trained one.
      totals: the scores of each model, the trained one first.
      config: of the run.
    """
    plot_forecasts(folder / "forecasts.png", test, model, config)
    plot_errors(folder / "errors.png", totals)
    drawn = ["forecasts.png", "errors.png"]
    if any("coverage_80" in each.sums for each in totals.values()):
        plot_coverage(folder / "coverage.png", totals)
        drawn.append("coverage.png")
    return drawn


def plot_forecasts(image: Path, test: Backtest, model: Any, config: Any) -> None:
    """What was said at the first, the middle and the last origins of the test part, and what came."""
    origins = list(test.origins())
    said_of = test.of_model(model, config.paths, config.seed)
    chosen = [(origins[0], 0), (origins[len(origins) // 2], ROWS // 2), (origins[-1], ROWS - 1)]
    targets = test.prepared.table.targets[:4]
    panels = _panels(len(targets) * len(chosen), columns=len(chosen))
    for column, (here, row) in enumerate(chosen):  # rows that only fill a batch up are its last one again
        said = said_of(here)
        row = min(row, int(here.batch.weights.sum()) - 1)
        for channel, target in enumerate(targets):
            axes = panels[channel * len(chosen) + column]
            history = here.history[row, -3 * here.future.shape[1] :, channel]
            _plot_history(axes, np.arange(-len(history), 0), history)
            steps = np.arange(here.future.shape[1])
            _plot_ahead(axes, steps, said.point[row, :, channel], said.paths[:, row, :, channel])
            axes.plot(steps, here.future[row, :, channel], color="0.2", linewidth=0.9, linestyle=":", label="what came")
            name = test.prepared.table.series[here.series[row]].name
            axes.set(title=target if len(test.prepared.table.series) == 1 else f"{name}: {target}", xlabel="step")
    panels[0].legend(fontsize=7)
    _save(panels[0].figure, image)


def plot_errors(image: Path, totals: Mapping[str, Totals]) -> None:
    """The mean absolute error of each model against how far ahead it looks."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    own = next(iter(totals))
    for name, each in totals.items():
        errors = each.by_step("scaled_mae")
        style = OWN if name == own else OTHER
        marker = "." if len(errors) <= 36 else None
        axes.plot(np.arange(1, len(errors) + 1), errors, label=name, marker=marker, **style)
    axes.set(xlabel="steps ahead", ylabel="mean absolute error, in training deviations", title="Test part")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncol=2)
    _save(figure, image)


def plot_coverage(image: Path, totals: Mapping[str, Totals]) -> None:
    """How often central intervals held what came, against how often they should."""
    figure, axes = plt.subplots(figsize=(5.5, 5), layout="constrained")
    axes.plot([0, 100], [0, 100], color="0.6", linewidth=0.8)
    own = next(iter(totals))
    for name, each in totals.items():
        if "coverage_80" in each.sums:
            held = [100 * each.mean(f"coverage_{level}") for level in LEVELS]
            style = OWN if name == own else OTHER
            axes.plot(LEVELS, held, label=name, marker=".", **style)
    axes.set(xlabel="nominal coverage in percent", ylabel="held in the test part", xlim=(0, 100), ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, image)


def plot_ahead(image: Path, targets: Sequence[str], ahead: "Sequence[Ahead]") -> None:
    """History, forecast and intervals, a panel for each series and target, the first of them."""
    wanted = [(each, channel) for each in ahead for channel in range(len(targets))][:MOST_PANELS]
    panels = _panels(len(wanted), columns=min(3, len(wanted)))
    for axes, (each, channel) in zip(panels, wanted, strict=False):
        rows = len(each.series.targets)
        shown = slice(max(rows - 4 * len(each.times), 0), rows)
        _plot_history(axes, each.series.times[shown], each.series.targets[shown, channel])
        _plot_ahead(axes, each.times, each.forecast.point[:, channel], each.forecast.paths[:, :, channel])
        axes.set(title=targets[channel] if len(ahead) == 1 else f"{each.series.name}: {targets[channel]}")
        axes.tick_params(axis="x", rotation=30)
    panels[0].legend(fontsize=7)
    _save(panels[0].figure, image)


def _plot_history(axes: Axes, times: np.ndarray, values: np.ndarray) -> None:
    axes.plot(times, values, color="0.2", linewidth=0.9, marker="." if len(values) < 60 else None, label="history")


def _plot_ahead(axes: Axes, times: np.ndarray, point: np.ndarray, paths: np.ndarray) -> None:
    """The point and bands around it."""
    if len(paths):
        for level, darkness in BANDS:
            low, high = np.quantile(paths, [0.5 - level / 200, 0.5 + level / 200], axis=0, method="hazen")
            axes.fill_between(times, low, high, color="C0", alpha=darkness, linewidth=0, label=f"{level}%")
    axes.plot(times, point, color="C0", linewidth=1.4, marker="." if len(point) < 36 else None, label="forecast")


def _panels(count: int, columns: int) -> list[Axes]:
    rows = math.ceil(count / columns)
    _, axes = plt.subplots(rows, columns, figsize=(5 * columns, 3 * rows), layout="constrained", squeeze=False)
    panels = list(axes.flat)
    for unused in panels[count:]:
        unused.set_visible(False)
    return panels


def _save(figure: Any, image: Path) -> None:
    assert isinstance(figure, Figure)
    figure.savefig(image, dpi=120)
    plt.close(figure)
