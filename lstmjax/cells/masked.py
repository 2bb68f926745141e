"""Dropout on the hidden state where it enters a recurrent product."""

from typing import NamedTuple

from lstmjax.types import Array, Float


class MaskedWeight(NamedTuple):
    """A recurrent weight that sees its state through a mask of one sequence: `(h * mask) W`."""

    w: Array
    mask: Float[Array, "*batch H"]


def mask_weight(w: Array | MaskedWeight, mask: Float[Array, "*batch H"]) -> MaskedWeight:
    """`w` whose input is multiplied by `mask`; by both masks if it already has one."""
    if isinstance(w, MaskedWeight):
        return MaskedWeight(w.w, w.mask * mask)
    return MaskedWeight(w, mask)


def recurrent_factors(h: Float[Array, "*batch H"], w: Array | MaskedWeight) -> tuple[Array, Array]:
    """The two arrays of the recurrent product: `h, w`, or `h * mask, w` of a masked weight."""
    if isinstance(w, MaskedWeight):
        return h * w.mask.astype(h.dtype), w.w
    return h, w
