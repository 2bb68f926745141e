"""Series from CSV: the same from rows in any order, gaps for rows dropped, a sentence for what can't be read."""

import csv
import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.data.series import read_series
from lstmjax.data.timeline import DAY, HOUR, MINUTE, Frequency
from lstmjax.errors import InputError

NAN = np.nan
DAYS = [f"2024-02-{day:02}" for day in range(26, 30)] + ["2024-03-01", "2024-03-02"]


def packed(content):
    return gzip.compress(content, mtime=0)


@pytest.fixture
def table(tmp_path):
    """Write a table and read it."""

    def read(content, name="table.csv", **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_series(path, **settings)

    return read


def csv_of(header, *columns):
    return "\n".join([header, *(",".join(map(str, cells)) for cells in zip(*columns, strict=True))]) + "\n"


def daily(*values, header="day,sold"):
    return csv_of(header, DAYS, *values)


def same(one, other):
    """Equal in all but the file and the notes."""
    assert one._replace(series=[], file="", notes=()) == other._replace(series=[], file="", notes=())
    for mine, yours in zip(one.series, other.series, strict=True):
        assert mine.name == yours.name
        for a, b in zip(mine[1:], yours[1:], strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


def test_one_series_of_one_column(table):
    found = table(daily([3, 4.5, "-1e3", "", "NA", 7]), time="day")
    (series,) = found.series
    np.testing.assert_array_equal(series.targets, np.array([[3, 4.5, -1000, NAN, NAN, 7]]).T, strict=True)
    np.testing.assert_array_equal(series.times, np.array(DAYS, "M8[us]"), strict=True)
    assert (series.past.shape, series.known.shape, series.name) == ((6, 0), (6, 0), "table")
    assert found[1:5] == (Frequency("step", DAY), ("sold",), (), ())
    assert found.file.endswith("table.csv")
    assert found.notes == ()


COLUMNS = "day,shop,sold,price,rain,open\n2024-01-01,a,5,2.5,0,1\n2024-01-02,a,6,2.25,1,0\n"


def test_every_column_has_the_role_asked_for(table):
    found = table(COLUMNS, time="day", series="shop", targets=("price", "sold"), past=["rain"], known=("6",))
    (series,) = found.series
    assert found[2:5] == (("price", "sold"), ("rain",), ("open",))
    assert series.targets.tolist() == [[2.5, 5.0], [2.25, 6.0]]
    assert (series.past.tolist(), series.known.tolist()) == ([[0.0], [1.0]], [[1.0], [0.0]])


def test_targets_are_all_columns_without_another_role(table):
    found = table(COLUMNS, time="1", series="shop", past=("rain",))
    assert found.targets == ("sold", "price", "open")
    with pytest.raises(InputError, match="column 'shop': expected a finite number, got 'a'"):
        table(COLUMNS, time="day")


def test_a_name_comes_before_a_number(table):
    found = table("day,2,1\n2024-01-01,5,6\n2024-01-02,7,8\n", time="day", targets=("2", "3"))
    assert found.targets == ("2", "1")
    assert found.series[0].targets.tolist() == [[5.0, 6.0], [7.0, 8.0]]


@pytest.mark.parametrize("cell", ["", " ", "NA", "NaN", "nan", "null", "NULL", "None", "?", " na "])
def test_missing_cells(table, cell):
    assert np.isnan(table(f"x,y\n{cell},1\n2,2\n").series[0].targets[0, 0])


def test_without_times_rows_have_numbers(table):
    found = table("id,x\nb,1\na,2\nb,\nb,3\na,4\n", series="id")
    assert (found.frequency, [series.name for series in found.series]) == (Frequency("rows"), ["b", "a"])
    b, a = found.series
    np.testing.assert_array_equal(b.times, np.arange(3, dtype=np.int64), strict=True)
    np.testing.assert_array_equal(b.targets[:, 0], [1, NAN, 3])
    assert (a.times.tolist(), a.targets[:, 0].tolist()) == ([0, 1], [2.0, 4.0])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"\xef\xbb\xbfday,sold\n2024-01-01,5\n2024-01-02,6\n"),
        ("t.csv", b'"day","sold"\r\n"2024-01-01","5"\r\n\r\n"2024-01-02","6"\r\n'),
        ("t.csv", b"day;sold\n2024-01-01;5\n2024-01-02;6\n"),
        ("t.csv", b'day,sold,"a;b"\n2024-01-01,5,\n2024-01-02,6,\n'),
        ("t.TSV", b"\nday\t sold \n2024-01-01\t5\n2024-01-02\t 6 \n"),
        ("t.csv.gz", packed(b"\xef\xbb\xbfday,sold\n2024-01-01,5\n2024-01-02,6\n")),
        ("t.tsv.GZ", packed(b"day\tsold\n2024-01-01\t5\n2024-01-02\t6\n")),
    ],
)
def test_formats(table, name, content):
    found = table(content, name, time="day", targets=("sold",))
    assert found.series[0].targets.tolist() == [[5.0], [6.0]]
    assert found.series[0].name == "t"


