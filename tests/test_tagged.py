"""Tagged sentences: what is read, what is refused, and predicted tags written back."""

import gzip
import hashlib
import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.data import downloads
from lstmjax.data.tagged import format_of, read_columns, read_conllu, read_plain
from lstmjax.data.tagged_output import with_tags
from lstmjax.data.tagged_sets import TAGGED_SETS
from lstmjax.data.text import read_bytes
from lstmjax.errors import InputError

OWN = os.environ.get(downloads.FOLDER)


def word(number, form="w", upos="X", rest="\t_" * 6):
    return f"{number}\t{form}\t_\t{upos}{rest}"


TREES = "\n".join(
    [
        "# text = Don't go to New York!",
        word("1-2", "Don't", "_"),
        word(1, "Do", "AUX"),
        word(2, "n't", "PART"),
        "# in between",
        word(3, "go", "VERB"),
        word("3.1", "away", "ADV"),
        word(4, "New York", "PROPN", "\tNNP\tNumber=Sing\t0\tobl:arg\t_\t_"),
        "",
        "   ",
        "# text = #1",
        word(1, "#1", "NOUN"),
    ]
)


@pytest.fixture
def write(tmp_path):
    def written(content, name="file.conll"):
        raw = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return tmp_path / name

    return written


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["file.conllu", "file.conllu.gz"])
@pytest.mark.parametrize("tail", ["", "\n", "\n\n"])
def test_words_of_a_treebank(write, end, name, tail):
    sentences = read_conllu(write((TREES + tail).replace("\n", end), name))
    assert sentences.tokens == [("Do", "n't", "go", "New York"), ("#1",)]
    assert sentences.tags == [("AUX", "PART", "VERB", "PROPN"), ("NOUN",)]
    assert sentences.lines == [(3, 4, 6, 8), (12,)]


def test_columns_of_a_treebank(write):
    path = write(word(1, rest="\tNNP\t_\t0\tobl:arg\t_\t_"))
    assert [read_conllu(path, tag=tag).tags for tag in ("upos", "xpos", "feats", "deprel", None)] == [
        [("X",)],
        [("NNP",)],
        [("_",)],
        [("obl:arg",)],
        None,
    ]
    with pytest.raises(ValueError, match="tag must be one of 'upos', 'xpos', 'feats', 'deprel', got 'form'"):
        read_conllu(path, tag="form")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("# a\n\n" + word(1), r"file, line 1 starts a sentence without a word; expected at least 1"),
        (word(1) + "\n\n# b", r"file, line 3 starts a sentence without a word"),
        (word("1-2") + "\n" + word("0.1"), r"file, line 1 starts a sentence without a word"),
        (word(1) + "\n1\tw\tX\n", r"file, line 2: expected 10 cells parted at tabs, got 3"),
        (word(1) + "\t_", r"file, line 1: expected 10 cells parted at tabs, got 11"),
        (word(1).replace("\t", " "), r"file, line 1: expected 10 cells parted at tabs, got 1"),
        (word(1) + "\n" + word(3), r"file, line 2: expected the id 2, got '3'"),
        (word(2), r"file, line 1: expected the id 1, got '2'"),
        (word(1) + "\n" + word(1), r"file, line 2: expected the id 2, got '1'"),
        (word("\u0661"), "file, line 1: expected the id 1, got '\u0661'"),
        (word(1) + "\n" + word(2, upos="_"), r"file, line 2: expected a tag as upos, got '_'"),
        (word(1, upos=""), r"file, line 1, column 3 \(from 0\): expected a tag, got an empty cell"),
        (word(1, form=""), r"file, line 1, column 1 \(from 0\): expected a token, got an empty cell"),
        ("\n \n", r"file has no sentence; expected at least 1"),
        ("", r"file is empty; expected UTF-8 text"),
        ((word(1) + "\n").encode() + b"\xe9t\xe9\n", r"not UTF-8 text: invalid continuation byte at byte 20, line 2"),
    ],
)
def test_files_that_are_no_treebank(write, content, sentence):
    with pytest.raises(InputError, match=sentence):
        read_conllu(write(content, "file"))


