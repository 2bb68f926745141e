"""What was measured, and the file it is kept in: a JSON record for each row, mode, dtype and contender."""

import dataclasses
import json
import statistics
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from experiments.speed.rows import Row, row_named
from lstmjax.errors import InputError
from lstmjax.files import replace_text

Key = TypeVar("Key", bound=Hashable)


@dataclasses.dataclass
class Measurement:
    """One contender on one row in one mode.

    Fields:
      seconds: for each run, one number a round, the rounds of all contenders side by side.
      compile_seconds: None where nothing is compiled.
      program_bytes: temporary and output memory by the compiler's account; None where there is none.
      peak_bytes: by how much a fresh process grew while it ran once.
      difference: from the reference in float64, see `rows.BARS`.
      note: what the report should say of it.
      backend: of ours, what `lstmjax.kernels.explain` says runs its layers.
      error: why there is nothing to count, or "".
    """

    row: str
    mode: str
    dtype: str
    contender: str
    seconds: list[float] = dataclasses.field(default_factory=list)
    compile_seconds: float | None = None
    program_bytes: int | None = None
    peak_bytes: int | None = None
    difference: float | None = None
    note: str = ""
    backend: str = ""
    error: str = ""

    @property
    def times(self) -> list[float]:
        """What is compared: seconds of each round, or the one time that compiling took."""
        if self.mode == "compile":
            return [] if self.compile_seconds is None else [self.compile_seconds]
        return self.seconds

    @property
    def counts(self) -> bool:
        """It was timed, and computes what the reference does."""
        return bool(self.times) and not self.error

    @property
    def median(self) -> float:
        return statistics.median(self.times)


Table = dict[str, Measurement]
"""What was measured of a row in one mode, by contender."""


@dataclasses.dataclass
class Results:
    """Everything a run found out. What it is made from later is these alone."""

    machine: dict[str, Any] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    measurements: list[Measurement] = dataclasses.field(default_factory=list)

    def add(self, measurements: Iterable[Measurement]) -> None:
        """Later ones take the place of earlier ones of the same row, mode, dtype and contender."""
        both = [*self.measurements, *measurements]
        self.measurements = list({(one.row, one.mode, one.dtype, one.contender): one for one in both}.values())

    def of(self, row: str, mode: str, dtype: str = "float32") -> Table:
        return {m.contender: m for m in self.measurements if (m.row, m.mode, m.dtype) == (row, mode, dtype)}

    @property
    def rows(self) -> list[Row]:
        return [row_named(name) for name in dict.fromkeys(one.row for one in self.measurements)]

    @property
    def dtypes(self) -> list[str]:
        return list(dict.fromkeys(one.dtype for one in self.measurements))

    @property
    def failures(self) -> list[str]:
        """A sentence for each contender and reason, with the rows it was out on."""
        failed = [one for one in self.measurements if one.error]
        out = grouped(((one.contender, one.error), f"{one.row} {one.mode} {one.dtype}") for one in failed)
        return [f"{who} does not count on {', '.join(rows)}: {why}" for (who, why), rows in out.items()]


def grouped(pairs: Iterable[tuple[Key, str]]) -> dict[Key, list[str]]:
    """The rows that each key is said of, once each."""
    table: dict[Key, list[str]] = {}
    for key, row in dict.fromkeys(pairs):
        table.setdefault(key, []).append(row)
    return table


def write(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(dataclasses.asdict(results), indent=1) + "\n")


def read(path: Path) -> Results:
    """Raises InputError where there is no such file, or it holds something else."""
    try:
        fields = json.loads(path.read_text())
        return Results(fields["machine"], fields["settings"], [Measurement(**one) for one in fields["measurements"]])
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not hold results of experiments.speed: {error}") from error


def merged(paths: Iterable[Path]) -> Results:
    """Several files as one: of what two measured, the last one counts; of machines and settings, the first one."""
    whole = Results()
    for one in map(read, paths):
        whole.machine, whole.settings = whole.machine or one.machine, whole.settings or one.settings
        whole.add(one.measurements)
    return whole
