"""Losses by their standard names: optax's formulas, summed over the positions that count, as a `Mean`.

Predictions are [B, ...] or [B, T, ...]. `lengths` [B] and `mask` [B, T] say which steps are valid, as for `unroll`;
`weights`, [B], [B, T] or of all positions, says how much each counts (0 for rows that only fill a batch up). A loss's
`.value` is the mean over what counts; `add_means` makes it exact over batches of any raggedness. What stands where
nothing counts, NaN included, reaches neither value nor gradient. Sums are in float32, or float64 if the arguments are.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lstmjax import checks
from lstmjax.masking import valid_steps
from lstmjax.positions import classes, counted, keep_counted, of_classes, spread
from lstmjax.tasks import Mean
from lstmjax.types import Array, ArrayLike, Bool, Float, Int


def mean_squared_error(
    predictions: Float[Array, "B *rest"],
    targets: Float[Array, "B *rest"],
    *,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Mean:
    """`(prediction - target)^2`.

    Args:
      predictions: [B, ...] or [B, T, ...], floating.
      targets: numbers of the same shape.
      lengths, mask, weights: see the module.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit.

    >>> predictions, targets = jnp.array([[1.0, 2.0], [3.0, jnp.nan]]), jnp.zeros((2, 2))
    >>> float(mean_squared_error(predictions, targets, lengths=jnp.array([2, 1])).value)  # (1 + 4 + 9) / 3
    4.666666507720947
    """
    predictions, targets, each = _pair(predictions, targets, lengths, mask, weights)
    return Mean.of(optax.squared_error(predictions, targets), each)


def mean_absolute_error(
    predictions: Float[Array, "B *rest"],
    targets: Float[Array, "B *rest"],
    *,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Mean:
    """`|prediction - target|`.

    Args and raises: see `mean_squared_error`.

    >>> float(mean_absolute_error(jnp.array([1.0, -2.0]), jnp.zeros(2)).value)
    1.5
    """
    predictions, targets, each = _pair(predictions, targets, lengths, mask, weights)
    return Mean.of(jnp.abs(predictions - targets), each)


def huber(
    predictions: Float[Array, "B *rest"],
    targets: Float[Array, "B *rest"],
    *,
    delta: float = 1.0,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Mean:
    """`e^2 / 2` where the error e is at most `delta`, and `delta (|e| - delta / 2)` beyond.

    Args:
      delta: above 0.
      predictions, targets, lengths, mask, weights: see `mean_squared_error`.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit, a delta that is not above 0.

    >>> float(huber(jnp.array([1.0, 3.0]), jnp.zeros(2)).value)  # (0.5 + 2.5) / 2
    1.5

    Huber, "Robust estimation of a location parameter", 1964.
    """
    checks.positive("delta", delta)
    predictions, targets, each = _pair(predictions, targets, lengths, mask, weights)
    return Mean.of(optax.huber_loss(predictions, targets, delta=float(delta)), each)


def binary_cross_entropy(
    logits: Float[Array, "B *rest"],
    targets: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Mean:
    """`-t log p - (1 - t) log(1 - p)` with `p = sigmoid(logit)`, each number a question of its own.

    Args:
      logits: [B, ...] or [B, T, ...], floating.
      targets: 0 or 1, or a probability, of the same shape; booleans will do.
      label_smoothing: s in [0, 1): targets become `(1 - s) t + s / 2`.
      lengths, mask, weights: see the module.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit, targets outside [0, 1] (seen outside `jit` only).

    >>> round(float(binary_cross_entropy(jnp.array([0.0, 0.0]), jnp.array([1, 0])).value), 4)
    0.6931
    """
    checks.rate("label_smoothing", label_smoothing)
    logits, targets, each = _pair(logits, targets, lengths, mask, weights, "logits")
    _check_probabilities(targets)
    return Mean.of(optax.sigmoid_binary_cross_entropy(logits, _smooth(targets, label_smoothing, 2)), each)


def categorical_cross_entropy(
    logits: Float[Array, "B *rest C"],
    targets: Float[Array, "B *rest C"],
    *,
    label_smoothing: float = 0.0,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Mean:
    """`-sum_c t_c log p_c` with `p = softmax(logits)`; a class of probability 0 may have the logit -inf.

    Args:
      logits: [B, ..., C] or [B, T, ..., C], floating.
      targets: one-hot or probabilities, of the same shape.
      label_smoothing: s in [0, 1): targets become `(1 - s) t + s / C`.
      lengths, mask, weights: see the module; positions are those of the logits without C.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit, targets outside [0, 1] (seen outside `jit` only).

    >>> round(float(categorical_cross_entropy(jnp.zeros((1, 4)), jnp.array([[0.0, 0.5, 0.5, 0.0]])).value), 4)
    1.3863
    """
    checks.rate("label_smoothing", label_smoothing)
    positions, num_classes = of_classes(logits)
    each = counted(positions, lengths, mask, weights)
    logits, targets, each = _pair(logits, targets, None, None, each, "logits")
    _check_probabilities(targets)
    smoothed = _smooth(targets, label_smoothing, num_classes)
    return Mean.of(optax.safe_softmax_cross_entropy(logits, smoothed), each)


def sparse_categorical_cross_entropy(
    logits: Float[Array, "B *rest C"],
    targets: Int[Array, "B *rest"],
    *,
    label_smoothing: float = 0.0,
    class_weights: Float[Array, "C"] | None = None,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Mean:
    """`-log p_target` with `p = softmax(logits)`, in nats.

    Args:
      logits: [B, ..., C] or [B, T, ..., C], floating.
      targets: integers in 0..C-1, of the logits' shape without C; any number where nothing counts.
      label_smoothing: s in [0, 1): `-(1 - s) log p_target - (s / C) sum_c log p_c`.
      class_weights: [C]: a position counts as much as its target's class says, times its weight.
      lengths, mask, weights: see the module.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit, targets outside 0..C-1 (seen outside `jit` only).

    >>> logits, targets = jnp.zeros((2, 3, 4)), jnp.array([[1, 2, -1], [3, -1, -1]])
    >>> loss = sparse_categorical_cross_entropy(logits, targets, lengths=jnp.array([2, 1]))
    >>> round(float(loss.value), 4), float(loss.weight)
    (1.3863, 3.0)
    """
    checks.rate("label_smoothing", label_smoothing)
    positions, num_classes = of_classes(logits)
    each = counted(positions, lengths, mask, weights)
    targets = classes("targets", targets, positions, num_classes, each)
    logits = keep_counted(_floating("logits", jnp.asarray(logits)), each)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    if label_smoothing:
        uniform = -jnp.mean(jax.nn.log_softmax(logits), axis=-1)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * uniform
    if class_weights is not None:
        each = _of_class(class_weights, num_classes, targets, each)
    return Mean.of(losses, each)


def ctc(
    logits: Float[Array, "B T C"],
    targets: Int[Array, "B U"],
    *,
    target_lengths: Int[Array, "B"] | None = None,
    blank: int = 0,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Mean:
    """`-log p(target)` over all alignments, in nats per sequence: connectionist temporal classification.

    A target that its input is too short for has no alignment, and a loss of about 1e5 in place of infinity.

    Args:
      logits: [B, T, C], floating.
      targets: symbols 0..C-1, [B, U], without blanks.
      target_lengths: [B], how many of U are a sequence's own; None: all.
      blank: which class says nothing.
      lengths, mask: which steps of the logits are valid; see the module.
      weights: [B], how much each sequence counts.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit, targets outside 0..C-1 or the blank (seen outside `jit`).

    >>> loss = jax.jit(ctc)(jnp.zeros((1, 2, 3)), jnp.array([[1]]))  # of 9 ways: 1 1, 1 -, - 1
    >>> round(float(jnp.exp(-loss.value)), 4)
    0.3333

    Graves et al., "Connectionist temporal classification", 2006.
    """
    logits = _floating("logits", jnp.asarray(logits))
    checks.shape("logits", logits, ("B", "T", "C"))
    batch, steps, num_classes = logits.shape
    checks.index("blank", blank, 0, num_classes - 1)
    if np.ndim(targets) != 2 or np.shape(targets)[0] != batch:
        raise ValueError(f"targets must have shape [{batch}, U], got {list(np.shape(targets))}")
    each = counted((batch,), None, None, weights)
    valid = _by_row(valid_steps(lengths, mask, steps, batch), (batch, steps), each)
    inside = _by_row(valid_steps(target_lengths, None, np.shape(targets)[1], batch), np.shape(targets), each)
    targets = classes("targets", targets, inside.shape, num_classes, inside)
    _check_no_blank(targets, inside, blank)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # optax mixes both
        losses = optax.ctc_loss(
            keep_counted(logits, valid),
            1.0 - valid.astype(logits.dtype),
            targets,
            1.0 - inside.astype(logits.dtype),
            blank_id=blank,
        )
    return Mean.of(losses, each)


def _pair(
    predictions: ArrayLike,
    targets: ArrayLike,
    lengths: ArrayLike | None,
    mask: ArrayLike | None,
    weights: ArrayLike | None,
    name: str = "predictions",
) -> tuple[Array, Array, Array | None]:
    """Both in one dtype of at least 32 bits, zero where nothing counts, and how much each position counts."""
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    checks.shape("targets", targets, predictions.shape)
    each = counted(predictions.shape, lengths, mask, weights)
    predictions = _floating(name, predictions)
    dtype = jnp.float64 if targets.dtype == jnp.float64 else predictions.dtype
    return keep_counted(predictions.astype(dtype), each), keep_counted(targets.astype(dtype), each), each


def _floating(name: str, x: Array) -> Array:
    checks.kind(name, x, jnp.floating)
    return x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def _smooth(targets: Array, amount: float, num_classes: int) -> Array:
    return (1.0 - amount) * targets + amount / num_classes if amount else targets


def _of_class(class_weights: ArrayLike, num_classes: int, targets: Array, each: Array | None) -> Array:
    """Its class's weight for each position, times its own."""
    of_class = _floating("class_weights", jnp.asarray(class_weights))
    checks.shape("class_weights", of_class, (num_classes,))
    chosen = of_class[targets]
    if each is None:
        return chosen
    return keep_counted(spread(each, chosen.shape).astype(chosen.dtype) * chosen, each)


def _by_row(steps_first: Array | None, shape: tuple[int, ...], each: Array | None) -> Bool[Array, "B T"]:
    """Which steps of which row are valid; none of a row that doesn't count."""
    valid = jnp.ones(shape, bool) if steps_first is None else steps_first.T
    return valid if each is None else valid & each.astype(bool)[:, None]


def _check_probabilities(targets: Array) -> None:
    if isinstance(targets, jax.core.Tracer) or targets.size == 0:
        return
    low, high = float(targets.min()), float(targets.max())
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(f"targets must lie in [0, 1], got values from {low:g} to {high:g}")


def _check_no_blank(targets: Array, inside: Array, blank: int) -> None:
    blanks = jnp.sum((targets == blank) & inside)
    if not isinstance(blanks, jax.core.Tracer) and int(blanks) > 0:
        raise ValueError(f"targets must not hold the blank, {blank}; got {int(blanks)} of it")
