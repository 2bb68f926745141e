"""Figures by their standard names, from parts that add up over batches: a `Mean`, or a matrix of counts.

`lengths`, `mask` and `weights` say what counts, and how much, as for `lstmjax.losses`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.positions import classes, counted, of_classes, spread
from lstmjax.tasks import Mean
from lstmjax.types import Array, ArrayLike, Bool, Float, Int


def accuracy(
    logits: Float[Array, "B *rest C"],
    targets: Int[Array, "B *rest"],
    *,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Mean:
    """How often the class with the highest score is the target; of equal scores the first counts.

    Args:
      logits: scores, [B, ..., C] or [B, T, ..., C].
      targets: integers in 0..C-1, of the logits' shape without C.
      lengths, mask, weights: see the module.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit, targets outside 0..C-1 (seen outside `jit` only).

    >>> float(accuracy(jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1])).value)
    0.5
    """
    return top_k_accuracy(logits, targets, k=1, lengths=lengths, mask=mask, weights=weights)


def top_k_accuracy(
    logits: Float[Array, "B *rest C"],
    targets: Int[Array, "B *rest"],
    *,
    k: int = 5,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Mean:
    """How often the target is among the k classes with the highest scores; of equal scores the first count.

    Args:
      k: in 1..C.
      logits, targets, lengths, mask, weights: see `accuracy`.

    Raises:
      TypeError, ValueError: see `accuracy`; k outside 1..C.

    >>> logits, targets = jnp.array([[0.1, 0.3, 0.6], [0.5, 0.3, 0.2]]), jnp.array([1, 2])
    >>> float(top_k_accuracy(logits, targets, k=2).value)
    0.5
    """
    positions, num_classes = of_classes(logits)
    checks.index("k", k, 1, num_classes)
    each = counted(positions, lengths, mask, weights)
    targets = classes("targets", targets, positions, num_classes, each)
    _, likeliest = jax.lax.top_k(jnp.asarray(logits), k)
    hits = jnp.any(likeliest == targets[..., None].astype(likeliest.dtype), axis=-1)
    return Mean.of(hits, each)


def confusion_matrix(
    predicted: Int[Array, "B *rest"],
    targets: Int[Array, "B *rest"],
    num_classes: int,
    *,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Float[Array, "C C"]:
    """How often each class (row) was taken for each (column): counts that add up over batches.

    Args:
      predicted: integers in 0..C-1, [B, ...] or [B, T, ...].
      targets: the same.
      num_classes: C.
      lengths, mask, weights: see the module.

    Returns:
      [C, C], float32, so counts are exact up to 2^24; over more, add batches up in float64.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit, classes outside 0..C-1 (seen outside `jit` only).

    >>> confusion_matrix(jnp.array([0, 1, 1]), jnp.array([0, 0, 1]), 2).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    checks.positive_int("num_classes", num_classes)
    positions = np.shape(targets)
    each = counted(positions, lengths, mask, weights)
    predicted = classes("predicted", predicted, positions, num_classes, each)
    targets = classes("targets", targets, positions, num_classes, each)
    amounts = jnp.ones(positions, jnp.float32) if each is None else spread(each.astype(jnp.float32), positions)
    return jnp.zeros((num_classes, num_classes), jnp.float32).at[targets, predicted].add(amounts)


def precision(confusion: ArrayLike, average: str | None = "macro") -> Float[Array, "*classes"]:
    """Of what was taken for a class, how much was it; 0 where nothing was.

    Args:
      confusion: [C, C], from `confusion_matrix`, or a sum of them.
      average: "macro", the mean over all C classes; "micro", over all predictions together; None, each class's own.

    Returns:
      a scalar, or [C] where `average` is None.

    Raises:
      ValueError: another average, or a matrix that is not square.

    >>> precision(jnp.array([[1.0, 1.0], [0.0, 1.0]]), average=None).tolist()
    [1.0, 0.5]
    """
    right, _, predicted = _parts(confusion, average)
    return _average(right, predicted, average)


def recall(confusion: ArrayLike, average: str | None = "macro") -> Float[Array, "*classes"]:
    """Of what is a class, how much was taken for it; 0 where nothing is.

    Args, returns and raises: see `precision`.

    >>> recall(jnp.array([[1.0, 1.0], [0.0, 1.0]]), average=None).tolist()
    [0.5, 1.0]
    """
    right, targets, _ = _parts(confusion, average)
    return _average(right, targets, average)


