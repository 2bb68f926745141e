"""Numbers brought to mean 0 and standard deviation 1 by statistics that belong to the model."""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax import checks
from lstmjax.types import Array, ArrayLike, Float

LARGEST = 1e30  # float32 goes to 3.4e38


class Standardize(nnx.Module):
    """`(x - mean) / scale` for each feature, and back; Keras calls it Normalization.

    The statistics are not trained: `adapt` measures them on the training data, and they are saved with the model, so a
    trained one takes and gives numbers as the user has them.

    Args:
      features: I.

    >>> standardize = lx.layers.Standardize(2)
    >>> standardize.adapt([jnp.array([[1.0, 5.0], [3.0, 5.0]])])
    >>> standardize(jnp.array([[3.0, 5.0]])).tolist(), standardize.inverse(jnp.array([[1.0, 0.0]])).tolist()
    ([[1.0, 0.0]], [[3.0, 5.0]])
    """

    def __init__(self, features: int) -> None:
        self.features = checks.positive_int("features", features)
        self.mean = nnx.Variable(jnp.zeros(features, jnp.float32))
        self.scale = nnx.Variable(jnp.ones(features, jnp.float32))

    def adapt(self, sequences: Iterable[ArrayLike]) -> None:
        """Measure mean and standard deviation over all steps of all sequences, each [..., I], finite.

        A feature that never changes keeps the scale 1.

        Raises:
          ValueError: no steps, another number of features, or a number that is not finite.
        """
        count, total, squares = 0, np.zeros(()), np.zeros(())
        for sequence in sequences:
            steps = np.asarray(sequence, np.float64)
            if steps.shape[-1:] != (self.features,) or not np.all(np.abs(steps) < LARGEST):
                raise ValueError(f"sequences must be finite numbers [..., {self.features}], got {_shown(steps)}")
            steps = steps.reshape(-1, self.features)
            count += len(steps)
            total = total + steps.sum(axis=0)
            squares = squares + np.square(steps).sum(axis=0)
        if count == 0:
            raise ValueError("sequences must hold at least one step, got none")
        mean = total / count
        variance = np.maximum(squares / count - np.square(mean), 0.0)
        is_constant = variance <= 1e-12 * np.square(mean)
        self.mean[...] = jnp.asarray(np.broadcast_to(mean, self.mean.shape), jnp.float32)
        self.scale[...] = jnp.asarray(np.where(is_constant, 1.0, np.sqrt(variance)), jnp.float32)

    def __call__(self, x: Float[Array, "*batch I"]) -> Float[Array, "*batch I"]:
        """What the user has, standardised."""
        x = jnp.asarray(x)
        checks.kind("x", x, jnp.floating)
        if x.shape[-1:] != (self.features,):
            raise ValueError(f"x must have shape [..., {self.features}], got {list(x.shape)}")
        return (x - _along(self.mean[...], x)) / _along(self.scale[...], x)

    def inverse(self, z: Float[Array, "*batch I"]) -> Float[Array, "*batch I"]:
        """What was standardised, as the user has it."""
        return z * _along(self.scale[...], z) + _along(self.mean[...], z)


def _shown(steps: np.ndarray) -> str:
    if not np.all(np.abs(steps) < LARGEST):
        return f"{steps[~(np.abs(steps) < LARGEST)].flat[0]:g}"
    return f"shape {list(steps.shape)}"


def _along(statistic: Array, x: Array) -> Array:
    return jnp.broadcast_to(statistic, x.shape)