def test_times_with_a_zone_become_utc(table):
    found = table("t,x\n2024-03-31T01:00+01:00,1\n2024-03-31T03:00+02:00,2\n2024-03-31T02:00Z,3\n", time="t")
    hours = np.array(["2024-03-31T00", "2024-03-31T01", "2024-03-31T02"], "M8[us]")
    np.testing.assert_array_equal(found.series[0].times, hours, strict=True)


def test_an_hour_that_the_clock_skips_is_a_gap(table):
    hours = ["00:00", "01:00", "03:00", "04:00"]
    found = table(csv_of("t,x", [f"2024-03-31 {hour}" for hour in hours], range(4)), time="t")
    np.testing.assert_array_equal(found.series[0].targets[:, 0], [0, 1, NAN, 2, 3])
    assert found.notes == ("gaps filled with missing values: 1 time had no row",)


def test_a_format_of_ones_own(table):
    found = table("t,x\n31.01.2024,1\n29.02.2024,2\n", time="t", time_format="%d.%m.%Y")
    assert found.frequency == Frequency("month ends")


GRIDS = [
    (Frequency("step", 15 * MINUTE), "2020-02-28T23:50"),
    (Frequency("step", HOUR), "2020-02-28T22:30"),
    (Frequency("step", DAY), "2020-02-20"),
    (Frequency("business days"), "2020-02-20"),
    (Frequency("months"), "2019-11-15"),
    (Frequency("months", 3), "2019-11-01"),
    (Frequency("months", 12), "1949-01-01"),
    (Frequency("month ends"), "2019-11-30"),
    (Frequency("month ends", 12), "2011-12-31"),
]


@pytest.mark.parametrize(("frequency", "first"), GRIDS, ids=str)
def test_shuffled_rows_are_the_same_and_dropped_rows_are_missing(table, frequency, first):
    times = frequency.between(np.datetime64(first, "us"), frequency.after(np.datetime64(first, "us"), 29)[-1])
    lines = [f"{time},{x}" for x, time in enumerate(times.astype("M8[s]"))]
    header, settings = "time,x\n", {"time": "time"}
    whole = table(header + "\n".join(lines), **settings)
    assert (whole.frequency, whole.notes) == (frequency, ())
    np.testing.assert_array_equal(whole.series[0].times, times, strict=True)
    generator = np.random.default_rng(0)
    same(table(header + "\n".join(generator.permutation(lines)), **settings), whole)
    dropped = [4, 5, 17, 23]
    gappy = table(header + "\n".join(generator.permutation(np.delete(lines, dropped))), **settings)
    assert gappy.notes[1] == "gaps filled with missing values: 4 times had no row"
    whole.series[0].targets[dropped] = NAN
    same(gappy, whole)


CELLS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.integers(1, 999_999), st.dictionaries(st.integers(0, 60), CELLS, min_size=3))
def test_what_is_written_is_read_back(tmp_path_factory, step, values):
    places = sorted(values)
    order = np.random.default_rng(step).permutation(places).tolist()
    start, unit = np.datetime64("2001-02-03T04:05:06", "us"), np.timedelta64(step, "s")
    path = tmp_path_factory.mktemp("written") / "table.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["t", "x", "y"], *([start + at * unit, values[at], at] for at in order)])
    found = read_series(path, time="t", targets=("x", "y"), frequency=f"{step}s")
    wanted = np.full((places[-1] - places[0] + 1, 2), NAN)
    for at in places:
        wanted[at - places[0]] = NAN if values[at] is None else values[at], at
    np.testing.assert_array_equal(found.series[0].targets, wanted)


