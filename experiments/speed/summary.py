"""From times to statements: paired ratios, the best peer, geometric means, and the summary of a run."""

import statistics
from collections.abc import Mapping
from typing import Any

from experiments.speed.contenders import CONTENDERS, OURS
from experiments.speed.results import Results, Table
from experiments.speed.rows import GROUPS
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
    return {name: paired_ratio(one.times, ours.times) for name, one in others.items()}


def best_peer(table: Table) -> str | None:
    """The fastest of other libraries beside ours."""
    times = {name: ratio for name, ratio in ratios(table).items() if not CONTENDERS[name].is_ours}
    return min(times, key=times.__getitem__, default=None)


def speedup(table: Table) -> float | None:
    """The best peer's time over ours; None where one of them is missing."""
    best = best_peer(table)
    return None if best is None else ratios(table)[best]


def summary(results: Results) -> dict[str, Any]:
    """What the README states, by dtype."""
    return {dtype: _of_dtype(results, dtype) for dtype in results.dtypes}


def _of_dtype(results: Results, dtype: str) -> dict[str, Any]:
    compiling = _ratios_by_contender(results, "compile", dtype, GROUPS)
    table = {
        **{mode: _means(results, mode, dtype) for mode in ("forward", "forward+backward")},
        "compile_time": {f"{peer} / {OURS}": _mean(compiling[peer]) for peer in FLAX if peer in compiling},
        "largest_gradient_difference": _largest_difference(results, dtype),
    }
    return _filled(table)


def _filled(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if value}


def _means(results: Results, mode: str, dtype: str) -> dict[str, Any]:
    """By group of rows and contender: the mean of their ratios, and the worst of them."""
    groups = {group: _ratios_by_contender(results, mode, dtype, (group,)) for group in GROUPS}
    return {
        group: {
            who: {
                "geometric_mean": _mean(rows),
                "worst_row": min(rows, key=rows.__getitem__),
                "worst": round(min(rows.values()), 3),
                "rows": {name: round(ratio, 3) for name, ratio in rows.items()},
            }
            for who, rows in each.items()
        }
        for group, each in groups.items()
        if each
    }


def _mean(rows: Mapping[str, float]) -> float:
    return round(statistics.geometric_mean(rows.values()), 3)


def _ratios_by_contender(
    results: Results, mode: str, dtype: str, groups: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """By row, of each of the others, of ours with another backend too, and of the best peer of each row."""
    rows = [row for row in results.rows if row.kind == "layer" and not row.sweep and row.group in groups]
    tables = {row.name: results.of(row.name, mode, dtype) for row in rows}
    each = {name: {**ratios(table), BEST: speedup(table)} for name, table in tables.items()}
    return _filled({who: _filled({name: one.get(who) for name, one in each.items()}) for who in (*CONTENDERS, BEST)})


def _largest_difference(results: Results, dtype: str) -> dict[str, float]:
    table: dict[str, float] = {}
    for one in results.measurements:
        if one.mode == "forward+backward" and one.dtype == dtype and one.difference is not None:
            table[one.contender] = max(table.get(one.contender, 0.0), one.difference)
    return {name: float(f"{value:.2e}") for name, value in table.items()}
