"""Pictures of forecasts: what was said beside what came, errors by step, how often intervals held."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.canvas import plt, save
from experiments.forecast.backtest import LEVELS, ROWS, Backtest, Origins
from lstmjax.decoding.forecasts import Forecast
from lstmjax.scores import Totals

if TYPE_CHECKING:
    from experiments.forecast.predictions import Ahead

MOST_PANELS = 12
MOST_TARGETS = 4
OWN: dict[str, Any] = {"linewidth": 2.2, "color": "black", "zorder": 5}
OTHER: dict[str, Any] = {"linewidth": 1.0}
BANDS = ((95, 0.18), (80, 0.32))  # nominal coverage in percent, and how dark


def draw(folder: Path, test: Backtest, model: Any, totals: Mapping[str, Totals], config: Any) -> None:
    """All pictures of a look back.

    Args:
      folder: where to.
      test: the test part.
      model: the trained one.
      totals: the scores of each model, the trained one first.
      config: of the run.
    """
    plot_forecasts(folder / "forecasts.png", test, model, config)
    plot_errors(folder / "errors.png", totals)
    if any("coverage_80" in each.sums for each in totals.values()):
        plot_coverage(folder / "coverage.png", totals)


def plot_forecasts(image: Path, test: Backtest, model: Any, config: Any) -> None:
    """What was said at the first, the middle and the last origin of the test part, and what came."""
    places = _three(sum(int(origins.batch.weights.sum()) for origins in test.origins()))
    said_of = test.of_model(model, config.paths, config.seed)
    targets, series = test.prepared.table.targets[:MOST_TARGETS], test.prepared.table.series
    panels = _panels(len(targets) * len(places), columns=len(places))
    for batch, origins in enumerate(test.origins()):
        for column, (place, which) in enumerate(places.items()):
            if place // ROWS != batch:
                continue
            row, said = place % ROWS, said_of(origins)
            name = which if len(series) == 1 else f"{series[origins.series[row]].name}, {which}"
            for channel, target in enumerate(targets):
                axes = panels[channel * len(places) + column]
                _plot_looked_back(axes, origins, said, row, channel)
                _name(axes, name, target, "steps ahead")
    _save(panels, image)


def _three(count: int) -> dict[int, str]:
    """The first, the middle and the last of so many origins, by their numbers; fewer where these are one."""
    return {0: "first origin"} | {count // 2: "middle origin"} | {count - 1: "last origin"}


def _plot_looked_back(axes: Axes, origins: Origins, said: Forecast, row: int, channel: int) -> None:
    history, future = origins.history[row, :, channel], origins.future[row, :, channel]
    history = history[-3 * len(future) - 1 :]
    past, steps = np.arange(1 - len(history), 1), np.arange(1, len(future) + 1)
    _plot_history(axes, past, history)
    _plot_ahead(axes, (past, history), steps, said.point[row, :, channel], said.paths[:, row, :, channel])
    axes.plot(steps, future, color="0.2", linewidth=0.9, linestyle=":", marker=_marker(future), label="what came")


def plot_errors(image: Path, totals: Mapping[str, Totals]) -> None:
    """The mean absolute error of each model against how far ahead it looks."""
    _, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    own = next(iter(totals))
    for name, each in totals.items():
        errors = each.by_step("scaled_mae")
        style = OWN if name == own else OTHER
        marker = "." if len(errors) <= 36 else None
        axes.plot(np.arange(1, len(errors) + 1), errors, label=name, marker=marker, **style)
    axes.set(xlabel="steps ahead", ylabel="mean absolute error, in training deviations", title="Test part")
    axes.set_ylim(0, 1.05 * axes.dataLim.y1 or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    _save([axes], image)


def plot_coverage(image: Path, totals: Mapping[str, Totals]) -> None:
    """How often central intervals held what came, against how often they should."""
    _, axes = plt.subplots(figsize=(5.5, 5.8), layout="constrained")
    axes.plot([0, 100], [0, 100], color="0.6", linewidth=0.8)
    own = next(iter(totals))
    for name, each in totals.items():
        if "coverage_80" in each.sums:
            held = [100 * each.mean(f"coverage_{level}") for level in LEVELS]
            style = OWN if name == own else OTHER
            axes.plot(LEVELS, held, label=name, marker=".", clip_on=False, **style)
    axes.set(
        xlabel="nominal coverage in percent", ylabel="held in the test part, in percent", xlim=(0, 100), ylim=(0, 100)
    )
    axes.grid(alpha=0.3)
    _save([axes], image)


def plot_ahead(image: Path, targets: Sequence[str], ahead: "Sequence[Ahead]") -> None:
    """History, forecast and intervals, a panel for each series and target, the first of them."""
    wanted = [(each, channel) for each in ahead for channel in range(len(targets))]
    shown = wanted[:MOST_PANELS]
    panels = _panels(len(shown), columns=min(3, len(shown)))
    for axes, (each, channel) in zip(panels, shown, strict=False):
        rows = len(each.series.targets)
        last = slice(max(rows - 4 * len(each.times) - 1, 0), rows)
        times, values = each.series.times[last], each.series.targets[last, channel]
        _plot_history(axes, times, values)
        _plot_ahead(
            axes, (times, values), each.times, each.forecast.point[:, channel], each.forecast.paths[..., channel]
        )
        _name(axes, each.series.name, targets[channel], "time" if times.dtype.kind == "M" else "row")
    if len(wanted) > len(shown):
        panels[0].get_figure().suptitle(f"the first {len(shown)} of {len(wanted):,}")  # type: ignore[union-attr]
    _save(panels, image)


def _name(axes: Axes, title: str, target: str, xlabel: str) -> None:
    """What a panel shows, in the user's words, which are no TeX."""
    axes.set_title(f"{title:.40}", fontsize=10, parse_math=False)
    axes.set_ylabel(f"{target:.30}", parse_math=False)
    axes.set_xlabel(xlabel)
    if xlabel == "time":
        ticks = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(ticks)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(ticks))  # type: ignore[no-untyped-call]
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _plot_history(axes: Axes, times: np.ndarray, values: np.ndarray) -> None:
    axes.plot(times, values, color="0.2", linewidth=0.9, marker=_marker(values), label="history")


