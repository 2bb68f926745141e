"""Convolution, channels last, with gradients that XLA runs fast on CPUs inside loops too.

On CPUs XLA has a fast convolution for one order of axes: [N, *grid, C] with kernels [*kernel, I, O]. JAX's gradients
are convolutions in other orders. XLA turns those into the fast one, but not inside a loop; there they take up to two
hundred times as long. So here both are written in the fast order. With stride s, dilation d, p zeros before the grid:

    z[i]  = sum_t x[i s + t d - p] w[t]
    dx[j] = sum_t dz[(j - t d + p) / s] w[t]^T      over whole places: zeros stand between those of dz
    dw[t] = sum_i x[i s + t d - p]^T dz[i]          channels of x as batch, places of dz as kernel

Of three dimensions XLA has no fast one at all. There a product over planes and channels is one over channels alone,
those of all the planes that the kernel sees, in two dimensions.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax.cells.precision import accumulation_dtype
from lstmjax.derivative import with_backward
from lstmjax.sharding import vary_alike
from lstmjax.types import Array, DTypeLike, Float


def convolve(
    x: Float[Array, "*batch_grid N"],
    w: Float[Array, "*kernel N M"],
    dtype: DTypeLike,
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: str,
) -> Float[Array, "*batch_grid M"]:
    """Channels-last convolution with factors in `dtype` and sums in its accumulation dtype."""
    # Factors are rounded to `dtype`, then widened: a convolution with another result dtype has no gradient in JAX.
    wide = accumulation_dtype(dtype)
    rank = len(strides) + 1
    batch, grid = x.shape[:-rank], x.shape[-rank:-1]
    reach = tuple((size - 1) * step + 1 for size, step in zip(w.shape, dilation, strict=False))
    pads = lax.padtype_to_pads(grid, reach, strides, padding)
    axes = tuple(Axis(*each) for each in zip(strides, pads, dilation, strict=True))
    product = Product(axes, batch[-1] if batch else 1)
    y = product(x.reshape(-1, *x.shape[-rank:]).astype(dtype).astype(wide), w.astype(dtype).astype(wide))
    return y.reshape(*batch, *y.shape[1:])


class Axis(NamedTuple):
    """Along one dimension of the grid: a kernel's entry t meets x at i stride + t dilation - pads[0]."""

    stride: int
    pads: tuple[int, int]
    dilation: int
    spread: int = 1
    """How far apart the places of x are; zeros stand between them."""


class Product(NamedTuple):
    """`z = x conv w` of x [N, *grid, I] and w [*kernel, I, O].

    Args:
      axes: one a dimension of the grid.
      together: so many rows of x, a divisor of N, are taken at a time in the gradient of w: more fit no cache.
    """

    axes: tuple[Axis, ...]
    together: int

    def __call__(self, x: Array, w: Array) -> Array:
        x, w = vary_alike((x, w))
        product: Array = with_backward(self._forward, self._saving, self._backward, self.plain)(x, w)
        return product

    def plain(self, x: Array, w: Array) -> Array:
        """As JAX has it."""
        return _convolution(x, w, self.axes)

    def _forward(self, x: Array, w: Array) -> Array:
        def cpu(x: Array, w: Array) -> Array:
            return _fast_convolution(x, w, self.axes)

        if len(self.axes) < 3:
            return self.plain(x, w)
        z: Array = lax.platform_dependent(x, w, cpu=cpu, default=self.plain)
        return z

    def _saving(self, x: Array, w: Array) -> tuple[Array, tuple[Array, Array]]:
        return self._forward(x, w), (x, w)

    def _backward(self, saved: tuple[Array, Array], dz: Array) -> tuple[Array, Array]:
        def elsewhere(x: Array, w: Array, dz: Array) -> Any:
            return jax.vjp(self.plain, x, w)[1](dz)

        def cpu(x: Array, w: Array, dz: Array) -> Any:
            return self._dx(x, w, dz), self._dw(x, w, dz)

        gradients: tuple[Array, Array] = lax.platform_dependent(*saved, dz, cpu=cpu, default=elsewhere)
        return gradients

    def _dx(self, x: Array, w: Array, dz: Array) -> Array:
        sizes = zip(x.shape[1:-1], w.shape, self._spread(dz), self.axes, strict=False)
        axes = [
            Axis(1, ((k - 1) * axis.dilation - axis.pads[0], n - m + axis.pads[0]), axis.dilation, axis.stride)
            for n, k, m, axis in sizes
        ]
        mirrored = jnp.flip(w, range(w.ndim - 2)).swapaxes(-1, -2)
        return _fast_convolution(dz, mirrored, axes)

    def _dw(self, x: Array, w: Array, dz: Array) -> Array:
        def add(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
            return total + self._dw_together(*pair, w.shape), None

        if len(x) == self.together:
            return self._dw_together(x, dz, w.shape)
        zeros, *both = vary_alike((jnp.zeros_like(w), x, dz))
        rows = tuple(array.reshape(-1, self.together, *array.shape[1:]) for array in both)
        total: Array = lax.scan(add, zeros, rows)[0]
        return total

    def _dw_together(self, x: Array, dz: Array, kernel: tuple[int, ...]) -> Array:
        sizes = zip(x.shape[1:-1], kernel, self._spread(dz), self.axes, strict=False)
        axes = [
            Axis(axis.dilation, (axis.pads[0], (k - 1) * axis.dilation - n + m - axis.pads[0]), axis.stride)
            for n, k, m, axis in sizes
        ]
        by_channel, by_place = jnp.swapaxes(x, 0, -1), jnp.moveaxis(dz, 0, -2)
        dw = _fast_convolution(by_channel, by_place, axes)
        return jnp.moveaxis(dw, 0, -2)

    def _spread(self, dz: Array) -> tuple[int, ...]:
        """Sizes of dz's grid with zeros in between, as far apart as the strides."""
        strides = [axis.stride for axis in self.axes]
        return tuple((m - 1) * s + 1 for m, s in zip(dz.shape[1:], strides, strict=False))


def _fast_convolution(x: Array, w: Array, axes: Sequence[Axis]) -> Array:
    """`_convolution` as CPUs like it: of three dimensions, the planes that a kernel sees become channels."""
    if len(axes) < 3:
        return _convolution(x, w, axes)
    (stride, (before, behind), dilation, spread), *plane = axes
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (before, behind, spread - 1), *[(0, 0, 0)] * 3])
    batch, depth = len(x), len(w)
    places = (x.shape[1] - (depth - 1) * dilation - 1) // stride + 1
    seen = [x[:, t * dilation :][:, : (places - 1) * stride + 1 : stride] for t in range(depth)]
    channels = jnp.concatenate(seen, axis=-1).reshape(batch * places, *x.shape[2:4], -1)
    kernel = jnp.moveaxis(w, 0, 2).reshape(*w.shape[1:3], -1, w.shape[-1])
    z = _convolution(channels, kernel, plane)
    return z.reshape(batch, places, *z.shape[1:])


def _convolution(x: Array, w: Array, axes: Sequence[Axis]) -> Array:
    """In the order of axes that is fast."""
    grid = "XYZ"[: len(axes)]
    strides, pads, dilation, spread = zip(*axes, strict=True)
    order = (f"N{grid}C", f"{grid}IO", f"N{grid}C")
    z: Array = lax.conv_general_dilated(x, w, strides, pads, spread, dilation, order)
    return z
