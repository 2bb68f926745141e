"""Pictures of piano rolls."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments.canvas import plt, save
from lstmjax.data.music import Keyboard


def plot_rolls(image: Path, rolls: Mapping[str, np.ndarray], keyboard: Keyboard) -> None:
    """Rolls [T, P], one below the other, each under its name."""
    low, high = _range(list(rolls.values()))
    longest = max(map(len, rolls.values()))
    height = len(rolls) * (0.045 * (high - low) + 0.7)
    figure, panels = plt.subplots(len(rolls), 1, figsize=(9, height), layout="constrained", squeeze=False, sharex=True)
    for axes, (title, roll) in zip(panels[:, 0], rolls.items(), strict=True):
        axes.imshow(roll.T, cmap="Blues", vmin=0, vmax=1.3, aspect="auto", origin="lower", interpolation="nearest")
        axes.set(title=title, xlim=(-0.5, longest - 0.5))
        _name_notes(axes, low, high, keyboard)
    panels[-1, 0].set_xlabel("step")
    save(figure, image, dpi=110)


def plot_probabilities(image: Path, roll: np.ndarray, probabilities: np.ndarray, keyboard: Keyboard) -> None:
    """How likely each note was held to be at each step [T, P], and dots at those that sound."""
    low, high = _range([roll])
    figure, axes = plt.subplots(figsize=(9, 0.09 * (high - low) + 1.2), layout="constrained")
    picture = axes.imshow(probabilities.T, cmap="magma", vmin=0, vmax=1, aspect="auto", origin="lower")
    step, note = np.nonzero(roll)
    axes.plot(step, note, ".", color="cyan", markersize=2.5)
    _name_notes(axes, low, high, keyboard)
    axes.set(xlabel="step", title="What the model expects of a test piece, and what comes (dots)")
    figure.colorbar(picture, label="probability")
    save(figure, image, dpi=110)


def _range(rolls: Sequence[np.ndarray]) -> tuple[int, int]:
    """The lowest and the highest key that sound, with some room."""
    keys = np.flatnonzero(np.concatenate(rolls).any(axis=0))
    if not len(keys):
        return 0, rolls[0].shape[1] - 1
    return max(int(keys[0]) - 2, 0), min(int(keys[-1]) + 2, rolls[0].shape[1] - 1)


def _name_notes(axes: Axes, low: int, high: int, keyboard: Keyboard) -> None:
    """Only those keys, and the names of every C and G."""
    named = [key for key in range(low, high + 1) if (key + keyboard.lowest) % 12 in (0, 7)]
    axes.set_yticks(named, [keyboard.name(key + keyboard.lowest) for key in named])
    axes.set_ylim(low - 0.5, high + 0.5)
