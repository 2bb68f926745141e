"""Images of handwritten digits with texts: their English names, or the name of the sum of two."""

import numpy as np

from lstmjax import checks
from lstmjax.data.examples import Labelled

SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
UNITS = [*SMALL.split(), "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def english(number: int) -> str:
    """The name of a whole number in 0..99.

    >>> english(7), english(17), english(40), english(42)
    ('seven', 'seventeen', 'forty', 'forty-two')
    """
    checks.index("number", number, 0, 99)
    if number < 20:
        return UNITS[number]
    tens, unit = divmod(number, 10)
    return TENS[tens - 2] + (f"-{UNITS[unit]}" if unit else "")


def named_digits(digits: Labelled, count: int, *, seed: int) -> Labelled:
    """Some of the digits, each with its name.

    Args:
      digits: images [H, W], floats in [0, 1], with the labels "0" to "9".
      count: how many; all where there are no more.
      seed: fixes which, and their order.

    Returns:
      images uint8 [H, W, 1] with texts.

    >>> digits = lx.data.Labelled([np.zeros((4, 4))], ["7"], ["here"])
    >>> named_digits(digits, 1, seed=0).targets
    ['seven']
    """
    rows = np.random.default_rng(seed).permutation(len(digits.sequences))[:count]
    chosen = digits.take(rows)
    names = [english(int(str(label))) for label in chosen.targets or []]
    return Labelled([_bytes(np.asarray(image)) for image in chosen.sequences], names, chosen.places)


def digit_sums(digits: Labelled, count: int, *, seed: int) -> Labelled:
    """Two digits side by side with the name of their sum.

    Args:
      digits: images [H, W], floats in [0, 1], with the labels "0" to "9".
      count: how many pairs.
      seed: fixes them.

    Returns:
      images uint8 [H, 2 W, 1] with texts.

    >>> digits = lx.data.Labelled([np.zeros((4, 4))], ["7"], ["here"])
    >>> found = digit_sums(digits, 1, seed=0)
    >>> found.sequences[0].shape, found.targets
    ((4, 8, 1), ['fourteen'])
    """
    pairs = np.random.default_rng(seed).integers(len(digits.sequences), size=(count, 2))
    numbers = np.asarray(digits.targets).astype(int)
    images = [_bytes(np.concatenate([np.asarray(digits.sequences[row]) for row in pair], axis=1)) for pair in pairs]
    names = [english(int(numbers[pair].sum())) for pair in pairs]
    return Labelled(images, names, [f"pair {number} of digits" for number in range(count)])


def _bytes(image: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = np.rint(image * 255).astype(np.uint8)
    return pixels[:, :, None]
