"""The gated recurrent unit in both its forms."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lstmjax import checks
from lstmjax.cells.base import BaseCell, HiddenState, add_bias
from lstmjax.cells.masked import recurrent_factors
from lstmjax.cells.precision import matmul
from lstmjax.types import Array, Float, Key


class GRUParams(NamedTuple):
    """Fused weights, gate order r, z, n; `b_h [H]` is the candidate's second bias, None unless `reset_after`."""

    w_x: Float[Array, "I 3*H"]
    w_h: Float[Array, "H 3*H"]
    b: Float[Array, "3*H"] | None
    b_h: Float[Array, "H"] | None


class GRUGates(NamedTuple):
    """Reset gate, update gate (which keeps the old state) and the candidate n at a step, each [*batch, H]."""

    r: Float[Array, "*batch H"]
    z: Float[Array, "*batch H"]
    n: Float[Array, "*batch H"]


@dataclasses.dataclass(frozen=True)
class GRU(BaseCell):
    """Gated recurrent unit.

        r = gate_fn(x W_xr + b_r + h W_hr)
        z = gate_fn(x W_xz + b_z + h W_hz)
        n = activation_fn(x W_xn + b_n + r * (h W_hn + b_h))        reset_after=True: PyTorch, cuDNN, Keras' default
        n = activation_fn(x W_xn + b_n + (r * h) W_hn)              reset_after=False: the original
        h' = z * h + (1 - z) * n

    Args:
      in_features: I, size of a step's input.
      hidden_features: H, size of the hidden state.
      use_bias: whether there are `b` and `b_h`; without them they are None in `params`.
      kernel_init: draws each gate's block [I, H] of `w_x`; by default Glorot's uniform.
      recurrent_init: draws each gate's block [H, H] of `w_h`; by default orthogonal.
      bias_init: draws the fused `b`; by default zeros, as `b_h` always is.
      dtype: what to compute in; None means `param_dtype`. With bfloat16 or float16 all sums stay float32.
      param_dtype: what parameters are stored in.
      gate_fn: of r and z; by default the sigmoid. `jax.nn.hard_sigmoid` is cheaper.
      activation_fn: of n; by default tanh.
      reset_after: whether the reset gate acts after the recurrent product or before.

    Raises:
      ValueError: a size below 1.
      TypeError: a value of another kind, a dtype that is not floating or that JAX would not keep.

    Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder".

    >>> cell = GRU(3, 5)
    >>> ys, state = lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((2, 4, 3)))
    >>> ys.shape, bool(jnp.all(state.h == ys[:, -1]))
    ((2, 4, 5), True)
    """

    gate_fn: Callable[[Array], Array] = dataclasses.field(default=jax.nn.sigmoid, kw_only=True)
    activation_fn: Callable[[Array], Array] = dataclasses.field(default=jnp.tanh, kw_only=True)
    reset_after: bool = dataclasses.field(default=True, kw_only=True)

    gate_order: ClassVar[str] = "rzn"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.boolean("reset_after", self.reset_after)

    def init(self, key: Key[Array, ""]) -> GRUParams:
        fused = self._init_weights(key, (self.in_features,), (self.hidden_features,))
        has_second = self.use_bias and self.reset_after
        return GRUParams(*fused, jnp.zeros(self.hidden_features, self.param_dtype) if has_second else None)

    def step_with_gates(
        self, params: GRUParams, state: HiddenState, projected: Float[Array, "*batch 3*H"]
    ) -> tuple[HiddenState, Float[Array, "*batch H"], GRUGates]:
        if self.reset_after:
            x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
            h_r, h_z, h_n = jnp.split(self.recur(params, state.h), 3, axis=-1)
            r = self.gate_fn(x_r + h_r)
            z = self.gate_fn(x_z + h_z)
            n = self.activation_fn(x_n + r * add_bias(h_n, params.b_h))
        else:
            x_rz, x_n = jnp.split(projected, [2 * self.hidden_features], axis=-1)
            h, w_h = recurrent_factors(state.h, params.w_h)
            w_rz, w_n = jnp.split(w_h, [2 * self.hidden_features], axis=-1)
            r, z = jnp.split(self.gate_fn(x_rz + matmul(h, w_rz, self.compute_dtype)), 2, axis=-1)
            n = self.activation_fn(x_n + matmul(r * h.astype(r.dtype), w_n, self.compute_dtype))
        h = (z * state.h.astype(z.dtype) + (1 - z) * n).astype(self.compute_dtype)
        return HiddenState(h), h, GRUGates(r, z, n)
