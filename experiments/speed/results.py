"""What was measured, and the file it is kept in: a JSON record for each row, mode, dtype and contender."""

import dataclasses
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.speed.rows import GROUPS, Row, row_named
from lstmjax.errors import InputError
from lstmjax.files import replace_text


@dataclasses.dataclass
class Measurement:
    """One contender on one row in one mode.

    Fields:
      seconds: for each run, one number a round, the rounds of all contenders side by side; what compiling took.
      planned_bytes: temporary and output memory by the compiler's account; None where nothing is compiled.
      peak_bytes: by how much a fresh process grew while it ran once.
      difference: from the reference in float64, see `rows.BARS`.
      backend: of ours, what `lstmjax.kernels.explain` says runs its layers.
      error: why there is nothing to count, or "".
    """

    row: str
    mode: str
    dtype: str
    contender: str
    seconds: list[float] = dataclasses.field(default_factory=list)
    planned_bytes: int | None = None
    peak_bytes: int | None = None
    difference: float | None = None
    backend: str = ""
    error: str = ""

    @property
    def counts(self) -> bool:
        """It was timed, and computes what the reference does."""
        return bool(self.seconds) and not self.error

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


Table = dict[str, Measurement]
"""What was measured of a row in one mode, by contender."""


@dataclasses.dataclass
class Results:
    """Everything a run found out. What it is made from later is these alone."""

    machine: dict[str, Any] = dataclasses.field(default_factory=dict)
    measurements: list[Measurement] = dataclasses.field(default_factory=list)

    def add(self, measurements: Iterable[Measurement]) -> None:
        """Later ones take the place of earlier ones of the same row, mode, dtype and contender."""
        both = [*self.measurements, *measurements]
        self.measurements = list({(one.row, one.mode, one.dtype, one.contender): one for one in both}.values())

    def of(self, row: Row, mode: str, dtype: str = "float32") -> Table:
        return {m.contender: m for m in self.measurements if (m.row, m.mode, m.dtype) == (row.name, mode, dtype)}

    @property
    def rows(self) -> list[Row]:
        """Group by group."""
        rows = map(row_named, dict.fromkeys(one.row for one in self.measurements))
        return sorted(rows, key=lambda row: GROUPS.index(row.group))

    @property
    def dtypes(self) -> list[str]:
        return list(dict.fromkeys(one.dtype for one in self.measurements))

    @property
    def failures(self) -> list[str]:
        failed = [one for one in self.measurements if one.error]
        return [f"{one.contender} does not count on {one.row} {one.mode} {one.dtype}: {one.error}" for one in failed]


def write(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(dataclasses.asdict(results), indent=1) + "\n")


def read(paths: Iterable[Path]) -> Results:
    """Files as one: of what two measured, the last one counts; of machines, the first one.

    Raises:
      InputError: there is no such file, or it holds something else.
    """
    whole = Results()
    for path in paths:
        try:
            fields = json.loads(path.read_text())
            whole.machine = whole.machine or fields["machine"]
            whole.add([Measurement(**one) for one in fields["measurements"]])
        except OSError as error:
            raise InputError(f"{path} can't be read: {error.strerror}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} does not hold results of experiments.speed: {error}") from error
    return whole
