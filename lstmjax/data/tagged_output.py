"""Predicted tags, written into the text of the file that the sentences are from."""

import codecs
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from lstmjax import checks
from lstmjax.data import text
from lstmjax.data.tagged import CONLLU, CONLLU_TAGS, FORMATS, Format, Sentences
from lstmjax.errors import InputError


def with_tags(
    path: str | Path,
    sentences: Sentences,
    tags: Sequence[Sequence[str]],
    *,
    file_format: Format,
    tag: str | None = None,
) -> str:
    r"""The text of a file with a tag for each token; read again, it gives the same tokens and these tags.

    Columns get one more at their end, after a tab where tabs separate them, else a blank. In CoNLL-U, the tag
    takes the place of what stands in its column. All else stays as it is, line ends too. Of plain text, each token
    becomes a row of columns, with a tab before its tag, and each line, blank or not, ends in a blank line.

    Args:
      path: the file that `sentences` are from.
      sentences: what `read_columns`, `read_conllu` or `read_plain` gave.
      tags: those of each sentence, one a token.
      file_format: "columns", "conllu" or "text": by which of the three it was read.
      tag: the column of CoNLL-U, as for `read_conllu`; None for the others.

    Raises:
      ValueError: another `file_format` or `tag`, or tags that are not as many as the tokens.
      InputError: a file that can't be read, or a tag that its cells can't hold.

    >>> import pathlib, tempfile
    >>> from lstmjax.data import tagged
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "names.conll")
    ...     _ = path.write_text("Ada\nslept\n\nYes\n")
    ...     sentences = tagged.read_columns(path, tag_column=None)
    ...     with_tags(path, sentences, [("B-PER", "O"), ("O",)], file_format="columns")
    'Ada B-PER\nslept O\n\nYes O\n'
    """
    checks.one_of("file_format", file_format, FORMATS)
    if tag is not None:
        checks.one_of("tag", tag, CONLLU_TAGS)
    if (file_format == "conllu") != (tag is not None):
        raise ValueError(f"tag must be a column of CoNLL-U where file_format is 'conllu', else None, got {tag!r}")
    pieces = re.split(r"(\r\n|\r|\n)", text.read_text(path))
    lines = zip(pieces[::2], [*pieces[1::2], ""], strict=True)
    at = None if tag is None else CONLLU.index(tag)
    names = _by_line(sentences, tags)
    mark = "\N{ZERO WIDTH NO-BREAK SPACE}" if text.read_bytes(path).startswith(codecs.BOM_UTF8) else ""
    written = [mark]
    for number, (line, end) in enumerate(lines, 1):
        own, place = names.get(number), f"{path}, line {number}"
        written.append(line + end if own is None else _with_tags(place, line, end, own, file_format, at))
    return "".join(written)


def _by_line(sentences: Sentences, tags: Sequence[Sequence[str]]) -> dict[int, list[str]]:
    """The tags of the tokens on each line that has some."""
    if [len(some) for some in tags] != [len(tokens) for tokens in sentences.tokens]:
        raise ValueError("tags must be as many as the tokens, sentence by sentence")
    by_line: dict[int, list[str]] = {}
    for place, name in zip(itertools.chain(*sentences.lines), itertools.chain(*tags), strict=True):
        by_line.setdefault(place, []).append(name)
    return by_line


def _with_tags(place: str, line: str, end: str, names: list[str], file_format: Format, at: int | None) -> str:
    """One line with the tags of its tokens."""
    separator = " " if file_format == "columns" and "\t" not in line else "\t"
    for name in names:
        if not name or name != name.strip(" ") or re.search(f"[{separator}\t\r\n]", name):
            parted_at = "blanks" if separator == " " else "tabs"
            raise InputError(f"{place}: a cell of a file parted at {parted_at} can't hold the tag {name!r:.60}")
    if file_format == "text":
        rows = (f"{token}\t{name}" for token, name in zip(line.split(), names, strict=True))
        return "".join(row + (end or "\n") for row in rows) + end
    if at is None:
        return line + separator + names[0] + end
    cells = line.split("\t")
    return "\t".join([*cells[:at], names[0], *cells[at + 1 :]]) + end
