"""Times: every usual spelling, frequencies that are found again from what they make, and grids that hold together."""

import datetime
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.data.timeline import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    WEEK,
    Frequency,
    calendar,
    infer_frequency,
    parse_frequency,
    parse_time,
)
from lstmjax.errors import InputError


def times(*written):
    return np.array(written, "M8[us]")


@pytest.mark.parametrize(
    ("cell", "iso"),
    [
        ("2016-07-01 00:00:00", "2016-07-01T00:00:00"),
        ("2016-07-01T05:30", "2016-07-01T05:30:00"),
        (" 2016-07-01 ", "2016-07-01T00:00:00"),
        ("2016-07-01 00:00:00.25", "2016-07-01T00:00:00.250000"),
        ("20160701", "2016-07-01T00:00:00"),
        ("2016-07-01T05:30Z", "2016-07-01T05:30:00+00:00"),
        ("2016-07-01 05:30:00-03:30", "2016-07-01T05:30:00-03:30"),
        ("1749-02", "1749-02-01T00:00:00"),
        ("1949", "1949-01-01T00:00:00"),
        ("2020Q1", "2020-01-01T00:00:00"),
        ("2020-Q4", "2020-10-01T00:00:00"),
    ],
)
def test_spellings_of_a_time(cell, iso):
    assert parse_time(cell).isoformat() == iso


@pytest.mark.parametrize(
    "cell",
    ["", "112", "2020-13", "2020Q5", "2020-02-30", "0000", "1/2/2020", "noon", "\N{FULLWIDTH DIGIT ONE}949"],
)
def test_what_is_no_time(cell):
    assert parse_time(cell) is None


def test_a_format_of_ones_own():
    assert parse_time(" 31.12.2020 23h ", "%d.%m.%Y %Hh") == datetime.datetime(2020, 12, 31, 23)
    assert parse_time("2020-12-31", "%d.%m.%Y") is None
    assert parse_time("2020-12-31", "%Y-%") is None


EVERY_KIND = [
    (Frequency("step", 15 * MINUTE), "2020-02-28T23:50", "15 minutes", 96),
    (Frequency("step", 30 * SECOND), "2020-02-28T23:50:10", "30 seconds", 1),
    (Frequency("step", HOUR), "2020-02-28T22:30", "1 hour", 24),
    (Frequency("step", 4 * HOUR), "2020-02-28T22:30", "4 hours", 6),
    (Frequency("step", 7 * HOUR), "2020-02-28T22:30", "7 hours", 1),
    (Frequency("step", DAY), "2020-02-27", "1 day", 7),
    (Frequency("step", WEEK), "2020-02-27", "1 week", 52),
    (Frequency("step", 250_000), "2020-02-27T00:00:00.25", "250000 microseconds", 1),
    (Frequency("business days"), "2020-02-27T09:30", "1 business day", 5),
    (Frequency("months"), "2019-11-15T12:00", "1 month", 12),
    (Frequency("months", 3), "2019-11-01", "1 quarter", 4),
    (Frequency("months", 12), "1949", "1 year", 1),
    (Frequency("months", 5), "1949", "5 months", 1),
    (Frequency("month ends"), "2019-11-30", "1 month end", 12),
    (Frequency("month ends", 3), "2019-11-30T17:00", "1 quarter end", 4),
    (Frequency("month ends", 24), "2019-12-31", "2 year ends", 1),
]


@pytest.mark.parametrize(("frequency", "first", "written", "season"), EVERY_KIND, ids=str)
def test_a_frequency_is_found_again_from_its_times(frequency, first, written, season):
    grid = frequency.after(times(first)[0], 40)
    assert grid.dtype == "M8[us]"
    assert infer_frequency([grid]) == frequency
    with_gaps = np.delete(grid, [3, 11, 12, 30])
    assert infer_frequency([grid[:1], with_gaps]) == frequency
    np.testing.assert_array_equal(frequency.between(with_gaps[0], with_gaps[-1]), grid)
    assert (str(frequency), frequency.season) == (written, season)
    assert Frequency(*json.loads(json.dumps(frequency))) == frequency


