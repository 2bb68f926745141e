"""From times to statements: paired ratios, the best peer, geometric means, and the summary of a run."""

import statistics
from collections.abc import Sequence
from typing import Any

from experiments.speed.contenders import CONTENDERS
from experiments.speed.formulas import bytes_moved, flops
from experiments.speed.results import Measurement, Results
from experiments.speed.spec import GROUPS, Row

OURS = "lstmjax"
BEST = "best peer"
FLAX = ("flax", "flax-optimized")
"""What our compile time is measured by."""


def paired_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """The median of their time over ours, round by round: what slows the machine for a while slows both.

    >>> paired_ratio([2.0, 40.0, 3.0], [1.0, 10.0, 2.0])
    2.0
    """
    return statistics.median(t / o for t, o in zip(theirs, ours, strict=True))


def beside(found: dict[str, Measurement]) -> dict[str, float]:
    """The time of each of the others over ours; of none where one of the two is missing."""
    own, others = found.get(OURS), {name: one for name, one in found.items() if name != OURS and one.counts}
    if own is None or not own.counts:
        return {}
    return {name: paired_ratio(one.seconds, own.seconds) for name, one in others.items()}


def best_peer(found: dict[str, Measurement]) -> str | None:
    """The fastest of other libraries beside ours."""
    ratios = beside(found)
    return min((name for name in ratios if not CONTENDERS[name].is_ours), key=ratios.__getitem__, default=None)


def speedup(found: dict[str, Measurement]) -> float | None:
    """The best peer's time over ours; None where one of them is missing."""
    best = best_peer(found)
    return None if best is None else beside(found)[best]


def compile_ratio(found: dict[str, Measurement], peer: str) -> float | None:
    """Their compile time over ours; None where one of them is missing."""
    pair = [one for name in (peer, OURS) if (one := found.get(name)) and not one.error]
    theirs, ours = [one.compile_seconds for one in pair] if len(pair) == 2 else [None, None]
    return theirs / ours if theirs and ours else None


def matrix_fraction(row: Row, one: Measurement, machine: dict[str, Any]) -> float | None:
    """The share of the machine's measured matrix rate that the row's matrix products come to."""
    rate = machine.get("matrix_flops_per_second")
    return flops(row, one.mode) / one.median / rate if rate and one.counts else None


def bandwidth_fraction(row: Row, one: Measurement, machine: dict[str, Any]) -> float | None:
    """The share of the machine's memory rate; weights that stay in a cache may come faster, above 1."""
    rate = machine.get("bytes_per_second")
    return bytes_moved(row, one.mode, one.dtype) / one.median / rate if rate and one.counts else None


def symbols_per_second(row: Row, one: Measurement) -> float:
    return row.steps * row.batch / one.median


def summary(results: Results) -> dict[str, Any]:
    """What the README states, by dtype."""
    return {dtype: _of_dtype(results, dtype) for dtype in results.dtypes}


def _of_dtype(results: Results, dtype: str) -> dict[str, Any]:
    layers = [row for row in results.rows.values() if row.kind == "layer" and not row.sweep]
    groups = {group: [row for row in layers if row.group == group] for group in GROUPS}
    table: dict[str, Any] = {
        mode: _filled({group: _speedups(results, rows, mode, dtype) for group, rows in groups.items()})
        for mode in ("forward", "forward+backward")
    }
    table["generation"] = _generation(results, dtype)
    table["jobs"] = _jobs(results, dtype)
    table["compile_time"] = _compile_time(results, layers, dtype)
    table["largest_gradient_difference"] = _largest_difference(results, dtype)
    return _filled(table)


def _filled(table: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if value}


def _speedups(results: Results, rows: Sequence[Row], mode: str, dtype: str) -> dict[str, Any]:
    """Of each of the others over a group of rows, of ours with another backend too, and of the best peer of each."""
    found = {row.name: results.of(row.name, mode, dtype) for row in rows}
    each = {name: {**beside(table), BEST: speedup(table)} for name, table in found.items()}
    known = {who: _filled({name: ratios.get(who) for name, ratios in each.items()}) for who in (*CONTENDERS, BEST)}
    return {who: _mean(ratios) for who, ratios in known.items() if ratios}


def _mean(ratios: dict[str, float]) -> dict[str, Any]:
    worst = min(ratios, key=ratios.__getitem__)
    return {
        "geometric_mean": round(statistics.geometric_mean(ratios.values()), 3),
        "worst_row": worst,
        "worst": round(ratios[worst], 3),
        "rows": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }


def _generation(results: Results, dtype: str) -> dict[str, Any]:
    table = {}
    for row in (row for row in results.rows.values() if row.kind == "generation"):
        found = {name: one for name, one in results.of(row.name, "generate", dtype).items() if one.counts}
        if found:
            table[row.name] = {name: round(symbols_per_second(row, one), 1) for name, one in found.items()}
    return table


def _jobs(results: Results, dtype: str) -> dict[str, Any]:
    table = {}
    for row in (row for row in results.rows.values() if row.kind == "job"):
        found = {name: one for name, one in results.of(row.name, "epoch", dtype).items() if one.counts}
        if found:
            table[row.name] = {name: round(one.median, 3) for name, one in found.items()}
    return table


def _compile_time(results: Results, rows: Sequence[Row], dtype: str) -> dict[str, Any]:
    """Flax's compile time over ours, geometric mean over the rows."""
    found = [results.of(row.name, "compile", dtype) for row in rows]
    known = {peer: [ratio for table in found if (ratio := compile_ratio(table, peer))] for peer in FLAX}
    return {f"{peer} / {OURS}": round(statistics.geometric_mean(each), 3) for peer, each in known.items() if each}


def _largest_difference(results: Results, dtype: str) -> dict[str, float]:
    table: dict[str, float] = {}
    for one in results.measurements:
        if one.mode == "forward+backward" and one.dtype == dtype and one.difference is not None:
            table[one.contender] = max(table.get(one.contender, 0.0), one.difference)
    return {name: float(f"{value:.2e}") for name, value in table.items()}
