"""How weights start. A fused weight `[..., fan_in, gates * H]` is drawn gate by gate, as if the gates were separate."""

import functools
import math

import jax
import jax.numpy as jnp

from lstmjax import checks
from lstmjax.types import Array, DTypeLike, Initializer, Key

# Made once: an initializer is a field of its cell, and cells with equal fields must be equal.
glorot_uniform = jax.nn.initializers.glorot_uniform()
zeros = jax.nn.initializers.zeros


def orthogonal(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Orthonormal rows or columns, whichever are fewer; drawn in float32 where `dtype` is narrower.

    >>> w = orthogonal(jax.random.key(0), (2, 3), jnp.float32)
    >>> bool(jnp.allclose(w @ w.T, jnp.eye(2), atol=1e-6))
    True
    """
    wide = jnp.float32 if jnp.dtype(dtype).itemsize < 4 else dtype  # there is no QR in half precision
    return jax.nn.initializers.orthogonal()(key, shape, wide).astype(dtype)


def per_gate(initializer: Initializer, gates: int) -> Initializer:
    """Draw each gate's block `[..., fan_in, H]` of a fused weight `[..., fan_in, gates * H]` on its own.

    Drawn whole, a fused weight would get the scale of a layer `gates` times as wide, and an orthogonal one would not
    be orthogonal in any gate.

    Args:
      initializer: `(key, shape, dtype) -> array`, for one gate's block.
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
        blocks = [initializer(k, (*fan_in, width // gates), dtype) for k in jax.random.split(key, gates)]
        return jnp.concatenate(blocks, axis=-1)

    return init


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
    checks.number("scale", scale)

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        checks.square("shape", shape)
        return scale * jnp.eye(shape[0], dtype=dtype)

    return init


@functools.cache
def lstm_chrono(max_steps: int) -> Initializer:
    """Biases [4H] that let units remember for 1 to `max_steps` steps.

        b_f = log u,  b_i = -b_f,  b_g = b_o = 0        u ~ U(1, max_steps - 1)

    For gate order i, f, g, o; use it with `forget_bias=0.0`, which would be added.

    Args:
      max_steps: the longest dependency to expect, in steps; at least 3.

    Source: Tallec and Ollivier 2018, "Can Recurrent Neural Networks Warp Time?".

    >>> cell = lx.cells.LSTM(3, 2, bias_init=lx.initializers.lstm_chrono(100), forget_bias=0.0)
    >>> i, f, g, o = jnp.split(cell.init(jax.random.key(0)).b, 4)
    >>> bool(jnp.all(i == -f)), bool(jnp.all((f >= 0) & (f <= math.log(99)))), g.tolist()
    (True, True, [0.0, 0.0])
    """
    checks.index("max_steps", max_steps, 3)

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        forget = _log_uniform_steps(key, _gate_shape(shape, 4), dtype, max_steps)
        return jnp.concatenate([-forget, forget, jnp.zeros_like(forget), jnp.zeros_like(forget)])

    return init


@functools.cache
def gru_chrono(max_steps: int) -> Initializer:
    """Biases [3H] that let units remember for 1 to `max_steps` steps.

        b_z = log u,  b_r = b_n = 0         u ~ U(1, max_steps - 1)

    For gate order r, z, n, where z keeps the old state.

    Args:
      max_steps: the longest dependency to expect, in steps; at least 3.

    Source: Tallec and Ollivier 2018, "Can Recurrent Neural Networks Warp Time?".

    >>> r, z, n = jnp.split(lx.initializers.gru_chrono(100)(jax.random.key(0), (6,), jnp.float32), 3)
    >>> r.tolist(), bool(jnp.all((z >= 0) & (z <= math.log(99)))), n.tolist()
    ([0.0, 0.0], True, [0.0, 0.0])
    """
    checks.index("max_steps", max_steps, 3)

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        keep = _log_uniform_steps(key, _gate_shape(shape, 3), dtype, max_steps)
        return jnp.concatenate([jnp.zeros_like(keep), keep, jnp.zeros_like(keep)])

    return init


def _gate_shape(shape: tuple[int, ...], gates: int) -> tuple[int, ...]:
    if len(shape) != 1 or shape[0] % gates:
        raise ValueError(f"shape must be [{gates}*H] (gates of a chrono bias), got {list(shape)}")
    return (shape[0] // gates,)


def _log_uniform_steps(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike, max_steps: int) -> Array:
    return jnp.log(jax.random.uniform(key, shape, dtype, 1.0, max_steps - 1.0))
