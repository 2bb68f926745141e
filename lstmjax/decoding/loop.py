"""The loop: score, draw, step, over any step function and any kind of symbol."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.tree_util import Partial

from lstmjax import checks
from lstmjax.sampling import GREEDY, Draw, sample
from lstmjax.trees import without_keys
from lstmjax.types import Array, Bool, Int, Key, PyTree

StepFn = Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]

MOST_SYMBOLS = 2**31 - 1  # counted in int32


class Decoding(NamedTuple):
    """A decoding under way. Every leaf but `step` has the rows first, so rows can be picked out or put in order.

    Args:
      state: what the step function carries, leaves [B, ...].
      scores: what the next symbol is drawn from, leaves [B, ...]; logits [B, V] where symbols are categories.
      keys: a key for each row [B]; with `step` it fixes the row's next draw.
      recent: int32 [B, S], each row's last S symbols, as many as the stop sequence has; -1 where fewer have come.
      done: bool [B], True for a row whose stop sequence has come.
      lengths: int32 [B], how many symbols of each row count: not the stop sequence nor what comes after it.
      step: int32, how many symbols have been drawn for each row.
    """

    state: PyTree
    scores: PyTree
    keys: Key[Array, "B"]
    recent: Int[Array, "B S"]
    done: Bool[Array, "B"]
    lengths: Int[Array, "B"]
    step: Int[Array, ""]


def start(state: PyTree, scores: PyTree, key: Key[Array, ""], stop: Sequence[int] | Int[Array, "S"] = ()) -> Decoding:
    """The moment before the first symbol.

    Args:
      state: what the step function carries, leaves [B, ...].
      scores: what the first symbol is drawn from, leaves [B, ...]: logits [B, V] where symbols are categories.
      key: fixes every random choice.
      stop: the S symbols that will end a row, as `decode` will be given; none for rows that go on.

    Raises:
      TypeError: scores that are not arrays, a key that is none, a stop sequence that is not integers.
      ValueError: scores without one row for each sequence.
    """
    checks.random_key("key", key)
    rows = _rows(scores)
    return Decoding(
        state=state,
        scores=scores,
        keys=jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(rows, dtype=jnp.int32)),
        recent=jnp.full((rows, _ending(stop).size), -1, jnp.int32),
        done=jnp.zeros(rows, bool),
        lengths=jnp.zeros(rows, jnp.int32),
        step=jnp.zeros((), jnp.int32),
    )


def decode(
    step: StepFn,
    decoding: Decoding,
    steps: int,
    draw: Draw,
    stop: Sequence[int] | Int[Array, "S"] = (),
    limit: int | Int[Array, ""] | None = None,
) -> tuple[PyTree, Decoding]:
    """Choose up to `steps` more symbols for each row, over any step function; ends early once every row has stopped.

        symbol[n] = draw(key[row, n], scores[n]);  scores[n + 1], state[n + 1] = step(symbol[n], state[n])

    It is compiled once for each step function, number of steps, draw and shapes. What a plain function closes over is
    compiled in, as with `jax.jit`: give parameters that will change by `jax.tree_util.Partial(function, parameters)`.

    Args:
      step: `(symbols, state) -> (scores, state)`, each with leaves [B, ...]; it gives back what it takes in kind.
      decoding: from `start`, or from an earlier call, to go on.
      steps: N, at least 1.
      draw: `(key, scores of one row) -> symbol`, such as `Sampling`, `BernoulliSampling`, `MixtureSampling`, or a
        function that puts several together. A symbol is a tree of arrays.
      stop: S symbols that end a row when they come in this order; none means rows go on. Symbols that are not one
        integer a row cannot be stopped.
      limit: end after this many symbols, in 0..N, without compiling anew for each number; None means N.

    Returns:
      symbols with leaves [B, N, ...], zero where nothing was chosen, and the decoding after them. `lengths` counts a
      row's symbols up to, not including, its stop sequence.

    Raises:
      TypeError: an argument of another kind, or a step function that changes the kind of the state or the scores.
      ValueError: a number out of range, or a stop sequence of another length than `start` was given.

    >>> def step(symbol, count):
    ...     return jax.nn.one_hot((symbol + count) % 5, 5), count + 1
    >>> begin = start(jnp.ones(1, jnp.int32), jax.nn.one_hot(jnp.array([2]), 5), jax.random.key(0))
    >>> decode(step, begin, 4, lx.decoding.GREEDY)[0].tolist()
    [[2, 3, 0, 3]]
    """
    checks.function("draw", draw)
    if not isinstance(decoding, Decoding):
        raise TypeError(f"decoding must be what start or decode gave, got {type(decoding).__name__}")
    count = checks.index("steps", steps, 1, MOST_SYMBOLS)
    ending = _ending(stop)
    if decoding.recent.shape[1] != ending.size:
        raise ValueError(f"stop must have the {decoding.recent.shape[1]} symbols that start had, got {ending.size}")
    most = checks.whole_numbers("limit", count if limit is None else limit, (), 0, count)
    chosen, after = _run(as_partial("step", step), decoding, ending, most, count, draw)
    return chosen, after


def decode_from(
    step: StepFn,
    state: PyTree,
    symbols: PyTree,
    steps: int,
    draw: Draw = GREEDY,
    *,
    stop: Sequence[int] | Int[Array, "S"] = (),
    key: Key[Array, ""] | None = None,
) -> tuple[PyTree, Int[Array, "B"]]:
    """What follows a first symbol, over any step function: `start` and `decode` in one call.

    Args:
      step: `(symbols, state) -> (scores, state)`, as of `decode`.
      state: before the first symbol, such as an encoder's last; leaves [B, ...].
      symbols: what every row begins with, such as a start-of-sequence mark: integers [B].
      steps: N, at least 1: the most symbols that a row gets.
      draw: chooses a symbol from a row's scores; by default the likeliest.
      stop: S symbols that end a row when they come in this order.
      key: what `draw` draws from; needed by every draw but `GREEDY`.

    Returns:
      symbols [B, N], without the first, zero after a row's end; and how many of each row count, int32 [B], the stop
      sequence not among them.

    Raises:
      TypeError, ValueError: see `decode`; and a draw that needs a key, without one.

    >>> def step(symbol, count):
    ...     return jax.nn.one_hot((symbol + count) % 5, 5), count + 1
    >>> symbols, lengths = decode_from(step, jnp.ones(1, jnp.int32), jnp.array([1]), 6, stop=[2])
    >>> symbols.tolist(), lengths.tolist()
    ([[2, 0, 0, 0, 0, 0]], [0])
    """
    if key is None:
        if draw != GREEDY:
            raise ValueError(f"key must be given to draw with {draw}")
        key = jax.random.key(0)
    scores, state = step(symbols, state)
    chosen, after = decode(step, start(state, scores, key, stop), steps, draw, stop)
    return chosen, after.lengths


def as_partial(name: str, function: Callable[..., Any], *arguments: PyTree) -> Partial:
    """A function with its first arguments, as a pytree of these: `jit` traces them instead of compiling them in.

    Raises:
      TypeError: it is no function.
    """
    checks.function(name, function)
    if isinstance(function, Partial) and not arguments:
        return function
    return Partial(function, *arguments)  # type: ignore[no-untyped-call]


def one_step(model: nnx.Module) -> Partial:
    """A step function of a model of whole sequences: `model(xs [B, T, ...], state) -> (scores [B, T, ...], state)`."""
    return as_partial("model", _one_step, model)


def _one_step(model: Any, symbols: Array, state: PyTree) -> tuple[PyTree, PyTree]:
    scores, state = model(symbols[:, None], state)
    return jax.tree.map(lambda leaf: leaf[:, 0], scores), state


@jax.jit
def after_reading(model: Any, xs: Array, key: Key[Array, ""]) -> Decoding:
    """The moment after such a model has read xs [B, T, ...]: its last scores are those of the next symbol."""
    scores, state = model(xs)
    return start(state, jax.tree.map(lambda leaf: leaf[:, -1], scores), key)


Loop = tuple[PyTree, Decoding, Int[Array, ""]]  # the symbols so far, where they end, how many were chosen in this call


@functools.partial(jax.jit, static_argnames=("steps", "draw"))
def _run(
    step: Partial, decoding: Decoding, stop: Int[Array, "S"], limit: Int[Array, ""], steps: int, draw: Draw
) -> tuple[PyTree, Decoding]:
    def go_on(loop: Loop) -> Array:
        _, now, n = loop
        return (n < limit) & ~jnp.all(now.done)

    def choose(loop: Loop) -> Loop:
        chosen, now, n = loop
        symbols = _next(now, draw)
        scores, state = stepped(step, symbols, now.state, now.scores)
        chosen = jax.tree.map(lambda all_, new: lax.dynamic_update_index_in_dim(all_, new, n, 1), chosen, symbols)
        return chosen, _after(now, symbols, scores, state, stop), n + 1

    kinds = jax.eval_shape(lambda now: _next(now, draw), decoding)
    if stop.size:
        _one_integer_a_row(kinds)
    none = jax.tree.map(lambda one: jnp.zeros((one.shape[0], steps, *one.shape[1:]), one.dtype), kinds)
    chosen, decoding, _ = lax.while_loop(go_on, choose, (none, decoding, jnp.zeros((), jnp.int32)))
    return chosen, decoding


def _next(now: Decoding, draw: Draw) -> PyTree:
    """A symbol for each row."""
    return sample(jax.vmap(jax.random.fold_in, (0, None))(now.keys, now.step), now.scores, draw)


def stepped(step: StepFn, symbols: PyTree, state: PyTree, scores: PyTree) -> tuple[PyTree, PyTree]:
    """The scores and the state that a step gives.

    Raises:
      TypeError, ValueError: they are not of the structure, shapes and dtypes of the ones before.
    """
    match step(symbols, state):
        case (new_scores, new_state):
            checks.like("the scores that step returns", new_scores, scores)
            checks.like("the state that step returns", without_keys(new_state), without_keys(state))
            return new_scores, new_state
        case other:
            raise TypeError(f"step must return scores and state, got {type(other).__name__}")


def _after(now: Decoding, symbols: PyTree, scores: PyTree, state: PyTree, stop: Int[Array, "S"]) -> Decoding:
    """The decoding one symbol on."""
    recent, stopped = now.recent, jnp.zeros_like(now.done)
    if stop.size:
        recent = jnp.concatenate([recent[:, 1:], symbols.astype(jnp.int32)[:, None]], axis=1)
        stopped = ~now.done & jnp.all(recent == stop[None, :], axis=1)
    grown = now.lengths + jnp.where(stopped, 1 - stop.size, 1)  # the stop sequence, this symbol among it, is taken off
    lengths = jnp.where(now.done, now.lengths, grown)
    return Decoding(state, scores, now.keys, recent, now.done | stopped, lengths, now.step + 1)


def _ending(stop: Sequence[int] | Int[Array, "S"]) -> Int[Array, "S"]:
    return checks.whole_numbers("stop", stop, ("S",), 0, MOST_SYMBOLS)


def _rows(scores: PyTree) -> int:
    """B, which all leaves of the scores begin with."""
    leaves = jax.tree.leaves(scores)
    for leaf in leaves:
        if not hasattr(leaf, "shape"):
            raise TypeError(f"scores must be a tree of arrays, got {type(leaf).__name__}")
    sizes = {leaf.shape[:1] for leaf in leaves}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(f"scores must be arrays [B, ...] of one B, got shapes {[list(leaf.shape) for leaf in leaves]}")
    return int(sizes.pop()[0])


def _one_integer_a_row(kinds: PyTree) -> None:
    leaves = jax.tree.leaves(kinds)
    if len(leaves) != 1 or leaves[0].ndim != 1 or not jnp.issubdtype(leaves[0].dtype, jnp.integer):
        came = ", ".join(f"{leaf.dtype.name} {list(leaf.shape)}" for leaf in leaves)
        raise TypeError(f"stop needs symbols that are one integer a row, got {came}")
