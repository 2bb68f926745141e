"""Convolution, channels last, with gradients that XLA runs fast on CPUs inside loops too.

On CPUs XLA has a fast convolution for one order of axes: [N, *grid, C] with kernels [*kernel, I, O]. JAX's gradients
are convolutions in other orders. XLA turns those into the fast one, but not inside a loop; there they take up to two
hundred times as long. So here both are written in the fast order. With stride s, dilation d, p zeros before the grid:

    z[i]  = sum_t x[i s + t d - p] w[t]
    dx[j] = sum_t dz[(j - t d + p) / s] w[t]^T      over whole places: zeros stand between those of dz
    dw[t] = sum_i x[i s + t d - p]^T dz[i]          channels of x as batch, places of dz as kernel
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax.cells.precision import accumulation_dtype
from lstmjax.derivative import with_backward
from lstmjax.steps import vary_alike
from lstmjax.types import Array, DTypeLike, Float

Pads = tuple[tuple[int, int], ...]


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
    product = Product(strides, dilation, tuple(pads), batch[-1] if batch else 1)
    y = product(x.reshape(-1, *x.shape[-rank:]).astype(dtype).astype(wide), w.astype(dtype).astype(wide))
    return y.reshape(*batch, *y.shape[1:])


class Product(NamedTuple):
    """`z = x conv w` of x [N, *grid, I] and w [*kernel, I, O].

    Args:
      strides, dilation: one number a dimension.
      pads: zeros before and behind the grid in each dimension.
      together: so many rows of x, a divisor of N, are taken at a time in the gradient of w: more fit no cache.
    """

    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pads
    together: int

    def __call__(self, x: Array, w: Array) -> Array:
        x, w = vary_alike((x, w))
        product: Array = with_backward(self.plain, self._saving, self._backward, self.plain)(x, w)
        return product

    def plain(self, x: Array, w: Array) -> Array:
        """As JAX has it."""
        return _convolution(x, w, window_strides=self.strides, padding=self.pads, rhs_dilation=self.dilation)

    def _saving(self, x: Array, w: Array) -> tuple[Array, tuple[Array, Array]]:
        return self.plain(x, w), (x, w)

    def _backward(self, saved: tuple[Array, Array], dz: Array) -> tuple[Array, Array]:
        def elsewhere(x: Array, w: Array, dz: Array) -> Any:
            return jax.vjp(self.plain, x, w)[1](dz)

        def cpu(x: Array, w: Array, dz: Array) -> Any:
            return self._dx(x, w, dz), self._dw(x, w, dz)

        gradients: tuple[Array, Array] = lax.platform_dependent(*saved, dz, cpu=cpu, default=elsewhere)
        return gradients

    def _dx(self, x: Array, w: Array, dz: Array) -> Array:
        sizes = zip(x.shape[1:-1], w.shape, self._spread(dz), self.dilation, self.pads, strict=False)
        pads = [((k - 1) * d - before, n - m + before) for n, k, m, d, (before, _) in sizes]
        mirrored = jnp.flip(w, range(w.ndim - 2)).swapaxes(-1, -2)
        return _convolution(
            dz,
            mirrored,
            window_strides=(1,) * len(pads),
            padding=pads,
            lhs_dilation=self.strides,
            rhs_dilation=self.dilation,
        )

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
        sizes = zip(x.shape[1:-1], kernel, self._spread(dz), self.dilation, self.pads, strict=False)
        pads = [(before, (k - 1) * d - n + m - before) for n, k, m, d, (before, _) in sizes]
        by_channel, by_place = jnp.swapaxes(x, 0, -1), jnp.moveaxis(dz, 0, -2)
        dw = _convolution(by_channel, by_place, window_strides=self.dilation, padding=pads, rhs_dilation=self.strides)
        return jnp.moveaxis(dw, 0, -2)

    def _spread(self, dz: Array) -> tuple[int, ...]:
        """Sizes of dz's grid with zeros in between, as far apart as the strides."""
        return tuple((m - 1) * s + 1 for m, s in zip(dz.shape[1:], self.strides, strict=False))


def _convolution(lhs: Array, rhs: Array, **sizes: Any) -> Array:
    """In the order of axes that is fast."""
    grid = "XYZ"[: lhs.ndim - 2]
    y: Array = lax.conv_general_dilated(lhs, rhs, dimension_numbers=(f"N{grid}C", f"{grid}IO", f"N{grid}C"), **sizes)
    return y
