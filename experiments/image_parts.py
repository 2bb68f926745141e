"""What the studies of clips, images and frames share: names and parts of their data, and baselines beside a run."""

import dataclasses
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import settings, study
from experiments.classify.answers import measure
from lstmjax import training
from lstmjax.data import Labelled, examples
from lstmjax.errors import InputError

Figures = dict[str, float]


@dataclasses.dataclass(frozen=True)
class PartsConfig(settings.EpochsConfig):
    """The settings that both have."""

    test: Path | None = None
    """An NPZ file to look at once, at the end; without it, a part of the data."""
    validation_fraction: float = 0.1
    """Of a file: share kept to choose the model by, in (0, 1)."""
    test_fraction: float = 0.2
    """Of a file: share kept for the test where no file is, in (0, 1)."""
    baselines: bool = True
    """Train the simple models too that this one should beat."""
    quick: bool = False
    """A look in under a minute: at most 400 examples to learn from and 2 epochs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("validation_fraction", "test_fraction"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)}")

    def at_most(self, count: int) -> int:
        """So many examples, or fewer for a quick look."""
        return min(count, 400) if self.quick else count

    def cadence(self, train: Any) -> training.Cadence:
        epochs = min(self.epochs, 2) if self.quick else self.epochs
        return training.Cadence.of_epochs(epochs, train, self.log_every, self.patience)


def check_name(data: str, made: Collection[str]) -> None:
    """Where a file is missing whose name has no ending, the name of a made set may have been meant.

    Raises:
      InputError: it is missing.
    """
    if not Path(data).suffix and not Path(data).exists():
        raise InputError(f"--data {Path(data).name}: there is no such file, nor is it one of {', '.join(made)}")


def in_parts(train: Labelled, test: Labelled | None, config: PartsConfig) -> list[Labelled]:
    """What to learn from, to choose a model by, and to look at once, at the end."""
    if test is None:
        train, test = examples.split(train, config.test_fraction, config.seed)
    parts = [*examples.split(train, config.validation_fraction, config.seed + 1), test]
    return [part.take(range(config.at_most(len(part.sequences)))) for part in parts]


def digest(parts: Sequence[Labelled]) -> str:
    """SHA-256 over arrays and what is said of them, in hex, wherever they were read from."""
    total = hashlib.sha256()
    for part in parts:
        for each in part.sequences:
            array = np.ascontiguousarray(each)
            total.update(f"{array.shape} {array.dtype}".encode())
            total.update(array.tobytes())
        total.update(repr(part.targets).encode())
    return total.hexdigest()


def train_baseline(kind: study.Study[Any], run: study.Run, name: str, data: study.Data) -> Figures:
    """Another model beside a run, by the same code, in a folder of its own; its validation and test figures."""
    print(f"\nbaseline {name}:")
    folder = training.RunFolder(run.folder.path / "baselines" / name)
    config = dataclasses.replace(run.config, out=folder.path, resume=folder.holds_a_run())
    return study.complete(dataclasses.replace(kind, finish=measure), config, data, folder)


def with_baselines(found: Figures, others: dict[str, Figures]) -> Figures:
    """A run's own figures, and those of its baselines under their names."""
    beside = {f"baseline_{name}_{figure}": value for name, each in others.items() for figure, value in each.items()}
    return found | beside
