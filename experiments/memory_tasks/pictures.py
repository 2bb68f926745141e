"""The figures: gradients back through time, curves beside who remembers nothing, and how much is recalled."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments.canvas import plt, save
from experiments.memory_tasks.runs import CELLS, KINDS, Record, Run

FLOOR = 1e-12
"""Where axes of norms end."""

COLOURS = dict(zip(CELLS, ("0.6", "0.25", "C5", "C4", "C2", "C8", "C9", "C0", "C3", "C1"), strict=True))

Results = Mapping[Run, Sequence[Record]]


def draw_all(folder: Path, results: Results) -> None:
    """Draw what there are runs for: gradients.png, adding.png, copy.png, many.png."""
    if any(run.task == "gradients" for run in results):
        draw_gradients(folder / "gradients.png", results)
    for task in ("adding", "copy"):
        if any(run.task == task for run in results):
            draw_curves(folder / f"{task}.png", task, results)
    if any(run.task == "many" for run in results):
        draw_many(folder / "many.png", results)


def draw_gradients(image: Path, results: Results) -> None:
    """Norms of gradients against steps back, at the start, and after the longest runs of adding where there are any."""
    added = [run for run in results if run.task == "adding" and run.seed == 0 and "h" in results[run][-1]]
    longest = max((run.size for run in added), default=None)
    panels: dict[str, Results] = {"before training": {r: results[r] for r in results if r.task == "gradients"}}
    if longest is not None:
        title = f"after training on adding, T = {longest}"
        panels[title] = {run: results[run] for run in added if run.size == longest}
    figure, all_axes = plt.subplots(1, len(panels), figsize=(7 * len(panels), 4.5), layout="constrained", squeeze=False)
    for axes, (title, runs) in zip(all_axes[0], panels.items(), strict=True):
        for name, norms in norms_by_cell(runs).items():
            _draw_norms(axes, name, norms)
        axes.set(xlabel="steps back", yscale="log", ylim=(FLOOR, 1e3), title=title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, ncols=2)
    all_axes[0, 0].set_ylabel("norm of the last output's gradient")
    save(figure, image, dpi=90)


def norms_by_cell(results: Results) -> dict[str, np.ndarray]:
    """Norms [seeds, T] by cell, and by part of the state where it has two."""
    groups: dict[str, list[Any]] = {}
    for run, records in results.items():
        for part in ("h", "c"):
            if part in records[-1]:
                name = f"{run.cell}, {part}" if "c" in records[-1] else run.cell
                groups.setdefault(name, []).append(records[-1][part])
    return {name: np.array(norms) for name, norms in groups.items()}


def _draw_norms(axes: Axes, name: str, norms: np.ndarray) -> None:
    """The geometric mean over seeds as a line, and all between least and largest shaded."""
    cell, _, part = name.partition(", ")
    logs = np.log(np.maximum(norms[:, 1:], FLOOR * 1e-3))
    steps = np.arange(norms.shape[1])[1:]  # of the last c itself the output, at a fixed h, knows nothing
    axes.plot(steps, np.exp(logs.mean(axis=0)), color=COLOURS[cell], linestyle=":" if part == "h" else "-", label=name)
    axes.fill_between(
        steps, *np.exp([logs.min(axis=0), logs.max(axis=0)]), color=COLOURS[cell], alpha=0.15, linewidth=0
    )


def draw_curves(image: Path, task: str, results: Results) -> None:
    """Losses on fresh batches against steps, a panel for each size, with the loss of who remembers nothing."""
    runs = [run for run in results if run.task == task]
    sizes = sorted({run.size for run in runs})
    scale, reach = ("log", 5.0) if task == "adding" else ("linear", 1.5)
    shape, shared = (4 * len(sizes), 4), task == "adding"
    figure, panels = plt.subplots(1, len(sizes), figsize=shape, layout="constrained", squeeze=False, sharey=shared)
    for axes, size in zip(panels[0], sizes, strict=True):
        for run in (run for run in runs if run.size == size):
            points = [(r["step"], r["loss"]) for r in results[run] if r["loss"] is not None]
            label = run.cell if run.seed == 0 else None
            axes.plot(*zip(*points, strict=True), color=COLOURS[run.cell], linewidth=1, label=label)
            if results[run][-1]["solved"]:
                axes.plot(*points[-1], color=COLOURS[run.cell], marker="o", markersize=4)
        axes.axhline(KINDS[task].baseline(size), color="k", linestyle="--", linewidth=0.8, label="no memory")
        axes.set(title=f"{task}, T = {size}", xlabel="steps of training", yscale=scale)
        axes.set_ylim(top=reach * KINDS[task].baseline(size))  # networks of relu go off the scale now and then
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("mean squared error" if task == "adding" else "nats a step")
    panels[0, 0].legend(fontsize=7)
    save(figure, image, dpi=90)


def draw_many(image: Path, results: Results) -> None:
    """Share of facts that are recalled against how many there were, a line for each cell and width."""
    runs = [run for run in results if run.task == "many"]
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    widths = sorted({run.hidden for run in runs})
    for cell, hidden in sorted({(run.cell, run.hidden) for run in runs}):
        own = sorted(run for run in runs if (run.cell, run.hidden) == (cell, hidden) and run.seed == 0)
        points = [(run.size, 100 * results[run][-1]["accuracy"]) for run in own]
        style = ("-", "--", ":", "-.")[widths.index(hidden) % 4]
        axes.plot(
            *zip(*points, strict=True),
            color=COLOURS[cell],
            linestyle=style,
            marker="o",
            markersize=4,
            label=f"{cell}, H = {hidden}",
        )
    axes.axhline(100 / 8, color="k", linestyle="--", linewidth=0.8, label="guessing")
    axes.set(xscale="log", xlabel="facts to remember", ylabel="recalled, %", ylim=(0, 103))
    sizes = sorted({run.size for run in runs})
    axes.set_xticks(sizes, list(map(str, sizes)))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save(figure, image, dpi=90)