def test_rows_parted_at_tabs_hold_blanks(write):
    path = write("-DOCSTART- -X-\t\n\nNew York \tB-LOC\n#one\tO\n \t\n\n\u00a0\t O\n")
    sentences = read_columns(path)
    assert sentences.tokens == [("New York", "#one"), ("\u00a0",)]
    assert sentences.tags == [("B-LOC", "O"), ("O",)]
    assert sentences.lines == [(3, 4), (7,)]


def test_rows_parted_at_blanks(write):
    path = write("-DOCSTART- -X- -X- O\n\n EU  NNP I-NP I-ORG \r\nrejects VBZ I-VP O\r\n  \r\n\r\n\u00a0 . O O\r\n")
    sentences = read_columns(path)
    assert sentences.tokens == [("EU", "rejects"), ("\u00a0",)]
    assert sentences.tags == [("I-ORG", "O"), ("O",)]
    assert read_columns(path, token_column=-3, tag_column=0).tags == [("EU", "rejects"), ("\u00a0",)]
    assert read_columns(path, tag_column=None).tags is None


def test_documents_part_sentences(write):
    assert read_columns(write("a X\n-DOCSTART- (2 b)\nb Y\n")).tokens == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("content", "columns", "sentence"),
    [
        (
            "\na X\n\nb\n",
            (0, -1),
            "line 4 must have as many cells as line 2, parted at blanks: expected 2, got 1",
        ),
        ("a X\nb Y Z\n", (0, -1), "line 2 must have as many cells as line 1, parted at blanks: expected 2, got 3"),
        ("a X\nb\tY\n", (0, -1), "line 2 must have as many cells as line 1, parted at tabs: expected 1, got 2"),
        (
            "a X\n",
            (0, 2),
            "file has no column 2, counted from 0, or from -1 at the end: line 1, parted at blanks, has 2",
        ),
        ("a X\n", (-3, 1), "file has no column -3, counted from 0, or from -1 at the end: line 1"),
        ("a\nb\n", (0, -1), r"file: expected tokens and tags in two columns, got columns 0, -1"),
        ("a\tX\n\tY\n", (0, -1), r"file, line 2, column 0 \(from 0\): expected a token, got an empty cell"),
        ("a\tX\nb\t \n", (0, -1), r"file, line 2, column 1 \(from 0\): expected a tag, got an empty cell"),
        ("-DOCSTART- O\n\n", (0, -1), "file has no sentence; expected at least 1"),
        (b"a X\n\xff X\n", (0, -1), "file is not UTF-8 text: invalid start byte at byte 4, line 2"),
        (b"\xff\xfea\0 \0X\0\n\0", (0, -1), "file is binary, with a zero byte"),
    ],
)
def test_files_that_are_no_columns(write, content, columns, sentence):
    token_column, tag_column = columns
    with pytest.raises(InputError, match=sentence):
        read_columns(write(content, "file"), token_column=token_column, tag_column=tag_column)


def test_plain_text(write):
    sentences = read_plain(write("\n  Time flies .\n\n\nYes\u3000!", "file.txt.gz"))
    assert sentences.tokens == [("Time", "flies", "."), ("Yes", "!")]
    assert sentences.tags is None
    assert sentences.lines == [(2, 2, 2), (5, 5)]
    with pytest.raises(InputError, match="has no sentence"):
        read_plain(write(" \n\n"))


@pytest.mark.parametrize("reader", [read_columns, read_conllu, read_plain])
def test_files_that_cannot_be_read(reader, tmp_path):
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b"a X\n" * 99)[:-9])
    for name, reason in (("none", "No such file"), ("broken.gz", "Compressed file ended")):
        with pytest.raises(InputError, match=f"{name} can't be read: {reason}"):
            reader(tmp_path / name)


