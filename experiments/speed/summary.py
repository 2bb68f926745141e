"""From times to statements: paired ratios, the best peer, geometric means, and the summary of a run."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.speed.contenders import CONTENDERS, OURS
from experiments.speed.results import Results, Table
from experiments.speed.rows import GROUPS, Row
from experiments.speed.turns import paired_ratio

BEST = "best peer"
FLAX = ("flax", "flax-optimized")
"""What our compile time is measured by."""


def ratios(table: Table) -> dict[str, float]:
    """The time of each of the others over ours; of none where one of the two is missing."""
    ours = table.get(OURS)
    if ours is None or not ours.counts:
        return {}
    others = {name: one for name, one in table.items() if name != OURS and one.counts}
    return {name: paired_ratio(one.seconds, ours.seconds) for name, one in others.items()}


def best_peer(table: Table) -> str | None:
    """The fastest of other libraries beside ours."""
    times = {name: ratio for name, ratio in ratios(table).items() if not CONTENDERS[name].is_ours}
    return min(times, key=times.__getitem__, default=None)


def speedup(table: Table) -> float | None:
    """The best peer's time over ours; None where one of them is missing."""
    best = best_peer(table)
    return None if best is None else ratios(table)[best]


def compile_ratio(table: Table, peer: str) -> float | None:
    """Their compile time over ours; None where one of them is missing."""
    seconds = [one.compile_seconds for name in (peer, OURS) if (one := table.get(name)) and not one.error]
    theirs, ours = seconds if len(seconds) == 2 else (None, None)
    return theirs / ours if theirs and ours else None


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
    table["generation"] = {
        row.name: {name: round(row.steps * row.batch / seconds, 1) for name, seconds in medians.items()}
        for row, medians in _medians(results, "generate", dtype)
    }
    table["jobs"] = {
        row.name: {name: round(seconds, 3) for name, seconds in medians.items()}
        for row, medians in _medians(results, "epoch", dtype)
    }
    table["compile_time"] = _compile_time(results, layers, dtype)
    table["largest_gradient_difference"] = _largest_difference(results, dtype)
    return _filled(table)


def _filled(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if value}


def _speedups(results: Results, rows: Sequence[Row], mode: str, dtype: str) -> dict[str, Any]:
    """Of each of the others over a group of rows, of ours with another backend too, and of the best peer of each."""
    found = {row.name: results.of(row.name, mode, dtype) for row in rows}
    each = {name: {**ratios(table), BEST: speedup(table)} for name, table in found.items()}
    known = {who: _filled({name: one.get(who) for name, one in each.items()}) for who in (*CONTENDERS, BEST)}
    return {who: _mean(one) for who, one in known.items() if one}


def _mean(ratios: dict[str, float]) -> dict[str, Any]:
    worst = min(ratios, key=ratios.__getitem__)
    return {
        "geometric_mean": round(statistics.geometric_mean(ratios.values()), 3),
        "worst_row": worst,
        "worst": round(ratios[worst], 3),
        "rows": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }


def _medians(results: Results, mode: str, dtype: str) -> list[tuple[Row, dict[str, float]]]:
    """Seconds a run by row and contender, rows without any left out."""
    tables = {name: results.of(name, mode, dtype) for name in results.rows}
    found = {name: {who: one.median for who, one in table.items() if one.counts} for name, table in tables.items()}
    return [(results.rows[name], medians) for name, medians in found.items() if medians]


def _compile_time(results: Results, rows: Sequence[Row], dtype: str) -> dict[str, float]:
    """Flax's compile time over ours, geometric mean over the rows."""
    tables = [results.of(row.name, "compile", dtype) for row in rows]
    known = {peer: [ratio for table in tables if (ratio := compile_ratio(table, peer))] for peer in FLAX}
    return {f"{peer} / {OURS}": round(statistics.geometric_mean(each), 3) for peer, each in known.items() if each}


def _largest_difference(results: Results, dtype: str) -> dict[str, float]:
    table: dict[str, float] = {}
    for one in results.measurements:
        if one.mode == "forward+backward" and one.dtype == dtype and one.difference is not None:
            table[one.contender] = max(table.get(one.contender, 0.0), one.difference)
    return {name: float(f"{value:.2e}") for name, value in table.items()}
