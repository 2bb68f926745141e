"""Attention over a source: which of its steps a query is about, and their weighted sum.

    weights = softmax over s of score(query, key_s),     context = sum_s weights_s value_s

A kind of attention is a score: `DotAttention`, `GeneralAttention`, `AdditiveAttention`. Each makes a `Memory` of an
encoded source once, and then answers queries: `context, weights = attention(query, attention.memory(encoded))`. Q
queries of a source are answered at once and know nothing of each other: one step of a decoder, the K beams of a source,
or T steps where no step needs the context of the one before.

`lengths` and `mask` say which steps of a source are there, as for `unroll`. All others weigh exactly 0, and what stands
there, NaN included, reaches neither value nor gradient. Where no step may be seen, weights and context are 0. A
`Window` narrows what is seen to the neighbourhood of a centre (local attention).

A query is compared in the dtype of the memory's keys; softmax is in float32, or float64 if that is what the keys are.

Dimension letters: B sources, S their steps, M their features, Q queries of a source, H their features, A features that
queries and keys are compared by.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax import checks
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.layers.recurrent import check_rngs
from lstmjax.masking import valid_steps
from lstmjax.positions import counted, keep_counted
from lstmjax.tasks import Mean
from lstmjax.types import Array, ArrayLike, Bool, DTypeLike, Float, Int


class Memory(NamedTuple):
    """An encoded source as attention reads it, made by an attention's `memory`.

    Args:
      keys: [B, S, A], what queries are compared with.
      values: [B, S, M], what is summed; 0 at steps that are not there.
      is_there: [B, S], booleans.
    """

    keys: Float[Array, "B S A"]
    values: Float[Array, "B S M"]
    is_there: Bool[Array, "B S"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Window:
    """The steps s of a source that a query may see: those with `|s - centre| <= half_width`.

    Luong's local-m has the target's own step as the centre; local-p has a `PredictedCentre`, and is Gaussian.

    Args:
      centre: [B, Q], floating; a source's first step is 0.
      half_width: D, at least 1.
      gaussian: multiply the weights by `exp(-(s - centre)^2 / (2 (D / 2)^2))`. They then sum to less than 1, and a
        gradient reaches the centre.

    Raises:
      TypeError, ValueError: a half width that is no whole number of at least 1; `gaussian` not True or False.

    Source: Luong, Pham and Manning 2015, "Effective Approaches to Attention-based Neural Machine Translation".

    >>> attention = DotAttention()
    >>> memory = attention.memory(jnp.ones((1, 5, 2)))
    >>> _, weights = attention(jnp.ones((1, 1, 2)), memory, window=Window(jnp.array([[0.0]]), 1))
    >>> weights.tolist()
    [[[0.5, 0.5, 0.0, 0.0, 0.0]]]
    """

    centre: Float[Array, "B Q"]
    half_width: int = dataclasses.field(metadata={"static": True})
    gaussian: bool = dataclasses.field(default=False, metadata={"static": True})

    def __post_init__(self) -> None:
        checks.positive_int("half_width", self.half_width)
        checks.boolean("gaussian", self.gaussian)


def attend(
    scores: Float[Array, "B Q S"], memory: Memory, window: Window | None = None
) -> tuple[Float[Array, "B Q M"], Float[Array, "B Q S"]]:
    """`weights = softmax(scores)` over the steps that may be seen, `context = weights . values`.

    Args:
      scores: [B, Q, S], floating: how well each step suits each query.
      memory: of B sources of S steps.
      window: narrows what is seen; None: all that is there.

    Returns:
      The contexts [B, Q, M], in the values' dtype, and the weights [B, Q, S], float32 or float64.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit.

    >>> memory = Memory(jnp.zeros((1, 3, 1)), jnp.array([[[1.0], [3.0], [9.0]]]), jnp.array([[True, True, False]]))
    >>> context, weights = attend(jnp.zeros((1, 1, 3)), memory)
    >>> context.tolist(), weights.tolist()
    ([[[2.0]]], [[[0.5, 0.5, 0.0]]])
    """
    batch, steps = _size(memory)
    scores = _floating("scores", scores, (batch, "Q", steps))
    scores = scores.astype(accumulation_dtype(scores.dtype))
    seen, values = memory.is_there[:, None, :], memory.values
    if window is None:
        weights = _softmax(scores, seen)
    else:
        distance = _distance(window, scores)
        weights = _softmax(scores, seen & (distance <= window.half_width))
        if window.gaussian:
            weights *= jnp.exp(-2.0 * jnp.square(distance / window.half_width))
    context = jnp.einsum(
        "bqs,bsm->bqm", weights.astype(values.dtype), values, preferred_element_type=accumulation_dtype(values.dtype)
    )
    return context.astype(values.dtype), weights


class Attention(nnx.Module):
    """What all kinds share. A kind of your own says what its keys are and, if it is no dot product, its `scores`.

    Attributes:
      query_features: H; None: as many as a key has.
      memory_features: M; None: any.
      coverage: whether every query comes with what earlier ones have covered.
    """

    query_features: int | None = None
    memory_features: int | None = None
    coverage: bool = False

    def keys(self, encoded: Array) -> Array:
        """[B, S, A] of encoded steps [B, S, M]: all that needs no query is done here, once a source."""
        raise NotImplementedError

    def scores(self, query: Array, keys: Array, coverage: Array | None) -> Array:
        """[B, Q, S]: how well each step suits each query. Query and coverage come checked, in the keys' dtype."""
        return jnp.einsum("bqa,bsa->bqs", query, keys, preferred_element_type=accumulation_dtype(keys.dtype))

    def memory(
        self,
        encoded: Float[Array, "B S M"],
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B S"] | None = None,
    ) -> Memory:
        """What queries of these sources need.

        Args:
          encoded: [B, S, M], floating, of at least one step.
          lengths: integers [B] in 0..S.
          mask: booleans [B, S], True at steps that are there.

        Raises:
          TypeError, ValueError: shapes or dtypes that do not fit, lengths outside 0..S (seen outside `jit` only).
        """
        encoded = _floating("encoded", encoded, ("B", "S", self.memory_features or "M"))
        batch, steps = encoded.shape[:2]
        checks.positive_int("the number of steps in encoded", steps)
        by_time = valid_steps(lengths, mask, steps, batch)
        is_there = jnp.ones((batch, steps), bool) if by_time is None else by_time.T
        values = keep_counted(encoded, is_there)
        return Memory(self.keys(values), values, is_there)

    def __call__(
        self,
        query: Float[Array, "B Q H"],
        memory: Memory,
        *,
        coverage: Float[Array, "B Q S"] | None = None,
        window: Window | None = None,
    ) -> tuple[Float[Array, "B Q M"], Float[Array, "B Q S"]]:
        """Answer Q queries of each source.

        Args:
          query: [B, Q, H], floating.
          memory: what this attention's `memory` gave.
          coverage: [B, Q, S], floating: the sums of the weights of earlier queries; given if, and only if, the
            attention was made with `coverage=True`.
          window: which steps each query may see; None: all that are there.

        Returns:
          The contexts [B, Q, M], in the encoded source's dtype, and the weights [B, Q, S], float32 or float64.

        Raises:
          TypeError, ValueError: shapes or dtypes that do not fit; a coverage where none is asked for, or none where it
            is.
        """
        batch, steps = _size(memory)
        keys = memory.keys
        query = _floating("query", query, (batch, "Q", self.query_features or keys.shape[2]))
        if (coverage is not None) != self.coverage:
            wanted = "given, for this attention was made to take it" if self.coverage else "None"
            raise ValueError(f"coverage must be {wanted}; only AdditiveAttention(..., coverage=True) takes it")
        if coverage is not None:
            coverage = _floating("coverage", coverage, (batch, query.shape[1], steps)).astype(keys.dtype)
        return attend(self.scores(query.astype(keys.dtype), keys, coverage), memory, window)


