"""The table and the plot of measured results.

Usage: python -m experiments.speed.report RESULTS.json ... [--out TABLE.md] [--plot PLOT.png]; see --help.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import cli
from experiments.speed import plot, results
from experiments.speed.beside import markdown
from experiments.speed.contenders import CONTENDERS, OURS
from experiments.speed.results import Results, Table
from experiments.speed.rows import GROUPS, Row, flops, generation_bytes
from experiments.speed.summary import BEST, FLAX, best_peer, compile_ratio, speedup, summary
from lstmjax.errors import InputError
from lstmjax.files import replace_text

DESCRIPTION = """Make the Markdown table, and from sweeps the plot, of what python -m experiments.speed measured."""

INTRODUCTION = r"""# Speed beside other libraries

What `python -m experiments.speed` measures: each library in a process of its own, one at a time, taking turns round by
round; medians, and ratios of paired rounds, because the machine's speed wanders by a quarter. Each library runs in its
own natural form: PyTorch's `nn.LSTM` time-major on all cores, under `inference_mode` forward; ONNX Runtime's LSTM
operator time-major on all cores, with its weights packed beforehand and nothing copied; Flax, Keras and Haiku under
`jax.jit`; and lstmjax with the backend it chooses, beside itself with backend "fused" and "scan". Forward+backward
gives the gradients of all weights and of the inputs. What a contender computes is compared with a float64 run first;
one that computes something else would not count. Where "best peer / lstmjax" is above 1 we are faster than the fastest
other library. "Of the matrix rate" is how much of the machine's speed in one large matrix product ours reaches.

```sh
pip install "torch==2.13.0" && pip install -e ".[experiments,interop]"
python -m experiments.speed --rounds 5 --jobs --out experiments/results/speed.json
python -m experiments.speed --rows --sweeps --rounds 3 --out experiments/results/speed-sweeps.json
python -m experiments.speed.report experiments/results/speed.json experiments/results/speed-sweeps.json \
    --out docs/speed.md --plot experiments/results/speed.png
```

Some rows (by name, or any shape TxBxIxH), contenders and modes, and their tables:

```sh
python -m experiments.speed --rows 200x1x128x128 100x64x128x512 tagger --contenders lstmjax lstmjax-fused torch \
    --modes forward --rounds 3 --out runs/some.json && python -m experiments.speed.report runs/some.json
```
"""

NOTES = {
    "haiku": "Haiku has no argument for sequences of different lengths and is left out of the ragged rows.",
    "flax": "Flax takes lengths, but computes the padding too.",
    "onnxruntime": "ONNX Runtime has no gradients of an LSTM and takes part forward only.",
}
FOOTNOTES = {
    "floor": "The floor is the matrix products at the machine's measured rate.",
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
    parts = [INTRODUCTION, machine_line(found), *backend_lines(found)]
    for dtype in found.dtypes:
        suffix = "" if dtype == "float32" else f", {dtype}"
        for mode in ("forward", "forward+backward"):
            parts += _section(f"{mode.capitalize()}, milliseconds{suffix}", layers(found, mode, dtype))
        parts += _section(f"Generation, symbols a second{suffix}", generation(found, dtype))
        parts += _section(f"Seconds an epoch{suffix}", jobs(found, dtype))
        parts += _section(f"Compiling forward+backward, seconds{suffix}", compiling(found, dtype))
        parts += _section(f"Memory of forward+backward, MB{suffix}", memory(found, dtype))
    present = {one.contender for one in found.measurements}
    parts += [note + "\n" for name, note in NOTES.items() if name in present]
    parts += [note + "\n" for column, note in FOOTNOTES.items() if any(f"| {column} |" in line for line in parts)]
    parts += note_lines(found)
    return "\n".join(parts + _section("Not counted", [f"- {failure}" for failure in found.failures]))


Cell = Callable[[Row, Table, str], str]
"""What stands in a row's line and a contender's column; asked for those that were measured."""
Column = Callable[[Row, Table], str]


def pivot(
    found: Results, mode: str, dtype: str, cell: Cell, more: Mapping[str, Column] | None = None, corner: str = "row"
) -> list[str]:
    """A line for each row, a column for each contender, and more behind these; nothing where nothing was measured."""
    rows = [row for row in found.rows.values() if not row.sweep]
    if mode in ("forward", "forward+backward"):
        rows.sort(key=lambda row: GROUPS.index(row.group))
    tables = {row.name: found.of(row.name, mode, dtype) for row in rows}
    rows = [row for row in rows if tables[row.name]]
    names = [name for name in CONTENDERS if any(name in tables[row.name] for row in rows)]
    more = more or {}

    def line(row: Row) -> list[str]:
        table = tables[row.name]
        cells = [cell(row, table, name) if name in table else "" for name in names]
        return [row.title, *cells, *(text(row, table) for text in more.values())]

    head = [corner, *(CONTENDERS[name].title for name in names), *more]
    return markdown(head, map(line, rows)) if rows else []


def layers(found: Results, mode: str, dtype: str) -> list[str]:
    """Medians, the fastest bold, and what the table comes to."""
    rate = found.machine.get("matrix_flops_per_second")

    def floor(row: Row, _: Table) -> str:
        return _number(1e3 * flops(row, mode) / rate) if rate else ""

    def of_rate(row: Row, table: Table) -> str:
        return _share(flops(row, mode), table, rate)

    more = {"best peer / lstmjax": _speedup, "floor": floor, "of the matrix rate": of_rate}
    return [*pivot(found, mode, dtype, _median(1e3), more), *_layer_means(found, mode, dtype)]


def generation(found: Results, dtype: str) -> list[str]:
    """And what share of the memory's rate reading all weights at each step comes to."""

    def symbols(row: Row, table: Table, name: str) -> str:
        return f"{row.steps * row.batch / table[name].median:,.0f}" if table[name].counts else ""

    def of_rate(row: Row, table: Table) -> str:
        return _share(generation_bytes(row, dtype), table, found.machine.get("bytes_per_second"))

    more = {"best peer / lstmjax": _speedup, "of the memory's rate": of_rate}
    return pivot(found, "generate", dtype, symbols, more)


