"""The compiled loop of beam search: which hypotheses of each source finish, and which live on."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial

from lstmjax import checks
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.decoding.loop import stepped
from lstmjax.types import Array, Float, Int, PyTree

BLOCK = 16  # symbols looked at together by `highest`


class Beams(NamedTuple):
    """The N best hypotheses of each source, the best first.

    Args:
      symbols: int32 [B, N, steps], zero after a hypothesis's last symbol; the end symbol is not written.
      lengths: int32 [B, N], how many symbols each has, the end symbol not counted.
      scores: [B, N], what they are ranked by; -inf where a source has fewer than N hypotheses.
      log_probabilities: [B, N], of the symbols and the end symbol; -inf where there is no hypothesis.
    """

    symbols: Int[Array, "B N steps"]
    lengths: Int[Array, "B N"]
    scores: Float[Array, "B N"]
    log_probabilities: Float[Array, "B N"]


class Rules(NamedTuple):
    """What can change without compiling anew: what lengths 1..steps + 1 divide by, the end, how scores are added to."""

    penalties: Float[Array, "lengths"]
    end: Int[Array, ""]
    min_steps: Int[Array, ""]
    extra: Partial | None


class Search(NamedTuple):
    """A search under way: K living hypotheses a source, best first, in rows that stand together; -inf where fewer."""

    state: PyTree
    scores: Float[Array, "R V"]
    symbols: Int[Array, "B K steps"]
    log_probabilities: Float[Array, "B K"]
    finished: Beams
    ended: Int[Array, "B"]
    step: Int[Array, ""]


@functools.partial(jax.jit, static_argnames=("beam", "steps", "n_best", "block"))
def search(
    step: Partial, state: PyTree, scores: Array, rules: Rules, beam: int, steps: int, n_best: int, block: int
) -> Beams:
    """`beam_search` with its arguments checked: on until nothing lives, or `steps` symbols are written."""

    def go_on(now: Search) -> Array:
        return (now.step < steps) & jnp.any(now.log_probabilities > -jnp.inf)

    begin = _begin(state, scores, beam, steps, n_best)
    return _forced(lax.while_loop(go_on, lambda now: _longer(step, now, rules, block), begin), rules)


def _begin(state: PyTree, scores: Array, beam: int, steps: int, n_best: int) -> Search:
    """One empty hypothesis a source; the other rows are copies of it that do not live."""
    sources = scores.shape[0]
    dtype = accumulation_dtype(scores.dtype)
    rows = jnp.repeat(jnp.arange(sources, dtype=jnp.int32), beam)
    log_probabilities = jnp.full((sources, beam), -jnp.inf, dtype).at[:, 0].set(0.0)
    none = jnp.full((sources, n_best), -jnp.inf, dtype)
    finished = Beams(jnp.zeros((sources, n_best, steps), jnp.int32), jnp.zeros(none.shape, jnp.int32), none, none)
    return Search(
        state=jax.tree.map(lambda leaf: leaf[rows], state),
        scores=scores[rows],
        symbols=jnp.zeros((sources, beam, steps), jnp.int32),
        log_probabilities=log_probabilities,
        finished=finished,
        ended=jnp.zeros(sources, jnp.int32),
        step=jnp.zeros((), jnp.int32),
    )


def _longer(step: Partial, now: Search, rules: Rules, block: int) -> Search:
    """One symbol on: some hypotheses finish, the others are one longer."""
    beam = now.symbols.shape[1]
    log_probabilities, parents, symbols = _continuations(now, rules, block)
    ends = symbols == rules.end
    ending = jnp.where(ends & (jnp.arange(2 * beam)[None, :] < beam), log_probabilities, -jnp.inf)
    finished = _finish(now, parents, ending, rules)
    ended = now.ended + jnp.sum(ending > -jnp.inf, axis=1, dtype=jnp.int32)
    living, chosen = lax.top_k(jnp.where(ends, -jnp.inf, log_probabilities), beam)
    reachable = living[:, 0] / lax.cummax(rules.penalties, reverse=True)[now.step + 1]  # log p only falls
    done = (ended >= beam) | (reachable <= finished.scores[:, -1])
    parents, symbols = _pick((parents, symbols), chosen)
    rows = (jnp.arange(parents.shape[0], dtype=jnp.int32)[:, None] * beam + parents).reshape(-1)
    state = jax.tree.map(lambda leaf: leaf[rows], now.state)
    scores, state = stepped(step, symbols.reshape(-1), state, now.scores)
    written = lax.dynamic_update_index_in_dim(_pick(now.symbols, parents), symbols, now.step, 2)
    living = jnp.where(done[:, None], -jnp.inf, living)
    return Search(state, scores, written, living, finished, ended, now.step + 1)


def _continuations(now: Search, rules: Rules, block: int) -> tuple[Array, Array, Array]:
    """The 2 K best continuations of each source, best first: log probabilities, parents and symbols, [B, 2 K].

    At most K of them end, so K are left to live on. K of one parent beside its end are enough.
    """
    sources, beam = now.log_probabilities.shape
    scores = _unrepeated(now, block)
    values, symbols = highest(scores, min(beam + 1, scores.shape[1]))
    log_probabilities = values.astype(now.log_probabilities.dtype) - _log_total(now)
    too_soon = (symbols == rules.end) & (now.step < rules.min_steps)
    log_probabilities = jnp.where(too_soon, -jnp.inf, log_probabilities) + now.log_probabilities.reshape(-1, 1)
    each = values.shape[1]
    best, at = lax.top_k(log_probabilities.reshape(sources, beam * each), 2 * beam)
    return best, at // each, _pick(symbols.reshape(sources, beam * each), at)


def highest(scores: Float[Array, "R V"], k: int) -> tuple[Float[Array, "R k"], Int[Array, "R k"]]:
    """`lax.top_k`, four times as fast on a CPU where V is in the thousands.

    Only the k blocks with the highest maxima are searched: any other block has k scores before its own highest.

    >>> highest(jnp.array([[1.0, 3.0, 2.0]]), 2)[1].tolist()
    [[1, 2]]
    """
    rows, symbols = scores.shape
    blocks = symbols // BLOCK
    if blocks <= k:
        return lax.top_k(scores, k)
    maxima = jnp.max(scores[:, : blocks * BLOCK].reshape(rows, blocks, BLOCK), axis=2)
    chosen = jnp.sort(lax.top_k(maxima, k)[1], axis=1)  # in order, so that of equal scores the first comes first
    inside = (chosen[:, :, None] * BLOCK + jnp.arange(BLOCK, dtype=jnp.int32)[None, None, :]).reshape(rows, -1)
    behind = jnp.broadcast_to(jnp.arange(blocks * BLOCK, symbols, dtype=jnp.int32)[None, :], (rows, symbols % BLOCK))
    candidates = jnp.concatenate([inside, behind], axis=1)
    values, at = lax.top_k(jnp.take_along_axis(scores, candidates, axis=1), k)
    return values, jnp.take_along_axis(candidates, at, axis=1)


def _unrepeated(now: Search, n: int) -> Float[Array, "R V"]:
    """The scores, -inf for a symbol that would make the last n of a hypothesis stand in it twice."""
    windows = now.symbols.shape[2] - n + 1
    if n == 0 or windows < 2:
        return now.scores
    latest = lax.dynamic_slice_in_dim(now.symbols, now.step - (n - 1), n - 1, axis=2)
    written = jnp.arange(windows, dtype=jnp.int32)[None, None, :] <= now.step - n
    repeated = jnp.broadcast_to(written, (*now.symbols.shape[:2], windows))
    for i in range(n - 1):
        repeated &= now.symbols[:, :, i : i + windows] == latest[:, :, i : i + 1]
    blocked = jnp.where(repeated, now.symbols[:, :, n - 1 :], now.scores.shape[1]).reshape(-1, windows)
    rows = jnp.arange(now.scores.shape[0], dtype=jnp.int32)[:, None]
    return now.scores.at[rows, blocked].set(-jnp.inf, mode="drop")  # where nothing repeats, it is no symbol


def _log_total(now: Search) -> Float[Array, "R 1"]:
    """What logits are above their log probabilities."""
    return jax.nn.logsumexp(now.scores.astype(now.log_probabilities.dtype), axis=1, keepdims=True)


def _finish(now: Search, parents: Array, log_probabilities: Array, rules: Rules) -> Beams:
    """The best of what had finished and of what finishes now, -inf where a parent does not."""
    scores = log_probabilities / rules.penalties[now.step]
    if rules.extra is not None:
        extra = rules.extra(now.state)
        checks.shape("what extra returns", extra, now.scores.shape[:1])
        scores += _pick(extra.astype(scores.dtype).reshape(now.log_probabilities.shape), parents)
    lengths = jnp.full(parents.shape, now.step, jnp.int32)
    new = Beams(_pick(now.symbols, parents), lengths, scores, log_probabilities)
    together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), now.finished, new)
    best: Beams = _pick(together, lax.top_k(together.scores, now.finished.scores.shape[1])[1])
    return best


def _forced(now: Search, rules: Rules) -> Beams:
    """What still lives ends here."""
    sources, beam = now.log_probabilities.shape
    of_end = now.scores[:, rules.end].astype(now.log_probabilities.dtype)[:, None] - _log_total(now)
    parents = jnp.broadcast_to(jnp.arange(beam, dtype=jnp.int32)[None, :], (sources, beam))
    return _finish(now, parents, now.log_probabilities + of_end.reshape(sources, beam), rules)


def _pick(tree: PyTree, at: Int[Array, "B N"]) -> PyTree:
    """Of leaves [B, C, ...] those at `at`: [B, N, ...]."""
    sources = jnp.arange(at.shape[0], dtype=jnp.int32)[:, None]
    return jax.tree.map(lambda leaf: leaf[sources, at], tree)
