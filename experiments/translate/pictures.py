"""Pictures of translations: what was looked at, and how good they are by length."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from experiments.canvas import plt, save
from experiments.translate import scores
from lstmjax.decoding import Alignment

CELL, LETTER, GAP = 0.24, 0.09, 0.25
"""Inches for a piece, for a letter of its name, and between maps."""
MOST_INCHES = 40
LONGEST_NAME = 24
LEAST_PAIRS = 10
"""Sources in a bin of lengths."""


def plot_attentions(image: Path, maps: Sequence[Alignment]) -> None:
    """How much of each piece of a source (columns) each piece of a target (rows) was made from; maps two by two."""
    columns = min(2, len(maps))
    boxes = [_Box.of(one) for one in maps]
    widths = [max(box.left + box.width for box in boxes[column::columns]) + GAP for column in range(columns)]
    rows = [boxes[first : first + columns] for first in range(0, len(boxes), columns)]
    heights = [max(box.top + box.height for box in row) + GAP for row in rows]
    width, height = sum(widths), sum(heights) + 2 * GAP
    figure = plt.figure(figsize=(width, height))
    for number, (one, box) in enumerate(zip(maps, boxes, strict=True)):
        row, column = divmod(number, columns)
        x, y = sum(widths[:column]) + box.left, height - sum(heights[:row]) - box.top - box.height
        axes = figure.add_axes((x / width, y / height, box.width / width, box.height / height))
        picture = axes.imshow(one.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        _name_pieces(axes, one, box.every)
    bar = figure.add_axes((0.3, GAP / height, 0.4, 0.12 / height))
    figure.colorbar(picture, cax=bar, orientation="horizontal", label="attention")
    save(figure, image, tight=True)


class _Box(NamedTuple):
    """Inches of a map, and of the names left of it and above it; every how many pieces one has its name."""

    width: float
    height: float
    left: float
    top: float
    every: int

    @classmethod
    def of(cls, one: Alignment) -> "_Box":
        cell = min(CELL, MOST_INCHES / max(one.weights.shape))
        left, top = (LETTER * max(len(_shown(piece)) for piece in side) + 0.1 for side in (one.target, one.source))
        return cls(cell * len(one.source), cell * len(one.target), left, top, math.ceil(CELL / cell))


def _name_pieces(axes: Axes, one: Alignment, every: int) -> None:
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, rotation=90)
    for axis, pieces in ((axes.xaxis, one.source), (axes.yaxis, one.target)):
        axis.set_ticks(range(0, len(pieces), every), [_shown(piece) for piece in pieces[::every]], fontsize=9)
        for label in axis.get_ticklabels():
            label.set_parse_math(False)


def _shown(piece: str) -> str:
    """A piece as one can see it, a low line for a blank.

    >>> _shown(" Hund"), _shown("\\n")
    ('▁Hund', '\\\\n')
    """
    seen = "".join("▁" if one == " " else one if one.isprintable() else repr(one)[1:-1] for one in piece)
    return seen if len(seen) <= LONGEST_NAME else seen[: LONGEST_NAME - 1] + "…"


def plot_bleu_by_length(
    image: Path,
    sources: Sequence[str],
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    *,
    width: int = 5,
) -> None:
    """BLEU of each system for sources of about one length, and how many there are.

    Args:
      image: where to.
      sources: N texts.
      systems: what each system made of them, by its name, the first in the foreground.
      references: what they should become.
      width: words of a bin of lengths; bins of few sources are one with the next.
    """
    bins = bins_of([len(source.split()) for source in sources], width)
    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    behind = axes.twinx()
    places = range(len(bins))
    behind.bar(places, [len(rows) for rows in bins.values()], color="0.88", width=0.9, label="sources")
    for number, (name, said) in enumerate(systems.items()):
        values = [_bleu_of(rows, said, references) for rows in bins.values()]
        style: dict[str, Any] = {"linewidth": 2.2, "zorder": 5} if number == 0 else {"linewidth": 1.2}
        axes.plot(places, values, marker="o", label=name, **style)
    axes.set_xticks(places, list(bins))
    axes.set(xlabel="words of the source", ylabel="BLEU", title="Test part")
    axes.set_ylim(0, 1.1 * axes.dataLim.y1 or 1.0)
    behind.set_ylabel("sources (bars)")
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    legend = figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    save(figure, image, tight=True)


def bins_of(lengths: Sequence[int], width: int) -> dict[str, list[int]]:
    """The rows of each bin of lengths by its name, shortest first; bins of few rows are one with the next.

    >>> bins_of([1, 2, 7] * 10 + [30], width=5)["1-5"][:3], list(bins_of([1, 2, 7] * 10 + [30], width=5))
    ([0, 1, 3], ['1-5', '6-30'])
    """
    longest = max(1, *lengths)
    bins: list[tuple[int, int, list[int]]] = []
    first, rows = 1, list[int]()
    for last in range(width, longest + width, width):
        rows += [row for row, length in enumerate(lengths) if max(1, last - width + 1) <= max(1, length) <= last]
        if len(rows) >= LEAST_PAIRS:
            bins.append((first, last, rows))
            first, rows = last + 1, []
    if rows and bins:
        begin, _, others = bins.pop()
        first, rows = begin, others + rows
    if rows:
        bins.append((first, longest, rows))
    return {f"{first}-{min(last, longest)}": rows for first, last, rows in bins}


def _bleu_of(rows: Sequence[int], said: Sequence[str], references: Sequence[str]) -> float:
    return scores.bleu([said[row] for row in rows], [references[row] for row in rows]).value
