"""Generation: choosing symbols one after another from a model's scores, the whole loop compiled.

Random numbers depend on the key, the row and the position alone: a row comes out the same in any batch, whole or in
pieces.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from lstmjax import checks
from lstmjax.data.text import UNKNOWN, Vocabulary
from lstmjax.models import LanguageModel
from lstmjax.sampling import GREEDY, Sampling, sample
from lstmjax.types import Array, ArrayLike, Bool, Float, Int, Key, PyTree

__all__ = [
    "GREEDY",
    "Decoding",
    "Sampling",
    "StepFn",
    "decode",
    "generate",
    "generate_text",
    "start",
    "stream",
    "stream_text",
]

StepFn = Callable[[Int[Array, "B"], PyTree], tuple[Float[Array, "B V"], PyTree]]


class Decoding(NamedTuple):
    """A decoding under way: the model's state, the scores of the next symbol, and what has come so far."""

    state: PyTree
    logits: Float[Array, "B V"]
    keys: Key[Array, "B"]
    recent: Int[Array, "B S"]
    done: Bool[Array, "B"]
    lengths: Int[Array, "B"]
    step: Int[Array, ""]


def start(state: PyTree, logits: Float[Array, "B V"], key: Key[Array, ""], stop: Int[Array, "S"]) -> Decoding:
    """The moment before the first symbol."""
    rows = logits.shape[0]
    return Decoding(
        state=state,
        logits=logits,
        keys=jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(rows)),
        recent=jnp.full((rows, stop.size), -1, jnp.int32),
        done=jnp.zeros(rows, bool),
        lengths=jnp.zeros(rows, jnp.int32),
        step=jnp.zeros((), jnp.int32),
    )


def decode(
    step: StepFn,
    decoding: Decoding,
    steps: int,
    sampling: Sampling,
    stop: Int[Array, "S"],
    limit: Int[Array, ""] | None = None,
) -> tuple[Int[Array, "B N"], Decoding]:
    """Choose up to `steps` more symbols for each row, over any step function; ends early once every row has stopped.

    Args:
      step: `(symbols [B], state) -> (logits [B, V], state)`.
      decoding: from `start`, or from an earlier call, to go on.
      steps: N.
      sampling: how a symbol is chosen.
      stop: S symbols that end a row when they come in this order; none means rows go on.
      limit: end after this many symbols, at most N, without compiling anew for each number; None means N.

    Returns:
      symbols [B, N], zero where nothing was chosen, and the decoding after them. `lengths` counts a row's symbols up
      to, not including, its stop sequence.
    """

    def go_on(loop: tuple[Array, Decoding, Array]) -> Array:
        _, now, n = loop
        return (n < (steps if limit is None else limit)) & ~jnp.all(now.done)

    def choose(loop: tuple[Array, Decoding, Array]) -> tuple[Array, Decoding, Array]:
        tokens, now, n = loop
        token = sample(jax.vmap(jax.random.fold_in, (0, None))(now.keys, now.step), now.logits, sampling)
        logits, state = step(token, now.state)
        recent = jnp.concatenate([now.recent, token[:, None]], axis=1)[:, 1:] if stop.size else now.recent
        stopped = ~now.done & jnp.all(recent == stop[None, :], axis=1) if stop.size else jnp.zeros_like(now.done)
        grown = jnp.where(stopped, now.lengths + 1 - stop.size, now.lengths + 1)
        lengths = jnp.where(now.done, now.lengths, grown)
        after = Decoding(state, logits, now.keys, recent, now.done | stopped, lengths, now.step + 1)
        return lax.dynamic_update_slice(tokens, token[:, None], (0, n)), after, n + 1

    tokens = jnp.zeros((decoding.logits.shape[0], steps), jnp.int32)
    tokens, decoding, _ = lax.while_loop(go_on, choose, (tokens, decoding, jnp.zeros((), jnp.int32)))
    return tokens, decoding


