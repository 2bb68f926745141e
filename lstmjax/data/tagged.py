"""Tagged sentences from files: CoNLL-U, columns with blank lines between sentences, or plain text without tags."""

import itertools
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from lstmjax import checks
from lstmjax.data.examples import numbered_lines
from lstmjax.data.tables import Row
from lstmjax.errors import InputError

Format = Literal["conllu", "columns", "text"]
FORMATS: tuple[Format, ...] = ("conllu", "columns", "text")
CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""The columns of CoNLL-U."""
CONLLU_TAGS = ("upos", "xpos", "feats", "deprel")
"""Those of them that hold tags."""
NO_WORD = re.compile(r"[0-9]+-[0-9]+|[0-9]+\.[0-9]+")
"""The ids of ranges, which are written as one word but are several, and of nodes that stand for no word."""
DOCUMENT = "-DOCSTART-"


class Sentences(NamedTuple):
    """The sentences of a file, at least one, each of at least one token.

    `tokens`: those of each sentence. `tags`: the tag of each token, None where the file has none. `lines`: the line of
    the file that each token stands on, counted from 1. `file`: its path, for messages.

    >>> Sentences([("Time", "flies")], [("NOUN", "VERB")], [(1, 2)], "time.conllu").tags
    [('NOUN', 'VERB')]
    """

    tokens: list[tuple[str, ...]]
    tags: list[tuple[str, ...]] | None
    lines: list[tuple[int, ...]]
    file: str


def read_columns(path: str | Path, *, token_column: int = 0, tag_column: int | None = -1) -> Sentences:
    r"""Sentences from rows of cells, one row a token, with blank lines between sentences.

    Where any row has a tab, cells are separated by tabs and may hold blanks inside; else by blanks, any number of them
    in a row. All rows have the same number of cells. A line of nothing but blanks and tabs is blank.
    Rows that start with `-DOCSTART-` are skipped, and end a sentence as blank lines do. There are no comments.

    Args:
      path: a UTF-8 file, packed where its name ends in `.gz`.
      token_column: the column of the tokens, counted from 0, or from the end: -1 is the last.
      tag_column: that of the tags; None where there are none to read.

    Raises:
      InputError: a file that can't be read, has no sentence or rows of several widths, lacks a column, or has an empty
        cell in one that is read.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "names.conll")
    ...     _ = path.write_text("Ada B-PER\nslept O\n\nYes O\n")
    ...     sentences = read_columns(path)
    >>> sentences.tokens, sentences.tags, sentences.lines
    ([('Ada', 'slept'), ('Yes',)], [('B-PER', 'O'), ('O',)], [(1, 2), (4,)])
    """
    blocks = _blocks(path, is_break)
    separator, rows = parted(itertools.chain(*blocks))
    first = rows[0]
    for line, cells in rows:
        if len(cells) != len(first.cells):
            raise InputError(
                f"{path}, line {line} must have as many cells as line {first.line}, parted at {separator}s: "
                f"expected {len(first.cells)}, got {len(cells)}"
            )
    token, *tag = (_place(path, at, first, separator) for at in (token_column, tag_column) if at is not None)
    if token in tag:
        raise InputError(f"{path}: expected tokens and tags in two columns, got columns {token_column}, {tag_column}")
    following = iter(rows)
    return _sentences(path, [list(itertools.islice(following, len(block))) for block in blocks], token, *tag)


def read_conllu(path: str | Path, *, tag: str | None = "upos") -> Sentences:
    r"""The words of a treebank in CoNLL-U, and one of its columns as their tags.

    Comments, ranges (with an id such as 3-4) and empty nodes (3.1) are skipped. A form may hold blanks. A tag `_` says
    that there is none, which is refused; but in "feats" it says that a word has no features, and is a tag like others.

    Args:
      path: a UTF-8 file, packed where its name ends in `.gz`.
      tag: "upos", "xpos", "feats" or "deprel"; None where there are no tags to read.

    Raises:
      ValueError: another `tag`.
      InputError: a file that can't be read, a line without 10 cells between tabs, words of a sentence that do not
        count 1, 2, 3, a sentence without a word, or a word without a form or tag.

    Source: https://universaldependencies.org/format.html.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "small.conllu")
    ...     words = "# text = Go!", "1\tGo\tgo\tVERB" + "\t_" * 6, "2\t!\t!\tPUNCT" + "\t_" * 6, ""
    ...     _ = path.write_text("\n".join(words))
    ...     read_conllu(path)[:3]
    ([('Go', '!')], [('VERB', 'PUNCT')], [(2, 3)])
    """
    if tag is not None:
        checks.one_of("tag", tag, CONLLU_TAGS)
    blocks = [_words(path, block) for block in _blocks(path, lambda text: not text.strip())]
    if tag is None:
        return _sentences(path, blocks, CONLLU.index("form"))
    at = CONLLU.index(tag)
    for line, cells in itertools.chain(*blocks):
        if cells[at] == "_" and tag != "feats":
            raise InputError(f"{path}, line {line}: expected a tag as {tag}, got '_'")
    return _sentences(path, blocks, CONLLU.index("form"), at)


def read_plain(path: str | Path) -> Sentences:
    r"""Sentences of plain text, one a line, their tokens separated by whitespace; blank lines are no sentences.

    Args:
      path: a UTF-8 file, packed where its name ends in `.gz`.

    Raises:
      InputError: a file that can't be read or has only blank lines.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "plain.txt")
    ...     _ = path.write_text("Time flies .\n\nYes !\n")
    ...     read_plain(path)[:3]
    ([('Time', 'flies', '.'), ('Yes', '!')], None, [(1, 1, 1), (3, 3)])
    """
    lines = list(itertools.chain(*_blocks(path, lambda text: not text.strip())))
    tokens = [tuple(text.split()) for _, text in lines]
    places = [(line,) * len(words) for (line, _), words in zip(lines, tokens, strict=True)]
    return Sentences(tokens, None, places, str(path))


def is_treebank(path: str | Path) -> bool:
    """Whether a file is in CoNLL-U by its name, which ends in `.conllu`, or in `.gz` after that.

    >>> is_treebank("en.conllu.gz"), is_treebank("en.conll")
    (True, False)
    """
    return Path(path).name.lower().removesuffix(".gz").endswith(".conllu")


def format_of(path: str | Path, *, tags: Collection[str] = ()) -> Format:
    r"""What a file to tag holds, by its name, which may end in `.gz`, and where that is `.txt`, by what is in it.

    `.conllu` is CoNLL-U, and every name but `.txt` that of columns. A `.txt` is columns where it has a tab, a
    `-DOCSTART-`, rows of one cell alone, or a known tag at the end of half its rows. Else it is plain text, but for one
    that could be both, for all its rows have as many cells as each other.

    Args:
      path: the file; looked into where its name ends in `.txt`.
      tags: those that are known.

    Raises:
      InputError: see `read_plain`; a file that could be columns or plain text.

    >>> format_of("en.conllu.gz"), format_of("wnut17train.conll")
    ('conllu', 'columns')
    """
    if is_treebank(path):
        return "conllu"
    if not Path(path).name.lower().removesuffix(".gz").endswith(".txt"):
        return "columns"
    lines = [line for line in numbered_lines(path) if line[1].strip()]
    separator, rows = parted(lines)
    widths = {len(row.cells) for row in rows}
    ends_in_tag = [row.cells[-1] in tags for row in rows]
    if separator == "tab" or widths <= {1} or 2 * sum(ends_in_tag) >= len(rows):
        return "columns"
    if any(text.startswith(DOCUMENT) for _, text in lines):
        return "columns"
    if len(rows) > 1 and len(widths) == 1:
        count = widths.pop()
        raise InputError(f"{path} has {count} words in every line: columns, or plain text? --file-format says which")
    return "text"


def parted(lines: Iterable[tuple[int, str]]) -> tuple[Literal["tab", "blank"], list[Row]]:
    r"""Lines cut into cells at tabs where any has one, else at blanks, and which of the two it was.

    >>> parted([(1, "New York\tLOC"), (2, "is\tO")])
    ('tab', [Row(line=1, cells=['New York', 'LOC']), Row(line=2, cells=['is', 'O'])])
    """
    lines = list(lines)
    if any("\t" in text for _, text in lines):
        return "tab", [Row(line, [cell.strip(" ") for cell in text.split("\t")]) for line, text in lines]
    return "blank", [Row(line, [cell for cell in text.split(" ") if cell]) for line, text in lines]


def is_break(text: str) -> bool:
    """Whether a line of a file in columns holds no token and ends a sentence.

    >>> is_break(" "), is_break("-DOCSTART- -X- O O"), is_break("Ada B-PER")
    (True, True, False)
    """
    return not text.strip() or text.startswith(DOCUMENT)


def _blocks(path: str | Path, is_break: Callable[[str], bool]) -> list[list[tuple[int, str]]]:
    """The numbered lines of each sentence, at least one."""
    groups = itertools.groupby(numbered_lines(path), lambda line: is_break(line[1]))
    blocks = [list(lines) for between, lines in groups if not between]
    if not blocks:
        raise InputError(f"{path} has no sentence; expected at least 1")
    return blocks


def _place(path: str | Path, column: int, first: Row, separator: str) -> int:
    """Where a column stands, from 0."""
    width = len(first.cells)
    if not -width <= column < width:
        counted = "counted from 0, or from -1 at the end"
        raise InputError(
            f"{path} has no column {column}, {counted}: line {first.line}, parted at {separator}s, has {width}"
        )
    return column % width


def _words(path: str | Path, block: list[tuple[int, str]]) -> list[Row]:
    """The words of a sentence in CoNLL-U."""
    rows = [Row(line, text.split("\t")) for line, text in block if not text.startswith("#")]
    for line, cells in rows:
        if len(cells) != len(CONLLU):
            raise InputError(f"{path}, line {line}: expected {len(CONLLU)} cells parted at tabs, got {len(cells)}")
    words = [row for row in rows if not NO_WORD.fullmatch(row.cells[0])]
    if not words:
        raise InputError(f"{path}, line {block[0][0]} starts a sentence without a word; expected at least 1")
    for count, (line, cells) in enumerate(words, 1):
        if cells[0] != str(count):
            raise InputError(f"{path}, line {line}: expected the id {count}, got {cells[0]!r:.60}")
    return words


def _sentences(path: str | Path, blocks: list[list[Row]], token: int, tag: int | None = None) -> Sentences:
    tokens = [tuple(_cell(path, row, token, "token") for row in block) for block in blocks]
    tags = None if tag is None else [tuple(_cell(path, row, tag, "tag") for row in block) for block in blocks]
    return Sentences(tokens, tags, [tuple(row.line for row in block) for block in blocks], str(path))


def _cell(path: str | Path, row: Row, at: int, what: str) -> str:
    cell = row.cells[at]
    if not cell.strip(" "):
        raise InputError(f"{path}, line {row.line}, column {at} (from 0): expected a {what}, got an empty cell")
    return cell
