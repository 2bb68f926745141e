"""Cells with layer normalisation of what enters their gates."""

import abc
import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from lstmjax import checks
from lstmjax.cells.base import BaseCell, HiddenState, add_bias
from lstmjax.cells.gru import GRUGates, InterpolatingCell
from lstmjax.cells.lstm import LSTMGates, LSTMState, MemoryCell, remember
from lstmjax.cells.precision import accumulation_dtype, scale
from lstmjax.types import Array, Float, Key


@dataclasses.dataclass(frozen=True)
class LayerNormCell(BaseCell):
    """Fields and equations of cells that normalise each share of their gates; not a cell itself.

        norm(a) = (a - mean) / sqrt(var + epsilon)

    Args:
      epsilon: added to each variance.
    """

    epsilon: float = dataclasses.field(default=1e-5, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("epsilon", self.epsilon)

    @abc.abstractmethod
    def normalize(self, share: Float[Array, "*batch G*H"], gain: Float[Array, "G*H"]) -> Float[Array, "*batch G*H"]:
        """`gain * norm(share)`, over the sums that belong together."""

    def project(self, params: Any, x: Float[Array, "*batch I"]) -> Float[Array, "*batch G*H"]:
        """The input's share of the gates, `s_x * norm(x W_x) + b`."""
        share = super().project(params._replace(b=None), x)
        return add_bias(self.normalize(share, params.scale_x), params.b)


class LayerNormLSTMParams(NamedTuple):
    """Fused weights, gate order i, f, g, o; gains of the three normalised sums, and `b_c [H]` of the memory's."""

    w_x: Float[Array, "I 4*H"]
    w_h: Float[Array, "H 4*H"]
    b: Float[Array, "4*H"] | None
    scale_x: Float[Array, "4*H"]
    scale_h: Float[Array, "4*H"]
    scale_c: Float[Array, "H"]
    b_c: Float[Array, "H"] | None


@dataclasses.dataclass(frozen=True)
class LayerNormLSTM(LayerNormCell, MemoryCell):
    """LSTM with layer normalisation of both shares of the gates and of the memory on its way out.

        i, f, g, o = split(s_x * norm(x W_x) + b + s_h * norm(h W_h))
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(s_c * norm(c') + b_c)

    Means and variances are over all 4H sums of a share and over the H memories.

    Fields: those of `LayerNormCell`, `MemoryCell` and `BaseCell`.

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

    def normalize(self, share: Float[Array, "*batch 4*H"], gain: Float[Array, "4*H"]) -> Float[Array, "*batch 4*H"]:
        return standardize(share, gain, self.epsilon)

    def gates(self, params: LayerNormLSTMParams, state: LSTMState, z: Float[Array, "*batch 4*H"]) -> LSTMGates:
        return self.activate(z + self.normalize(self.recur(params, state.h), params.scale_h))

    def step(
        self, params: LayerNormLSTMParams, state: LSTMState, z: Float[Array, "*batch 4*H"]
    ) -> tuple[LSTMState, Float[Array, "*batch H"]]:
        gates = self.gates(params, state, z)
        c = remember(gates, state.c)
        return self.emit(gates, c, add_bias(standardize(c, params.scale_c, self.epsilon), params.b_c))


class LayerNormGRUParams(NamedTuple):
    """Fused weights, gate order r, z, n; gains of both normalised shares; the candidate's second bias `b_h [H]`."""

    w_x: Float[Array, "I 3*H"]
    w_h: Float[Array, "H 3*H"]
    b: Float[Array, "3*H"] | None
    b_h: Float[Array, "H"] | None
    scale_x: Float[Array, "3*H"]
    scale_h: Float[Array, "3*H"]


@dataclasses.dataclass(frozen=True)
class LayerNormGRU(LayerNormCell, InterpolatingCell):
    """GRU with layer normalisation of both shares of the gates.

        r, z = sigmoid(split(s_x * norm(x W_x) + b + s_h * norm(h W_h)))
        n = tanh(s_xn * norm(x W_xn) + b_n + r * (s_hn * norm(h W_hn) + b_h))
        h' = z * h + (1 - z) * n

    r and z (2H sums) are normalised together, n (H sums) on its own.

    Fields: those of `LayerNormCell`, `InterpolatingCell` and `BaseCell`.

    Source: Ba, Kiros and Hinton 2016, "Layer Normalization", supplement, with z and 1 - z as in `GRU`.

    >>> cell = LayerNormGRU(3, 5)
    >>> lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((1, 4, 3)))[0].shape
    (1, 4, 5)
    """

    def init(self, key: Key[Array, ""]) -> LayerNormGRUParams:
        w_x, w_h, b = self._init_weights(key, (self.in_features,), (self.hidden_features,))
        ones = jnp.ones(3 * self.hidden_features, self.param_dtype)
        b_h = jnp.zeros(self.hidden_features, self.param_dtype) if self.use_bias else None
        return LayerNormGRUParams(w_x, w_h, b, b_h, ones, ones)

    def gates(self, params: LayerNormGRUParams, state: HiddenState, z: Float[Array, "*batch 3*H"]) -> GRUGates:
        z_h = self.normalize(self.recur(params, state.h), params.scale_h)
        return self.activate(z, z_h, params.b_h)

    def normalize(self, share: Float[Array, "*batch 3*H"], gain: Float[Array, "3*H"]) -> Float[Array, "*batch 3*H"]:
        cut = [2 * self.hidden_features]
        blocks = zip(jnp.split(share, cut, axis=-1), jnp.split(gain, cut), strict=True)
        return jnp.concatenate([standardize(a, s, self.epsilon) for a, s in blocks], axis=-1)


def standardize(a: Float[Array, "*batch N"], gain: Float[Array, "N"], epsilon: float) -> Float[Array, "*batch N"]:
    """`gain * (a - mean) / sqrt(var + epsilon)`, over the last axis."""
    # in two passes: the mean of squares less the squared mean loses all digits where the mean is large
    centred = a - jnp.mean(a, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return scale(centred * lax.rsqrt(variance + epsilon), gain, accumulation_dtype(a.dtype))
