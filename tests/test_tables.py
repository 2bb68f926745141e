"""Tables: rows as they stand in the file, headers by one rule, and a sentence for everything that is no table."""

import csv
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.data import examples
from lstmjax.data.examples import Labelled
from lstmjax.data.tables import read_table
from lstmjax.errors import InputError


@pytest.fixture
def table(tmp_path):
    """Write a table and read it."""

    def read(content, name="table.tsv", **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, **settings)

    return read


def rows(labelled):
    return [place.rsplit("row ", 1)[1] for place in labelled.places]


def test_tabs_part_columns_and_quotes_are_characters(table):
    labelled = table('he said "no\tbad\r\n\r\na, b\tgood\na "b" c\t bad \n')
    assert labelled.sequences == ['he said "no', "a, b", 'a "b" c']
    assert labelled.targets == ["bad", "good", "bad"]
    assert rows(labelled) == ["1", "3", "4"]
    assert labelled.places[0].endswith("table.tsv, row 1")


def test_commas_part_columns_and_quotes_hold_lines_together(table):
    labelled = table('"two\nlines, ""quoted""",a\n\nplain,b\n"x\r\n\r\ny",b\nlast,a\n', "table.CSV")
    assert labelled.sequences == ['two\nlines, "quoted"', "plain", "x\r\n\r\ny", "last"]
    assert rows(labelled) == ["1", "4", "5", "8"]


TEXTS = st.text(st.sampled_from(string.printable + "é\u2028\x85😀"), max_size=12)


