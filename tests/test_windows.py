"""Windows over series: what a loop over rows says, each once a pass, and never a look into the future."""

import dataclasses

import numpy as np
import pytest

from experiments.forecast import parts
from lstmjax.data.series import Series, SeriesSet
from lstmjax.data.timeline import parse_frequency
from lstmjax.data.windows import (
    Cuts,
    Rows,
    Windows,
    filled_forward,
    origins_between,
    part_counts,
    split_by_time,
    training_origins,
    with_values,
)
from lstmjax.errors import InputError
from lstmjax.models import ForecasterConfig

L, H, B, C = 5, 3, 4, 2
FIELDS = ("history", "past", "known", "future", "weights")


def ragged(lengths=(12, 2, 1, 8), dtype=np.float32):
    """Series of several lengths; every value says which series and row it is of, but for some that are missing."""
    rng = np.random.default_rng(0)
    found = []
    for number, length in enumerate(lengths):
        values = 1000.0 * number + np.arange(length)[:, None] + np.array([0.0, 0.25])
        past, known = values[:, :1] + 0.5, values[:, [0, 0, 0]] + np.array([0.6, 0.7, 0.8])
        values = np.where(rng.random(values.shape) < 0.2, np.nan, values)
        found.append(Rows(*(each.astype(dtype) for each in (values, past, known))))
    return found


def source_of(seed=None, rows=None, batch_size=B):
    """Origins that begin before a whole history and end after the last whole future; one series has none."""
    rows = ragged() if rows is None else rows
    origins = [np.arange(1, len(each.targets)) for each in rows]
    return Windows(rows, origins, L, H, batch_size, seed)


def looped(rows, origin):
    """One window, row by row."""
    end = len(rows.targets)
    history, future = np.full((L, C), np.nan), np.full((H, C), np.nan)
    past, known = np.zeros((L, 1)), np.zeros((L + H, 3))
    for place, row in enumerate(range(origin - L, origin + H)):
        inside = min(max(row, 0), end - 1)
        known[place] = rows.known[inside]
        if place < L:
            past[place] = rows.past[inside]
        if row == inside and place < L:
            history[place] = rows.targets[row]
        elif row == inside:
            future[place - L] = rows.targets[row]
    return history, past, known, future


def assert_same(first, second):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def test_windows_are_what_a_loop_says():
    source = source_of()
    expected = [looped(rows, o) for rows, own in zip(source.series, source.origins, strict=True) for o in own]
    assert source.num_windows == len(expected) == 11 + 1 + 0 + 7
    assert len(source) == 5
    for position in range(len(source)):
        batch = source.batch(position)
        for row in range(B):
            number = min(position * B + row, len(expected) - 1)
            assert batch.weights[row] == (position * B + row < len(expected))
            for name, want in zip(FIELDS, expected[number], strict=False):
                np.testing.assert_array_equal(getattr(batch, name)[row], want, err_msg=f"{name} {number}")
        assert {getattr(batch, name).dtype.name for name in FIELDS} == {"float32"}


def test_every_window_comes_once_a_pass_and_passes_differ():
    source = source_of(seed=3)
    passes = []
    for epoch in range(3):
        batches = [source.batch(epoch * len(source) + place) for place in range(len(source))]
        whose = np.concatenate([batch.known[batch.weights > 0, L, 0] for batch in batches])
        assert len(set(whose.tolist())) == len(whose) == source.num_windows
        passes.append(whose.tolist())
    assert passes[0] != passes[1] != passes[2]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(passes[2])


def test_a_batch_follows_from_its_position_alone():
    used = source_of(seed=3)
    for position in (7, 0, 13, 7):
        assert_same(used.batch(position), source_of(seed=3).batch(position))
    assert_same(source_of().batch(2), source_of().batch(2 + len(used)))  # without a seed passes are alike
    with pytest.raises(AssertionError):
        assert_same(used.batch(0), source_of(seed=4).batch(0))


def test_no_window_is_copied_ahead():
    rows = [Rows(np.zeros((5000, C), np.float32), np.zeros((5000, 1), np.float32), np.zeros((5000, 3), np.float32))]
    source = Windows(rows, [np.arange(100, 4900)], input_length=100, horizon=50, batch_size=2, seed=0)
    source.batch(3)
    size = sum(array.nbytes for array in rows[0])
    assert sum(array.nbytes for array in source._all) == size
    held = [each for value in vars(source).values() for each in (value if isinstance(value, tuple | list) else [value])]
    assert sum(each.nbytes for each in held if isinstance(each, np.ndarray)) <= size + 16 * source.num_windows + 64


