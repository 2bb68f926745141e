"""Where the text comes from."""

from pathlib import Path
from pydoc_data.topics import topics

from lstmjax.data.text import read_text


def load_corpus(path: Path | None) -> str:
    """The text of a file, or, for None, the language reference that every CPython carries for `help()`."""
    return "\n\n".join(topics[name] for name in sorted(topics)) if path is None else read_text(path)
