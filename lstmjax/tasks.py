"""What a model is trained to do, as a tuple of pure functions: its loss as sums and weights, its carry, its summary."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.types import Array, ArrayLike, Float, Key, PyTree

Means = TypeVar("Means")


class Mean(NamedTuple):
    """A weighted mean in two parts, which add up exactly over ragged batches and over devices.

    >>> small, large = Mean.of(jnp.array([1.0])), Mean.of(jnp.array([3.0, 5.0]))
    >>> float(add_means(small, large).value)
    3.0
    """

    total: Float[Array, ""]
    weight: Float[Array, ""]

    @classmethod
    def of(cls, values: ArrayLike, weights: ArrayLike | None = None) -> "Mean":
        """The sums of `weights * values` and of `weights`, in float32, or float64 if that is what the values are.

        A value of weight 0 is left out even if it is not finite. (Its gradient is finite only if `values` had a
        finite derivative there.)

        Args:
          values: [*lead, *rest], of any size.
          weights: [*lead] or [*lead, *rest], numbers of at least 0 or booleans; None weighs every value 1.

        Raises:
          ValueError: the shape of `weights` is not how the shape of `values` begins.

        >>> Mean.of(jnp.array([[1.0, 2.0], [jnp.nan, 4.0]]), jnp.array([1.0, 0.0]))
        Mean(total=Array(3., dtype=float32), weight=Array(2., dtype=float32))
        """
        values = jnp.asarray(values)
        dtype = jnp.float64 if values.dtype == jnp.float64 else jnp.float32
        values = values.astype(dtype)
        if weights is None:
            return cls(jnp.sum(values), jnp.asarray(values.size, dtype))
        each = jnp.asarray(weights).astype(dtype)
        checks.shape("weights", each, values.shape[: each.ndim])
        each = jnp.broadcast_to(each.reshape(each.shape + (1,) * (values.ndim - each.ndim)), values.shape)
        return cls(jnp.sum(jnp.where(each != 0, values * each, 0)), jnp.sum(each))

    @property
    def value(self) -> Float[Array, ""]:
        """`total / weight`; NaN where nothing was weighed, for there is no mean of nothing."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.total / self.weight


def add_means(a: Means, b: Means) -> Means:
    """The sums over both, leaf by leaf: of two `Mean`s, or of two trees of them alike.

    >>> float(add_means({"loss": Mean.of(1.0)}, {"loss": Mean.of(2.0)})["loss"].value)
    1.5
    """
    total: Means = jax.tree.map(lambda x, y: x + y, a, b)
    return total


def no_carry(model: Any, batch_size: int) -> tuple[()]:
    """Nothing: every batch stands for itself."""
    return ()


def ratios(means: Mapping[str, Mean]) -> dict[str, float]:
    """Each mean's value.

    >>> ratios({"loss": Mean(np.float32(6.0), np.float32(4.0))})
    {'loss': 1.5}
    """
    return {name: float(mean.value) for name, mean in means.items()}


class Task(NamedTuple):
    """A loss over batches of one kind, for models of one kind.

    Args:
      loss: `(model, batch, carry, key) -> (means, carry)`. `means["loss"]` is minimised; other `Mean`s are reported
        beside it, and other arrays, such as a confusion matrix, are added up for `summary`. A key means training, with
        noise drawn from it; None means evaluation. The carry that comes in is a constant: gradients stop there.
      carry: `(model, batch_size) -> carry`, before the first batch: a tree of arrays with a leading batch axis. `()`
        but for truncated backpropagation through time, whose `loss` also starts it anew where a sequence starts.
      summary: from the sums of an evaluation's `means` to figures by their plain names; with "loss" among them, or
        another score given to `fit`.

    >>> def squared(model, batch, carry, key):
    ...     return {"loss": Mean.of(jnp.square(model(batch["x"]) - batch["y"]))}, carry
    >>> Task(squared).carry(None, 3)
    ()
    """

    loss: Callable[[Any, Any, PyTree, Key[Array, ""] | None], tuple[dict[str, Any], PyTree]]
    carry: Callable[[Any, int], PyTree] = no_carry
    summary: Callable[[Mapping[str, Any]], dict[str, float]] = ratios
