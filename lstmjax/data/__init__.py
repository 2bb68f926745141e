"""Data: text as symbols, in contiguous streams."""

from lstmjax.data import text

__all__ = ["text"]
