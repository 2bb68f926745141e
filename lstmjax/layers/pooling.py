"""One vector for a whole sequence, from its outputs at valid steps.

Every pooling takes [B, T, H] with `lengths` [B] or `mask` [B, T], as `unroll` does, and gives [B, F]; a sequence
without a valid step gives zeros.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.masking import valid_steps
from lstmjax.types import Array, Bool, Float, Int, Lengths, Mask

Pooling = Callable[..., Float[Array, "B F"]]


def last_step(ys: Float[Array, "B T H"], *, lengths: Lengths = None, mask: Mask = None) -> Float[Array, "B H"]:
    """The output of the last valid step.

    >>> ys = jnp.array([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [jnp.nan]]])
    >>> last_step(ys, lengths=jnp.array([3, 2])).tolist()
    [[3.0], [5.0]]
    """
    ys, valid = _checked(ys, lengths, mask)
    return _at(ys, ys.shape[1] - 1 - jnp.argmax(valid[:, ::-1], axis=1))


def both_ends(ys: Float[Array, "B T H"], *, lengths: Lengths = None, mask: Mask = None) -> Float[Array, "B H"]:
    """Of a bidirectional layer's concatenated outputs, those of each direction when it has read everything.

    The first half of the features from the last valid step, the second half from the first valid step.

    Raises:
      ValueError: an odd number of features.

    >>> both_ends(jnp.array([[[1.0, 10.0], [2.0, 20.0]]])).tolist()
    [[2.0, 10.0]]
    """
    ys, valid = _checked(ys, lengths, mask)
    if ys.shape[2] % 2:
        raise ValueError(f"ys must have the features of two directions, so an even number, got {ys.shape[2]}")
    forward, backward = jnp.split(ys, 2, axis=2)
    last = ys.shape[1] - 1 - jnp.argmax(valid[:, ::-1], axis=1)
    return jnp.concatenate([_at(forward, last), _at(backward, jnp.argmax(valid, axis=1))], axis=1)


def mean_over_time(ys: Float[Array, "B T H"], *, lengths: Lengths = None, mask: Mask = None) -> Float[Array, "B H"]:
    """The mean of the valid steps.

    >>> mean_over_time(jnp.array([[[1.0], [2.0], [9.0]]]), lengths=jnp.array([2])).tolist()
    [[1.5]]
    """
    ys, valid = _checked(ys, lengths, mask)
    count = jnp.maximum(jnp.sum(valid, axis=1, dtype=ys.dtype), 1)
    return jnp.sum(ys, axis=1) / count[:, None]


def max_over_time(ys: Float[Array, "B T H"], *, lengths: Lengths = None, mask: Mask = None) -> Float[Array, "B H"]:
    """Each feature's largest value at a valid step.

    >>> max_over_time(jnp.array([[[1.0, -2.0], [0.0, -1.0], [9.0, 9.0]]]), lengths=jnp.array([2])).tolist()
    [[1.0, -1.0]]
    """
    ys, valid = _checked(ys, lengths, mask)
    highest = jnp.max(jnp.where(valid[:, :, None], ys, -jnp.inf), axis=1)
    return jnp.where(jnp.any(valid, axis=1)[:, None], highest, 0)


class AttentionPooling(nnx.Module):
    """A weighted mean of the valid steps, whose weights are learned.

        a[t] = softmax over valid t of  v . tanh(W y[t] + b),     sum_t a[t] y[t]

    Args:
      features: H.
      rngs: draws the initial parameters (stream "params").

    Source: Yang et al. 2016, "Hierarchical Attention Networks for Document Classification".

    >>> pool = lx.layers.AttentionPooling(3, rngs=nnx.Rngs(0))
    >>> ys, lengths = jnp.ones((2, 5, 3)), jnp.array([5, 2])
    >>> pool(ys, lengths=lengths).shape, pool.weights(ys, lengths=lengths)[1].tolist()
    ((2, 3), [0.5, 0.5, 0.0, 0.0, 0.0])
    """

    def __init__(self, features: int, *, rngs: nnx.Rngs) -> None:
        self.features = checks.positive_int("features", features)
        self.hidden = nnx.Linear(features, features, rngs=rngs)
        self.score = nnx.Linear(features, 1, use_bias=False, rngs=rngs)

    def weights(self, ys: Float[Array, "B T H"], *, lengths: Lengths = None, mask: Mask = None) -> Float[Array, "B T"]:
        """How much each step counts, [B, T]: 0 at invalid steps, and 1 in all where there is a valid one."""
        ys, valid = _checked(ys, lengths, mask)
        checks.shape("ys", ys, ("B", "T", self.features))
        scores = self.score(jnp.tanh(self.hidden(ys)))[:, :, 0]
        readable = valid | ~jnp.any(valid, axis=1, keepdims=True)  # for a softmax over no steps is no number
        return jax.nn.softmax(jnp.where(readable, scores, -jnp.inf), axis=1) * valid.astype(ys.dtype)

    def __call__(self, ys: Float[Array, "B T H"], *, lengths: Lengths = None, mask: Mask = None) -> Float[Array, "B H"]:
        """The weighted mean; see `weights`."""
        amounts = self.weights(ys, lengths=lengths, mask=mask)
        return jnp.einsum("bt,bth->bh", amounts, _checked(ys, lengths, mask)[0])


class Flatten(nnx.Module):
    """The first `window` steps side by side, zeros where a sequence has fewer: [B, window * H].

    Args:
      window: how many steps, at least 1; what comes later is not seen.

    >>> lx.layers.Flatten(3)(jnp.ones((1, 2, 2))).tolist()
    [[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]]
    """

    def __init__(self, window: int) -> None:
        self.window = checks.positive_int("window", window)

    def __call__(self, ys: Float[Array, "B T H"], *, lengths: Lengths = None, mask: Mask = None) -> Float[Array, "B F"]:
        """The steps as one vector."""
        seen = _checked(ys, lengths, mask)[0][:, : self.window]
        missing = self.window - seen.shape[1]
        return jnp.pad(seen, ((0, 0), (0, missing), (0, 0))).reshape(len(seen), -1)


def _checked(ys: Any, lengths: Lengths, mask: Mask) -> tuple[Float[Array, "B T H"], Bool[Array, "B T"]]:
    """Outputs with zeros at invalid steps, whatever stood there, and which steps are valid."""
    ys = jnp.asarray(ys)
    checks.kind("ys", ys, jnp.floating)
    checks.shape("ys", ys, ("B", "T", "H"))
    batch, steps = ys.shape[:2]
    checks.positive_int("the number of steps in ys", steps)
    by_time = valid_steps(lengths, mask, steps, batch)
    if by_time is None:
        return ys, jnp.ones((batch, steps), bool)
    return jnp.where(by_time.T[:, :, None], ys, 0), by_time.T


def _at(ys: Float[Array, "B T H"], step: Int[Array, "B"]) -> Float[Array, "B H"]:
    """One step of each sequence; where none is valid this is a zero."""
    return jnp.take_along_axis(ys, step[:, None, None], axis=1)[:, 0]
