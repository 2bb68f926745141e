"""Pictures of units over a text: the text in a unit's colours, and its gates over time."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from experiments.canvas import plt, save

COLOURS = LinearSegmentedColormap.from_list("unit", ["#6fb1ea", "#ffffff", "#f4a259"])
ROWS, COLUMNS = 10, 100


class Panel(NamedTuple):
    """One unit over S symbols.

    Args:
      title: what is above.
      pieces: the symbols' texts.
      signals: the unit's signals [S] by name, among them c, i, f and o.
      name: which of them to colour the text by.
      follows: what the unit tracks [S], at least 0.
    """

    title: str
    pieces: list[str]
    signals: dict[str, np.ndarray]
    name: str
    follows: np.ndarray


def draw(image: Path, panels: list[Panel]) -> None:
    """For each unit some lines of text and the gates over a line's length, from where what it tracks changes most.

    Source: the figures of Karpathy et al. 2015, "Visualizing and Understanding Recurrent Networks".
    """
    count, heights = len(panels), [3, 2] * len(panels)
    figure, axes = plt.subplots(2 * count, 1, figsize=(10, 5 * count), layout="constrained", height_ratios=heights)
    for panel, text, lines in zip(panels, axes[::2], axes[1::2], strict=True):
        draw_text(text, panel, line_start(panel.pieces, liveliest(panel.follows, ROWS * COLUMNS // 2)))
        draw_gates(lines, panel, liveliest(panel.follows, COLUMNS))
    save(figure, image, dpi=100)


def draw_text(axes: Axes, panel: Panel, begin: int) -> None:
    """As much of the text as there is room for, each symbol on the colour of the unit's signal."""
    style: dict[str, Any] = {"family": "monospace", "fontsize": 8, "ha": "center", "va": "center", "parse_math": False}
    shares = shades(panel.name, panel.signals[panel.name])
    colours, row, column = np.full((ROWS, COLUMNS), np.nan), 0, 0
    for share, character in (
        (s, c) for piece, s in zip(panel.pieces[begin:], shares[begin:], strict=True) for c in piece
    ):
        if column == COLUMNS:
            row, column = row + 1, 0
        if row == ROWS:
            break
        colours[row, column] = share
        axes.text(column, row, character.strip(), **style)
        row, column = (row + 1, 0) if character == "\n" else (row, column + 1)
    axes.imshow(colours, cmap=COLOURS, vmin=0, vmax=1, aspect="auto")
    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.set_axis_off()


def draw_gates(axes: Axes, panel: Panel, begin: int) -> None:
    """Gates over some symbols and the memory as a share of its largest there; in grey what the unit tracks."""
    labels, follows = ([*values[begin : begin + COLUMNS]] for values in (panel.pieces, panel.follows))
    signals = {name: values[begin : begin + COLUMNS] for name, values in panel.signals.items()}
    places, c = np.arange(len(labels)), signals["c"]
    axes.fill_between(places, follows / np.maximum(np.max(follows), 1e-6), step="mid", color="0.85")
    for name, style in (("i", ":"), ("f", "-"), ("o", "--")):
        axes.plot(places, signals[name], style, linewidth=1, label=name)
    axes.plot(places, c / max(np.abs(c).max(), 1e-6), color="black", linewidth=1.4, label="c / max |c|")
    labels = [piece.strip()[:12] for piece in labels]
    turned = 90 if max(map(len, labels)) > 1 else 0
    axes.set_xticks(places, labels, family="monospace", fontsize=7, rotation=turned, parse_math=False)
    axes.tick_params(axis="x", length=0)
    axes.set(xlim=(-0.5, len(labels) - 0.5), ylim=(-1.05, 1.05), ylabel="grey: what is tracked")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)


def shades(signal: str, values: np.ndarray) -> np.ndarray:
    """A signal in [0, 1], so that 0.5 is a gate half open and anything else at 0."""
    if signal in ("i", "f", "o"):
        return values
    largest = np.abs(values).max() if signal == "c" else 1.0
    return (1 + values / max(largest, 1e-6)) / 2


def liveliest(values: np.ndarray, width: int) -> int:
    """Where so many values that vary most start."""
    windows = np.lib.stride_tricks.sliding_window_view(values, min(width, len(values)))
    return int(windows.var(axis=1).argmax())


def line_start(pieces: list[str], place: int) -> int:
    """Where the line begins that a place is on; the place itself where that is far."""
    before = range(place, max(place - COLUMNS, 0), -1)
    return next((start for start in before if pieces[start - 1].endswith("\n")), place)
