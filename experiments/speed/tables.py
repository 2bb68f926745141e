"""The tables of the report, as lines of Markdown, and the sentences below them; no lines where nothing was measured."""

from collections.abc import Iterable, Sequence
from typing import Any

from experiments.speed import ratios
from experiments.speed.contenders import CONTENDERS
from experiments.speed.formulas import floor_seconds
from experiments.speed.results import Measurement, Results
from experiments.speed.spec import GROUPS, Row


def layers(found: Results, mode: str, dtype: str) -> list[str]:
    """Medians; the fastest is bold. Rows come by groups."""
    rows = [row for row in found.rows.values() if row.kind == "layer" and not row.sweep]
    rows = [row for row in sorted(rows, key=lambda row: GROUPS.index(row.group)) if found.of(row.name, mode, dtype)]
    names = _present(found, rows, mode, dtype)
    head = ["row", *(CONTENDERS[name].title for name in names), "best peer / lstmjax", "floor", "of the matrix rate"]

    def line(row: Row) -> list[str]:
        table = found.of(row.name, mode, dtype)
        own, ratio = table.get(ratios.OURS), ratios.speedup(table)
        share = None if own is None else ratios.matrix_fraction(row, own, found.machine)
        floor = _number(_floor(row, mode, dtype, found.machine))
        return [_title(row), *_bold(names, table, 1e3), _number(ratio), floor, "" if share is None else f"{share:.0%}"]

    return _table(head, map(line, rows)) + _layer_means(found, mode, dtype)


def _layer_means(found: Results, mode: str, dtype: str) -> list[str]:
    """What the table comes to: a sentence for each group of rows, and the worst row."""
    groups = ratios.summary(found)[dtype].get(mode, {})
    lines = [_means(group, table) for group, table in groups.items()]
    bests = [table[ratios.BEST] for table in groups.values() if ratios.BEST in table]
    if bests:
        worst = min(bests, key=lambda one: float(one["worst"]))
        row, ratio = worst["worst_row"], worst["worst"]
        peer = _called(ratios.best_peer(found.of(row, mode, dtype)) or ratios.BEST)
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


def _floor(row: Row, mode: str, dtype: str, machine: dict[str, Any]) -> float | None:
    """Milliseconds of arithmetic or of memory traffic alone, whichever is more."""
    if "bytes_per_second" not in machine:
        return None
    return 1e3 * floor_seconds(row, mode, dtype, machine["matrix_flops_per_second"], machine["bytes_per_second"])


def generation(found: Results, dtype: str) -> list[str]:
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


def jobs(found: Results, dtype: str) -> list[str]:
    rows = [r for r in found.rows.values() if r.kind == "job" and found.of(r.name, "epoch", dtype)]
    names = _present(found, rows, "epoch", dtype)

    def line(row: Row) -> list[str]:
        table = found.of(row.name, "epoch", dtype)
        return [row.name, *_bold(names, table, 1), _number(ratios.speedup(table))]

    return _table(["job", *(CONTENDERS[name].title for name in names), "best peer / lstmjax"], map(line, rows))


def compiling(found: Results, dtype: str) -> list[str]:
    rows = [row for row in found.rows.values() if found.of(row.name, "compile", dtype)]
    names = _present(found, rows, "compile", dtype)
    flax = [name for name in ratios.FLAX if name in names]

    def line(row: Row) -> list[str]:
        table = found.of(row.name, "compile", dtype)
        seconds = (_number(m.compile_seconds) if (m := table.get(name)) else "" for name in names)
        return [_title(row), *seconds, *(_number(ratios.compile_ratio(table, name)) for name in flax)]

    head = [*(CONTENDERS[name].title for name in names), *(f"{CONTENDERS[name].title} / lstmjax" for name in flax)]
    return _table(["row", *head], map(line, rows)) + _compile_means(found, dtype)


def _compile_means(found: Results, dtype: str) -> list[str]:
    """The sentence below the table."""
    means = ratios.summary(found)[dtype].get("compile_time", {})
    keys = {name: f"{name} / {ratios.OURS}" for name in ratios.FLAX}
    each = [f"{CONTENDERS[name].title} {means[key]:.2f}" for name, key in keys.items() if key in means]
    line = f"Flax takes this many times as long to compile as lstmjax, geometric means: {', '.join(each)}."
    return ["", line] if each else []


def memory(found: Results, dtype: str) -> list[str]:
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
