"""The tables and the plot of measured results.

Usage: python -m experiments.speed.report RESULTS.json ... [--out TABLE.md] [--plot PLOT.png]; see --help.
"""

import dataclasses
import functools
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import cli
from experiments.speed import plot, results
from experiments.speed.beside import markdown
from experiments.speed.contenders import CONTENDERS
from experiments.speed.results import Measurement, Results, Table
from experiments.speed.rows import LAYER_MODES, Row, flops
from experiments.speed.summary import BEST, Means, gradient_differences, means, ratios
from experiments.speed.turns import OURS
from lstmjax.errors import InputError
from lstmjax.files import replace_text

DESCRIPTION = """Make the Markdown tables, and a plot, of what python -m experiments.speed measured."""

INTRODUCTION = r"""# Speed beside other libraries

What `python -m experiments.speed` measures. Each library has a process of its own; they take turns, round by round.
The tables show medians, and ratios of times of the same round, because the machine's speed wanders by a quarter. What
a library computes is compared with a float64 run first; one that computes something else does not count.

Each library runs in its fastest form: PyTorch's `nn.LSTM` time-major on all cores, under `inference_mode` forward; ONNX
Runtime's LSTM operator time-major on all cores, its weights packed beforehand and nothing copied; Flax, Keras and Haiku
under `jax.jit`; and lstmjax with the backend it chooses, beside itself with backend "fused" and "scan".
Forward+backward gives the gradients of all weights and of the inputs. Generation is one compiled loop on JAX, and in
PyTorch and ONNX Runtime a Python loop over one step. ONNX Runtime has no gradients of an LSTM; Haiku has no argument
for lengths; Flax has one, but computes the padding too.

Means are geometric. Where "best peer / lstmjax" is above 1, we are faster than the fastest other library. "Of the
matrix rate" is how much of the machine's speed in one large matrix product ours reaches.

```sh
pip install "torch==2.13.0" && pip install -e ".[experiments,interop]"
python -m experiments.speed --rounds 5 --out experiments/results/speed.json
python -m experiments.speed.report experiments/results/speed.json --out docs/speed.md \
    --plot experiments/results/speed.png
```

Some rows (by name, or any shape TxBxIxH), contenders and modes, and their tables:

```sh
python -m experiments.speed --rows 200x1x128x128 100x64x128x512 tagger --contenders lstmjax lstmjax-fused torch \
    --modes forward --rounds 3 --out runs/some.json && python -m experiments.speed.report runs/some.json
```
"""

TIMES = {
    "forward": ("Forward, milliseconds", 1e3),
    "forward+backward": ("Forward+backward, milliseconds", 1e3),
    "generate": ("Generation of 256 symbols, milliseconds", 1e3),
    "epoch": ("An epoch of training, seconds", 1.0),
    "compile": ("Compiling forward+backward, seconds", 1.0),
}
"""What a table of each mode is called, and its units in a second."""


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """What to read and what to write."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Results of one run or of several; of what was measured twice, the last counts."""
    out: Path | None = None
    """The Markdown file to write; None means stdout."""
    plot: Path | None = None
    """The picture to write: the others' time over ours, row by row."""


def main(arguments: Sequence[str]) -> int:
    config = cli.parse(ReportConfig, DESCRIPTION, arguments)
    if not config.results:
        raise InputError("results must name at least one file, got none")
    found = results.read(config.results)
    if config.plot is not None:
        plot.draw(found, config.plot)
    if config.out is None:
        print(page(found), end="")
    else:
        replace_text(config.out, page(found))
    return 0