def test_float64_stays_float64():
    """The data's own numbers, for scores, lose no digits."""
    assert source_of(rows=ragged(dtype=np.float64)).batch(0).history.dtype == np.float64


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"input_length": 0}, ValueError, "input_length must be at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be a whole number"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"origins": [np.arange(1, 3)]}, ValueError, "origins must be given for each of 4 series, got 1"),
        ({"origins": [np.arange(0)] * 4}, InputError, "there is no window of a horizon of 3 steps"),
    ],
)
def test_refusals(change, kind, sentence):
    with pytest.raises(kind, match=sentence):
        dataclasses.replace(source_of(), **change)
    with pytest.raises(ValueError, match="position must be at least 0"):
        source_of().batch(-1)


DAYS = np.arange("2024-01-01", "2024-03-01", dtype="M8[D]").astype("M8[us]")
CONFIG = ForecasterConfig(input_length=L, horizon=H, num_targets=C, num_past=1, num_known=1, num_series=4)


def table_of(change=None):
    """Four series of 60 days that begin and end on different ones; two of them are short."""
    rng = np.random.default_rng(1)
    found = []
    for number, (first, end) in enumerate([(0, 60), (10, 55), (33, 60), (20, 41)]):
        targets = 100.0 * number + rng.normal(size=(end - first, C))
        targets[rng.random(targets.shape) < 0.2] = np.nan
        past, known = rng.normal(size=(end - first, 1)), rng.normal(size=(end - first, 1))
        past[rng.random(past.shape) < 0.3] = np.nan
        series = Series(f"s{number}", DAYS[first:end], targets, past, known)
        found.append(series if change is None else change(number, series))
    return SeriesSet(found, parse_frequency("D"), ("a", "b"), ("p",), ("k",), "planted.csv", ())


def prepared_of(change=None, **model):
    return parts.prepare(table_of(change), dataclasses.replace(CONFIG, **model), True, (36, 12, 12), (0.1, 0.1))


def from_row(rows, changes_known):
    """Other numbers from a row of each series on, missing ones among them."""

    def change(number, series):
        first, rng = rows[number], np.random.default_rng(9)
        arrays = [series.targets.copy(), series.past.copy(), series.known.copy()]
        for array in arrays[: 3 if changes_known else 2]:
            array[first:] = 1e6 * rng.normal(size=array[first:].shape)
        arrays[0][first::3] = np.nan
        return series._replace(targets=arrays[0], past=arrays[1], known=arrays[2])

    return change


def batches(prepared, part, rows=None):
    source = parts.windows(prepared, part, prepared.scaled() if rows is None else rows, CONFIG, L, 1)
    return source, [source.batch(position) for position in range(len(source))]


@pytest.mark.parametrize("scaling", ["standard", "minmax", "robust"])
@pytest.mark.parametrize("scale_each", [True, False])
def test_training_never_sees_what_comes_after_it(scaling, scale_each):
    """Everything from the validation part on is other: scales, and training windows to the last bit, are the same."""
    own = prepared_of(scaling=scaling, scale_each=scale_each)
    assert [cut.validation for cut in own.cuts] == [36, 26, 3, 16]
    other = prepared_of(
        from_row([cut.validation for cut in own.cuts], changes_known=True), scaling=scaling, scale_each=scale_each
    )
    for name in ("scaler", "past_scaler", "known_scaler"):
        for statistic in ("shift", "scale"):
            first, second = (getattr(getattr(each, name), statistic)[...] for each in (own, other))
            np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(own.spread, other.spread)
    (source, first), (_, second) = batches(own, "train"), batches(other, "train")
    assert source.num_windows == len(second) > 30
    for mine, changed in zip(first, second, strict=True):
        assert_same(mine, changed)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_window_never_sees_what_comes_after_its_origin(part):
    """Targets and past covariates from an origin on are other; known ones may be seen."""
    own = prepared_of()
    source, windows = batches(own, part)
    for position in range(0, len(windows), 5):
        (number,), (origin,) = source.place(np.array([position]))
        changed = table_of(from_row({k: origin if k == number else 10**6 for k in range(4)}, changes_known=False))
        rows = own._replace(table=changed).scaled()
        again = dataclasses.replace(source, series=rows).batch(position)
        for name in ("history", "past", "known"):
            np.testing.assert_array_equal(getattr(windows[position], name), getattr(again, name))
        with pytest.raises(AssertionError):
            np.testing.assert_array_equal(windows[position].future, again.future)


