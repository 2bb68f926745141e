"""The .ts format: what is written is read back, in all spellings there are, and a sentence for what is no such file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmjax.data.ts_files import read_ts
from lstmjax.errors import InputError

CLASSES = "@classLabel true a b\n@data\n"
NONE = "@classLabel false\n@data\n"


@pytest.fixture
def ts(tmp_path):
    """Write a file and read it."""

    def read(content):
        (tmp_path / "walk.ts").write_text(content)
        return read_ts(tmp_path / "walk.ts")

    return read


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def sequences_of(size):
    return st.lists(st.lists(st.tuples(*[NUMBERS] * size), min_size=1, max_size=4), min_size=1, max_size=4)


@settings(max_examples=20)
@given(st.integers(1, 3).flatmap(sequences_of))
def test_what_is_written_is_read_back(tmp_path_factory, sequences):
    path = tmp_path_factory.mktemp("written") / "walk.ts"
    rows = [":".join(",".join(map(repr, values)) for values in zip(*row, strict=True)) + ":a" for row in sequences]
    path.write_text(CLASSES + "\n".join(rows))
    labelled = read_ts(path)
    assert labelled.targets == ["a"] * len(sequences)
    for found, written in zip(labelled.sequences, sequences, strict=True):
        np.testing.assert_array_equal(found, np.array(written, np.float32), strict=True)


def test_rows_are_counted_as_an_editor_counts_lines(ts):
    content = "# by hand\r\n\r\n" + CLASSES.replace("\n", "\r\n") + "1,2:3,4: a \r\n# aside\r\n\r\n5:6:b"
    labelled = ts(content)
    assert [place.rsplit(", ", 1)[1] for place in labelled.places] == ["row 5", "row 8"]
    assert labelled.places[0].endswith("walk.ts, row 5")
    assert labelled.targets == ["a", "b"]
    assert [sequence.tolist() for sequence in labelled.sequences] == [[[1, 3], [2, 4]], [[5, 6]]]


@pytest.mark.parametrize(
    "header",
    [
        "@problemName Walk of Life\n@timeStamps false\n@missing false\n@univariate true\n@equalLength true\n"
        "@seriesLength 2\n@classLabel true a b\n@data\n",
        "@PROBLEMNAME walk\n@timestamps False\n@Univariate TRUE\n@classlabel True a b  \n  @DATA \n",
        "@dimension 1\n@missing true\n@equalLength false\n@seriesLength 9\n@classLabel true a b\n@data\n",
        "@dimensions 1\n@targetLabel false\n@classLabel true a b\n@data\n",
    ],
)
def test_headers_there_are(ts, header):
    labelled = ts(header + "1,2:a\n3,4:b\n")
    assert [sequence[:, 0].tolist() for sequence in labelled.sequences] == [[1, 2], [3, 4]]
    assert labelled.targets == ["a", "b"]


def test_numbers_for_targets_or_none(ts):
    labelled = ts("@targetlabel true\n@classLabel false\n@data\n1,2:0.25\n3:-1e3\n")
    np.testing.assert_array_equal(labelled.targets, np.array([[0.25], [-1000.0]]), strict=True)
    assert ts(NONE + "1,2:3,4\n").targets is None
    assert ts(NONE + "1,2:3,4\n").sequences[0].shape == (2, 2)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("@classLabel false\n", "has no line @data; expected one before the rows"),
        (NONE, "has no rows after @data; expected at least 1"),
        ("@dimension 1\n@data\n1\n", "either @classLabel or @targetLabel must say before @data"),
        ("@classLabel true a\n@targetLabel true\n@data\n1:1\n", "either @classLabel or @targetLabel must say"),
        ("@classLabel true\n@data\n1:1\n", "row 1: expected all labels after @classLabel true, got none"),
        ("@classLabel a b\n@data\n1:a\n", "row 1: expected true or false after @classlabel, got 'a b'"),
        ("@missing\n" + NONE, "row 1: expected true or false after @missing, got ''"),
        ("@missing true 3\n" + NONE, "row 1: expected true or false after @missing, got 'true 3'"),
        ("@timeStamps true\n" + NONE + "(0,1)\n", "row 1: sequences with timestamps can't be read"),
        ("@colour red\n" + NONE, "row 1: expected a line of the header or @data, got '@colour red'"),
        ("1,2,3:a\n", "row 1: expected a line of the header or @data, got '1,2,3:a'"),
        ("@dimensions many\n" + NONE, "row 1: expected a number from 1 after @dimensions, got 'many'"),
        ("@seriesLength 0\n" + NONE, "row 1: expected a number from 1 after @serieslength, got '0'"),
        ("@missing false\n@Missing true\n" + NONE, "row 2: @missing is said already in row 1"),
        ("@dimensions 3\n" + CLASSES + "1:2:a\n", r"walk\.ts, row 4: expected 3 dimensions before any target, got 2"),
        (CLASSES + "1:2:a\n1:b\n", "row 4: expected 2 dimensions before any target, got 1"),
        (CLASSES + "a\n", "row 3: expected 1 dimensions before any target, got 0"),
        ("@univariate true\n" + NONE + "1:2\n", "row 4: expected 1 dimensions before any target, got 2"),
        (CLASSES + "1,2:3,4,5:a\n", "row 3, dimension 2: expected 2 values, as in dimension 1, got 3"),
        (CLASSES + "1,2:c\n", "row 3: expected a label that @classLabel names after the last ':', got 'c'"),
        ("@targetLabel true\n@data\n1:nan\n", "row 3: expected a finite number after the last ':', got 'nan'"),
        (CLASSES + "1,2:3,?:a\n", r"row 3, dimension 2, value 2: expected a finite number, got '\?'"),
        (CLASSES + "1:NaN:a\n", "row 3, dimension 2, value 1: expected a finite number, got 'NaN'"),
        (CLASSES + "1,,2:a\n", "row 3, dimension 1, value 2: expected a finite number, got ''"),
        (CLASSES + "1,1e39:a\n", "row 3, dimension 1, value 2: expected a finite number, got '1e39'"),
        (
            "@equalLength true\n" + CLASSES + "1,2:a\n1:b\n",
            "row 5: expected 2 values a dimension, as @equalLength is true, got 1",
        ),
        (
            "@equalLength true\n@seriesLength 3\n" + NONE + "1,2\n",
            "row 5: expected 3 values a dimension, as @equalLength is true, got 2",
        ),
    ],
)
def test_what_is_no_such_file(ts, content, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        ts(content)
    assert "\n" not in str(caught.value)
