"""LSTM and GRU with layer normalisation."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lstmjax import checks
from lstmjax.cells.base import BaseCell, HiddenState, add_bias
from lstmjax.cells.gru import GRUGates
from lstmjax.cells.lstm import LSTMGates, LSTMState, MemoryCell
from lstmjax.cells.precision import accumulation_dtype, scale
from lstmjax.types import Array, Float, Key


@dataclasses.dataclass(frozen=True)
class LayerNormCell(BaseCell):
    """Fields of cells that normalise both products; not a cell itself."""

    epsilon: float = dataclasses.field(default=1e-5, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("epsilon", self.epsilon)

    def normalize(self, a: Float[Array, "*batch N"], gain: Float[Array, "N"]) -> Float[Array, "*batch N"]:
        """`gain * norm(a)`, over all of the last axis."""
        return standardize(a, gain, self.epsilon)

    def project(self, params: Any, x: Float[Array, "*batch I"]) -> Float[Array, "*batch G*H"]:
        """`s_x * norm(x W_x) + b`."""
        x_w = super().project(params._replace(b=None), x)
        return add_bias(self.normalize(x_w, params.scale_x), params.b)


class LayerNormLSTMParams(NamedTuple):
    """Fused weights, gate order i, f, g, o; gains of the three norms, and `b_c [H]` beside that of c."""

    w_x: Float[Array, "I 4*H"]
    w_h: Float[Array, "H 4*H"]
    b: Float[Array, "4*H"] | None
    scale_x: Float[Array, "4*H"]
    scale_h: Float[Array, "4*H"]
    scale_c: Float[Array, "H"]
    b_c: Float[Array, "H"] | None


@dataclasses.dataclass(frozen=True)
class LayerNormLSTM(LayerNormCell, MemoryCell):
    """LSTM with layer normalisation of both products and of the cell state where it is read.

        norm(a) = (a - mean) / sqrt(var + epsilon)
        i, f, g, o = split(s_x * norm(x W_x) + b + s_h * norm(h W_h))
        i, f, o = gate_fn(i), gate_fn(f), gate_fn(o)
        g = activation_fn(g)
        c' = f * c + i * g
        h' = o * activation_fn(s_c * norm(c') + b_c)

    Means and variances are over all 4H sums of a product and over the H cell states.

    Args:
      epsilon: above 0, added to each variance. Other arguments: those of `LSTM`.

    Source: Ba, Kiros and Hinton 2016, "Layer Normalization", equations 20 to 22.

    >>> cell = LayerNormLSTM(3, 5)
    >>> lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((1, 4, 3)))[0].shape
    (1, 4, 5)
    """

    def init(self, key: Key[Array, ""]) -> LayerNormLSTMParams:
        w_x, w_h, b = self._init_weights(key, (self.in_features,), (self.hidden_features,))
        ones = jnp.ones(4 * self.hidden_features, self.param_dtype)
        b_c = jnp.zeros(self.hidden_features, self.param_dtype) if self.use_bias else None
        return LayerNormLSTMParams(w_x, w_h, b, ones, ones, ones[: self.hidden_features], b_c)

    def step_with_gates(
        self, params: LayerNormLSTMParams, state: LSTMState, projected: Float[Array, "*batch 4*H"]
    ) -> tuple[LSTMState, Float[Array, "*batch H"], LSTMGates]:
        a = projected + self.normalize(self.recur(params, state.h), params.scale_h)
        i, f, g, o = jnp.split(a, 4, axis=-1)
        i, f, o = self.gate_fn(i), self.gate_fn(f), self.gate_fn(o)
        g = self.activation_fn(g)
        c = f * state.c + i * g
        normed_c = add_bias(self.normalize(c, params.scale_c), params.b_c)
        h = (o * self.activation_fn(normed_c)).astype(self.compute_dtype)
        return LSTMState(h, c), h, LSTMGates(i, f, g, o)


class LayerNormGRUParams(NamedTuple):
    """Fused weights, gate order r, z, n; gains of both norms; the candidate's second bias `b_h [H]`."""

    w_x: Float[Array, "I 3*H"]
    w_h: Float[Array, "H 3*H"]
    b: Float[Array, "3*H"] | None
    b_h: Float[Array, "H"] | None
    scale_x: Float[Array, "3*H"]
    scale_h: Float[Array, "3*H"]


@dataclasses.dataclass(frozen=True)
class LayerNormGRU(LayerNormCell):
    """GRU with layer normalisation of both products.

        norm(a) = (a - mean) / sqrt(var + epsilon)
        r = gate_fn(s_xr * norm(x W_xr) + b_r + s_hr * norm(h W_hr))
        z = gate_fn(s_xz * norm(x W_xz) + b_z + s_hz * norm(h W_hz))
        n = activation_fn(s_xn * norm(x W_xn) + b_n + r * (s_hn * norm(h W_hn) + b_h))
        h' = z * h + (1 - z) * n

    The 2H sums of r and z have one mean and variance, the H sums of n another.

    Args:
      epsilon: above 0, added to each variance. Other arguments: those of `GRU` but for reset_after.

    Source: Ba, Kiros and Hinton 2016, "Layer Normalization", supplement, with z and 1 - z as in `GRU`.

    >>> cell = LayerNormGRU(3, 5)
    >>> lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((1, 4, 3)))[0].shape
    (1, 4, 5)
    """

    gate_fn: Callable[[Array], Array] = dataclasses.field(default=jax.nn.sigmoid, kw_only=True)
    activation_fn: Callable[[Array], Array] = dataclasses.field(default=jnp.tanh, kw_only=True)

    gate_order: ClassVar[str] = "rzn"

    def init(self, key: Key[Array, ""]) -> LayerNormGRUParams:
        w_x, w_h, b = self._init_weights(key, (self.in_features,), (self.hidden_features,))
        ones = jnp.ones(3 * self.hidden_features, self.param_dtype)
        b_h = jnp.zeros(self.hidden_features, self.param_dtype) if self.use_bias else None
        return LayerNormGRUParams(w_x, w_h, b, b_h, ones, ones)

    def normalize(self, a: Float[Array, "*batch 3*H"], gain: Float[Array, "3*H"]) -> Float[Array, "*batch 3*H"]:
        """r and z together, n alone."""
        cut = [2 * self.hidden_features]
        blocks = zip(jnp.split(a, cut, axis=-1), jnp.split(gain, cut), strict=True)
        return jnp.concatenate([standardize(block, s, self.epsilon) for block, s in blocks], axis=-1)

    def step_with_gates(
        self, params: LayerNormGRUParams, state: HiddenState, projected: Float[Array, "*batch 3*H"]
    ) -> tuple[HiddenState, Float[Array, "*batch H"], GRUGates]:
        x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(self.normalize(self.recur(params, state.h), params.scale_h), 3, axis=-1)
        r = self.gate_fn(x_r + h_r)
        z = self.gate_fn(x_z + h_z)
        n = self.activation_fn(x_n + r * add_bias(h_n, params.b_h))
        h = (z * state.h.astype(z.dtype) + (1 - z) * n).astype(self.compute_dtype)
        return HiddenState(h), h, GRUGates(r, z, n)


def standardize(a: Float[Array, "*batch N"], gain: Float[Array, "N"], epsilon: float) -> Float[Array, "*batch N"]:
    """`gain * (a - mean) / sqrt(var + epsilon)`, over the last axis."""
    # in two passes: the mean of squares less the squared mean loses all digits where the mean is large
    centred = a - jnp.mean(a, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return scale(centred * lax.rsqrt(variance + epsilon), gain, accumulation_dtype(a.dtype))
