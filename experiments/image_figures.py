"""Pictures of images and clips, with what is true, what a model said, and where it looked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.canvas import plt, save


def plot_clips(image: Path, clips: Sequence[Any], titles: Sequence[str], are_right: Sequence[bool]) -> None:
    """Clips, a row each, with what was said of them, in red where it was wrong."""
    frames = max(map(len, clips))
    figure, panels = plt.subplots(len(clips), frames, figsize=(frames * 0.7, len(clips) * 0.95), squeeze=False)
    for axes, clip, title, is_right in zip(panels, clips, titles, are_right, strict=True):
        _title(axes[0], title, loc="left", color="k" if is_right else "red")
        for panel, frame in zip(axes, clip, strict=False):
            _show(panel, frame)
    _save(figure, image)


def plot_looks(
    image: Path,
    pictures: Sequence[Any],
    true: Sequence[str],
    maps: Sequence[np.ndarray],
    pieces: Sequence[Sequence[str]],
) -> None:
    """A row an image: the image, then for each symbol where a model looked, bright where it looked most.

    Args:
      image: where to.
      pictures: N arrays [H, W, C].
      true: what should be written of each.
      maps: of each picture, one [h, w] for each symbol.
      pieces: the symbols of each.
    """
    height, width = np.shape(pictures[0])[:2]
    columns = 1 + max(map(len, maps))
    size = (columns * max(0.7, width / height * 0.7), len(maps) * 0.95)
    figure, panels = plt.subplots(len(maps), columns, figsize=size, squeeze=False)
    for axes, picture, text, weights, symbols in zip(panels, pictures, true, maps, pieces, strict=True):
        _show(axes[0], picture)
        _title(axes[0], text)
        for panel, weight, symbol in zip(axes[1:], weights, symbols, strict=False):
            _show(panel, picture)
            panel.imshow(weight, cmap="hot", alpha=0.6, extent=(-0.5, width - 0.5, height - 0.5, -0.5), vmin=0)
            _title(panel, symbol)
    _save(figure, image)


def plot_images(image: Path, pictures: Sequence[Any], titles: Sequence[str], heading: str) -> None:
    """Images, five in a row, each under its title."""
    columns = min(5, len(pictures))
    rows = -(-len(pictures) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(columns * 1.9, rows * 1.5), squeeze=False)
    for panel, picture, title in zip(panels.flat, pictures, titles, strict=False):
        _show(panel, picture)
        _title(panel, title)
    figure.suptitle(heading)
    _save(figure, image)


def _show(panel: Axes, picture: Any) -> None:
    array = np.asarray(picture)
    brightest = 255 if array.dtype == np.uint8 else 1  # one scale for all, so that an even image is as bright as it is
    panel.imshow(array if array.shape[2] == 3 else array[:, :, 0], cmap="gray", vmin=0, vmax=brightest)


def _title(panel: Axes, text: str, **style: Any) -> None:
    panel.set_title(text, fontsize=8, **style).set_parse_math(False)


def _save(figure: Figure, image: Path) -> None:
    for panel in figure.axes:
        panel.axis("off")
    save(figure, image, dpi=90, tight=True)
