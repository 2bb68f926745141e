"""Pretrained vectors of words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from lstmjax.data import words
from lstmjax.errors import InputError


def start_from(file: Path, embedding: Any, names: Sequence[str], option: str, *, lower: bool = False) -> None:
    """Have pretrained vectors take the place of the embeddings of their words, which come after the special symbols.

    Args:
      file: of vectors, as GloVe and word2vec write them.
      embedding: an nnx.Param [V, E].
      names: the V - SPECIAL words.
      option: which says E.
      lower: where there is none for a word, take that of the word in small letters.

    Raises:
      InputError: the vectors are of another size.
    """
    vectors, found = words.read_vectors(file, [*names, *(name.lower() for name in names)] if lower else names)
    if vectors.shape[1] != embedding.shape[1]:
        raise InputError(f"{file} has vectors of {vectors.shape[1]} numbers; {option} is {embedding.shape[1]}")
    if lower:
        (as_is, of_lower), (is_there, lower_is_there) = np.split(vectors, 2), np.split(found, 2)
        vectors, found = np.where(is_there[:, None], as_is, of_lower), is_there | lower_is_there
    rows = np.array(embedding[...])
    rows[words.SPECIAL :][found] = vectors[found]
    embedding[...] = jnp.asarray(rows)
    print(f"vectors: {found.sum():,} of {len(found):,} words have one")