def test_rows_out_of_order_are_counted(table):
    lines = daily(range(6)).splitlines()
    moved = table("\n".join([*lines[:2], *lines[3:], lines[2]]), time="day")
    assert moved.notes == ("rows put in order of time: 1 row stood below a later one",)
    backwards = table("\n".join([lines[0], *lines[:0:-1]]), time="day")
    assert backwards.notes == ("rows put in order of time: 5 rows stood below a later one",)
    same(moved, backwards)


TWICE = "day,x,y\n2024-01-02,1,\n2024-01-01,5,6\n2024-01-02,3,4\n2024-01-02,,8\n"


@pytest.mark.parametrize(
    ("duplicates", "kept", "repair"),
    [
        ("mean", [2.0, 6.0], "their values averaged, missing ones left out"),
        ("first", [1.0, NAN], "only the first row kept"),
        ("last", [NAN, 8.0], "only the last row kept"),
    ],
)
def test_duplicates(table, duplicates, kept, repair):
    found = table(TWICE, time="day", duplicates=duplicates)
    np.testing.assert_array_equal(found.series[0].targets, [[5, 6], kept])
    assert found.notes[-1] == f"duplicates merged: 2 rows had another's time, {repair}"


def test_duplicates_are_refused_otherwise(table):
    with pytest.raises(InputError, match="row 4 has the time of row 2, 2024-01-02 00:00:00; expected one row a time"):
        table(TWICE, time="day")


def test_several_series_each_on_its_own_times(table):
    rows = [" b ,2024-01-02,1", "a,2024-01-05,2", "b,2024-01-04,3", "a,2024-01-06,4", "b,2024-01-05,5"]
    rows.append("c,2024-01-05,6")
    found = table("\n".join(["id,day,x", *rows]), time="day", series="id")
    b, a, c = found.series
    assert [series.name for series in found.series] == ["b", "a", "c"]
    np.testing.assert_array_equal(b.times, np.arange("2024-01-02", "2024-01-06", dtype="M8[D]").astype("M8[us]"))
    np.testing.assert_array_equal(b.targets[:, 0], [1, NAN, 3, 5])
    assert (a.targets[:, 0].tolist(), c.targets[:, 0].tolist()) == ([2.0, 4.0], [6.0])
    shuffled = [rows[at] for at in (4, 3, 1, 5, 0, 2)]
    same(table("\n".join(["id,day,x", *shuffled]), time="day", series="id"), found)


def test_nothing_is_out_of_order_where_one_series_starts_before_another_ends(table):
    assert table(csv_of("id,day,x", "aaabbb", DAYS[:3] * 2, range(6)), time="day", series="id").notes == ()


FUTURE = daily([1, 2, "", 4, "", ""], [5, 6, 7, "", 9, 9], range(6), header="day,sold,rain,open")


def test_rows_after_the_last_target_are_the_future_where_covariates_are_known(table):
    found = table(FUTURE, time="day", targets=("sold",), past=("rain",), known=("open",))
    (series,) = found.series
    np.testing.assert_array_equal(series.targets[:, 0], [1, 2, NAN, 4])
    np.testing.assert_array_equal(series.past[:, 0], [5, 6, 7, NAN])
    assert series.known[:, 0].tolist() == list(range(6))
    assert len(series.times) == 6


def test_a_gap_has_the_known_covariates_of_the_row_before(table):
    rows = "day,sold,open\n2024-01-01,1,1\n2024-01-02,2,0\n2024-01-05,5,1\n2024-01-06,,1\n"
    found = table(rows, time="day", targets=("sold",), known=("open",)).series[0]
    np.testing.assert_array_equal(found.targets[:, 0], [1, 2, NAN, NAN, 5])
    assert found.known[:, 0].tolist() == [1, 0, 0, 0, 1, 1]


def test_without_known_covariates_missing_targets_at_the_end_are_missing_values(table):
    (series,) = table(FUTURE, time="day", targets=("sold",), past=("rain",)).series
    np.testing.assert_array_equal(series.targets[:, 0], [1, 2, NAN, 4, NAN, NAN])
    assert series.past.shape == (6, 1)