def f1(confusion: ArrayLike, average: str | None = "macro") -> Float[Array, "*classes"]:
    """`2 / (1 / precision + 1 / recall)`; 0 for a class that neither occurs nor was predicted.

    Args, returns and raises: see `precision`. The macro average is the mean of the classes' own F1.

    >>> [round(x, 4) for x in f1(jnp.array([[1.0, 1.0], [0.0, 1.0]]), average=None).tolist()]
    [0.6667, 0.6667]
    """
    right, targets, predicted = _parts(confusion, average)
    return _average(2 * right, targets + predicted, average)


def _parts(confusion: ArrayLike, average: str | None) -> tuple[Array, Array, Array]:
    """For each class, or in micro for all together: right ones, targets, predictions."""
    if average is not None:
        checks.one_of("average", average, ("macro", "micro"))
    matrix = jnp.asarray(confusion, float)
    checks.square("confusion", matrix.shape)
    parts = jnp.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    if average == "micro":
        return parts[0].sum(), parts[1].sum(), parts[2].sum()
    return parts


def _average(part: Array, whole: Array, average: str | None) -> Array:
    """Each part over its whole, 0 where that is 0; in macro the mean of these."""
    shares = jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 0)
    return shares.mean() if average == "macro" else shares


def structural_similarity(
    predictions: Float[Array, "*batch H W C"],
    targets: Float[Array, "*batch H W C"],
    *,
    data_range: float = 1.0,
) -> Float[Array, "*batch"]:
    """SSIM: how alike two pictures are in brightness, contrast and structure; 1 where they are the same.

        SSIM = mean of (2 m_x m_y + c_1) (2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1) (s_x^2 + s_y^2 + c_2))

    m, s^2 and s_xy are means, variances and covariance under a Gaussian window of 11 x 11 pixels whose standard
    deviation is 1.5, at every place where the window lies inside the picture; c_1 = (0.01 L)^2 and c_2 = (0.03 L)^2. Of
    a picture with colours it is the mean over them.

    Args:
      predictions: pictures [..., H, W, C], floating, H and W at least 11.
      targets: pictures of the same shape and dtype.
      data_range: L, from the darkest to the brightest there can be.

    Returns:
      one number for each picture, at most 1.

    Raises:
      TypeError, ValueError: pictures of other or different shapes or dtypes, a data_range that is not above 0.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, "Image Quality Assessment: From Error Visibility to Structural
    Similarity".

    >>> picture = jnp.linspace(0, 1, 144).reshape(12, 12, 1)
    >>> float(structural_similarity(picture, picture)), bool(structural_similarity(picture, 1 - picture) < 0)
    (1.0, True)
    """
    x, y = jnp.asarray(predictions), jnp.asarray(targets)
    checks.kind("predictions", x, jnp.floating)
    checks.dtype_among("targets", y, [x.dtype])
    checks.shape("targets", y, x.shape)
    checks.positive("data_range", data_range)
    if x.ndim < 3 or min(x.shape[-3:-1]) < 11:
        raise ValueError(f"predictions must have shape [..., H, W, C], H and W at least 11, got {list(x.shape)}")
    rows, columns = (_windows(size, x.dtype) for size in x.shape[-3:-1])

    def smooth(picture: Array) -> Array:
        highest = jax.lax.Precision.HIGHEST  # variances are small differences
        return jnp.einsum("ih,...hwc,jw->...ijc", rows, picture, columns, precision=highest)

    c_1, c_2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    m_x, m_y = smooth(x), smooth(y)
    variances = smooth(x * x) - m_x * m_x + smooth(y * y) - m_y * m_y
    covariance = smooth(x * y) - m_x * m_y
    alike = (2 * m_x * m_y + c_1) * (2 * covariance + c_2)
    return jnp.mean(alike / ((m_x * m_x + m_y * m_y + c_1) * (variances + c_2)), axis=(-3, -2, -1))


def _windows(size: int, dtype: Any) -> Array:
    """A row for every place of a Gaussian window of 11 in a line of `size`: its weights, which sum to 1."""
    window = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    windows = np.zeros((size - 10, size))
    for place in range(size - 10):
        windows[place, place : place + 11] = window / window.sum()
    return jnp.asarray(windows, dtype)


def bits_per_symbol(nats: float) -> float:
    """`nats / ln 2`: bits per character for a character model, per byte for a byte model.

    >>> round(bits_per_symbol(1.0), 4)
    1.4427
    """
    return nats / math.log(2.0)


def perplexity(nats: float) -> float:
    """`exp(nats)`: how many equally likely symbols would be as hard to guess.

    >>> round(perplexity(math.log(10.0)), 4)
    10.0
    """
    return math.exp(nats) if nats < 700.0 else math.inf
