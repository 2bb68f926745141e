"""Ways to say a loss."""

import math


def bits_per_symbol(nats: float) -> float:
    """`nats / ln 2`: bits per character for a character model, per byte for a byte model.

    >>> round(bits_per_symbol(1.0), 4)
    1.4427
    """
    return nats / math.log(2.0)


def perplexity(nats: float) -> float:
    """`exp(nats)`: how many equally likely symbols would be as hard to guess.

    >>> round(perplexity(math.log(10.0)), 4)
    10.0
    """
    return math.exp(nats) if nats < 700.0 else math.inf
