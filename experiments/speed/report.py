"""The table and the plot of measured results.

Usage: python -m experiments.speed.report RESULTS.json ... [--out TABLE.md] [--plot PLOT.png]; see --help.
"""

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import cli
from experiments.speed import plot, ratios, results
from experiments.speed.contenders import CONTENDERS
from experiments.speed.formulas import floor_seconds
from experiments.speed.results import Measurement, Results
from experiments.speed.spec import Row
from lstmjax.errors import InputError
from lstmjax.files import replace_text

DESCRIPTION = """Make the Markdown table, and from sweeps the plot, of what python -m experiments.speed measured."""

INTRODUCTION = r"""# Speed beside other libraries

What `python -m experiments.speed` measures: each library in a process of its own, one at a time, taking turns round by
round; medians, and ratios of paired rounds, because the machine's speed wanders by a quarter. Each library runs in its
own natural form: PyTorch's `nn.LSTM` time-major on all cores, under `inference_mode` forward; Flax, Keras and Haiku
under `jax.jit`. Forward+backward gives the gradients of all weights and of the inputs. What a contender computes is
compared with a float64 run first; one that computes something else would not count. Where "best peer / lstmjax" is
above 1 we are faster than the fastest of them.

```sh
pip install "torch==2.13.0" && pip install -e ".[experiments,interop]"
python -m experiments.speed --rounds 5 --jobs --out experiments/results/speed.json
python -m experiments.speed --rows --sweeps --rounds 3 --out experiments/results/speed-sweeps.json
python -m experiments.speed.report experiments/results/speed.json experiments/results/speed-sweeps.json \
    --out docs/speed.md --plot experiments/results/speed.png
```
"""

NOTES = {
    "haiku": "Haiku has no argument for sequences of different lengths and is left out of the ragged rows.",
    "flax": "Flax takes lengths, but computes the padding too.",
}
FOOTNOTES = {
    "floor": "The floor is the matrix products at the machine's measured rate, or each array once at its memory's.",
    "of the memory's rate": "Above 100% of the memory's rate: the weights stay in a cache.",
}


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """What to read and what to write."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Results of one run or of several; of what was measured twice, the last counts."""
    out: Path | None = None
    """The Markdown file to write; None means stdout."""
    plot: Path | None = None
    """The picture to write of the sweeps: time against T, H and B."""


def main(arguments: Sequence[str]) -> int:
    config = cli.parse(ReportConfig, DESCRIPTION, arguments)
    if not config.results:
        raise InputError("results must name at least one file, got none")
    found = results.merged(config.results)
    if config.plot is not None:
        plot.draw(found, config.plot)
    if config.out is None:
        print(page(found), end="")
    else:
        replace_text(config.out, page(found))
    return 0


def page(found: Results) -> str:
    """All tables that there is something for."""
    parts = [INTRODUCTION, machine_line(found)]
    for dtype in found.dtypes:
        suffix = "" if dtype == "float32" else f", {dtype}"
        for mode in ("forward", "forward+backward"):
            lines = layer_table(found, mode, dtype)
            parts += _section(f"{mode.capitalize()}, milliseconds{suffix}", lines + layer_means(found, mode, dtype))
        parts += _section(f"Generation, symbols a second{suffix}", generation_table(found, dtype))
        parts += _section(f"Seconds an epoch{suffix}", job_table(found, dtype))
        parts += _section(f"Compiling forward+backward, seconds{suffix}", compile_table(found, dtype))
        parts += _section(f"Memory of forward+backward, MB{suffix}", memory_table(found, dtype))
    present = {one.contender for one in found.measurements if found.rows[one.row].ragged}
    parts += [note + "\n" for name, note in NOTES.items() if name in present]
    parts += [note + "\n" for column, note in FOOTNOTES.items() if any(f"| {column} |" in line for line in parts)]
    loops = {f"{CONTENDERS[one.contender].title}: {one.note}, {one.row}." for one in found.measurements if one.note}
    parts += [f"{loop}\n" for loop in sorted(loops)]
    return "\n".join(parts + _section("Not counted", [f"- {failure}" for failure in found.failures]))


def machine_line(found: Results) -> str:
    machine = found.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    rates = (
        f"{machine['matrix_flops_per_second'] / 1e9:.0f} GFLOP/s in a float32 matrix product, "
        f"{machine['bytes_per_second'] / 1e9:.0f} GB/s of memory"
        if "bytes_per_second" in machine
        else "rates not measured"
    )
    settings = f"XLA_FLAGS {machine['xla_flags']!r}" if machine.get("xla_flags") else "no XLA_FLAGS"
    where = f"{machine.get('processor', 'unknown processor')}, {machine.get('cores')} cores"
    return f"{where}; {rates}; {settings}; {versions}.\n"


