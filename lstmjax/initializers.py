"""How weights start. A fused weight `[fan_in, gates * H]` is drawn gate by gate, as if the gates were separate."""

import jax
import jax.numpy as jnp

from lstmjax.types import Array, DTypeLike, Float, Initializer, Key


def per_gate(initializer: Initializer, gates: int) -> Initializer:
    """Draw each gate's block `[fan_in, H]` of a fused weight `[fan_in, gates * H]` on its own.

    Drawn whole, a fused weight would get the scale of a layer `gates` times as wide, and an orthogonal one would not
    be orthogonal in any gate.

    Args:
      initializer: `(key, shape, dtype) -> array`, for one gate's block.
      gates: how many blocks stand side by side.

    Returns:
      An initializer for the fused weight.

    >>> w = per_gate(jax.nn.initializers.orthogonal(), gates=4)(jax.random.key(0), (3, 12), jnp.float32)
    >>> bool(jnp.allclose(w[:, 3:6] @ w[:, 3:6].T, jnp.eye(3), atol=1e-6))
    True
    """

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        fan_in, width = shape
        if width % gates:
            raise ValueError(f"shape must end in a multiple of {gates} (one block a gate), got {list(shape)}")
        blocks = [initializer(k, (fan_in, width // gates), dtype) for k in jax.random.split(key, gates)]
        return jnp.concatenate(blocks, axis=1)

    return init


def lstm_bias(hidden_features: int, forget_bias: float, dtype: DTypeLike) -> Float[Array, "4*H"]:
    """Zeros, but `forget_bias` for the forget gate, so that a fresh cell remembers.

    Args:
      hidden_features: H.
      forget_bias: the value of the forget gate's H entries (gate order i, f, g, o).
      dtype: of the result.

    Source: Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent Network Architectures".

    >>> lstm_bias(2, 1.0, jnp.float32).tolist()
    [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    return jnp.zeros(4 * hidden_features, dtype).at[hidden_features : 2 * hidden_features].set(forget_bias)


orthogonal_per_gate = per_gate(jax.nn.initializers.orthogonal(), gates=4)
glorot_per_gate = per_gate(jax.nn.initializers.glorot_uniform(), gates=4)
