"""Writing files so that, whenever the program is killed, either all of the old content is there or all of the new."""

from pathlib import Path


def replace_bytes(path: str | Path, content: bytes) -> None:
    """Write a file, or replace it by all of `content` at once.

    Raises:
      OSError: the file can't be written.
    """
    path = Path(path)
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def replace_text(path: str | Path, text: str) -> None:
    """As `replace_bytes`, for a text in UTF-8."""
    replace_bytes(path, text.encode("utf-8"))
