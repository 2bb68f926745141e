"""Parallel text: what one file says, line for line, another file says in other words."""

from pathlib import Path
from typing import NamedTuple

from lstmjax.data.text import read_text
from lstmjax.errors import InputError


class ParallelText(NamedTuple):
    """N sentences and what they become, each pair from one line of two files.

    `source` and `target`: N texts each. `lines`: the line of each pair, counted from 1. `source_file` and
    `target_file`: where they are from. `left_out`: the lines that are no pair, as a side is blank.

    >>> text = ParallelText(["ja", "nein"], ["yes", "no"], [1, 3], "a.de", "a.en", [2])
    >>> text.pairs, text.omissions
    (2, '1 of 3 lines left out, as they are blank in a.de or a.en: line 2')
    """

    source: list[str]
    target: list[str]
    lines: list[int]
    source_file: str
    target_file: str
    left_out: list[int]

    @property
    def pairs(self) -> int:
        """N."""
        return len(self.source)

    @property
    def omissions(self) -> str:
        """How many lines are left out, and the first five of them, in a sentence; empty where none is."""
        if not self.left_out:
            return ""
        files = f"{self.source_file} or {self.target_file}"
        count = f"{len(self.left_out)} of {len(self.left_out) + self.pairs} lines"
        numbers = ", ".join(map(str, self.left_out[:5])) + (", ..." if len(self.left_out) > 5 else "")
        return f"{count} left out, as they are blank in {files}: line{'s'[: len(self.left_out) > 1]} {numbers}"


def read_lines(path: str | Path) -> list[str]:
    """The lines of a UTF-8 text file, blank ones too, unpacked where its name ends in `.gz`.

    A line ends with "\\n" or "\\r\\n" and with nothing else that Unicode calls the end of a line; the last may go
    without. A byte order mark at the file's start is left out. Else the text is as it was written: composed and
    decomposed letters stay what they are, and so do blanks.

    Raises:
      InputError: the file is missing, unreadable, empty, or not UTF-8 text.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "a.de")
    ...     _ = path.write_bytes(b"ein Hund\\r\\n\\nzwei")
    ...     read_lines(path)
    ['ein Hund', '', 'zwei']
    """
    text = read_text(path)
    if not text:
        raise InputError(f"{path} has a byte order mark and nothing else; expected UTF-8 text")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def read_parallel(source_file: str | Path, target_file: str | Path) -> ParallelText:
    """Two files of one sentence a line, the n-th line of one belonging to the n-th of the other; see `read_lines`.

    Pairs of which a side is empty or blank are left out and listed in the result.

    Raises:
      InputError: a file that `read_lines` can't read, files of different line counts, or no pair at all.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source, target = pathlib.Path(folder, "a.de"), pathlib.Path(folder, "a.en")
    ...     _ = source.write_text("ja\\n\\nnein\\n"), target.write_text("yes\\nperhaps\\nno\\n")
    ...     text = read_parallel(source, target)
    >>> text.source, text.target, text.lines, text.left_out
    (['ja', 'nein'], ['yes', 'no'], [1, 3], [2])
    """
    source, target = read_lines(source_file), read_lines(target_file)
    if len(source) != len(target):
        raise InputError(
            f"{source_file} and {target_file} have different numbers of lines, {len(source)} and {len(target)}; "
            "expected each line of one to belong to that line of the other"
        )
    pairs = {n: pair for n, pair in enumerate(zip(source, target, strict=True), 1) if all(map(str.strip, pair))}
    if not pairs:
        raise InputError(f"{source_file} and {target_file} have no line that is blank in neither; expected sentences")
    left_out = [n for n in range(1, len(source) + 1) if n not in pairs]
    source, target = map(list, zip(*pairs.values(), strict=True))
    return ParallelText(source, target, list(pairs), str(source_file), str(target_file), left_out)