def _plot_ahead(
    axes: Axes, history: tuple[np.ndarray, np.ndarray], times: np.ndarray, point: np.ndarray, paths: np.ndarray
) -> None:
    """The point and bands around it, from the last value observed on."""
    observed = np.flatnonzero(~np.isnan(history[1]))[-1:]
    begin, value = history[0][observed], history[1][observed]
    times, point = np.concatenate([begin, times]), np.concatenate([value, point])
    paths = np.hstack([np.broadcast_to(value, (len(paths), len(value))), paths])
    if len(paths):
        for level, darkness in BANDS:
            low, high = np.quantile(paths, [0.5 - level / 200, 0.5 + level / 200], axis=0, method="hazen")
            axes.fill_between(times, low, high, color="C0", alpha=darkness, linewidth=0, label=f"{level}% interval")
    axes.plot(times, point, color="C0", linewidth=1.4, label="forecast")
    axes.plot(times[len(begin) :], point[len(begin) :], color="C0", linestyle="", marker=_marker(point))


def _marker(values: np.ndarray) -> str | None:
    """Dots where there are few enough values, or where lines would hide single ones between missing ones."""
    return "." if len(values) < 60 or np.any(np.isnan(values)) else None


def _panels(count: int, columns: int) -> list[Axes]:
    rows = math.ceil(count / columns)
    size = (max(5 * columns, 6), 2.8 * rows + 0.6)
    _, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    panels = list(axes.flat)
    for unused in panels[count:]:
        unused.set_visible(False)
    return panels


def _save(panels: Sequence[Axes], image: Path) -> None:
    """Write the figure of some panels that share one legend, below them."""
    figure = panels[0].figure
    assert isinstance(figure, Figure)
    handles, labels = panels[0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    save(figure, image)
