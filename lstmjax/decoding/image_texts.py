"""What image decoders write, as text, and where they looked as they wrote."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.data.source import fill_up
from lstmjax.data.symbols import END, START, Symbols
from lstmjax.decoding.beam import beam_search
from lstmjax.decoding.loop import as_partial
from lstmjax.decoding.search import Beams
from lstmjax.decoding.translated_text import together
from lstmjax.models.image_decoder import ImageDecoder
from lstmjax.types import Array, Float


class ImageText(NamedTuple):
    """What was written for an image: its text, its symbols without the end, and their log probability."""

    text: str
    symbols: np.ndarray
    log_probability: float


def write_texts(
    model: ImageDecoder,
    symbols: Symbols,
    images: Sequence[np.ndarray],
    *,
    beam: int = 1,
    steps: int = 100,
    batch_size: int = 64,
) -> list[ImageText]:
    """The likeliest text of each image that beam search finds.

    Args:
      model: a trained one.
      symbols: what it writes, as `load_model` gives it with a model.
      images: any number of arrays [H, W, C]; see `ImageDecoder.encode`.
      beam: hypotheses kept at a time; 1 is greedy.
      steps: the most symbols of a text.
      batch_size: images at a time.

    Raises:
      TypeError, ValueError: another model, symbols of another size, or arguments out of range.

    >>> symbols = lx.data.Characters.train(["one", "two"])
    >>> config = lx.models.ImageDecoderConfig(channels=(4, 4), image_shape=(8, 8, 1), vocab_size=len(symbols))
    >>> model = lx.models.image_decoder_config.build(config, nnx.Rngs(0))
    >>> (found,) = write_texts(model, symbols, [np.zeros((8, 8, 1), np.uint8)], steps=3)
    >>> len(found.text) <= 3, found.log_probability < 0
    (True, True)
    """
    _check(model, symbols)
    found: list[ImageText] = []
    for batch, count in _batches(images, batch_size):
        beams = jax.tree.map(np.asarray, _searched(model, batch, beam, steps))
        for row in range(count):
            written = beams.symbols[row, 0, : beams.lengths[row, 0]]
            found.append(ImageText(symbols.decode(written), written, float(beams.log_probabilities[row, 0])))
    return found


def looked_at(
    model: ImageDecoder,
    images: Sequence[np.ndarray],
    written: Sequence[np.ndarray],
    *,
    batch_size: int = 64,
) -> list[Float[np.ndarray, "T h w"]]:
    """How much of each place of its image every symbol was made from, the end as well: maps whose sums are 1.

    Args:
      model: a trained one.
      images: any number of arrays [H, W, C].
      written: symbols of each, without the end, such as those of an `ImageText`.
      batch_size: images at a time.

    Raises:
      ValueError: not as many texts as images.
    """
    if len(written) != len(images):
        raise ValueError(f"written must be as many as images, {len(images)}, got {len(written)}")
    height, width, _ = model.frames.map_shape
    found: list[np.ndarray] = []
    for batch, count in _batches(images, batch_size):
        read = [np.insert(each, 0, START) for each in written[len(found) : len(found) + count]]
        inputs, lengths = together(read, len(batch))
        weights = np.asarray(_weights(model, batch, inputs))
        found += [weights[row, : lengths[row]].reshape(-1, height, width) for row in range(count)]
    return found


def _batches(images: Sequence[np.ndarray], batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Images [B, H, W, C], the last of them repeated to fill a batch up, and how many count."""
    checks.positive_int("batch_size", batch_size)
    size = min(batch_size, len(images))
    for first in range(0, len(images), batch_size):
        rows = np.arange(first, min(first + batch_size, len(images)))
        yield np.stack([images[row] for row in fill_up(rows, size)[0]]), len(rows)


@functools.partial(jax.jit, static_argnames=("beam", "steps"))
def _searched(model: ImageDecoder, images: Array, beam: int, steps: int) -> Beams:
    memory, begin = model.encode(images)
    scores, begin = model.step(memory, jnp.full(len(images), START, jnp.int32), begin)
    step = as_partial("step", type(model).step, model, memory)
    return beam_search(step, begin, scores, beam=beam, steps=steps, end=END)


@jax.jit
def _weights(model: ImageDecoder, images: Array, inputs: Array) -> Float[Array, "B T P"]:
    return model.with_alignments(images, inputs)[1]


def _check(model: object, symbols: Symbols) -> None:
    if not isinstance(model, ImageDecoder):
        raise TypeError(f"model must be an ImageDecoder, got {type(model).__name__}")
    if model.vocab_size != len(symbols):
        raise ValueError(f"symbols must be the model's {model.vocab_size}, got {len(symbols)}")
