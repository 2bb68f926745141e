"""Data: where batches come from, each a pure function of its position.

- `source.py`: all examples in order, shuffled, or together by length
- `text.py`: vocabularies, files, contiguous streams, a whole text for evaluation
- `prefetch.py`: batches prepared ahead in the background; sources over outside iterators
"""

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