def generate(
    model: LanguageModel,
    prompts: Int[ArrayLike, "B P"],
    *,
    length: int,
    key: Key[Array, ""],
    lengths: Int[ArrayLike, "B"] | None = None,
    sampling: Sampling = Sampling(),
    stop: Sequence[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Continue each prompt.

    Args:
      model: the language model.
      prompts: symbol ids [B, P], padded on the right where `lengths` says so.
      length: N, at least 1, how many symbols to generate.
      key: fixes every random choice.
      lengths: integers [B] in 1..P, each prompt's own length; None means P.
      sampling: how a symbol is chosen.
      stop: symbols that end a row when they come in this order.

    Returns:
      symbols [B, N] and how many of each row's count, up to and not including the stop sequence.

    Raises:
      TypeError: prompts or lengths that are not integers.
      ValueError: wrong shapes, an empty prompt, or ids or lengths out of range.

    >>> model = lx.models.LanguageModel(10, lx.models.LanguageModelConfig(8, 16), rngs=nnx.Rngs(0))
    >>> tokens, lengths = generate(model, jnp.array([[1, 2, 3]]), length=5, key=jax.random.key(0))
    >>> tokens.shape, lengths.tolist()
    ((1, 5), [5])
    """
    steps = checks.index("length", length, 1)
    graphdef, params = nnx.split(model)
    prompts, lengths, ending = _check(model, prompts, lengths, stop)
    begin = _prime(graphdef, params, prompts, lengths, key, ending)
    tokens, end = _decode(graphdef, params, begin, steps, sampling, ending, None)
    return np.asarray(tokens), np.asarray(end.lengths)


def stream(
    model: LanguageModel,
    prompts: Int[ArrayLike, "B P"],
    *,
    length: int,
    key: Key[Array, ""],
    lengths: Int[ArrayLike, "B"] | None = None,
    sampling: Sampling = Sampling(),
    stop: Sequence[int] = (),
    piece: int = 32,
) -> Iterator[list[np.ndarray]]:
    """Continue each prompt as `generate` does, and hand the same symbols out as they come.

    Args:
      piece: at least 1, how many symbols are chosen in one compiled call; the others are those of `generate`.

    Yields:
      a list of B arrays: each row's new symbols, from none to `piece`. What may yet turn out to be the start of the
      stop sequence is held back.
    """
    left, size = checks.index("length", length, 1), checks.index("piece", piece, 1)
    graphdef, params = nnx.split(model)
    prompts, lengths, ending = _check(model, prompts, lengths, stop)
    now = _prime(graphdef, params, prompts, lengths, key, ending)
    rows: list[np.ndarray] = [np.zeros(0, np.int32)] * len(prompts)
    given = [0] * len(rows)
    while left > 0 and not np.all(now.done):
        count = min(size, left)
        left -= count
        tokens, now = _decode(graphdef, params, now, size, sampling, ending, jnp.asarray(count, jnp.int32))
        rows = [np.concatenate([row, new[:count]]) for row, new in zip(rows, np.asarray(tokens), strict=True)]
        held = np.where(np.asarray(now.done) | (left == 0), 0, max(ending.size - 1, 0))
        ends = np.maximum(np.asarray(now.lengths) - held, given).tolist()
        yield [row[begin:end] for row, begin, end in zip(rows, given, ends, strict=True)]
        given = ends


def generate_text(
    model: LanguageModel,
    vocabulary: Vocabulary,
    prompts: Sequence[str],
    *,
    length: int,
    key: Key[Array, ""],
    sampling: Sampling = Sampling(),
    stop: str = "",
) -> list[str]:
    """Continue prompts of any lengths, as text; see `generate`. The prompt is not repeated in the result.

    Raises:
      ValueError: a prompt is empty, or `stop` has symbols the vocabulary lacks.
    """
    ids, lengths, ending = _encode(model, vocabulary, prompts, stop)
    tokens, ends = generate(model, ids, length=length, key=key, lengths=lengths, sampling=sampling, stop=ending)
    return [vocabulary.decode(row[:end]) for row, end in zip(tokens, ends, strict=True)]


def stream_text(
    model: LanguageModel,
    vocabulary: Vocabulary,
    prompt: str,
    *,
    length: int,
    key: Key[Array, ""],
    sampling: Sampling = Sampling(),
    stop: str = "",
    piece: int = 32,
) -> Iterator[str]:
    """Continue one prompt and hand the text out as it comes; joined, it is what `generate_text` gives."""
    ids, lengths, ending = _encode(model, vocabulary, [prompt], stop)
    held = np.zeros(0, np.int32)
    for new in stream(model, ids, length=length, key=key, lengths=lengths, sampling=sampling, stop=ending, piece=piece):
        held = np.concatenate([held, new[0]])
        text = vocabulary.decode(held)
        if not text.endswith(UNKNOWN):  # it may be a character of which some bytes are still to come
            yield text
            held = held[:0]
    yield vocabulary.decode(held)


@functools.partial(jax.jit, static_argnums=0)
def _prime(
    graphdef: nnx.GraphDef[Any], params: PyTree, prompts: Array, lengths: Array, key: Key[Array, ""], stop: Array
) -> Decoding:
    """Read the prompts; the scores at each row's last symbol are those of its first new one."""
    model = nnx.merge(graphdef, params)
    ys, state = model.hidden(prompts, lengths=lengths)
    last = jnp.take_along_axis(ys, (lengths - 1)[:, None, None], axis=1)[:, 0]
    return start(state, model.score(last), key, stop)


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _decode(
    graphdef: nnx.GraphDef[Any],
    params: PyTree,
    decoding: Decoding,
    steps: int,
    sampling: Sampling,
    stop: Array,
    limit: Array | None,
) -> tuple[Array, Decoding]:
    model = nnx.merge(graphdef, params)

    def step(token: Int[Array, "B"], state: PyTree) -> tuple[Float[Array, "B V"], PyTree]:
        logits, state = model(token[:, None], state)
        return logits[:, 0], state

    return decode(step, decoding, steps, sampling, stop, limit)


def _check(
    model: LanguageModel, prompts: ArrayLike, lengths: ArrayLike | None, stop: Sequence[int]
) -> tuple[Array, Array, Array]:
    prompts, ending = jnp.asarray(prompts), np.asarray(stop) if len(stop) else np.zeros(0, np.int32)
    checks.kind("prompts", prompts, jnp.integer)
    checks.shape("prompts", prompts, ("B", "P"))
    checks.positive_int("the number of symbols in prompts", prompts.shape[1])
    checks.within("prompts", prompts, 0, model.vocab_size - 1)
    checks.kind("stop", ending, jnp.integer)
    checks.shape("stop", ending, ("S",))
    checks.within("stop", ending, 0, model.vocab_size - 1)
    lengths = jnp.full(prompts.shape[:1], prompts.shape[1], jnp.int32) if lengths is None else jnp.asarray(lengths)
    checks.kind("lengths", lengths, jnp.integer)
    checks.shape("lengths", lengths, prompts.shape[:1])
    checks.within("lengths", lengths, 1, prompts.shape[1])
    return prompts, lengths, jnp.asarray(ending, jnp.int32)


def _encode(
    model: LanguageModel, vocabulary: Vocabulary, prompts: Sequence[str], stop: str
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Prompts as one padded array, their lengths, and the stop sequence."""
    if isinstance(prompts, str):
        raise TypeError(f"prompts must be a list of texts, got the text {prompts!r}")
    if len(vocabulary) != model.vocab_size:
        raise ValueError(f"vocabulary must have the model's {model.vocab_size} symbols, got {len(vocabulary)}")
    if not prompts or not all(prompts):
        raise ValueError(f"prompts must be at least one text, each of at least one symbol, got {list(prompts)!r}")
    if vocabulary.unknown(stop):
        raise ValueError(f"stop has symbols the vocabulary lacks, so it could never come: {vocabulary.unknown(stop)!r}")
    rows = [vocabulary.encode(prompt) for prompt in prompts]
    lengths = np.array([len(row) for row in rows], np.int32)
    padded = np.zeros((len(rows), lengths.max()), np.int32)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded, lengths, vocabulary.encode(stop).tolist()