def layer_table(found: Results, mode: str, dtype: str) -> list[str]:
    """Medians; the fastest is bold. Ragged rows come last."""
    rows = [row for row in found.rows.values() if row.kind == "layer" and not row.sweep]
    rows = [row for row in sorted(rows, key=lambda row: row.ragged) if found.of(row.name, mode, dtype)]
    names = _present(found, rows, mode, dtype)
    head = ["row", *(CONTENDERS[name].title for name in names), "best peer / lstmjax", "floor", "of the matrix rate"]

    def line(row: Row) -> list[str]:
        table = found.of(row.name, mode, dtype)
        own, ratio = table.get(ratios.OURS), ratios.speedup(table)
        share = None if own is None else ratios.matrix_fraction(row, own, found.machine)
        floor = _number(_floor(row, mode, dtype, found.machine))
        return [_title(row), *_bold(names, table, 1e3), _number(ratio), floor, "" if share is None else f"{share:.0%}"]

    return _table(head, map(line, rows))


def layer_means(found: Results, mode: str, dtype: str) -> list[str]:
    """The sentence below the table."""
    summary = ratios.summary(found)[dtype]
    lines = []
    for title, key in (("rows of full length", mode), ("ragged rows", f"{mode}, ragged")):
        if key in summary:
            mean, worst, where = (summary[key][name] for name in ("geometric_mean", "worst", "worst_row"))
            lines.append(f"Geometric mean over {title}: {mean:.2f}; worst: {worst:.2f}, {where}.")
    return ["", *lines] if lines else []


def _floor(row: Row, mode: str, dtype: str, machine: dict[str, Any]) -> float | None:
    """Milliseconds of arithmetic or of memory traffic alone, whichever is more."""
    if "bytes_per_second" not in machine:
        return None
    return 1e3 * floor_seconds(row, mode, dtype, machine["matrix_flops_per_second"], machine["bytes_per_second"])


def generation_table(found: Results, dtype: str) -> list[str]:
    """And what share of the memory's rate reading all weights at each step comes to."""
    rows = [r for r in found.rows.values() if r.kind == "generation" and found.of(r.name, "generate", dtype)]
    names = _present(found, rows, "generate", dtype)
    head = ["row", *(CONTENDERS[name].title for name in names), "best peer / lstmjax", "of the memory's rate"]

    def line(row: Row) -> list[str]:
        table = found.of(row.name, "generate", dtype)
        own, rates = table.get(ratios.OURS), [table.get(name) for name in names]
        share = None if own is None else ratios.bandwidth_fraction(row, own, found.machine)
        cells = ["" if m is None or not m.counts else f"{ratios.symbols_per_second(row, m):,.0f}" for m in rates]
        where = f"H {row.hidden}, B {row.batch}"
        return [where, *cells, _number(ratios.speedup(table)), "" if share is None else f"{share:.0%}"]

    return _table(head, map(line, rows))


def job_table(found: Results, dtype: str) -> list[str]:
    rows = [r for r in found.rows.values() if r.kind == "job" and found.of(r.name, "epoch", dtype)]
    names = _present(found, rows, "epoch", dtype)

    def line(row: Row) -> list[str]:
        table = found.of(row.name, "epoch", dtype)
        return [row.name, *_bold(names, table, 1), _number(ratios.speedup(table))]

    return _table(["job", *(CONTENDERS[name].title for name in names), "best peer / lstmjax"], map(line, rows))


def compile_table(found: Results, dtype: str) -> list[str]:
    rows = [row for row in found.rows.values() if found.of(row.name, "compile", dtype)]
    names = _present(found, rows, "compile", dtype)

    def line(row: Row) -> list[str]:
        table = found.of(row.name, "compile", dtype)
        return [_title(row), *(_number(m.compile_seconds) if (m := table.get(name)) else "" for name in names)]

    return _table(["row", *(CONTENDERS[name].title for name in names)], map(line, rows))


def memory_table(found: Results, dtype: str) -> list[str]:
    """By the compiler's account, and by how much a process grew."""
    rows = [row for row in found.rows.values() if found.of(row.name, "memory", dtype)]
    names = _present(found, rows, "memory", dtype)

    def cell(one: Measurement | None) -> str:
        if one is None or one.error:
            return ""
        sizes = {"planned": one.program_bytes, "grown": one.peak_bytes}
        return ", ".join(f"{size / 1e6:,.0f} {name}" for name, size in sizes.items() if size is not None)

    def line(row: Row) -> list[str]:
        table = found.of(row.name, "memory", dtype)
        return [_title(row), *(cell(table.get(name)) for name in names)]

    return _table(["row", *(CONTENDERS[name].title for name in names)], map(line, rows))


def _present(found: Results, rows: Iterable[Row], mode: str, dtype: str) -> list[str]:
    measured = {name for row in rows for name in found.of(row.name, mode, dtype)}
    return [name for name in CONTENDERS if name in measured]


def _title(row: Row) -> str:
    return row.shape if row.name[0].isdigit() or row.ragged else f"{row.name}: {row.shape}"


def _bold(names: Sequence[str], table: dict[str, Measurement], scale: float) -> list[str]:
    medians = {name: m.median * scale for name in names if (m := table.get(name)) and m.counts}
    least = min(medians.values(), default=None)
    texts = {name: f"**{_number(value)}**" if value == least else _number(value) for name, value in medians.items()}
    return [texts.get(name, "") for name in names]


def _number(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|", *rows] if rows else []


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}\n", *lines, ""] if lines else []


if __name__ == "__main__":
    cli.run(lambda: main(sys.argv[1:]))
