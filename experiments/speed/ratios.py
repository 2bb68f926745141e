"""From times to statements: paired ratios, the best peer, geometric means, and the summary of a run."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.speed.contenders import CONTENDERS
from experiments.speed.formulas import bytes_moved, flops
from experiments.speed.results import Measurement, Results
from experiments.speed.spec import Row

OURS = "lstmjax"


def paired_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """The median of their time over ours, round by round: what slows the machine for a while slows both.

    >>> paired_ratio([2.0, 40.0, 3.0], [1.0, 10.0, 2.0])
    2.0
    """
    return statistics.median(t / o for t, o in zip(theirs, ours, strict=True))


def geometric_mean(values: Iterable[float]) -> float | None:
    """None where there are no values.

    >>> round(geometric_mean([2.0, 8.0]), 6)
    4.0
    """
    logs = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logs)) if logs else None


def best_peer(found: dict[str, Measurement]) -> Measurement | None:
    """The fastest of other libraries that computes the same."""
    peers = [one for name, one in found.items() if not CONTENDERS[name].is_ours and one.counts]
    return min(peers, key=lambda one: one.median, default=None)


def speedup(found: dict[str, Measurement], ours: str = OURS) -> float | None:
    """The best peer's time over ours; None where one of them is missing."""
    best, own = best_peer(found), found.get(ours)
    if best is None or own is None or not own.counts:
        return None
    return paired_ratio(best.seconds, own.seconds)


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
    full, ragged = [r for r in layers if not r.ragged], [r for r in layers if r.ragged]
    table: dict[str, Any] = {}
    for mode in ("forward", "forward+backward"):
        table[mode] = _speedups(results, full, mode, dtype)
        table[f"{mode}, ragged"] = _speedups(results, ragged, mode, dtype)
    table["generation"] = _generation(results, dtype)
    table["jobs"] = _jobs(results, dtype)
    table["compile_time"] = _compile_time(results, layers, dtype)
    table["largest_gradient_difference"] = _largest_difference(results, dtype)
    return {name: value for name, value in table.items() if value}


def _speedups(results: Results, rows: Sequence[Row], mode: str, dtype: str) -> dict[str, Any]:
    ratios = {row.name: speedup(results.of(row.name, mode, dtype)) for row in rows}
    known = {name: round(ratio, 3) for name, ratio in ratios.items() if ratio is not None}
    if not known:
        return {}
    worst = min(known, key=lambda name: known[name])
    mean = geometric_mean(known.values())
    return {
        "geometric_mean": None if mean is None else round(mean, 3),
        "worst_row": worst,
        "worst": known[worst],
        "rows": known,
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
    table = {}
    for peer in ("flax", "flax-optimized"):
        pairs = [_compile_pair(results.of(row.name, "compile", dtype), peer) for row in rows]
        mean = geometric_mean(theirs / ours for theirs, ours in pairs if theirs and ours)
        if mean is not None:
            table[f"{peer} / {OURS}"] = round(mean, 3)
    return table


def _compile_pair(found: dict[str, Measurement], peer: str) -> tuple[float | None, float | None]:
    theirs, ours = (found.get(name) for name in (peer, OURS))
    return _compile_seconds(theirs), _compile_seconds(ours)


def _compile_seconds(one: Measurement | None) -> float | None:
    return None if one is None or one.error else one.compile_seconds


def _largest_difference(results: Results, dtype: str) -> dict[str, float]:
    table: dict[str, float] = {}
    for one in results.measurements:
        if one.mode == "forward+backward" and one.dtype == dtype and one.difference is not None:
            table[one.contender] = max(table.get(one.contender, 0.0), one.difference)
    return {name: float(f"{value:.2e}") for name, value in table.items()}