def jobs(found: Results, dtype: str) -> list[str]:
    return pivot(found, "epoch", dtype, _median(1), {"best peer / lstmjax": _speedup}, corner="job")


def compiling(found: Results, dtype: str) -> list[str]:
    def seconds(_: Row, table: Table, name: str) -> str:
        return _number(table[name].compile_seconds)

    def beside(peer: str) -> Column:
        return lambda _, table: _number(compile_ratio(table, peer))

    measured = {one.contender for one in found.measurements if (one.mode, one.dtype) == ("compile", dtype)}
    more = {f"{CONTENDERS[peer].title} / lstmjax": beside(peer) for peer in FLAX if peer in measured}
    means = summary(found)[dtype].get("compile_time", {})
    each = [f"{CONTENDERS[name].title} {means[key]:.2f}" for name in FLAX if (key := f"{name} / {OURS}") in means]
    line = f"Flax takes this many times as long to compile as lstmjax, geometric means: {', '.join(each)}."
    return pivot(found, "compile", dtype, seconds, more) + (["", line] if each else [])


def memory(found: Results, dtype: str) -> list[str]:
    """By the compiler's account, and by how much a process grew."""

    def sizes(_: Row, table: Table, name: str) -> str:
        known = {"planned": table[name].program_bytes, "grown": table[name].peak_bytes}
        return ", ".join(f"{size / 1e6:,.0f} {kind}" for kind, size in known.items() if size is not None)

    return pivot(found, "memory", dtype, sizes)


def _median(scale: float) -> Cell:
    """Medians, the least of a row in bold."""

    def cell(_: Row, table: Table, name: str) -> str:
        medians = {who: one.median * scale for who, one in table.items() if one.counts}
        if name not in medians:
            return ""
        text = _number(medians[name])
        return f"**{text}**" if medians[name] == min(medians.values()) else text

    return cell


def _speedup(_: Row, table: Table) -> str:
    return _number(speedup(table))


def _share(amount: float, table: Table, rate: float | None) -> str:
    """Of a rate of the machine, what ours comes to."""
    ours = table.get(OURS)
    return f"{amount / ours.median / rate:.0%}" if rate and ours is not None and ours.counts else ""


def _number(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _layer_means(found: Results, mode: str, dtype: str) -> list[str]:
    """A sentence for each group of rows, and one for the worst row."""
    groups = summary(found)[dtype].get(mode, {})
    lines = [_means(group, table) for group, table in groups.items()]
    bests = [table[BEST] for table in groups.values() if BEST in table]
    if bests:
        worst = min(bests, key=lambda one: float(one["worst"]))
        row, ratio = worst["worst_row"], worst["worst"]
        peer = _called(best_peer(found.of(row, mode, dtype)) or BEST)
        lines.append(
            f"The worst row beside another library is {row}: {peer} takes {ratio:.2f} times as long as lstmjax."
        )
    return [text for line in lines for text in ("", line)]


def _means(group: str, table: dict[str, Any]) -> str:
    """Of a contender that is missing on some rows, on how many it is there."""
    count = max(len(one["rows"]) for one in table.values())
    fewer = {who: f" (over {len(one['rows'])})" if len(one["rows"]) < count else "" for who, one in table.items()}
    each = [f"{_called(who)} {one['geometric_mean']:.2f}{fewer[who]}" for who, one in table.items()]
    return (
        f"{group.capitalize()} ({count}): the others take this many times as long as lstmjax, "
        f"geometric means: {', '.join(each)}."
    )


def _called(who: str) -> str:
    return CONTENDERS[who].title if who in CONTENDERS else "the fastest other library of each row"


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


def note_lines(found: Results) -> list[str]:
    """What contenders say of themselves, and of which rows."""
    notes = [(f"{CONTENDERS[one.contender].title}: {one.note}", one.row) for one in found.measurements if one.note]
    return [f"{note}, {', '.join(rows)}.\n" for note, rows in sorted(_grouped(notes).items())]


def backend_lines(found: Results) -> list[str]:
    """Which backend served lstmjax where it chose itself; nothing of results from before that was kept."""
    of_ours = [(one.backend, one.row) for one in found.measurements if one.contender == OURS and one.backend]
    rows = _grouped(of_ours)
    by = [f"{backend} for {'all layers' if len(rows) == 1 else ', '.join(names)}" for backend, names in rows.items()]
    return [f"The backend that lstmjax chose: {'; '.join(by)}.\n"] if by else []


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The rows that each text is said of, once each."""
    table: dict[str, list[str]] = {}
    for text, row in dict.fromkeys(pairs):
        table.setdefault(text, []).append(row)
    return table


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}\n", *lines, ""] if lines else []


if __name__ == "__main__":
    cli.run(lambda: main(sys.argv[1:]))
