"""The table and the plot of measured results.

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
from experiments.speed.contenders import CONTENDERS, OURS
from experiments.speed.results import Measurement, Results, Table, grouped
from experiments.speed.rows import GROUPS, Row, flops, generation_bytes
from experiments.speed.summary import BEST, FLAX, best_peer, ratios, speedup, summary
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
    for dtype, means in summary(found).items():
        parts += sections(found, dtype, means)
    present = {one.contender for one in found.measurements}
    parts += [note + "\n" for name, note in NOTES.items() if name in present]
    parts += [note + "\n" for column, note in FOOTNOTES.items() if any(f"| {column} |" in line for line in parts)]
    parts += note_lines(found)
    return "\n".join(parts + _section("Not counted", [f"- {failure}" for failure in found.failures]))


def sections(found: Results, dtype: str, means: dict[str, Any]) -> list[str]:
    """A dtype's tables, with what they come to below."""
    suffix = "" if dtype == "float32" else f", {dtype}"
    flops_rate, bytes_rate = (found.machine.get(f"{unit}_per_second") for unit in ("matrix_flops", "bytes"))

    def table(mode: str, cells: Cells, corner: str = "row") -> list[str]:
        rows = [row for row in found.rows if not row.sweep]
        if mode in ("forward", "forward+backward"):
            rows.sort(key=lambda row: GROUPS.index(row.group))
        return pivot({row: table for row in rows if (table := found.of(row.name, mode, dtype))}, cells, corner)

    lines = []
    for mode in ("forward", "forward+backward"):
        text = _layer_means(found, mode, dtype, means.get(mode, {}))
        cells = functools.partial(layer, mode=mode, rate=flops_rate)
        lines += _section(f"{mode.capitalize()}, milliseconds{suffix}", [*table(mode, cells), *text])
    cells = functools.partial(generation, dtype=dtype, rate=bytes_rate)
    lines += _section(f"Generation, symbols a second{suffix}", table("generate", cells))
    lines += _section(f"Seconds an epoch{suffix}", table("epoch", epoch, "job"))
    text = _compile_means(means.get("compile_time", {}))
    lines += _section(f"Compiling forward+backward, seconds{suffix}", [*table("compile", compiling), *text])
    return lines + _section(f"Memory of forward+backward, MB{suffix}", table("memory", memory))


Cells = Callable[[Row, Table], dict[str, str]]
"""What stands in a row's line, by contender or by the head of another column."""


def pivot(tables: Mapping[Row, Table], cells: Cells, corner: str) -> list[str]:
    """A line for each row, a column for each contender, other columns behind; nothing where nothing was measured."""
    lines = [{corner: row.title, **cells(row, table)} for row, table in tables.items()]
    columns = dict.fromkeys([corner, *CONTENDERS, *itertools.chain(*lines)])
    known = [name for name in columns if any(name in line for line in lines)]
    head = [CONTENDERS[name].title if name in CONTENDERS else name for name in known]
    return markdown(head, [[line.get(name, "") for name in known] for line in lines]) if lines else []


def layer(row: Row, table: Table, mode: str, rate: float | None) -> dict[str, str]:
    """Milliseconds, and what the products alone take at the machine's rate."""
    floor = flops(row, mode) / rate if rate else None
    products = {"floor": _number(1e3 * floor) if floor else "", "of the matrix rate": _part(floor, table)}
    return _medians(table, 1e3) | _speedup(table) | products


def generation(row: Row, table: Table, dtype: str, rate: float | None) -> dict[str, str]:
    """And what part of the memory's rate reading all weights at each step comes to."""
    symbols = row.steps * row.batch
    speeds = {name: f"{symbols / one.median:,.0f}" if one.counts else "" for name, one in table.items()}
    floor = generation_bytes(row, dtype) / rate if rate else None
    return speeds | _speedup(table) | {"of the memory's rate": _part(floor, table)}


def epoch(_: Row, table: Table) -> dict[str, str]:
    return _medians(table, 1) | _speedup(table)


def compiling(_: Row, table: Table) -> dict[str, str]:
    seconds = {name: _number(one.compile_seconds) for name, one in table.items()}
    beside = {f"{CONTENDERS[peer].title} / lstmjax": _number(ratios(table).get(peer)) for peer in FLAX if peer in table}
    return seconds | beside


def memory(_: Row, table: Table) -> dict[str, str]:
    """By the compiler's account, and by how much a process grew."""

    def sizes(one: Measurement) -> str:
        known = {"planned": one.program_bytes, "grown": one.peak_bytes}
        return ", ".join(f"{size / 1e6:,.0f} {kind}" for kind, size in known.items() if size is not None)

    return {name: sizes(one) for name, one in table.items()}


def _medians(table: Table, scale: float) -> dict[str, str]:
    """The least of a row in bold."""
    medians = {name: one.median * scale for name, one in table.items() if one.counts}
    texts = {name: _number(value) for name, value in medians.items()}
    bold = {name: f"**{texts[name]}**" for name, value in medians.items() if value == min(medians.values())}
    return dict.fromkeys(table, "") | texts | bold


def _speedup(table: Table) -> dict[str, str]:
    return {"best peer / lstmjax": _number(speedup(table))}


def _part(floor: float | None, table: Table) -> str:
    """Of our time, what the least one at the machine's rate is."""
    ours = table.get(OURS)
    return f"{floor / ours.median:.0%}" if floor and ours is not None and ours.counts else ""


def _number(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _layer_means(found: Results, mode: str, dtype: str, groups: dict[str, Any]) -> list[str]:
    """A sentence for each group of rows, and one for the worst row."""
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


def _compile_means(means: dict[str, float]) -> list[str]:
    each = [f"{_called(beside.split(' / ')[0])} {mean:.2f}" for beside, mean in means.items()]
    line = f"Flax takes this many times as long to compile as lstmjax, geometric means: {', '.join(each)}."
    return ["", line] if each else []


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
    return [f"{note}, {', '.join(rows)}.\n" for note, rows in sorted(grouped(notes).items())]


def backend_lines(found: Results) -> list[str]:
    """Which backend served lstmjax where it chose itself; nothing of results from before that was kept."""
    of_ours = [(one.backend, one.row) for one in found.measurements if one.contender == OURS and one.backend]
    rows = grouped(of_ours)
    by = [f"{backend} for {'all layers' if len(rows) == 1 else ', '.join(names)}" for backend, names in rows.items()]
    return [f"The backend that lstmjax chose: {'; '.join(by)}.\n"] if by else []


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}\n", *lines, ""] if lines else []


if __name__ == "__main__":
    cli.run(lambda: main(sys.argv[1:]))
