"""Pictures of taggers: transitions between tags, learning with and without characters."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.canvas import plt, save
from experiments.observers import read_records
from lstmjax.crf import Transitions


def plot_transitions(image: Path, transitions: Transitions, names: Sequence[str]) -> None:
    """The scores of going from each tag, or from the start (rows), to each tag, or to the end (columns)."""
    count = len(names)
    scores = np.full((count + 1, count + 1), np.nan)  # nothing goes from start to end
    scores[0, :count], scores[1:, count] = transitions.start, transitions.end
    scores[1:, :count] = transitions.between
    largest = max(float(np.nanmax(np.abs(scores))), 1e-6)
    size = max(4.0, 0.36 * count + 2)
    figure, axes = plt.subplots(figsize=(size + 1, size), layout="constrained")
    picture = axes.imshow(scores, cmap="RdBu_r", vmin=-largest, vmax=largest)
    axes.set_xticks(range(count + 1), [*names, "end"], rotation=90)
    axes.set_yticks(range(count + 1), ["start", *names])
    axes.set(xlabel="to", ylabel="from", title="What a CRF learnt of neighbours")
    figure.colorbar(picture, label="score, nats")
    save(figure, image)


def plot_learning(image: Path, curves: Mapping[str, Path], scored: str) -> None:
    """A figure of the validation part against training steps, a line for each model.

    Args:
      image: the file to draw.
      curves: for each model the metrics file of its run.
      scored: which figure, by its plain name.
    """
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for number, (model, file) in enumerate(curves.items()):
        name = f"validation_{scored}"
        points = [(record["step"], record[name]) for record in read_records(file) if name in record]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=f"C{number}", label=model)
    axes.set(xlabel="step", ylabel=f"{scored}, validation part", title="With and without characters")
    axes.legend()
    axes.grid(alpha=0.3)
    save(figure, image)