def test_a_long_sentence_is_read(write):
    rows = [word(number) for number in range(1, 10_001)]
    assert len(read_conllu(write("\n".join(rows))).tokens[0]) == 10_000
    assert len(read_columns(write("a X\n" * 10_000)).tokens[0]) == 10_000
    assert len(read_plain(write("a " * 10_000)).tokens[0]) == 10_000


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.conllu", "", "conllu"),
        ("a.CONLLU.gz", "a", "conllu"),
        ("a.conll", "", "columns"),
        ("a", "", "columns"),
        ("a.txt", "Time flies\nYes\n", "text"),
        ("a.txt", "Time flies\n", "text"),
        ("a.txt", "Time\nflies\n\nYes\n", "columns"),
        ("a.txt.gz", "Time N X\nflies V Y\n", "columns"),
        ("a.txt", "Time N X\nflies V\nYes N Y\n", "columns"),  # ragged, which reading it says
        ("a.txt", "Time N\nflies V Y\nYes !\n", "text"),
        ("a.txt", "New York\tN\nis\tV\n", "columns"),
        ("a.txt", "-DOCSTART- N\n\nis V\n", "columns"),
    ],
)
def test_formats_by_name_and_content(write, name, content, expected):
    assert format_of(write(content, name), tags=("X", "Y")) == expected


def test_what_could_be_columns_or_text_is_asked_for(write):
    with pytest.raises(InputError, match=r"a.txt has 2 words in every line: columns, or plain text\? --file-format"):
        format_of(write("Time flies\nYes !\n", "a.txt"), tags=("X", "Y"))


COLUMN_FILES = [
    "-DOCSTART- -X-\r\n\r\na X\r\n b  Y \r\n\r\n\r\nc Z",
    "New York\tX\n\t\n#b\tY\n\n",
    "\ufeffa\nb\n\nc\n",
]


@pytest.mark.parametrize("content", COLUMN_FILES)
def test_columns_get_one_more(write, content):
    path = write(content)
    sentences = read_columns(path, tag_column=None)
    tags = [tuple(f"T{n}" for n, _ in enumerate(tokens)) for tokens in sentences.tokens]
    written = with_tags(path, sentences, tags, file_format="columns")
    again = read_columns(write(written))
    assert again == (sentences.tokens, tags, sentences.lines, str(path))
    separator = "\t" if "\t" in content else " "
    for tag in ("T0", "T1"):
        written = written.replace(separator + tag, "")
    assert written == content


def test_a_treebank_gets_its_tags_in_their_column(write):
    content = "\ufeff" + TREES.replace("\n", "\r\n")
    path = write(content)
    sentences = read_conllu(path)
    assert with_tags(path, sentences, sentences.tags, file_format="conllu", tag="upos") == content
    tags = [("A", "B", "C", "D"), ("E",)]
    for tag in ("upos", "xpos", "feats", "deprel"):
        written = with_tags(path, sentences, tags, file_format="conllu", tag=tag)
        again = read_conllu(write(written, "again"), tag=tag)
        assert (again.tokens, again.tags, again.lines) == (sentences.tokens, tags, sentences.lines)
        changed = [a != b for a, b in zip(written.split("\r\n"), content.split("\r\n"), strict=True)]
        assert [line for line, is_changed in enumerate(changed, 1) if is_changed] == [3, 4, 6, 8, 12]


def test_plain_text_becomes_rows(write):
    content = "\nTime flies\n\n\nYes"
    path = write(content)
    sentences = read_plain(path)
    tags = [("N", "proper noun"), ("I",)]
    written = with_tags(path, sentences, tags, file_format="text")
    assert written == "\nTime\tN\nflies\tproper noun\n\n\n\nYes\tI\n"
    again = read_columns(write(written))
    assert (again.tokens, again.tags) == (sentences.tokens, tags)


