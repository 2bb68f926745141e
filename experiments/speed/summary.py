"""From times to ratios: the others' time over ours in the same round, the best peer's, and geometric means."""

import statistics
from typing import Any

from experiments.speed.contenders import CONTENDERS
from experiments.speed.results import Results, Table
from experiments.speed.rows import GROUPS, LAYER_MODES
from experiments.speed.turns import OURS, paired_ratio

BEST = "best peer"

Means = dict[str, dict[str, dict[str, float]]]
"""By group of rows and contender: its ratios' geometric "mean", "least" and "most", and over how many "rows"."""


def ratios(table: Table) -> dict[str, float]:
    """The time of each of the others over ours, and of `BEST`, the fastest other library; none without ours."""
    ours = table.get(OURS)
    if ours is None or not ours.counts:
        return {}
    others = [one for one in table.values() if one is not ours and one.counts]
    found = {one.contender: paired_ratio(one.seconds, ours.seconds) for one in others}
    peers = [ratio for name, ratio in found.items() if not CONTENDERS[name].is_ours]
    return found | ({BEST: min(peers)} if peers else {})


def means(found: Results, mode: str, dtype: str) -> Means:
    table: Means = {}
    for group in GROUPS:
        rows = [ratios(found.of(row, mode, dtype)) for row in found.rows if row.group == group]
        for who in (*CONTENDERS, BEST):
            each = [one[who] for one in rows if who in one]
            if each:
                mean = statistics.geometric_mean(each)
                figures = {"mean": mean, "least": min(each), "most": max(each), "rows": len(each)}
                table.setdefault(group, {})[who] = figures
    return table


def summary(found: Results) -> dict[str, Any]:
    """The means by dtype and mode."""
    return {dtype: {mode: means(found, mode, dtype) for mode in LAYER_MODES} for dtype in found.dtypes}


def gradient_differences(found: Results, dtype: str) -> dict[str, float]:
    """The largest of each contender, from the reference in float64."""
    table: dict[str, float] = {}
    for one in found.measurements:
        if (one.mode, one.dtype) == ("forward+backward", dtype) and one.difference is not None:
            table[one.contender] = max(table.get(one.contender, 0.0), one.difference)
    return table
