"""Named sets of sequences to classify, with the splits they are published with.

>>> sorted(DATASETS)
['japanese-vowels', 'mnist-permuted', 'mnist-pixels', 'mnist-rows', 'names', 'sst2']
"""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstmjax.data.downloads import SHA256, find
from lstmjax.data.examples import Labelled, numbered_lines
from lstmjax.data.tables import read_table
from lstmjax.data.text import read_bytes
from lstmjax.data.ts_files import read_ts
from lstmjax.errors import InputError

LANGUAGES = [file for file in SHA256 if file.startswith("names/languages/")]


class Splits(NamedTuple):
    """A set in its published parts; None for those it has not."""

    train: Labelled
    validation: Labelled | None = None
    test: Labelled | None = None


def japanese_vowels() -> Splits:
    """Nine speakers by twelve coefficients of an utterance, 7 to 29 steps: 270 to train, 370 to test.

    Source: Kudo, Toyama and Shimbo, Multidimensional curve classification using passing-through regions (1999).
    """
    train, test = (read_ts(find(f"japanese_vowels/JapaneseVowels_{part}.ts")) for part in ("TRAIN", "TEST"))
    return Splits(train, None, test)


def sst2() -> Splits:
    """Sentences of film reviews, "1" for praise and "0" for blame: 6920 to train, 872 to validate, 1821 to test.

    Source: Socher et al., Recursive deep models for semantic compositionality over a sentiment treebank (2013).
    """
    return Splits(*(read_table(find(f"sst2/{part}.tsv"), header="no") for part in ("train", "dev", "test")))


def names() -> Splits:
    """20050 family names, without blanks around them, and which of 18 languages each comes from; no published split.

    Source: Robertson, Classifying names with a character-level RNN, https://github.com/spro/practical-pytorch.
    """
    lines = [(path, row, line.strip()) for path in map(find, LANGUAGES) for row, line in numbered_lines(path)]
    rows = [(path, row, name) for path, row, name in lines if name]
    places = [f"{path}, row {row}" for path, row, _ in rows]
    return Splits(Labelled([name for _, _, name in rows], [path.stem for path, _, _ in rows], places))


def mnist_rows() -> Splits:
    """Handwritten digits as 28 steps of 28 grey values in [0, 1]: 55000 to train, 5000 to validate, 10000 to test.

    The last 5000 of the 60000 published to train are those to validate.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition (1998).
    """
    train, test = _digits("train"), _digits("t10k")
    count = len(train.sequences)
    if count <= 5000:
        raise InputError(f"{train.file} has {count} images; expected over 5000, those kept for validation")
    return Splits(train.take(range(count - 5000)), train.take(range(count - 5000, count)), test)


def mnist_pixels(permuted: bool = False) -> Splits:
    """The digits of `mnist_rows` as 784 steps of one grey value, in reading order or in one that is always the same.

    Args:
      permuted: take the pixels in the order of `np.random.default_rng(0).permutation(784)`.

    Source: Le, Jaitly and Hinton, A simple way to initialize recurrent networks of rectified linear units (2015).
    """
    return Splits(*(_pixels(part, permuted) for part in mnist_rows() if part is not None))


DATASETS: dict[str, Callable[[], Splits]] = {
    "japanese-vowels": japanese_vowels,
    "sst2": sst2,
    "names": names,
    "mnist-rows": mnist_rows,
    "mnist-pixels": mnist_pixels,
    "mnist-permuted": functools.partial(mnist_pixels, permuted=True),
}


def _digits(part: str) -> Labelled:
    digits = read_idx_images(*(find(f"mnist/{part}-{file}-ubyte.gz") for file in ("images-idx3", "labels-idx1")))
    return digits._replace(sequences=[np.asarray(image)[..., 0] / np.float32(255) for image in digits.sequences])


def _pixels(digits: Labelled, permuted: bool) -> Labelled:
    steps = np.stack(digits.sequences).reshape(len(digits.sequences), -1, 1)
    order = np.random.default_rng(0).permutation(steps.shape[1])
    return digits._replace(sequences=list(steps[:, order] if permuted else steps))


def read_idx_images(images: str | Path, labels: str | Path) -> Labelled:
    """Images and whole numbers from two files of MNIST's format.

    Args:
      images: bytes [N, H, W]; see `read_idx`.
      labels: bytes [N].

    Returns:
      N arrays uint8 [H, W, 1]; as targets the numbers as texts.

    Raises:
      InputError: files that can't be read, are something else, or do not agree.
    """
    pixels, numbers = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(numbers) or pixels.size == 0:
        raise InputError(f"{images} has {len(pixels)} images and {labels} {len(numbers)} labels; expected as many")
    places = [f"{images}, image {number}" for number in range(len(pixels))]
    return Labelled(list(pixels[..., None]), list(map(str, numbers.tolist())), places)


def read_idx(path: str | Path, dimensions: int) -> np.ndarray:
    """An array of bytes in the format of MNIST, packed where the name ends in `.gz`.

    Args:
      path: the file: two zeros, 8 for bytes, the number of dimensions, each size in four bytes, then the array.
      dimensions: how many it must have.

    Returns:
      the array, uint8.

    Raises:
      InputError: a file that can't be read or is something else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 5]))
    ...     read_idx(path, 1)
    array([7, 5], dtype=uint8)
    """
    content = read_bytes(path)
    start = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < start:
        raise InputError(f"{path} must start with 0, 0, 8, {dimensions} and the sizes, got {list(content[:start])}")
    shape = np.frombuffer(content[4:start], ">u4").tolist()
    if len(content) - start != math.prod(shape):
        raise InputError(f"{path} must have {math.prod(shape)} bytes for {shape}, got {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
