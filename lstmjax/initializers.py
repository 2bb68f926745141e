"""How weights start. A fused weight `[..., fan_in, gates * H]` is drawn gate by gate, as if the gates were separate."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from lstmjax import checks
from lstmjax.types import Array, DTypeLike, Initializer, Key

zeros = jax.nn.initializers.zeros
glorot_uniform: Initializer = jax.nn.initializers.glorot_uniform()
"""Uniform in +-sqrt(6 / (fan_in + fan_out)). Source: Glorot and Bengio 2010."""


def orthogonal(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Orthonormal rows or columns, whichever are fewer; drawn in float32 where `dtype` is narrower.

    >>> w = orthogonal(jax.random.key(0), (2, 3), jnp.float32)
    >>> bool(jnp.allclose(w @ w.T, jnp.eye(2), atol=1e-6))
    True
    """
    wide = jnp.float32 if jnp.dtype(dtype).itemsize < 4 else dtype  # there is no QR in half precision
    return jax.nn.initializers.orthogonal()(key, shape, wide).astype(dtype)


def per_gate(initializer: Initializer, gates: int) -> Initializer:
    """Draw each gate's block `[..., fan_in, H]` of a fused weight `[..., fan_in, gates * H]` separately.

    Drawn whole, a fused weight would get the scale of a layer `gates` times as wide, and an orthogonal one would not
    be orthogonal in any gate.

    Args:
      initializer: `(key, shape, dtype) -> array`, for one gate's block; pure, as it is compiled.
      gates: how many blocks stand side by side.

    Returns:
      An initializer for the fused weight.

    Raises:
      ValueError: a shape whose last size is no multiple of `gates`.

    >>> w = per_gate(orthogonal, gates=4)(jax.random.key(0), (3, 12), jnp.float32)
    >>> bool(jnp.allclose(w[:, 3:6] @ w[:, 3:6].T, jnp.eye(3), atol=1e-6))
    True
    """

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        *fan_in, width = shape
        if width % gates:
            raise ValueError(f"shape must end in a multiple of {gates} (one block a gate), got {list(shape)}")
        keys = [jax.random.fold_in(key, gate) for gate in range(gates)]
        blocks = [_drawn(initializer, k, (*fan_in, width // gates), dtype) for k in keys]
        return jnp.concatenate(blocks, axis=-1)

    return init


# Compiled as one: a new layer's time goes into compiling small functions, of which an initializer has many.
@functools.partial(jax.jit, static_argnames=("initializer", "shape", "dtype"))
def _drawn(initializer: Initializer, key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    return initializer(key, shape, dtype)


@functools.cache
def torch_uniform(hidden_features: int) -> Initializer:
    """Uniform in +-1/sqrt(H): how `torch.nn.LSTM`, `GRU` and `RNN` start every weight and bias.

    Args:
      hidden_features: H.

    >>> init = lx.initializers.torch_uniform(4)
    >>> cell = lx.cells.LSTM(3, 4, kernel_init=init, recurrent_init=init, bias_init=init, forget_bias=0.0)
    >>> bool(jnp.all(jnp.abs(cell.init(jax.random.key(0)).w_x) <= 0.5))
    True
    """
    checks.positive_int("hidden_features", hidden_features)
    limit = 1.0 / math.sqrt(hidden_features)

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


@functools.cache
def identity(scale: float = 1.0) -> Initializer:
    """`scale * I` for a square recurrent weight: with relu and no bias to begin with, an IRNN.

    Source: Le, Jaitly and Hinton 2015, "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units".

    >>> cell = lx.cells.ElmanRNN(3, 2, activation_fn=jax.nn.relu, recurrent_init=lx.initializers.identity())
    >>> cell.init(jax.random.key(0)).w_h.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    checks.finite("scale", scale)

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        checks.square("shape", shape)
        return scale * jnp.eye(shape[0], dtype=dtype)

    return init


@dataclasses.dataclass(frozen=True)
class Chrono:
    """A fused bias that lets units remember for 1 to `max_steps` steps.

        b_f = log u,  b_i = -b_f,  all others 0         u ~ U(1, max_steps - 1)

    and b_z = log u of a GRU, whose z keeps the old state. With an LSTM use `forget_bias=0.0`, which would be added.

    Args:
      max_steps: the longest dependency to expect, in steps; at least 3.
      gates: the cell's `gate_order`: "ifgo" of an LSTM, "fgo" of a CoupledLSTM, "rzn" of a GRU.

    Raises:
      ValueError: `max_steps` below 3, other gates; and, by the cell that is given it, gates that are not its own.

    Source: Tallec and Ollivier 2018, "Can Recurrent Neural Networks Warp Time?".

    >>> cell = lx.cells.LSTM(3, 2, bias_init=lx.initializers.Chrono(100), forget_bias=0.0)
    >>> i, f, g, o = jnp.split(cell.init(jax.random.key(0)).b, 4)
    >>> bool(jnp.all(i == -f)), bool(jnp.all((f >= 0) & (f <= math.log(99)))), g.tolist()
    (True, True, [0.0, 0.0])
    """

    max_steps: int
    gates: str = "ifgo"

    def __post_init__(self) -> None:
        checks.index("max_steps", self.max_steps, 3)
        checks.one_of("gates", self.gates, ("ifgo", "fgo", "rzn"))

    def __call__(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        hidden_features = shape[0] // len(self.gates)
        keep = jnp.log(jax.random.uniform(key, (hidden_features,), dtype, 1.0, self.max_steps - 1.0))
        biases = {"f": keep, "z": keep, "i": -keep}
        return jnp.concatenate([biases.get(gate, jnp.zeros_like(keep)) for gate in self.gates])