@pytest.mark.parametrize("frequency", [*(kind[0] for kind in EVERY_KIND), Frequency("rows")], ids=str)
def test_after_between_and_steps_agree(frequency):
    first = np.int64(7) if frequency.unit == "rows" else times("2019-12-17T09:30")[0]
    if frequency.unit == "month ends":
        first += np.timedelta64(14, "D")
    grid = np.append(first, frequency.after(first, 30))
    np.testing.assert_array_equal(frequency.between(first, grid[-1]), grid, strict=True)
    np.testing.assert_array_equal(frequency.steps(first, grid), np.arange(31), strict=True)
    np.testing.assert_array_equal(frequency.moved(grid[-1], -np.arange(30)), grid[:0:-1])
    assert len(frequency.between(grid[1], first)) == len(frequency.after(first, 0)) == 0


@given(st.integers(1, 10**9), st.integers(0, 2**50), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_fixed_steps(every, start, jumps):
    first, frequency = np.datetime64(start, "us"), Frequency("step", every)
    places = np.append(0, np.cumsum([1, 1, *jumps]))
    found = frequency.moved(first, places)
    np.testing.assert_array_equal(found, first + places * np.timedelta64(every, "us"))
    np.testing.assert_array_equal(frequency.steps(first, found), places)
    np.testing.assert_array_equal(frequency.between(first, found[-1])[places], found)
    np.testing.assert_array_equal(frequency.steps(first, found[1:] - np.timedelta64(1, "us")), places[1:] - 1)


@pytest.mark.parametrize(
    ("frequency", "first", "after"),
    [
        (Frequency("months"), "2019-12-30T06", ["2020-01-30T06", "2020-02-29T06", "2020-03-30T06"]),
        (Frequency("months", 12), "2020-02-29", ["2021-02-28", "2022-02-28", "2023-02-28", "2024-02-29"]),
        (Frequency("months", 3), "2019-11-28", ["2020-02-28", "2020-05-28"]),
        (Frequency("month ends"), "2020-02-29", ["2020-03-31", "2020-04-30"]),
        (Frequency("month ends"), "2023-01-31", ["2023-02-28", "2023-03-31"]),
        (Frequency("business days"), "2024-02-29T16", ["2024-03-01T16", "2024-03-04T16", "2024-03-05T16"]),
        (Frequency("business days"), "2024-03-02", ["2024-03-04", "2024-03-05"]),
        (Frequency("step", DAY), "2100-02-28", ["2100-03-01"]),
        (Frequency("rows"), 4, [5, 6]),
    ],
    ids=str,
)
def test_what_follows_by_hand(frequency, first, after):
    first = np.int64(first) if frequency.unit == "rows" else times(first)[0]
    wanted = np.array(after) if frequency.unit == "rows" else times(*after)
    np.testing.assert_array_equal(frequency.after(first, len(after)), wanted, strict=True)


@pytest.mark.parametrize(
    ("written", "frequency"),
    [
        (["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"], Frequency("step", DAY)),
        (["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"], Frequency("business days")),
        (["2024-01-01", "2024-01-08", "2024-01-15", "2024-01-22"], Frequency("step", WEEK)),
        (["2024-01-05", "2024-01-06", "2024-01-08", "2024-01-09"], Frequency("step", DAY)),
        (["2024-01-05T09", "2024-01-05T10", "2024-01-08T09", "2024-01-08T10"], Frequency("step", HOUR)),
        (["2024-01-31", "2024-02-29", "2024-03-31"], Frequency("month ends")),
        (["2024-01-31", "2024-02-28", "2024-03-31"], Frequency("step", 28 * DAY)),
        (["2024-01-15", "2024-02-15", "2024-04-15", "2024-05-15"], Frequency("months")),
        (["1949", "1950", "1952"], Frequency("months", 12)),
        (["2024-01-01T00", "2024-01-01T01", "2024-01-01T03"], Frequency("step", HOUR)),
    ],
)
def test_what_times_suggest(written, frequency):
    assert infer_frequency([times(*written)]) == frequency


def test_several_series_have_one_frequency():
    first, fifteenth = times("2024-01-01", "2024-02-01"), times("2024-01-15", "2024-02-15")
    assert infer_frequency([first, fifteenth]) == Frequency("months")
    assert infer_frequency([first[:1], fifteenth[:1]]) is None
    assert infer_frequency([]) is None


@pytest.mark.parametrize(
    ("written", "frequency"),
    [
        ("15min", Frequency("step", 15 * MINUTE)),
        ("30s", Frequency("step", 30 * SECOND)),
        (" h ", Frequency("step", HOUR)),
        ("1h", Frequency("step", HOUR)),
        ("2D", Frequency("step", 2 * DAY)),
        ("W", Frequency("step", WEEK)),
        ("B", Frequency("business days")),
        ("1B", Frequency("business days")),
        ("M", Frequency("months")),
        ("Q", Frequency("months", 3)),
        ("2Y", Frequency("months", 24)),
    ],
)
def test_frequencies_as_they_are_written(written, frequency):
    assert parse_frequency(written) == frequency


def test_months_are_month_ends_where_all_times_are():
    ends = times("2024-03-31", "2024-06-30")
    assert parse_frequency("Q", [ends]) == Frequency("month ends", 3)
    assert parse_frequency("M", [ends[:1], ends[1:]]) == Frequency("month ends")
    assert parse_frequency("M", [ends, times("2024-03-30")]) == Frequency("months")


@pytest.mark.parametrize("written", ["", "5", "H", "m", "0D", "2B", "-1h", "1.5h", "hourly", "1234567D", "1 hour"])
def test_what_is_no_frequency(written):
    with pytest.raises(InputError, match=r"frequency must be one of s, min, h, D, W, B, M, Q, Y, such as .*, got '"):
        parse_frequency(written)


def test_how_many_after_is_a_whole_number():
    with pytest.raises(ValueError, match="count must be at least 0, got -1"):
        Frequency("rows").after(np.int64(0), -1)


def angle(waves, at):
    return np.arctan2(waves[:, 2 * at], waves[:, 2 * at + 1]) / (2 * np.pi) % 1


def test_the_calendar_of_hours():
    grid = Frequency("step", HOUR).between(*times("2023-12-31T00", "2024-12-31T23"))
    waves, names = calendar(grid, Frequency("step", HOUR))
    assert names[::2] == ("time of day, sine", "day of week, sine", "day of year, sine")
    moments = grid.astype(object)
    near = lambda part, wanted: np.abs((part - wanted + 0.5) % 1 - 0.5).max() < 1e-9  # noqa: E731
    assert near(angle(waves, 0), np.array([moment.hour / 24 for moment in moments]))
    assert near(angle(waves, 1), np.array([moment.weekday() / 7 for moment in moments]))
    lengths = np.array([366 if moment.year == 2024 else 365 for moment in moments])
    assert near(angle(waves, 2), np.array([moment.timetuple().tm_yday - 1 for moment in moments]) / lengths)
    np.testing.assert_allclose(waves[:, ::2] ** 2 + waves[:, 1::2] ** 2, 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("frequency", "periods"),
    [
        (Frequency("step", 30 * SECOND), ["time of day", "day of week", "day of year"]),
        (Frequency("step", DAY), ["day of week", "day of year"]),
        (Frequency("business days"), ["day of week", "day of year"]),
        (Frequency("step", WEEK), ["day of year"]),
        (Frequency("step", 365 * DAY), []),
        (Frequency("months"), ["month of year"]),
        (Frequency("month ends", 3), ["month of year"]),
        (Frequency("months", 12), []),
        (Frequency("rows"), []),
    ],
    ids=str,
)
def test_which_periods_a_frequency_divides(frequency, periods):
    first = np.int64(0) if frequency.unit == "rows" else times("2024-02-29")[0]
    waves, names = calendar(frequency.after(first, 5), frequency)
    assert [name.split(",")[0] for name in names[::2]] == periods
    assert waves.shape == (5, 2 * len(periods))
    assert waves.dtype == np.float64
    assert calendar(frequency.after(first, 0), frequency)[0].shape == (0, 2 * len(periods))


def test_months_come_round():
    waves, _ = calendar(Frequency("months").after(times("2019-12-15")[0], 24), Frequency("months"))
    np.testing.assert_allclose(angle(waves, 0), np.tile(np.arange(12), 2) / 12, atol=1e-12)