CELLS = st.text(st.characters(exclude_characters="\t\r\n\0\ufeff", exclude_categories=["Cs"]), min_size=1)
CELLS = CELLS.map(lambda cell: cell.strip(" ")).filter(lambda cell: cell.strip() and not cell.startswith("-DOCSTART-"))


@given(st.lists(st.lists(st.tuples(CELLS, CELLS), min_size=1), min_size=1), st.randoms())
def test_any_cells_go_there_and_back(tmp_path_factory, sentences, chance):
    path = tmp_path_factory.mktemp("cells") / "file"
    text = "\n".join("".join(f"{token}\t{tag}\n" for token, tag in sentence) for sentence in sentences)
    path.write_bytes(text.encode())
    read = read_columns(path)
    assert [list(zip(*both, strict=True)) for both in zip(read.tokens, read.tags, strict=True)] == sentences
    tags = [tuple(chance.sample(some, len(some))) for some in read.tags]
    path.write_bytes(with_tags(path, read, tags, file_format="columns").encode())
    assert read_columns(path)[:2] == (read.tokens, tags)


def test_tags_that_can_not_be_written(write):
    path = write("a X\n\nb Y\n")
    sentences = read_columns(path)
    for tag in ("proper noun", "", "a\tb", "a\nb"):
        with pytest.raises(InputError, match=r"line 3: a cell of a file parted at blanks can't hold the tag"):
            with_tags(path, sentences, [("X",), (tag,)], file_format="columns")
    with pytest.raises(InputError, match="line 1: a cell of a file parted at tabs can't hold the tag ' X'"):
        with_tags(write("a\n", "tokens"), read_plain(write("a\n")), [(" X",)], file_format="text")
    for tags in ([("X",)], [("X",), ()], [("X", "X"), ()]):
        with pytest.raises(ValueError, match="tags must be as many as the tokens"):
            with_tags(path, sentences, tags, file_format="columns")
    with pytest.raises(ValueError, match="file_format must be one of"):
        with_tags(path, sentences, sentences.tags, file_format="csv")
    for file_format, tag in (("columns", "upos"), ("text", "xpos"), ("conllu", None)):
        with pytest.raises(ValueError, match="tag must be a column of CoNLL-U where file_format is 'conllu'"):
            with_tags(path, sentences, sentences.tags, file_format=file_format, tag=tag)
    with pytest.raises(ValueError, match="tag must be one of 'upos'"):
        with_tags(path, sentences, sentences.tags, file_format="conllu", tag="lemma")


def test_named_sets(write, tmp_path, monkeypatch):
    monkeypatch.setenv(downloads.FOLDER, str(tmp_path))
    for folder in ("ud_english_ewt", "wnut17"):
        (tmp_path / folder).mkdir()
    for named in TAGGED_SETS.values():
        for file, tag in zip(named[:3], "ABC", strict=True):
            if file.endswith(".conllu"):
                write(word(1, "w", tag), f"{file}.gz")
            else:
                write(f"w\t{tag}\n", file)
        assert [part.tags for part in named.read()] == [[("A",)], [("B",)], [("C",)]]
        assert set(named[:3]) <= downloads.SHA256.keys()


@pytest.mark.skipif(not OWN, reason=f"{downloads.FOLDER} names no folder of data sets")
@pytest.mark.parametrize(
    ("name", "sentences", "tokens", "tags"),
    [
        ("ud-ewt", [12544, 2001, 2077], [204577, 25147, 25094], 17),
        ("wnut17", [3394, 1009, 1287], [62730, 15733, 23394], 13),
    ],
)
def test_what_is_published(name, sentences, tokens, tags):
    parts = TAGGED_SETS[name].read()
    assert [len(part.tokens) for part in parts] == sentences
    assert [sum(map(len, part.tokens)) for part in parts] == tokens
    assert len(set(itertools.chain(*parts.train.tags))) == tags
    for file, path in zip(TAGGED_SETS[name][:3], TAGGED_SETS[name].paths(), strict=True):
        assert hashlib.sha256(read_bytes(path)).hexdigest() == downloads.SHA256[file]
