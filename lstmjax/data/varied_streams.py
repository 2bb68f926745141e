"""Contiguous streams of a text in chunks of varied length, so that no place in it is always where a gradient ends."""

import dataclasses
import functools

import numpy as np

from lstmjax import checks
from lstmjax.data.text import Batch, Streams

SHORT_SHARE, DEVIATION, SLACK = 0.05, 5.0, 15
"""How many chunks are half as long; the standard deviation of lengths; how far from their mean they may be."""


@dataclasses.dataclass(frozen=True, eq=False)
class VariedStreams(Streams):
    """`Streams` whose chunks have lengths drawn anew for each pass over the text.

    A length is drawn about `chunk_length`, or with probability 0.05 about half of it, with a standard deviation of 5,
    at most 15 from there and at least 5. A pass's lengths are then stretched together, by a percent or so in a long
    text, until they make up the whole of each stream. All follow from the seed and the pass's number, so here too a
    position is all a checkpoint needs.

    Chunks are padded on the right to one of two lengths (with a `mask`), so that two steps are compiled and no more;
    in a text of a few chunks there may be more. A batch's `scale` is its length over `chunk_length`: a step goes as
    far as its symbols are many. (It scales the gradient, before clipping.)

    Args:
      ids, batch_size, chunk_length: see `Streams`; chunk_length is the mean, at least 2.
      seed: fixes all lengths.

    Raises:
      TypeError, ValueError, InputError: see `Streams`; a seed that is not whole, or out of range.

    Source: Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models", section 5.

    >>> streams = VariedStreams(np.arange(2001), batch_size=2, chunk_length=70, seed=0)
    >>> batches = [streams.batch(position) for position in range(len(streams))]
    >>> len(batches), {batch.inputs.shape for batch in batches} <= {(2, 50), (2, 85)}
    (15, True)
    >>> sum(int(batch.mask.sum()) for batch in batches)
    2000
    """

    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.index("chunk_length", self.chunk_length, 2)
        checks.index("seed", self.seed, 0, 2**32 - 1)

    def __len__(self) -> int:
        """Batches in one pass over the text, the same in all passes."""
        mean = self.chunk_length * (1.0 - SHORT_SHARE / 2)
        return max(1, round(self._stream_length / mean))

    def batch(self, position: int) -> Batch:
        """The batch at a position, any number from 0: passes over the text follow one another without end."""
        number, chunk = divmod(checks.index("position", position, 0), len(self))
        edges = _edges(self.seed, number, len(self), self.chunk_length, self._stream_length)
        start, length = int(edges[chunk]), int(edges[chunk + 1] - edges[chunk])
        offsets = start + np.arange(self._padded(length))[None, :]
        places = np.arange(self.batch_size)[:, None] * self._stream_length + np.minimum(offsets, edges[chunk + 1] - 1)
        return Batch(
            inputs=self.ids[places],
            targets=self.ids[places + 1],
            is_start=np.full(self.batch_size, chunk == 0),
            mask=np.broadcast_to(offsets < edges[chunk + 1], places.shape),
            scale=np.full(self.batch_size, length / self.chunk_length, np.float32),
        )

    def _padded(self, length: int) -> int:
        short, long = self.chunk_length // 2 + SLACK, self.chunk_length + SLACK
        return short if length <= short else -(-length // long) * long


@functools.lru_cache(maxsize=4)
def _edges(seed: int, number: int, chunks: int, chunk_length: int, total: int) -> np.ndarray:
    """Where the chunks of a pass begin and end, integers [chunks + 1] from 0 to `total`."""
    rng = np.random.default_rng((seed, number))
    means = np.where(rng.random(chunks) < SHORT_SHARE, chunk_length // 2, chunk_length)
    lengths = np.clip(rng.normal(means, DEVIATION), np.maximum(means - SLACK + 1, 5), means + SLACK - 1)
    ends = np.cumsum(lengths)
    edges = np.round(np.concatenate([[0.0], ends / ends[-1] * total])).astype(np.int64)
    edges.flags.writeable = False
    return edges
