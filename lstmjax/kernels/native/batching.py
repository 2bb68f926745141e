"""What the library's functions do under `jax.vmap`: one call still, of more rows or of more layers.

All their arrays have a leading axis of layers, of size 1 where one serves all; one of shape [0] stands for nothing.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from lstmjax.types import Array

Call = Callable[..., list[Array]]


def batched(call: Call, axes: Sequence[int | None], result_axes: Sequence[int] = ()) -> Call:
    """`call`, which under vmap takes what is batched as more rows or, if a weight is batched, as more layers.

    Args:
      call: of arrays.
      axes: for each of them the axis of rows; None for weights, which have none.
      result_axes: the same of results; none are needed where all arrays count as weights.
    """

    @jax.custom_batching.custom_vmap
    def function(*arrays: Array) -> list[Array]:
        return call(*arrays)

    @function.def_vmap
    def rule(size: int, in_batch: Sequence[bool], *arrays: Array) -> tuple[list[Array], list[bool]]:
        again = batched(call, axes, result_axes)
        if any(on and axis is None for on, axis in zip(in_batch, axes, strict=True)):
            return _in_layers(again, size, in_batch, arrays)
        folded = [_fold(size, *each) for each in zip(in_batch, arrays, axes, strict=True)]
        results = [_unfold(size, *each) for each in zip(again(*folded), result_axes, strict=True)]
        return results, [True] * len(results)

    return function


def _in_layers(
    function: Call, size: int, batched: Sequence[bool], arrays: Sequence[Array]
) -> tuple[list[Array], list[bool]]:
    """`function` with the batched axis made part of that of layers; an array of one layer that serves all stays so."""
    layers = max(array.shape[on] for on, array in zip(batched, arrays, strict=True) if array.ndim > 1 + on)

    def one(on: bool, array: Array) -> Array:
        if array.ndim == 1 + on:
            return array[0] if on else array  # nothing
        if not on and array.shape[0] == 1:
            return array
        spread = jnp.broadcast_to(array if on else array[None], (size, layers, *array.shape[1 + on :]))
        return spread.reshape(size * layers, *spread.shape[2:])

    results = function(*[one(*each) for each in zip(batched, arrays, strict=True)])
    split = [jnp.broadcast_to(y, (size, 0)) if y.ndim == 1 else y.reshape(size, -1, *y.shape[1:]) for y in results]
    return split, [True] * len(split)


def _fold(size: int, on: bool, array: Array, axis: int | None) -> Array:
    """[size, N, ..., rows, ...] to [N, ..., size * rows, ...]; `axis` is that of rows without the first."""
    if array.ndim == 1 + on:
        return array[0] if on else array  # nothing
    if axis is None:
        return array
    spread = array if on else jnp.broadcast_to(array, (size, *array.shape))
    moved = jnp.moveaxis(spread, 0, axis)
    return moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])


def _unfold(size: int, result: Array, axis: int) -> Array:
    if result.ndim == 1:
        return jnp.broadcast_to(result, (size, *result.shape))
    return jnp.moveaxis(result.reshape(*result.shape[:axis], size, -1, *result.shape[axis + 1 :]), axis, 0)