def test_parts_lie_one_after_another_in_time_for_all_series():
    """No target that is trained on is of a later day than any that is validated on, and so for the test."""
    own = prepared_of()
    days = {}
    for part in ("train", "validation", "test"):
        source, _ = batches(own, part)
        numbers, origins = source.place(np.arange(source.num_windows))
        rows = [(n, o + step) for n, o in zip(numbers, origins, strict=True) for step in range(H)]
        days[part] = [own.table.series[n].times[row] for n, row in rows]
    assert max(days["train"]) < min(days["validation"])
    assert max(days["validation"]) < min(days["test"])


def test_split_by_time_for_ragged_series():
    rng = np.random.default_rng(0)
    for _ in range(200):
        counts = tuple(int(each) for each in rng.integers(1, 12, 3))
        grid = np.arange(sum(counts) + int(rng.integers(0, 4)))
        first = rng.integers(0, len(grid), 3)
        last = [int(rng.integers(begin + 1, len(grid) + 1)) for begin in first]
        times = [grid[begin:end] for begin, end in zip(first, last, strict=True)]
        found = split_by_time(times, [len(own) for own in times], grid, counts)
        for own, cuts in zip(times, found, strict=True):
            edges = (0, *cuts)
            parts_of = [own[low:high].tolist() for low, high in zip(edges, cuts, strict=False)]
            bounds = np.cumsum([0, *counts])
            for got, low, high in zip(parts_of, bounds, bounds[1:], strict=False):
                assert got == [time for time in own.tolist() if low <= time < high]


def test_rows_of_known_covariates_alone_belong_to_no_part():
    assert split_by_time([np.arange(14)], [10], np.arange(10), (5, 3, 2)) == [Cuts(5, 8, 10)]
    assert split_by_time([np.arange(14)], [6], np.arange(14), (5, 3, 2)) == [Cuts(5, 6, 6)]


def test_part_counts_against_the_shares_asked_for():
    for steps in range(20, 200, 7):
        for horizon in (1, 4, 9):
            for fractions in ((0.1, 0.2), (0.25, 0.25), (0.01, 0.5)):
                wanted = [max(round(steps * share), horizon) for share in fractions]
                if steps - sum(wanted) <= horizon:
                    with pytest.raises(InputError, match=f"{steps} steps are too few for a horizon of {horizon}: "):
                        part_counts(steps, horizon, fractions)
                    continue
                assert part_counts(steps, horizon, fractions) == (steps - sum(wanted), *wanted)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_origins_against_trying_every_row(stride):
    for validation in range(15):
        whole = [o for o in range(1, 20) if o >= L and o + H <= validation]
        short = [validation - H] if not whole and validation - H >= 1 else []
        assert training_origins(Cuts(validation, 17, 20), L, H, stride).tolist() == (whole or short)[::stride]
        inside = [o for o in range(1, 20) if o >= validation and o + H <= 16]
        assert origins_between(validation, 16, H, stride).tolist() == inside[::stride]


def test_with_values_against_looking():
    rng = np.random.default_rng(0)
    for share in (0.5, 0.8, 0.95):
        targets = np.where(rng.random((40, C)) < share, np.nan, 1.0)
        origins = np.arange(1, 41)
        want = [
            o
            for o in origins
            if not np.isnan(targets[max(o - L, 0) : o]).all() and not np.isnan(targets[o : o + H]).all()
        ]
        assert with_values(targets, origins, L, H).tolist() == want


def test_filled_forward_against_a_loop():
    values = np.where(np.random.default_rng(0).random((30, 3)) < 0.6, np.nan, np.arange(90.0).reshape(30, 3))
    expected = np.zeros_like(values)
    for t, column in np.ndindex(values.shape):
        before = expected[t - 1, column] if t else 0.0
        expected[t, column] = before if np.isnan(values[t, column]) else values[t, column]
    np.testing.assert_array_equal(filled_forward(values), expected)
    assert filled_forward(np.zeros((4, 0))).shape == (4, 0)


def test_a_series_that_has_not_begun_is_left_out():
    with pytest.raises(InputError, match=r"s3 has no value of b before the validation part"):
        prepared_of(lambda number, series: _without_second(series) if number == 3 else series)
    late = prepared_of(
        lambda number, series: series._replace(targets=_missing_until(series, 16)) if number == 3 else series
    )
    assert [each.name for each in late.table.series] == ["s0", "s1", "s2"]
    assert late.table.notes == ("series without a value before the validation part left out: 1 (s3)",)


def _without_second(series):
    targets = series.targets.copy()
    targets[:, 1] = np.nan
    return series._replace(targets=targets)


def _missing_until(series, row):
    return np.where(np.arange(len(series.targets))[:, None] < row, np.nan, series.targets)
