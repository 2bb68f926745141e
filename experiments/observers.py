"""Who watches a training run: a progress line, a metrics file, and the picture made from it."""

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.canvas import plt, save
from lstmjax.files import replace_text

log = logging.getLogger(__name__)


class MetricsFile:
    """A JSON object a line, in step order: `{"step", "loss", "grad_norm"}` or `{"step", "validation_loss"}`.

    Lines past `start_step`, left by a run that was stopped after its last checkpoint, are cut off first: they come
    again. Each line is on its way to disk before the checkpoint of its step is.
    """

    def __init__(self, path: Path, start_step: int) -> None:
        kept = [record for record in read_records(path) if record["step"] <= start_step]
        replace_text(path, "".join(json.dumps(record) + "\n" for record in kept))
        self._file = path.open("a", encoding="utf-8")

    def on_step(self, step: int, metrics: dict[str, float]) -> None:
        self._write({"step": step, **metrics})

    def on_evaluation(self, step: int, metrics: dict[str, float]) -> None:
        self._write({"step": step} | {f"validation_{name}": value for name, value in metrics.items()})

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _write(self, record: dict[str, float]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()


class ProgressLine:
    """A live line: step, loss, validation loss, speed and time left; a plain line at each evaluation stays on screen.

    Args:
      steps: the run's length.
      start_step: where it starts.
      symbols_per_step: batch size times chunk length.
    """

    def __init__(self, steps: int, start_step: int, symbols_per_step: int, unit: str = "tokens") -> None:
        self._symbols_per_step, self._unit = symbols_per_step, unit
        self._progress = Progress(
            MofNCompleteColumn(),
            BarColumn(bar_width=8),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(highlight=False),
        )
        self._task = self._progress.add_task("train", total=steps, completed=start_step, note="compiling")
        self._start, self.start_step, self._steps = time.perf_counter(), start_step, steps
        self._first_log: tuple[int, float] | None = None
        self._end: float | None = None
        self._loss = self._validation_loss = float("nan")

    def __enter__(self) -> "ProgressLine":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end = time.perf_counter()
        self._progress.stop()

    def on_step(self, step: int, metrics: dict[str, float]) -> None:
        self._loss = metrics["loss"]
        self._first_log = self._first_log or (step, time.perf_counter())
        self._progress.update(self._task, completed=step, note=self._note(step))

    def on_evaluation(self, step: int, metrics: dict[str, float]) -> None:
        self._validation_loss = metrics["loss"]
        self._progress.update(self._task, note=self._note(step))
        self._progress.print(f"step {step}/{self._steps}  {self._note(step)}  {self.seconds / 60:.1f} min")

    @property
    def seconds(self) -> float:
        """From the start to now, or to the end of training."""
        return self._now() - self._start

    def speed(self, step: int) -> float:
        """Symbols per second since the first logged step, so without compilation but with evaluations."""
        first_step, since = self._first_log or (step, self._start)
        return (step - first_step) * self._symbols_per_step / max(self._now() - since, 1e-9)

    def _now(self) -> float:
        return time.perf_counter() if self._end is None else self._end

    def _note(self, step: int) -> str:
        validation = "" if math.isnan(self._validation_loss) else f"validation {self._validation_loss:.3f}  "
        speed = self.speed(step)
        return f"loss {self._loss:.3f}  {validation}{speed:,.{0 if speed >= 10 else 1}f} {self._unit}/s"


def plot_curves(metrics: Path, image: Path, title: str, units: dict[str, str]) -> None:
    """Draw figures of training and validation against steps, a panel for each.

    Args:
      metrics: the metrics file.
      image: the file to draw.
      title: what is above the panels.
      units: for each figure by its name in the metrics file, such as "loss", what its axis says.
    """
    records = read_records(metrics)
    figure, panels = plt.subplots(1, len(units), figsize=(7 * len(units), 4), layout="constrained", squeeze=False)
    for axes, (name, unit) in zip(panels[0], units.items(), strict=True):
        train = [(record["step"], record[name]) for record in records if name in record]
        validation = [(r["step"], r[f"validation_{name}"]) for r in records if f"validation_{name}" in r]
        if train:
            marker = "." if len(train) < 3 else None  # too few for a line
            axes.plot(
                *zip(*train, strict=True), color="0.7", linewidth=0.8, marker=marker, label="training (single batches)"
            )
        if validation:
            axes.plot(*zip(*validation, strict=True), color="C0", marker="o", markersize=3, label="validation")
            is_low_good = name not in ("accuracy", "f1")
            best = (min if is_low_good else max)(validation, key=lambda point: point[1])
            clear = (0, 8 if is_low_good else -14)
            axes.annotate(f"{best[1]:.3f}", best, textcoords="offset points", xytext=clear, ha="center", color="C0")
        if train or validation:
            axes.legend()
        axes.set(xlabel="step", ylabel=unit)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    save(figure, image)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file, without a half line at its end (left by a kill) and without damage (a warning)."""
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            record = json.loads(line)
            records.append({**record, "step": int(record["step"])})
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            log.warning("line %d of %s is not a metrics record; leaving it out", number, path)
    return records