def test_one_observed_target_of_several_makes_a_row_history(table):
    (series,) = table(FUTURE, time="day", targets=("sold", "rain"), known=("open",)).series
    assert series.targets.shape == (6, 2)


def test_series_have_futures_of_their_own(table):
    content = "id,x,k\na,1,1\na,,2\na,,3\nb,1,4\nb,2,5\n"
    a, b = table(content, series="id", known=("k",)).series
    assert [len(a.targets), len(a.times), len(b.targets), len(b.times)] == [1, 3, 2, 2]


def test_a_frequency_of_ones_own(table):
    lone = table("day,x\n2024-02-29,1\n", time="day", frequency="Q")
    assert lone.frequency == Frequency("month ends", 3)
    finer = table("t,x\n2024-01-01,1\n2024-01-02,2\n", time="t", frequency="12h")
    np.testing.assert_array_equal(finer.series[0].targets[:, 0], [1, NAN, 2])
    assert table(daily(range(6)), time="day", frequency=Frequency("step", DAY)).frequency == Frequency("step", DAY)
    assert table("x,y\n1,2\n", frequency=Frequency("rows")).frequency == Frequency("rows")


@pytest.mark.parametrize(
    ("content", "settings", "sentence"),
    [
        ("day,sold\n", {}, r"table\.csv has a header and no rows; expected at least 1"),
        ("\n\n", {}, "has only empty lines"),
        ("", {}, "is empty"),
        (b"day,sold\n1,\xff\n", {}, "is not UTF-8 text: invalid start byte"),
        (packed(b"day,\xff\n"), {"name": "t.csv.gz"}, r"t\.csv\.gz is not UTF-8 text: invalid start byte"),
        (b"day,sold\n", {"name": "t.csv.gz"}, r"t\.csv\.gz can't be read: Not a gzipped file"),
        (packed(b"day,sold\n")[:-9], {"name": "t.csv.gz"}, r"can't be read: Compressed file ended"),
        ("day,sold\n", {"name": "t.xlsx"}, r"t\.xlsx is not known as a table: expected a name that ends in \.tsv"),
        ("day,sold\n1,2\n3\n", {}, "row 3 has 1 column; expected 2, as row 1"),
        ('day,sold\n"1,2\n', {}, "row 2 can't be read as comma-separated"),
        ('day;sold\n"1;2\n', {}, "row 2 can't be read as cells separated by ';': unexpected end"),
        ("day,sold,sold\n1,2,3\n", {}, "row 1 names 2 columns 'sold'; expected different names"),
        ("2024-01-01,5\n2024-01-02,6\n", {}, "row 1 must name the columns, got only numbers: '2024-01-01, 5'"),
        ("date,sold\n1,2\n", {}, "row 1 has no column 'day'; its columns are 'date', 'sold'"),
        ("day,sold\n1,2\n", {"targets": ("3",)}, "row 1 has no column '3'; its columns are 'day', 'sold'"),
        ("day,sold\n1,2\n", {"targets": ("day",)}, "row 1: column 'day' is asked for twice; a column has one role"),
        ("day,a,b\n1,2,3\n", {"targets": ("a",), "known": ("2",)}, "column 'a' is asked for twice"),
        ("day\n2024-01-01\n", {}, "row 1 leaves no column for a target; its columns are 'day'"),
        (",day,sold\n0,2024-01-01,5\n", {}, "row 1 has no name for column 1; name it, or use it by its number"),
        ("x\n1\n\n3\n", {"time": None}, "row 3 is empty; expected a number, or NA for a missing one"),
        ("day,sold\n1.1.2024,5\n", {}, r"row 2, column 'day': expected a time as .*, got '1\.1\.2024'"),
        ("day,sold\n2024-01-01,5\n,6\n", {}, "row 3, column 'day': expected a time as .*, got ''"),
        ("day,sold\n2024,5\n", {"time_format": "%d.%m.%Y"}, r"expected a time as '%d\.%m\.%Y', got '2024'"),
        (
            "day,sold\n2024-01-01T00:00,5\n2024-01-01T01:00Z,6\n",
            {},
            "row 3, column 'day': expected a time without a zone, as in row 2, got '2024-01-01T01:00Z'",
        ),
        ("day,sold\n2024-01-01T00:00Z,5\n2024-01-01T01:00,6\n", {}, "row 3.* a time with a zone, as in row 2"),
        (daily([1, 2, "many", 4, 5, 6]), {}, "row 4, column 'sold': expected a finite number, got 'many'"),
        (daily([1, 2, "inf", 4, 5, 6]), {}, "row 4, column 'sold': expected a finite number, got 'inf'"),
        (daily([1, 2, "-1e999", 4, 5, 6]), {}, "row 4, column 'sold': expected a finite number, got '-1e999'"),
        (daily([1, 2, "1_0", 4, 5, 6]), {}, "row 4, column 'sold': expected a finite number, got '1_0'"),
        (daily([1, 2, '"1,5"', 4, 5, 6]), {}, "a finite number with a decimal point and no comma, got '1,5'"),
        (daily([""] * 6), {}, "series 'table' has no observed value of sold"),
        ("id,sold\na,1\nb,\n", {"time": None, "series": "id"}, "series 'b' has no observed value of sold"),
        ("id,sold\na,1\n ,2\n", {"time": None, "series": "id"}, "row 3, column 'id': expected the name of a series"),
        ("day,sold\n2024-01-01,5\n", {}, "has one row a series, which tells no frequency; give it, such as 'h'"),
        ("day,sold\n2024-01-01,5\n", {"frequency": "daily"}, "a frequency must be one of s, min, h, D"),
        (daily(range(6)), {"frequency": Frequency("rows")}, "its frequency is to be rows, which have none"),
        (
            daily(range(6)),
            {"frequency": "W"},
            r"row 3: 2024-02-27 00:00:00 does not follow 2024-02-26 00:00:00 \(row 2\) by whole steps of 1 week",
        ),
        (daily(range(6)), {"frequency": "B"}, "row 7: 2024-03-02 00:00:00 does not follow .* steps of 1 business day"),
        ("day,sold\n2024-03-02,5\n", {"frequency": "B"}, "row 2: 2024-03-02 00:00:00 does not follow"),
        ("day,sold\n2024-01-31,5\n2024-03-30,5\n", {"frequency": "M"}, "row 3: 2024-03-30 .* steps of 1 month"),
        (
            "t,x\n2024-01-01,1\n2024-01-02,2\n2024-01-03 00:30,4\n2024-01-03,3\n",
            {"time": "t"},
            r"row 4: 2024-01-03 00:30:00 does not follow 2024-01-01 00:00:00 \(row 2\) by whole steps of 1 day",
        ),
        (
            "t,x\n2024-01-01 00:00,1\n2024-01-01 00:01,2\n2042-01-01 00:01,3\n",
            {"time": "t"},
            r"row 4: 2042-01-01 .* is 9468000 steps of 1 minute after 2024-01-01 00:01:00 \(row 3\); expected fewer",
        ),
        (
            daily(range(6), [1, 2, "", 4, 5, 6], header="day,sold,open"),
            {"known": ("open",)},
            "row 4, column 'open': expected a number, as it is to be known ahead, got a missing value",
        ),
        (
            "day,sold,open\n2024-01-01,1,1\n2024-01-02,1,1\n2024-01-04,,1\n",
            {"known": ("open",)},
            "row 4: there is no row between 2024-01-02 00:00:00 and this, and 'open' is to be known for every step",
        ),
    ],
)
def test_what_can_not_be_read(table, content, settings, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        table(content, **{"time": "day", **settings})
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    for name in ("none.csv", "none.csv.gz"):
        with pytest.raises(InputError, match=f"{name} can't be read: No such file or directory"):
            read_series(tmp_path / name)


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"duplicates": "drop"}, ValueError, "duplicates must be one of 'error', 'mean', 'first', 'last', got 'drop'"),
        ({"targets": "sold"}, TypeError, r"targets must be several columns, such as \('sold',\), got 'sold'"),
        ({"frequency": 60}, TypeError, "frequency must be a text, a Frequency or None, got int"),
        (
            {"frequency": "h"},
            ValueError,
            "time must name a column where frequency, time_format or duplicates",
        ),
        ({"time_format": "%Y"}, ValueError, "time must name a column"),
        ({"duplicates": "mean"}, ValueError, "time must name a column"),
    ],
)
def test_settings_that_can_not_be(table, settings, error, sentence):
    with pytest.raises(error, match=sentence):
        table(daily(range(6)), **settings)
