"""Pictures of videos: what was given, what came, and what a model said would come."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image

from experiments.canvas import plt, save


def draw_steps(image: Path, found: Mapping[str, Mapping[str, float]], ahead: int) -> None:
    """The squared error of a frame against how far ahead it is, a line for each model."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    steps = range(1, ahead + 1)
    for name, figures in found.items():
        errors = [figures[f"test_mse_ahead_{step}"] for step in steps]
        axes.plot(steps, errors, marker="o", markersize=3, label=name.replace("_", " "))
    axes.set(xlabel="frames ahead", ylabel="squared error of a frame, summed over pixels", title="Test part", ylim=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    axes.grid(alpha=0.3)
    save(figure, image, dpi=100)


def draw_strip(image: Path, given: np.ndarray, true: np.ndarray, said: np.ndarray) -> None:
    """Three rows a clip: what was given, what came, and what was said."""
    rows = [row for clip in zip(given, true, said, strict=True) for row in clip]
    columns = max(len(row) for row in rows)
    figure, panels = plt.subplots(
        len(rows), columns, figsize=(0.7 * columns + 0.6, 0.75 * len(rows)), layout="constrained", squeeze=False
    )
    for number, (row, axes) in enumerate(zip(rows, panels, strict=True)):
        axes[0].set_ylabel(("given", "truth", "said")[number % 3], fontsize=8)
        for place, panel in enumerate(axes):
            panel.set(xticks=[], yticks=[], frame_on=False)
            if place < len(row):
                panel.imshow(as_picture(row[place]), cmap="gray", vmin=0, vmax=255)
    save(figure, image, dpi=80)


def draw_moving(image: Path, given: np.ndarray, true: np.ndarray, said: np.ndarray) -> None:
    """Clips below one another, moving: truth on the left, what is said on the right, between them a line.

    Both sides begin with what is given; where it ends, the line turns white.
    """
    left, right = (np.concatenate([given, part], axis=1) for part in (true, said))
    line = np.ones((*left.shape[:3], 2, left.shape[4]))
    line[:, : given.shape[1]] = 0.2
    clips = np.concatenate([left, line, right], axis=3)
    save_gif(image, [as_picture(np.concatenate(list(clips[:, step]))) for step in range(clips.shape[1])])


def save_gif(image: Path, frames: list[np.ndarray]) -> None:
    """Pictures in bytes, each pixel as four by four, five a second, again and again."""

    def larger(frame: np.ndarray) -> Image.Image:
        return Image.fromarray(frame).resize((4 * frame.shape[1], 4 * frame.shape[0]), Image.Resampling.NEAREST)

    pictures = [larger(frame) for frame in frames]
    pictures[0].save(image, save_all=True, append_images=pictures[1:], duration=200, loop=0)


def as_picture(frame: np.ndarray) -> np.ndarray:
    """A frame [H, W, C] as bytes: colours where there are three, else the mean of all that a pixel has."""
    frame = frame if frame.shape[-1] == 3 else frame.mean(axis=-1)
    picture: np.ndarray = np.rint(255 * np.clip(frame, 0, 1)).astype(np.uint8)
    return picture
