"""Data: sources of batches by position, text in contiguous streams, preparation in the background."""

from lstmjax.data import text
from lstmjax.data.prefetch import IteratorSource, prefetch
from lstmjax.data.source import Bucketed, Examples, Ordered, SequenceBatch, Shuffled, Source

__all__ = [
    "Bucketed",
    "Examples",
    "IteratorSource",
    "Ordered",
    "SequenceBatch",
    "Shuffled",
    "Source",
    "prefetch",
    "text",
]
