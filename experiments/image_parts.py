"""What the studies of clips and images share: settings, names and parts of their data."""

import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from experiments import settings
from experiments.parts import Parts, complete
from lstmjax import training
from lstmjax.data import Labelled, examples
from lstmjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class PartsConfig(settings.EpochsConfig, settings.HeldOutConfig):
    """The settings that both have."""

    test: Path | None = None
    """An NPZ file to look at once, at the end; without it, a part of the data."""
    quick: bool = False
    """A look in under a minute: at most 400 examples to learn from and 2 epochs."""
    optimizer: training.OptimizerConfig = training.OptimizerConfig(learning_rate=3e-3, beta2=0.999)
    quick_epochs: ClassVar[int] = 2

    def at_most(self, count: int) -> int:
        """So many examples, or fewer for a quick look."""
        return min(count, 400) if self.quick else count


def check_name(data: str, made: Collection[str]) -> None:
    """Where a file is missing whose name has no ending, the name of a made set may have been meant.

    Raises:
      InputError: it is missing.
    """
    if not Path(data).suffix and not Path(data).exists():
        raise InputError(f"--data {Path(data).name}: there is no such file, nor is it one of {', '.join(made)}")


def in_parts(whole: Labelled, test: Labelled | None, config: PartsConfig) -> Parts[Labelled]:
    """A file's parts, less of each for a quick look."""
    parts = complete(whole, None, test, examples.split, config.fractions, config.seed)
    return Parts(*(part.take(range(config.at_most(len(part.sequences)))) for part in parts))


def pieces(parts: Parts[Labelled]) -> Iterator[bytes]:
    """Arrays and what is said of them, to be known by wherever they were read from."""
    for part in parts:
        for each in part.sequences:
            array = np.ascontiguousarray(each)
            yield f"{array.shape} {array.dtype}".encode()
            yield array.tobytes()
        yield repr(part.targets).encode()
