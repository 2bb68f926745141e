"""Pictures of what a model says beside what is true."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from experiments.canvas import plt, save
from lstmjax import metrics
from lstmjax.data.labels import Labels
from lstmjax.models.sequence_config import Answer


def draw_answers(folder: Path, answer: Answer, targets: np.ndarray, answers: np.ndarray, labels: Labels | None) -> None:
    """The picture that goes with a kind of answer: predictions.png, confusion.png or classes.png.

    Args:
      folder: where to.
      answer: one class, any number of classes, or numbers.
      targets: what is true: class numbers [N], 1 for every class it is of [N, C], or numbers [N, K].
      answers: probabilities [N, C] or numbers [N, K].
      labels: the classes' names.
    """
    if answer == "number":
        plot_numbers(folder / "predictions.png", targets, answers)
        return
    assert labels is not None
    if answer == "class":
        counts = metrics.confusion_matrix(jnp.argmax(answers, axis=1), jnp.asarray(targets), len(labels))
        plot_confusion(folder / "confusion.png", np.asarray(counts), labels.names)
    else:
        plot_scores(folder / "classes.png", targets, answers > 0.5, labels.names)


def plot_confusion(image: Path, counts: np.ndarray, names: tuple[str, ...]) -> None:
    """How often each class (row) was taken for each (column): shares of the row as colours, counts as numbers."""
    size = max(4.0, 0.42 * len(names) + 2)
    figure, axes = plt.subplots(figsize=(size + 1, size), layout="constrained")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title=f"accuracy {np.trace(counts) / counts.sum():.1%}")
    if len(names) <= 30:
        for (row, column), share in np.ndenumerate(shares):
            if counts[row, column]:
                colour = "white" if share > 0.5 else "black"
                axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(picture, label="share of the true class")
    save(figure, image)


def plot_numbers(image: Path, targets: np.ndarray, answers: np.ndarray) -> None:
    """Predictions against what is true, a panel for each target, and the line where both are the same."""
    count = targets.shape[1]
    figure, panels = plt.subplots(1, count, figsize=(5 * count, 5), layout="constrained", squeeze=False)
    for number, axes in enumerate(panels[0]):
        true, said = targets[:, number], answers[:, number]
        axes.scatter(true, said, s=6, alpha=0.5)
        ends = [min(true.min(), said.min()), max(true.max(), said.max())]
        axes.plot(ends, ends, color="0.5", linewidth=0.8)
        axes.set(xlabel="true", ylabel="predicted", title=f"Test part, target {number + 1} of {count}")
    save(figure, image)


def plot_scores(image: Path, targets: np.ndarray, said: np.ndarray, names: tuple[str, ...]) -> None:
    """Precision and recall of each of several classes."""
    hits = np.sum(targets * said, axis=0)
    precision, recall = hits / np.maximum(said.sum(axis=0), 1), hits / np.maximum(targets.sum(axis=0), 1)
    figure, axes = plt.subplots(figsize=(6, 0.4 * len(names) + 1.5), layout="constrained")
    places = np.arange(len(names))
    axes.barh(places - 0.2, precision, 0.4, label="precision")
    axes.barh(places + 0.2, recall, 0.4, label="recall")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), title="Test part")
    axes.legend()
    save(figure, image)
