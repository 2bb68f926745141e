"""What a model may not be up to: lines longer than it was trained on, and symbols that it has never seen."""

from collections.abc import Sequence
from pathlib import Path

from lstmjax.data.symbols import Symbols, Words

NAMED = 5
"""Lines and symbols that are named at most."""


def of_file(file: Path, lines: Sequence[str], symbols: Symbols, longest: int) -> list[str]:
    """A sentence for each kind of surprise in a file."""
    found = []
    long = [number for number, line in enumerate(lines, 1) if _length(line, symbols) > longest]
    if long:
        found.append(f"{file}: longer than the {longest} symbols of any source in training: {_lines(long)}")
    strangers: dict[str, None] = {}
    rows = []
    for number, line in enumerate(lines, 1):
        new = _strangers(line, symbols)
        strangers |= dict.fromkeys(new)
        rows += [number] * bool(new)
    if rows:
        found.append(f"{file}: {_named(list(strangers), symbols)} in {_lines(rows)}")
    return found


def of_line(number: int, line: str, symbols: Symbols, longest: int) -> list[str]:
    """The same for a line of standard input."""
    found = []
    length, strangers = _length(line, symbols), _strangers(line, symbols)
    if length > longest:
        found.append(f"line {number}: longer than the {longest} symbols of any source in training, {length}")
    if strangers:
        found.append(f"line {number}: {_named(strangers, symbols)}")
    return found


def _length(line: str, symbols: Symbols) -> int:
    """With the end, as in training."""
    return len(symbols.encode(line)) + 1


def _strangers(line: str, symbols: Symbols) -> list[str]:
    unknown = symbols.unknown(line) if line.strip() else ""
    return unknown.split() if isinstance(symbols, Words) else list(unknown)


def _named(strangers: Sequence[str], symbols: Symbols) -> str:
    kind = "word" if isinstance(symbols, Words) else "character"
    count = f"{len(strangers):,} {kind}{'s' * (len(strangers) > 1)} never seen in training"
    return f"{count}, {', '.join(map(repr, strangers[:NAMED]))}{', ...' * (len(strangers) > NAMED)}"


def _lines(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    return f"{len(numbers):,} lines, {', '.join(map(str, numbers[:NAMED]))}{', ...' * (len(numbers) > NAMED)}"
