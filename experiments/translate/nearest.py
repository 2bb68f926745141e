"""A translation memory, the simplest translator there is: what the likest known source was translated to."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from experiments.translate.pairs import Part

ROWS = 500
"""Sources compared with all known ones at a time."""
MOST_KNOWN = 50_000
"""Sources remembered, the first of them."""


def nearest(known: Part, asked: Part) -> list[str]:
    """For each source asked the target of the known source that shares most symbols with it, rare ones counting more.

    Sources are likened by the cosine of their symbols' tf-idf.
    """
    count = 1 + max(int(np.concatenate(part.sources).max()) for part in (known, asked))
    there, here = _counts(known.sources[:MOST_KNOWN], count), _counts(asked.sources, count)
    rarity = np.log((1 + there.shape[0]) / (1 + (there > 0).sum(axis=0)))
    there, here = _unit(there.multiply(rarity).tocsr()), here.multiply(rarity).tocsr()
    best = [(there @ here[k : k + ROWS].T.toarray()).argmax(axis=0) for k in range(0, here.shape[0], ROWS)]
    return [known.text.target[row] for row in np.concatenate(best)]


def _counts(sources: Sequence[np.ndarray], count: int) -> csr_array:
    """How often each symbol comes in each source, [N, V]."""
    ends = np.cumsum([0, *map(len, sources)])
    symbols = np.concatenate(sources)
    return csr_array((np.ones(len(symbols)), symbols, ends), shape=(len(sources), count))


def _unit(rows: csr_array) -> csr_array:
    """Rows of length 1; one of zeros stays."""
    lengths = np.sqrt(rows.power(2).sum(axis=1))
    return rows.multiply(1.0 / np.maximum(lengths, 1e-12)[:, None]).tocsr()