class DotAttention(Attention):
    """`score = q . m`: queries have as many features as the encoded steps. It has no parameters.

    Args:
      scaled: divide scores by `sqrt(M)`, so that they do not grow with M.

    Source: Luong, Pham and Manning 2015; scaled: Vaswani et al. 2017, "Attention Is All You Need".

    >>> attention = DotAttention()
    >>> memory = attention.memory(jnp.array([[[0.0, 9.0], [5.0, 0.0], [1.0, 1.0]]]), lengths=jnp.array([2]))
    >>> context, weights = attention(jnp.array([[[1.0, 0.0]]]), memory)
    >>> [round(float(weight), 3) for weight in weights[0, 0]]  # softmax of 0 and 5
    [0.007, 0.993, 0.0]
    """

    def __init__(self, *, scaled: bool = False) -> None:
        checks.boolean("scaled", scaled)
        self.scaled = scaled

    def keys(self, encoded: Array) -> Array:
        """The encoded steps, divided by `sqrt(M)` if scaled."""
        return encoded / encoded.shape[2] ** 0.5 if self.scaled else encoded


class GeneralAttention(Attention):
    """`score = q . W m`: queries and encoded steps may differ in kind and size.

    Args:
      query_features: H.
      memory_features: M.
      param_dtype: what W is stored and applied in.
      rngs: draws the initial parameters (stream "params").

    Raises:
      TypeError, ValueError: sizes below 1, a dtype that is not floating, `rngs` that is no `nnx.Rngs`.

    Source: Luong, Pham and Manning 2015.

    >>> attention = GeneralAttention(3, 4, rngs=nnx.Rngs(0))
    >>> context, weights = attention(jnp.ones((2, 1, 3)), attention.memory(jnp.ones((2, 5, 4))))
    >>> context.shape, weights.shape
    ((2, 1, 4), (2, 1, 5))
    """

    def __init__(
        self, query_features: int, memory_features: int, *, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs
    ) -> None:
        _check({"query_features": query_features, "memory_features": memory_features}, param_dtype, rngs)
        self.query_features, self.memory_features = query_features, memory_features
        self.to_keys = nnx.Linear(memory_features, query_features, use_bias=False, param_dtype=param_dtype, rngs=rngs)

    def keys(self, encoded: Array) -> Array:
        """`W m`."""
        return _apply(self.to_keys, encoded)


