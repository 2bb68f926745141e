"""Linear-chain conditional random fields as functions of arrays: scores, likelihoods, the best paths, marginals.

A path gives each token of a sentence one of K tags. Its score is the sum of an emission for each token, a transition
between neighbours, one into the first token and one out of the last; its probability is exp(score) over the sum of
exp(score) of all paths. A sentence of no tokens has one path, of score 0. -inf forbids, wherever it stands.

`lengths` [B] says how many tokens are a sentence's own, 0 to T; None: all. What stands after the end, NaN included,
reaches neither value nor gradient. Emissions are floating; sums are in float32, or float64 if one of the arguments is.
Everything but the paths can be differentiated, forward, in reverse and twice; everything goes through `jit` and `vmap`.

Source: Lafferty, McCallum & Pereira 2001, "Conditional random fields: Probabilistic models for segmenting and labeling
sequence data".
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstmjax import checks
from lstmjax.masking import valid_steps
from lstmjax.positions import classes
from lstmjax.spans import goes_on, parts_of
from lstmjax.types import Array, Bool, Float, Int


class Transitions(NamedTuple):
    """Scores of going from one tag to the next, into a sentence and out of it; -inf forbids.

    Args:
      between: [K, K], floating: of going from a tag (row) to the next token's (column).
      start: [K], of the first token's tag.
      end: [K], of the last token's tag.

    >>> transitions = Transitions(jnp.zeros((2, 2)), jnp.zeros(2), jnp.array([0.0, -jnp.inf]))
    >>> constrained = jax.tree.map(jnp.add, transitions, constraints(["O", "B-PER"], "BIO"))
    """

    between: Float[Array, "K K"]
    start: Float[Array, "K"]
    end: Float[Array, "K"]


class _Chain(NamedTuple):
    """A checked batch in one dtype, of at least one step; emissions are 0 after the end.

    Sentences come last: a processor adds, takes the largest and multiplies along them without gathering.
    """

    emissions: Float[Array, "T K B"]
    valid: Bool[Array, "T B"]
    between: Float[Array, "K K"]
    start: Float[Array, "K"]
    end: Float[Array, "K"]


def path_score(
    emissions: Float[Array, "B T K"],
    tags: Int[Array, "B T"],
    transitions: Transitions,
    *,
    lengths: Int[Array, "B"] | None = None,
) -> Float[Array, "B"]:
    """`start[y_0] + sum_t emissions[t, y_t] + sum_(t > 0) between[y_(t-1), y_t] + end[y_last]` of a path y.

    Args:
      emissions: [B, T, K], floating.
      tags: [B, T], integers in 0..K-1; after the end, any.
      transitions: of K tags.
      lengths: [B]; see the module.

    Returns:
      [B]; 0 where there are no tokens, -inf where the path is forbidden.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit, tags outside 0..K-1 (seen outside `jit` only).

    >>> transitions = Transitions(jnp.array([[0.0, 10.0], [20.0, 30.0]]), jnp.zeros(2), jnp.array([100.0, 200.0]))
    >>> path_score(jnp.array([[[1.0, 2.0], [3.0, 4.0]]]), jnp.array([[0, 1]]), transitions).tolist()
    [215.0]
    """
    chain = _chain(emissions, transitions, lengths)
    return _path_score(chain, _tags(tags, chain, emissions))  # type: ignore[no-any-return]


def log_partition(
    emissions: Float[Array, "B T K"], transitions: Transitions, *, lengths: Int[Array, "B"] | None = None
) -> Float[Array, "B"]:
    """`log sum of exp(path_score)` over all paths, one step after another; its gradient are the marginals.

    A step is a matrix product. If a tag can be reached only from tags whose scores lie more than about 65 behind the
    best (in float32), the step takes exponentials for each pair of tags instead, several times as long.

    Args:
      emissions, transitions, lengths: see `path_score`.

    Returns:
      [B]; 0 where there are no tokens; -inf, with a gradient of 0, where no path is allowed.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit.

    >>> free = Transitions(jnp.zeros((3, 3)), jnp.zeros(3), jnp.zeros(3))
    >>> jnp.exp(log_partition(jnp.zeros((1, 2, 3)), free)).round(3).tolist()  # 3 x 3 paths
    [9.0]
    """
    return _log_partition(_chain(emissions, transitions, lengths))  # type: ignore[no-any-return]


def log_partition_parallel(
    emissions: Float[Array, "B T K"], transitions: Transitions, *, lengths: Int[Array, "B"] | None = None
) -> Float[Array, "B"]:
    """`log_partition` in about log2(T) steps, each of matrix products over the whole batch: for devices with room.

    It does K times the work and holds B T K^2 numbers. Args, returns and raises: see `log_partition`.

    Source: Blelloch 1990, "Prefix sums and their applications"; the matrices' product is the sum over middle tags.

    >>> free = Transitions(jnp.zeros((3, 3)), jnp.zeros(3), jnp.zeros(3))
    >>> jnp.exp(log_partition_parallel(jnp.zeros((1, 2, 3)), free)).round(3).tolist()
    [9.0]
    """
    return _log_partition_parallel(_chain(emissions, transitions, lengths))  # type: ignore[no-any-return]


def log_likelihood(
    emissions: Float[Array, "B T K"],
    tags: Int[Array, "B T"],
    transitions: Transitions,
    *,
    lengths: Int[Array, "B"] | None = None,
) -> Float[Array, "B"]:
    """`log p(tags) = path_score - log_partition`.

    Args:
      emissions, tags, transitions, lengths: see `path_score`.

    Returns:
      [B], at most 0 but for rounding; 0 where there are no tokens; -inf, with a gradient of 0, for a forbidden path.

    Raises:
      TypeError, ValueError: see `path_score`.

    >>> free = Transitions(jnp.zeros((3, 3)), jnp.zeros(3), jnp.zeros(3))
    >>> round(float(jnp.exp(log_likelihood(jnp.zeros((1, 2, 3)), jnp.array([[0, 1]]), free))[0]), 4)  # 1 of 9
    0.1111
    """
    chain = _chain(emissions, transitions, lengths)
    score = _path_score(chain, _tags(tags, chain, emissions))
    allowed = score != -jnp.inf
    return jnp.where(allowed, score - jnp.where(allowed, _log_partition(chain), 0.0), -jnp.inf)


def viterbi(
    emissions: Float[Array, "B T K"], transitions: Transitions, *, lengths: Int[Array, "B"] | None = None
) -> tuple[Int[Array, "B T"], Float[Array, "B"]]:
    """The path with the highest score, and its score.

    Of equal scores, that with the lower last tag wins; if these are the same, the lower last but one; and so on.

    Args:
      emissions, transitions, lengths: see `path_score`.

    Returns:
      tags [B, T], int32, 0 after the end and where no path is allowed; scores [B], -inf where none is.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit.

    >>> tags, score = viterbi(jnp.array([[[1.0, 2.0], [3.0, 0.0]]]), Transitions(*map(jnp.zeros, [(2, 2), 2, 2])))
    >>> tags.tolist(), score.tolist()
    ([[1, 0]], [5.0])
    """
    tags, scores = n_best(emissions, transitions, 1, lengths=lengths)
    return tags[:, 0], scores[:, 0]


def n_best(
    emissions: Float[Array, "B T K"], transitions: Transitions, n: int, *, lengths: Int[Array, "B"] | None = None
) -> tuple[Int[Array, "B N T"], Float[Array, "B N"]]:
    """The n paths with the highest scores, from the best; of equal scores those come first that `viterbi` prefers.

    Args:
      n: at least 1.
      emissions, transitions, lengths: see `path_score`.

    Returns:
      tags [B, N, T], int32, 0 after the end; scores [B, N]. Where fewer paths are allowed, tags 0 and scores -inf.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit, n below 1.

    >>> emissions, free = jnp.array([[[0.0, 1.0]]]), Transitions(*map(jnp.zeros, [(2, 2), 2, 2]))
    >>> tags, scores = n_best(emissions, free, 3)
    >>> tags.tolist(), scores.tolist()
    ([[[1], [0], [0]]], [[1.0, 0.0, -inf]])
    """
    n = checks.positive_int("n", n)
    chain = _chain(emissions, transitions, lengths)
    tags, scores = _n_best(chain, n)
    return tags[..., : emissions.shape[1]], scores


def marginals(
    emissions: Float[Array, "B T K"], transitions: Transitions, *, lengths: Int[Array, "B"] | None = None
) -> Float[Array, "B T K"]:
    """The probability of each tag at each token: the gradient of `log_partition` with respect to the emissions.

    Args:
      emissions, transitions, lengths: see `path_score`.

    Returns:
      [B, T, K], along K summing to 1; zeros after the end and where no path is allowed.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit.

    >>> free = Transitions(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
    >>> np.asarray(marginals(jnp.log(jnp.array([[[1.0, 3.0], [1.0, 1.0]]])), free), float).round(3).tolist()
    [[[0.25, 0.75], [0.5, 0.5]]]
    """
    chain = _chain(emissions, transitions, lengths)
    return _marginals(chain)[:, : emissions.shape[1]]  # type: ignore[no-any-return]


def entropy(
    emissions: Float[Array, "B T K"], transitions: Transitions, *, lengths: Int[Array, "B"] | None = None
) -> Float[Array, "B"]:
    """`-sum of p(y) log p(y)` over all paths y, in nats; it goes along with a recursion like `log_partition`'s.

    Args:
      emissions, transitions, lengths: see `path_score`.

    Returns:
      [B]; 0 where there are no tokens, and where no path is allowed.

    Raises:
      TypeError, ValueError: shapes or dtypes that do not fit.

    Source: Hernando, Crespi & Cybenko 2005, "Efficient computation of the hidden Markov model entropy for a given
    observation sequence".

    >>> free = Transitions(jnp.zeros((3, 3)), jnp.zeros(3), jnp.zeros(3))
    >>> jnp.exp(entropy(jnp.zeros((1, 2, 3)), free)).round(3).tolist()  # 9 paths alike
    [9.0]
    """
    return _entropy(_chain(emissions, transitions, lengths))  # type: ignore[no-any-return]


def constraints(tags: Sequence[str], scheme: Literal["BIO", "IOBES"]) -> Transitions:
    """What a scheme of spans allows, 0, and forbids, -inf: to be added to transitions.

    Tags are O and a letter with a type, such as B-PER; those without a type have one in common. "BIO" (also called
    IOB2) has B (first) and I (inside): I-X comes after B-X and I-X alone, all else is free. "IOBES" has B (first), I
    (inside), E (last) and S (single): after B-X and I-X comes I-X or E-X; at the start and after O, E and S comes O, B
    or S; at the end stands O, E or S.

    Args:
      tags: K names, no two alike.
      scheme: "BIO" or "IOBES".

    Returns:
      transitions of K tags, float32.

    Raises:
      ValueError: another scheme, no tags, a tag twice, or one that is none of the scheme.

    >>> constraints(["O", "B-PER", "I-PER"], "BIO").between.tolist()
    [[0.0, 0.0, -inf], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    checks.one_of("scheme", scheme, ("BIO", "IOBES"))
    if len(tags) == 0:
        raise ValueError("tags must not be empty")
    if len(set(tags)) < len(tags):
        raise ValueError(f"tags must differ from each other, got {list(tags)}")
    parts = [parts_of(tag) for tag in tags]
    for tag, (letter, _) in zip(tags, parts, strict=True):
        if letter not in scheme:
            raise ValueError(f"tags must be O or a letter of {scheme}, most with a type, such as B-PER, got {tag!r}")
    unfinished = "BI" if scheme == "IOBES" else ""

    def allowed(before: tuple[str, str], after: tuple[str, str]) -> bool:
        if after[0] in "IE":
            return goes_on(before, after)
        return before[0] not in unfinished

    outside = ("O", "")
    between = [[allowed(before, after) for after in parts] for before in parts]
    start = [allowed(outside, after) for after in parts]
    end = [allowed(before, outside) for before in parts]
    return Transitions(*(jnp.where(jnp.array(table), jnp.float32(0), -jnp.inf) for table in (between, start, end)))


def _chain(emissions: Array, transitions: Transitions, lengths: Array | None) -> _Chain:
    """Check a batch and bring it into one form."""
    emissions, scores = jnp.asarray(emissions), Transitions(*map(jnp.asarray, transitions))
    checks.shape("emissions", emissions, ("B", "T", "K"))
    batch, steps, num_tags = emissions.shape
    checks.positive_int("K, the number of tags in emissions,", num_tags)
    checks.kind("emissions", emissions, jnp.floating)
    expected = Transitions((num_tags, num_tags), (num_tags,), (num_tags,))  # type: ignore[arg-type]
    for name, array, shape in zip(Transitions._fields, scores, expected, strict=True):
        checks.shape(f"transitions.{name}", array, shape)  # type: ignore[arg-type]
        checks.kind(f"transitions.{name}", array, jnp.floating)
    double = any(array.dtype == jnp.float64 for array in (emissions, *scores))
    dtype = jnp.float64 if double else jnp.float32
    by_step: Any = valid_steps(lengths, None, steps, batch)
    valid: Array = jnp.ones((steps, batch), bool) if by_step is None else by_step
    own = jnp.where(valid[:, None], emissions.transpose(1, 2, 0).astype(dtype), 0.0)
    if steps == 0:  # one that is no sentence's own, so that there is a first
        own, valid = jnp.zeros((1, num_tags, batch), dtype), jnp.zeros((1, batch), bool)
    return _Chain(own, valid, *(array.astype(dtype) for array in scores))


def _tags(tags: Array, chain: _Chain, emissions: Array) -> Int[Array, "T B"]:
    """Checked tags, time first, as many steps as the chain has."""
    batch, steps, num_tags = emissions.shape
    checked = classes("tags", tags, (batch, steps), num_tags, chain.valid[:steps].T)
    return jnp.pad(checked.T, ((0, len(chain.valid) - steps), (0, 0)))


@jax.jit
def _path_score(chain: _Chain, tags: Int[Array, "T B"]) -> Float[Array, "B"]:
    emitted = jnp.take_along_axis(chain.emissions, tags[:, None], axis=1)[:, 0]
    moves = chain.between[tags[:-1], tags[1:]]
    last = jnp.maximum(chain.valid.sum(axis=0) - 1, 0)
    ends = chain.start[tags[0]] + chain.end[jnp.take_along_axis(tags, last[None], axis=0)[0]]
    inside = jnp.where(chain.valid, emitted, 0.0).sum(axis=0) + jnp.where(chain.valid[1:], moves, 0.0).sum(axis=0)
    return jnp.where(chain.valid[0], inside + ends, 0.0)


@jax.jit
def _log_partition(chain: _Chain) -> Float[Array, "B"]:
    """The forward recursion; each step takes out what all paths have in common, so float32 keeps its digits."""
    into = chain.between.T
    best_ways = _largest(into, axis=1)
    into = into - best_ways

    def step(alpha: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        emission, valid = inputs
        top = _largest(alpha, axis=0)
        alpha = alpha - top
        return jnp.where(valid[None], _log_product(into, alpha) + emission, alpha), top[0]

    first = chain.start[:, None] + chain.emissions[0]
    alpha, tops = lax.scan(step, first, (chain.emissions[1:] + best_ways[None], chain.valid[1:]))
    total = tops.sum(axis=0) + _log_sum(alpha + chain.end[:, None], axis=0)
    return jnp.where(chain.valid[0], total, 0.0)


@jax.jit
def _log_partition_parallel(chain: _Chain) -> Float[Array, "B"]:
    """A step is a matrix, one after the end the identity; a row vector goes in, a sum over its last tags comes out."""
    emissions = jnp.swapaxes(chain.emissions, 1, 2)
    identity = jnp.where(jnp.eye(len(chain.start), dtype=bool), 0.0, -jnp.inf).astype(emissions.dtype)
    steps = chain.between[None, None] + emissions[1:, :, None]
    steps = jnp.where(chain.valid[1:, :, None, None], steps, identity[None, None])
    alpha = (chain.start[None] + emissions[0])[:, None]
    if len(steps) > 0:
        alpha = _compose(alpha, lax.associative_scan(_compose, steps)[-1])
    total = _log_sum(alpha[:, 0] + chain.end[None], axis=1)
    return jnp.where(chain.valid[0], total, 0.0)


def _compose(a: Float[Array, "*batch I K"], b: Float[Array, "*batch K J"]) -> Float[Array, "*batch I J"]:
    """`log(exp(a) @ exp(b))`."""
    rows, columns = _largest(a, axis=-1), _largest(b, axis=-2)
    return _log_product(a - rows, b - columns) + rows + columns


def _log_product(a: Float[Array, "*batch I K"], b: Float[Array, "*batch K J"]) -> Float[Array, "*batch I J"]:
    """`log(exp(a) @ exp(b))`, as a matrix product where that is exact. The largest in a's rows and b's columns is 0.

    A term that underflows is less than the smallest normal number. If K of these are beyond the last digit of every
    sum, none is missed, in gradients either; else each sum's own largest term is taken out before the exponentials.
    """

    def from_sums(a: Array, b: Array, sums: Array) -> Array:
        return _log(sums)

    def pairwise(a: Array, b: Array, sums: Array) -> Array:
        return _log_sum(a[..., None] + b[..., None, :, :], axis=-2)

    sums = jnp.matmul(jnp.exp(a), jnp.exp(b), precision=lax.Precision.HIGHEST)
    kind: Any = np.finfo(a.dtype)
    exact = jnp.all(sums >= a.shape[-1] * float(kind.tiny / kind.eps))
    return lax.cond(exact, from_sums, jax.checkpoint(pairwise), a, b, sums)  # type: ignore[no-any-return]


def _log_sum(x: Array, axis: int) -> Array:
    """`log sum of exp`; where all are -inf it is -inf, with a gradient of 0."""
    top = _largest(x, axis)
    return _log(jnp.exp(x - top).sum(axis)) + top.squeeze(axis)


def _log(x: Array) -> Array:
    """The logarithm, with a gradient of 0 at 0."""
    return jnp.where(x == 0.0, -jnp.inf, jnp.log(jnp.where(x == 0.0, 1.0, x)))


def _largest(x: Array, axis: int) -> Array:
    """The largest number along an axis, which stays, or 0 where there is none; taken for a constant."""
    top = lax.stop_gradient(x.max(axis, keepdims=True))
    return jnp.where(jnp.isfinite(top), top, 0.0)


@jax.jit
def _marginals(chain: _Chain) -> Float[Array, "B T K"]:
    def total(emissions: Array) -> Array:
        return _log_partition(chain._replace(emissions=emissions)).sum()  # type: ignore[no-any-return]

    return jax.grad(total)(chain.emissions).transpose(2, 0, 1)  # type: ignore[no-any-return]


@jax.jit
def _entropy(chain: _Chain) -> Float[Array, "B"]:
    """With the forward recursion goes the entropy of all ways that end in a tag: sums of what is never negative."""

    def step(carry: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        emission, valid = inputs
        alpha, entropies = carry
        alpha = alpha - _largest(alpha, axis=0)
        sums, through = _joined(alpha[:, None] + chain.between[..., None], entropies[:, None])
        return (jnp.where(valid[None], sums + emission, alpha), jnp.where(valid[None], through, entropies)), None

    first = chain.start[:, None] + chain.emissions[0]
    (alpha, entropies), _ = lax.scan(step, (first, jnp.zeros_like(first)), (chain.emissions[1:], chain.valid[1:]))
    return jnp.where(chain.valid[0], _joined(alpha + chain.end[:, None], entropies)[1], 0.0)


def _joined(scores: Array, entropies: Array) -> tuple[Array, Array]:
    """Where ways meet along the first axis: the log of their sum; the entropy of which it was and of its own past."""
    total = _log_sum(scores, axis=0)
    log_p = scores - jnp.where(total == -jnp.inf, 0.0, total)[None]
    return total, jnp.sum(jnp.exp(log_p) * (entropies - jnp.where(log_p == -jnp.inf, 0.0, log_p)), axis=0)


@functools.partial(jax.jit, static_argnums=1)
def _n_best(chain: _Chain, n: int) -> tuple[Int[Array, "B N T"], Float[Array, "B N"]]:
    """Viterbi's recursion over the n best ways to each tag, numbered tag by tag, and then backwards along them."""
    emissions = jnp.swapaxes(chain.emissions, 1, 2)
    _, batch, num_tags = emissions.shape
    stay = jnp.broadcast_to(jnp.arange(num_tags * n, dtype=jnp.int32), (batch, num_tags * n))

    def step(best: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        emission, valid = inputs
        ways = best[:, None] + chain.between.T[None, :, :, None]
        scores, origins = _top(ways.reshape(batch, num_tags, num_tags * n), n)
        origins = jnp.where(valid[:, None], origins.reshape(batch, num_tags * n), stay)
        return jnp.where(valid[:, None, None], scores + emission[..., None], best), origins

    def back(way: Array, origins: Array) -> tuple[Array, Array]:
        return jnp.take_along_axis(origins, way, axis=1), way // n

    first = (chain.start[None] + emissions[0])[..., None]
    first = jnp.pad(first, ((0, 0), (0, 0), (0, n - 1)), constant_values=-jnp.inf)
    best, origins = lax.scan(step, first, (emissions[1:], chain.valid[1:]))
    scores, ways = _top((best + chain.end[None, :, None]).reshape(batch, num_tags * n), n)
    first_ways, tags = lax.scan(back, ways, origins, reverse=True)
    tags = jnp.concatenate([(first_ways // n)[None], tags]).transpose(1, 2, 0)
    scores = jnp.where(chain.valid[0][:, None], scores, jnp.where(jnp.arange(n) == 0, 0.0, -jnp.inf)[None])
    kept = chain.valid.T[:, None] & (scores > -jnp.inf)[..., None]
    return jnp.where(kept, tags, 0), scores


def _top(x: Array, n: int) -> tuple[Array, Array]:
    """The n largest along the last axis and where they stand; of equal ones the first come first."""
    if n > 1:
        return lax.top_k(x, n)
    return x.max(-1, keepdims=True), x.argmax(-1, keepdims=True).astype(jnp.int32)  # ten times as fast as top_k
