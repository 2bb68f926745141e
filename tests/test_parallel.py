"""Parallel text: which lines belong together, what parts them, and files that are no such thing."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmjax.data.parallel import read_lines, read_parallel
from lstmjax.errors import InputError

line = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r\ufeff"), max_size=8)


@given(st.lists(st.tuples(line, line), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(max_examples=50)
def test_what_is_written_line_by_line_is_read(tmp_path_factory, pairs, ending, is_ended):
    folder = tmp_path_factory.mktemp("text")
    pairs = [*pairs, ("Ende", "end")]
    for side, name in enumerate(("a.de", "a.en")):
        text = ending.join(pair[side] for pair in pairs) + ending * is_ended
        (folder / name).write_bytes(text.encode())
        assert read_lines(folder / name) == [pair[side] for pair in pairs]
    text = read_parallel(folder / "a.de", folder / "a.en")
    kept = [n for n, (source, target) in enumerate(pairs, 1) if source.strip() and target.strip()]
    assert text.lines == kept
    assert list(zip(text.source, text.target, strict=True)) == [pairs[n - 1] for n in kept]
    assert sorted(text.lines + text.left_out) == list(range(1, len(pairs) + 1))
    assert text.pairs == len(kept)


@pytest.fixture
def files(tmp_path):
    return tmp_path / "a.de", tmp_path / "a.en"


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\nb", ["a", "b"]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb\n\n", ["a", "b", ""]),
        (b"\n", [""]),
        (b"\n\n", ["", ""]),
        (b"a\r\n\r\nb\r\n", ["a", "", "b"]),
        ("a\rb\x0cc\x0bd\x1ce\x85f\u2028g\u2029h\n".encode(), ["a\rb\x0cc\x0bd\x1ce\x85f\u2028g\u2029h"]),
        (b"\xef\xbb\xbfa\nb\n", ["a", "b"]),
        (" a\t\ne\u0301\n\u00e9\n".encode(), [" a\t", "e\u0301", "\u00e9"]),
    ],
)
def test_lines(files, content, lines):
    path, _ = files
    path.write_bytes(content)
    assert read_lines(path) == lines


def test_gzipped_files(tmp_path):
    (tmp_path / "a.de.gz").write_bytes(gzip.compress("grün\n".encode()))
    (tmp_path / "a.en").write_bytes(b"green")
    text = read_parallel(tmp_path / "a.de.gz", tmp_path / "a.en")
    assert (text.source, text.target, text.omissions) == (["grün"], ["green"], "")
    assert text.source_file == str(tmp_path / "a.de.gz")


def test_blank_sides_are_left_out_and_told(files):
    source, target = files
    source.write_text("a\n\n \nb\nc\n" + "\n" * 5 + "d")
    target.write_text("A\nx\ny\n\t\nC\n" + "z\n" * 5 + "D\n")
    text = read_parallel(source, target)
    assert (text.source, text.target, text.lines) == (["a", "c", "d"], ["A", "C", "D"], [1, 5, 11])
    assert text.left_out == [2, 3, 4, 6, 7, 8, 9, 10]
    told = f"8 of 11 lines left out, as they are blank in {source} or {target}: lines 2, 3, 4, 6, 7, ..."
    assert text.omissions == told


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        (b"a\nb\n", b"A\n", "a.de and .*a.en have different numbers of lines, 2 and 1; expected"),
        (b"a\n", b"A\n\n", "a.de and .*a.en have different numbers of lines, 1 and 2"),
        (b"a\nb\xff\n", b"A\nB\n", "a.de is not UTF-8 text: invalid start byte at byte 3, line 2"),
        (b"a\n", b"A\n\n\xc3", "a.en is not UTF-8 text: unexpected end of data at byte 3, line 3"),
        (b"", b"A\n", "a.de is empty; expected UTF-8 text"),
        (b"a\n", None, "a.en can't be read: No such file"),
        (b"\xff\xfea\0\n\0", b"A\n", "a.de is binary"),
        (b"\xef\xbb\xbf", b"A\n", "a.de has a byte order mark and nothing else"),
        (b"a\n\n", b" \nB\n", "a.de and .*a.en have no line that is blank in neither"),
    ],
)
def test_files_that_are_no_parallel_text(files, source, target, sentence):
    for path, content in zip(files, (source, target), strict=True):
        if content is not None:
            path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_parallel(*files)