@given(st.lists(st.tuples(TEXTS, st.sampled_from("ab")), min_size=1))
def test_what_csv_writes_is_read_back(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("written") / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(pairs)
    labelled = read_table(path, header="no")
    assert list(zip(labelled.sequences, labelled.targets, strict=True)) == pairs


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
def test_a_cell_of_a_megabyte(table, name):
    usual, separator = csv.field_size_limit(), "," if name == "t.csv" else "\t"
    assert len(table(f"{'x' * 2**20}{separator}a\n", name).sequences[0]) == 2**20
    assert csv.field_size_limit() == usual


def test_an_empty_text_stays_and_a_byte_order_mark_goes(table):
    assert table(b"\xef\xbb\xbfx\ta\n\ta\n").sequences == ["x", ""]


def test_columns_by_name_or_number(table):
    content = "id\t stars \ttext\n7\t5\tfine\n8\t1\tdull\n"
    named = table(content, text_column="text", target_column="stars")
    assert (named.sequences, named.targets, rows(named)) == (["fine", "dull"], ["5", "1"], ["2", "3"])
    assert table(content, text_column="3", target_column="2")._replace(places=None) == named._replace(places=None)
    assert table(content, text_column="3", target_column="stars", header="yes").targets == ["5", "1"]


@pytest.mark.parametrize(
    ("content", "settings", "count"),
    [
        ("text\tlabel\nx\ta\ny\ta\n", {}, 2),
        ("x\ta\ny\ta\nz\tb\n", {}, 3),
        ("text\tlabel\nx\ta\n", {}, 2),  # too few others to tell
        ("text\tlabel\nx\ta\n", {"header": "yes"}, 1),
        ("x\ta\ny\tb\nz\tb\n", {"header": "no"}, 3),
        ("text\tstars\nx\t1\n", {"numbers": True}, 1),
        ("x\t2\ny\t1\n", {"numbers": True}, 2),
        ("text\nx\n", {"target_column": None}, 2),
        ("text\nx\n", {"target_column": None, "header": "yes"}, 1),
        ("text\nx\n", {"target_column": None, "text_column": "text"}, 1),
        ("text\tlabels\nx\ta|b\ny\ta\n", {"separator": "|"}, 2),
    ],
)
def test_when_the_first_row_is_a_header(table, content, settings, count):
    assert len(table(content, **settings).sequences) == count


def test_numbers(table):
    labelled = table("x\t1\ny\t-2.5e3\n", numbers=True)
    np.testing.assert_array_equal(labelled.targets, np.array([[1.0], [-2500.0]]), strict=True)


def test_several_labels_and_none(table):
    labelled = table("x\ta| b\ny\t\nz\tb\nw\tb\n", separator="|", header="no")
    assert labelled.targets == [("a", "b"), (), ("b",), ("b",)]
    assert table("x\ny\n", target_column=None).targets is None


@pytest.mark.parametrize(
    ("content", "settings", "sentence"),
    [
        ("x\ta\n", {"name": "t.json"}, r"t\.json is not known as a table: expected a name that ends in \.tsv, \.txt"),
        (b"x\ta\n\xff\n", {}, "is not UTF-8 text: invalid start byte at byte 4"),
        ("", {}, "is empty"),
        ("\n\r\n", {}, "has only empty lines; expected rows of text"),
        ("x\ta\n\ny\n", {}, r"table\.tsv, row 3 has 1 column; expected 2, as row 1"),
        ("x\ta\ny\tb\tc\n", {}, "row 2 has 3 columns; expected 2, as row 1"),
        ("\nx\ny\n", {}, "row 2 has 1 column; expected a column 2"),
        ("x\ta\n", {"text_column": "0"}, "row 1 has 2 columns; expected a column 0"),
        ("x\ta\n", {"target_column": "stars"}, "row 1 must name one column 'stars'; its columns are 'x', 'a'"),
        ("x\tx\n1\t2\n", {"target_column": "x"}, "must name one column 'x'; its columns are 'x', 'x'"),
        ("x\ta\n", {"target_column": "a", "header": "no"}, "without a header, so its columns have numbers"),
        ("x\ta\n", {"header": "yes"}, "has a header and no rows; expected at least 1"),
        ("x\ta\ny\t \n", {}, "row 2, column 2: expected a label, got an empty cell"),
        ("x\t1\ny\tmany\n", {"numbers": True}, "row 2, column 2: expected a finite number, got 'many'"),
        ("x\tnan\ny\t1\n", {"numbers": True}, "row 1, column 2: expected a finite number, got 'nan'"),
        ("x\t\ny\t1\n", {"numbers": True}, "row 1, column 2: expected a finite number, got ''"),
        ("x\t1\ny\t1_0\n", {"numbers": True}, "row 2, column 2: expected a finite number, got '1_0'"),
        ("x\ta||b\n", {"separator": "|"}, r"row 1, column 2: expected different labels parted by '\|', got 'a\|\|b'"),
        ("x\ta|a\n", {"separator": "|"}, r"expected different labels parted by '\|', got 'a\|a'"),
        ('x,a\n"y,b\nz,a\n', {"name": "t.csv"}, r"t\.csv, row 2 can't be read as comma-separated: unexpected end"),
        ('x,a\n"y"z,b\n', {"name": "t.csv"}, "row 2 can't be read as comma-separated: ',' expected after '\"'"),
    ],
)
def test_what_is_no_table(table, content, settings, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        table(content, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"header": "maybe"}, "header must be one of 'auto', 'yes', 'no', got 'maybe'"),
        ({"numbers": True, "separator": "|"}, r"separator parts labels, so it must be None with numbers, got '\|'"),
        ({"separator": ""}, "separator must be None or at least one character"),
    ],
)
def test_settings_that_do_not_go_together(table, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        table("x\ta\n", **settings)


def labelled(targets):
    count = len(targets)
    return Labelled([f"text {n}" for n in range(count)], targets, [f"row {n}" for n in range(count)])


@given(st.lists(st.sampled_from("aaaabbc"), min_size=4, max_size=60), st.floats(0.05, 0.95), st.integers(0, 5))
def test_a_split_keeps_shares_order_and_everyone(labels, fraction, seed):
    whole = labelled(labels)
    try:
        parts = examples.split(whole, fraction, seed)
    except InputError:
        counts = [labels.count(label) for label in set(labels)]
        assert len(labels) * fraction < 0.5 or all(count == 1 for count in counts)
        return
    for part in parts:
        rows = [int(text.split()[1]) for text in part.sequences]
        assert rows == sorted(rows)
        assert part == whole.take(rows)
    assert sorted(parts[0].places + parts[1].places) == sorted(whole.places)
    for label in set(labels):
        share = labels.count(label) * fraction
        held = parts[1].targets.count(label)
        assert abs(held - share) < 1 + 1e-9
        assert held < labels.count(label)


@pytest.mark.parametrize("targets", [np.arange(10.0)[:, None], [("a",)] * 10, None])
def test_a_split_of_what_has_no_single_labels(targets):
    whole = Labelled([f"text {n}" for n in range(10)], targets, list("abcdefghij"))
    rest, held = examples.split(whole, 0.3, seed=0)
    assert (len(rest.sequences), len(held.sequences)) == (7, 3)
    if targets is not None:
        assert len(held.targets) == 3
    again, other = (examples.split(whole, 0.3, seed)[1].places for seed in (0, 1))
    assert again == held.places != other


def test_many_small_classes_give_their_share_together():
    _, held = examples.split(labelled(list("abcdefghij") * 4), 0.1, seed=0)
    assert len(held.targets) == len(set(held.targets)) == 4


@pytest.mark.parametrize(("labels", "fraction"), [(["a"], 0.5), (["a", "b"], 0.5), (["a"] * 4, 0.1), ([], 0.5)])
def test_too_few_for_two_parts(labels, fraction):
    with pytest.raises(InputError, match=f"too few examples to split, {len(labels)}: a fraction of {fraction}"):
        examples.split(labelled(labels), fraction, seed=0)


def test_a_fraction_is_between_0_and_1():
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\), got 1"):
        examples.split(labelled(["a", "b"]), 1, seed=0)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        examples.split(labelled(["a", "b"]), 0.5, seed=-1)
