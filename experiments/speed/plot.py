"""Time against T, H and B, one panel each, one line for each library, both axes logarithmic."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.speed.contenders import CONTENDERS
from experiments.speed.results import Results
from experiments.speed.rows import Row
from lstmjax.errors import InputError

MODE = "forward+backward"
PANELS: dict[str, tuple[str, Callable[[Row], int], str]] = {
    "T": ("steps T", lambda row: row.steps, "B 32, I = H = 128"),
    "H": ("hidden features H = I", lambda row: row.hidden, "T 100, B 32"),
    "B": ("batch B", lambda row: row.batch, "T 100, I = H = 256"),
}
# Told apart by colour-blind eyes (Okabe and Ito 2008) and, by their markers, without colour.
STYLES = {
    "lstmjax": ("#D55E00", "o"),
    "lstmjax-scan": ("#CC79A7", "P"),
    "lstmjax-fused": ("#56B4E9", "X"),
    "lstmjax-cudnn": ("#F0E442", "*"),
    "torch": ("#0072B2", "s"),
    "flax-optimized": ("#009E73", "^"),
    "keras": ("#7F7F7F", "D"),
}


def draw(found: Results, path: Path) -> None:
    """Write the picture.

    Raises:
      InputError: there are no sweeps among the results.
    """
    letters = [letter for letter in PANELS if any(row.sweep == letter for row in found.rows)]
    if not letters:
        raise InputError("results must hold sweeps to be plotted: measure with --sweeps")
    figure, axes = plt.subplots(1, len(letters), figsize=(4.2 * len(letters), 4.0), squeeze=False, sharey=True)
    for letter, panel in zip(letters, axes[0], strict=True):
        _panel(found, letter, panel)
    axes[0][0].set_ylabel("milliseconds, forward and backward")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(found: Results, letter: str, panel: Any) -> None:
    label, value_of, fixed = PANELS[letter]
    rows = sorted((row for row in found.rows if row.sweep == letter), key=value_of)
    for name, (colour, marker) in STYLES.items():
        points = [(value_of(row), ms) for row in rows if (ms := _milliseconds(found, row, name)) is not None]
        if points:
            wide = 2.4 if name == "lstmjax" else 1.4
            panel.plot(
                *zip(*points, strict=True), color=colour, marker=marker, linewidth=wide, label=CONTENDERS[name].title
            )
    ticks = [value_of(row) for row in rows]  # where something was measured
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(ticks, [str(tick) for tick in ticks], rotation=45 if len(ticks) > 6 else 0)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_xlabel(label)
    panel.set_title(fixed, fontsize=10)
    panel.grid(True, which="major", alpha=0.3)


def _milliseconds(found: Results, row: Row, name: str) -> float | None:
    one = found.of(row.name, MODE).get(name)
    return one.median * 1e3 if one is not None and one.counts else None
