"""Several models that choose each symbol together."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from lstmjax import checks
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.decoding.loop import StepFn, as_partial
from lstmjax.types import Array, Float, PyTree


def ensemble(steps: Sequence[StepFn]) -> Partial:
    """A step function for `decode` and `beam_search` that gives the mean of its members' probabilities.

    Its state is a tuple of theirs, its scores are those of `mean_log_probabilities`. What members hold by `Partial` of
    `jax.tree_util` is not compiled in.

    Args:
      steps: at least one function `(symbols [R], state) -> (logits [R, V], state)`.

    Raises:
      TypeError: a member that is not a function.
      ValueError: no member.

    >>> member = lambda symbols, state: (jnp.log(state)[symbols], state)
    >>> step = ensemble([member, member])
    >>> scores, states = step(jnp.array([0]), (jnp.array([[0.5, 0.5]]), jnp.array([[0.9, 0.1]])))
    >>> np.exp(scores).astype(float).round(4).tolist()
    [[0.7, 0.3]]
    """
    if not isinstance(steps, Sequence) or not steps:
        raise ValueError(f"steps must be a list of at least one function, got {steps!r}")
    members = tuple(as_partial(f"steps[{i}]", step) for i, step in enumerate(steps))
    return as_partial("steps", _step, members)


def mean_log_probabilities(scores: Sequence[Float[Array, "R V"]]) -> Float[Array, "R V"]:
    """The logarithm of the mean of several models' probabilities: where an `ensemble`'s first scores come from.

    Args:
      scores: logits of each model, floating [R, V], of one shape.

    Returns:
      log probabilities [R, V], at least float32.

    Raises:
      TypeError: scores that are not floating.
      ValueError: no scores, or scores of several shapes.

    >>> logits = [jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[0.9, 0.1]]))]
    >>> np.exp(mean_log_probabilities(logits)).astype(float).round(4).tolist()
    [[0.7, 0.3]]
    """
    if not scores:
        raise ValueError("scores must be a list of at least one array, got none")
    for i, one in enumerate(scores):
        checks.kind(f"scores[{i}]", one, jnp.floating)
        checks.shape(f"scores[{i}]", one, scores[0].shape)
    dtype = max((accumulation_dtype(one.dtype) for one in scores), key=lambda dtype: dtype.itemsize)
    each = jnp.stack([jax.nn.log_softmax(one.astype(dtype), axis=-1) for one in scores])
    return jax.nn.logsumexp(each, axis=0) - jnp.log(jnp.asarray(len(scores), dtype))


def _step(
    members: tuple[Partial, ...], symbols: PyTree, states: tuple[PyTree, ...]
) -> tuple[Array, tuple[PyTree, ...]]:
    if not isinstance(states, tuple) or len(states) != len(members):
        raise ValueError(f"the state of an ensemble must be a tuple of its {len(members)} members' states")
    scores, after = zip(*(step(symbols, state) for step, state in zip(members, states, strict=True)), strict=True)
    return mean_log_probabilities(scores), after