class AdditiveAttention(Attention):
    """`score = v . tanh(W q + U m + b)`, and with coverage c of a step `v . tanh(W q + U m + b + c u)`.

    This is Bahdanau's attention where the query is the decoder's state before a step, and Luong's "concat" where it is
    the one after it: Luong's one matrix, applied to query and encoded step side by side, is W beside U.

    Coverage says how much of a step earlier queries have already taken, so that a decoder need neither repeat a part of
    the source nor leave it out. u starts at 0: at first coverage makes no difference.

    Args:
      query_features: H.
      memory_features: M.
      features: A, the length of v.
      coverage: whether every query comes with a coverage.
      param_dtype: what parameters are stored and applied in.
      rngs: draws the initial parameters (stream "params").

    Raises:
      TypeError, ValueError: sizes below 1, a dtype that is not floating, `rngs` that is no `nnx.Rngs`.

    Source: Bahdanau, Cho and Bengio 2015, "Neural Machine Translation by Jointly Learning to Align and Translate";
    Luong, Pham and Manning 2015; coverage: Tu et al. 2016, "Modeling Coverage for Neural Machine Translation", and See,
    Liu and Manning 2017, "Get To The Point: Summarization with Pointer-Generator Networks".

    >>> attention = AdditiveAttention(3, 4, 6, coverage=True, rngs=nnx.Rngs(0))
    >>> memory = attention.memory(jnp.ones((2, 5, 4)))
    >>> _, first = attention(jnp.ones((2, 1, 3)), memory, coverage=jnp.zeros((2, 1, 5)))
    >>> context, second = attention(jnp.ones((2, 1, 3)), memory, coverage=first)
    >>> context.shape, second.shape
    ((2, 1, 4), (2, 1, 5))
    """

    def __init__(
        self,
        query_features: int,
        memory_features: int,
        features: int,
        *,
        coverage: bool = False,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        sizes = {"query_features": query_features, "memory_features": memory_features, "features": features}
        _check(sizes, param_dtype, rngs)
        checks.boolean("coverage", coverage)
        self.query_features, self.memory_features, self.coverage = query_features, memory_features, coverage
        self.to_query = nnx.Linear(query_features, features, use_bias=False, param_dtype=param_dtype, rngs=rngs)
        self.to_keys = nnx.Linear(memory_features, features, param_dtype=param_dtype, rngs=rngs)
        self.score = nnx.Linear(features, 1, use_bias=False, param_dtype=param_dtype, rngs=rngs)
        self.of_coverage = nnx.Param(jnp.zeros(features, param_dtype)) if coverage else None

    def keys(self, encoded: Array) -> Array:
        """`U m + b`."""
        return _apply(self.to_keys, encoded)

    def scores(self, query: Array, keys: Array, coverage: Array | None) -> Array:
        """The formula, for each query and key."""
        u = None if self.of_coverage is None else self.of_coverage[...]
        scores: Array = _additive(self.to_query(query), keys, self.score.kernel[...][:, 0], coverage, u)
        return scores


class PredictedCentre(nnx.Module):
    """Where in its source a query looks: `length * sigmoid(v . tanh(W q))`, between 0 and the length.

    The centre of Luong's local-p attention. A length counts up to the last step that is there.

    Args:
      query_features: H.
      features: how many W q has.
      param_dtype: what parameters are stored and applied in.
      rngs: draws the initial parameters (stream "params").

    Raises:
      TypeError, ValueError: sizes below 1, a dtype that is not floating, `rngs` that is no `nnx.Rngs`.

    Source: Luong, Pham and Manning 2015.

    >>> attention, predict = DotAttention(), PredictedCentre(4, 3, rngs=nnx.Rngs(0))
    >>> query, memory = jnp.ones((2, 1, 4)), attention.memory(jnp.ones((2, 9, 4)), lengths=jnp.array([9, 2]))
    >>> window = Window(predict(query, memory), half_width=2, gaussian=True)
    >>> context, weights = attention(query, memory, window=window)
    """

    def __init__(
        self, query_features: int, features: int, *, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs
    ) -> None:
        _check({"query_features": query_features, "features": features}, param_dtype, rngs)
        self.query_features = query_features
        self.hidden = nnx.Linear(query_features, features, use_bias=False, param_dtype=param_dtype, rngs=rngs)
        self.score = nnx.Linear(features, 1, use_bias=False, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, query: Float[Array, "B Q H"], memory: Memory) -> Float[Array, "B Q"]:
        """The centres [B, Q], float32 or float64.

        Args:
          query: [B, Q, H], floating.
          memory: of the same B sources.

        Raises:
          TypeError, ValueError: shapes or dtypes that do not fit.
        """
        batch, steps = _size(memory)
        query = _floating("query", query, (batch, "Q", self.query_features))
        score = self.score(jnp.tanh(_apply(self.hidden, query)))[:, :, 0]
        share = jax.nn.sigmoid(score.astype(accumulation_dtype(score.dtype)))
        ends = jnp.arange(1, steps + 1, dtype=share.dtype)
        lengths = jnp.max(jnp.where(memory.is_there, ends[None, :], 0), axis=1)
        return lengths[:, None] * share


def coverage_loss(
    attention_weights: Float[Array, "B T S"],
    *,
    lengths: Int[Array, "B"] | None = None,
    mask: Bool[Array, "B T"] | None = None,
    weights: ArrayLike | None = None,
) -> Mean:
    """`sum_s min(a_ts, c_ts)` with the coverage `c_ts = sum of a_us for u < t`: how much a target step looks again.

    Args:
      attention_weights: a, [B, T, S], floating: what a target's T steps weighed the source's S steps by.
      lengths, mask: which steps of the targets are valid; see `lstmjax.losses`.
      weights: [B] or [B, T], how much each counts.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit.

    Source: See, Liu and Manning 2017.

    >>> again, onward = jnp.array([[[1.0, 0.0], [1.0, 0.0]]]), jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
    >>> float(coverage_loss(again).value), float(coverage_loss(onward).value)
    (0.5, 0.0)
    """
    each = _floating("attention_weights", attention_weights, ("B", "T", "S"))
    counts = counted(each.shape[:2], lengths, mask, weights)
    each = keep_counted(each.astype(accumulation_dtype(each.dtype)), counts)
    covered = jnp.cumsum(each, axis=1) - each
    return Mean.of(jnp.sum(jnp.minimum(each, covered), axis=2), counts)


@jax.checkpoint  # going back, tanh is taken again: faster than to keep S * A numbers a query and read them back
def _additive(
    query: Float[Array, "B Q A"],
    keys: Float[Array, "B S A"],
    v: Float[Array, "A"],
    coverage: Float[Array, "B Q S"] | None,
    u: Float[Array, "A"] | None,
) -> Float[Array, "B Q S"]:
    total = query[:, :, None, :] + keys[:, None, :, :]
    if coverage is not None and u is not None:
        total += jnp.einsum("bqs,a->bqsa", coverage, u)
    return jnp.einsum("bqsa,a->bqs", jnp.tanh(total), v, preferred_element_type=accumulation_dtype(v.dtype))


def _softmax(scores: Float[Array, "B Q S"], seen: Bool[Array, "B #Q S"]) -> Float[Array, "B Q S"]:
    """Over what is seen, exactly 0 elsewhere; all 0 where nothing is."""
    lowest = np.finfo(scores.dtype).min  # of -inf alone softmax makes NaN, which jax_debug_nans would stop at
    return jnp.where(seen, jax.nn.softmax(jnp.where(seen, scores, lowest), axis=2), 0)


def _distance(window: Window, scores: Float[Array, "B Q S"]) -> Float[Array, "B Q S"]:
    """How far each step is from a query's centre."""
    centre = _floating("window.centre", window.centre, scores.shape[:2])
    steps = jnp.arange(scores.shape[2], dtype=scores.dtype)
    return jnp.abs(steps[None, None, :] - centre.astype(scores.dtype)[:, :, None])


def _size(memory: Memory) -> tuple[int, int]:
    """How many sources, and their steps."""
    if not isinstance(memory, Memory):
        raise TypeError(f"memory must be what an attention's `memory` gives, got {type(memory).__name__}")
    batch, steps = memory.is_there.shape
    return batch, steps


def _floating(name: str, x: ArrayLike, shape: Sequence[int | str]) -> Array:
    """A checked array."""
    array = jnp.asarray(x)
    checks.kind(name, array, jnp.floating)
    checks.shape(name, array, shape)
    return array


def _check(sizes: dict[str, int], param_dtype: DTypeLike, rngs: nnx.Rngs) -> None:
    for name, size in sizes.items():
        checks.positive_int(name, size)
    checks.floating_dtype("param_dtype", param_dtype)
    check_rngs("rngs", rngs)


def _apply(linear: nnx.Linear, x: Array) -> Array:
    """In the parameters' dtype."""
    result: Array = linear(x.astype(linear.kernel[...].dtype))
    return result