def page(found: Results) -> str:
    """All tables that there is something for."""
    parts = [INTRODUCTION, machine_line(found.machine)]
    for dtype in found.dtypes:
        suffix = "" if dtype == "float32" else f", {dtype}"
        for mode, (title, scale) in TIMES.items():
            rate = found.machine.get("matrix_flops_per_second") if mode.startswith("forward") else None
            lines = pivot(found, mode, dtype, functools.partial(times, scale=scale, rate=rate))
            lines += mean_lines(means(found, mode, dtype)) if mode in LAYER_MODES else []
            parts += _section(title + suffix, lines)
        parts += _section(f"Memory of forward+backward, MB{suffix}", pivot(found, "memory", dtype, sizes))
        apart = [f"{CONTENDERS[who].title} {d:.1e}" for who, d in gradient_differences(found, dtype).items()]
        parts += _section(f"Largest difference of a gradient from float64{suffix}", [", ".join(apart)] if apart else [])
    return "\n".join(parts + _section("Not counted", [f"- {failure}" for failure in found.failures]))


def pivot(found: Results, mode: str, dtype: str, cells: Callable[[Row, Table], Mapping[str, str]]) -> list[str]:
    """A line for each row, a column for each contender, other columns after; nothing where nothing was measured."""
    tables = {row: table for row in found.rows if (table := found.of(row, mode, dtype))}
    return _table([{"row": row.title, **cells(row, table)} for row, table in tables.items()])


def times(row: Row, table: Table, scale: float, rate: float | None) -> dict[str, str]:
    """Medians, the least of a row in bold, what the best peer takes, and what the products alone take at that rate."""
    medians = {name: one.median * scale for name, one in table.items() if one.counts}
    cells = {name: _number(value) for name, value in medians.items()}
    cells |= {name: f"**{cells[name]}**" for name, value in medians.items() if value == min(medians.values())}
    best, ours = ratios(table).get(BEST), table.get(OURS)
    if best is not None:
        cells["best peer / lstmjax"] = f"{best:.2f}"
    if ours is not None and ours.counts and rate is not None:
        cells["of the matrix rate"] = f"{flops(row, ours.mode) / rate / ours.median:.0%}"
    if ours is not None and ours.backend:
        cells["backend"] = ours.backend
    return cells


def sizes(_: Row, table: Table) -> dict[str, str]:
    """By the compiler's account, and by how much a process grew."""

    def both(one: Measurement) -> str:
        known = {"planned": one.planned_bytes, "grown": one.peak_bytes}
        return ", ".join(f"{size / 1e6:,.0f} {kind}" for kind, size in known.items() if size is not None)

    return {name: both(one) for name, one in table.items()}


def mean_lines(groups: Means) -> list[str]:
    """A line for each group of rows."""
    if not groups:
        return []
    lines = []
    for group, table in groups.items():
        count = max(int(one["rows"]) for one in table.values())
        line = {"time over lstmjax's: mean (least to most)": f"{group} ({count})"}
        for who, one in table.items():
            fewer = f", of {one['rows']}" if one["rows"] < count else ""
            line[who] = f"{one['mean']:.2f} ({one['least']:.2f} to {one['most']:.2f}{fewer})"
        lines.append(line)
    return ["", *_table(lines)]


def _table(lines: Sequence[Mapping[str, str]]) -> list[str]:
    """Lines by their columns: the first one's corner, contenders in their order, then others as they come."""
    if not lines:
        return []
    corner, seen = next(iter(lines[0])), set(itertools.chain(*lines))
    columns = [name for name in dict.fromkeys([corner, *CONTENDERS, *itertools.chain(*lines)]) if name in seen]
    head = [CONTENDERS[name].title if name in CONTENDERS else name for name in columns]
    return markdown(head, [[line.get(name, "") for name in columns] for line in lines])


def _number(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def machine_line(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    rate = f"{machine.get('matrix_flops_per_second', 0) / 1e9:.0f} GFLOP/s in a float32 matrix product"
    where = f"{machine.get('processor', 'unknown processor')}, {machine.get('cores')} cores"
    return f"{where}; {rate}; XLA_FLAGS {machine.get('xla_flags') or 'not set'}; {versions}.\n"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}\n", *lines, ""] if lines else []


if __name__ == "__main__":
    cli.run(lambda: main(sys.argv[1:]))
