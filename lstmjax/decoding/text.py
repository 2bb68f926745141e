"""Text from a language model: prompts read, continued whole or as a stream, in symbols or as text."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from lstmjax import checks
from lstmjax.data.text import UNKNOWN, Vocabulary
from lstmjax.decoding.loop import MOST_SYMBOLS, Decoding, decode, one_step, start
from lstmjax.models import LanguageModel
from lstmjax.sampling import Sampling
from lstmjax.types import Array, ArrayLike, Int, Key


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
    steps = checks.index("length", length, 1, MOST_SYMBOLS)
    step, begin, ending = _begin(model, prompts, lengths, key, sampling, stop)
    tokens, end = decode(step, begin, steps, sampling, ending)
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

    Raises:
      TypeError, ValueError: see `generate`; as soon as the first piece is asked for.
    """
    left, size = checks.index("length", length, 1, MOST_SYMBOLS), checks.index("piece", piece, 1, MOST_SYMBOLS)
    step, now, ending = _begin(model, prompts, lengths, key, sampling, stop)
    rows: list[np.ndarray] = [np.zeros(0, np.int32)] * len(now.done)  # what has come and is not yet handed out
    given = np.zeros(len(rows), np.int32)
    while left > 0 and not np.all(now.done):
        count = min(size, left)
        left -= count
        tokens, now = decode(step, now, size, sampling, ending, count)
        rows = [np.concatenate([row, new[:count]]) for row, new in zip(rows, np.asarray(tokens), strict=True)]
        held = np.where(np.asarray(now.done) | (left == 0), 0, max(ending.size - 1, 0))
        ends = np.maximum(np.asarray(now.lengths) - held, given)
        new = (ends - given).tolist()
        yield [row[:fresh] for row, fresh in zip(rows, new, strict=True)]
        rows, given = [row[fresh:] for row, fresh in zip(rows, new, strict=True)], ends


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
    """Continue one prompt and hand the text out as it comes; joined, it is what `generate_text` gives.

    Raises:
      TypeError, ValueError: see `generate_text`; as soon as the first piece is asked for.
    """
    ids, lengths, ending = _encode(model, vocabulary, [prompt], stop)
    held = np.zeros(0, np.int32)
    for new in stream(model, ids, length=length, key=key, lengths=lengths, sampling=sampling, stop=ending, piece=piece):
        held = np.concatenate([held, new[0]])
        text = vocabulary.decode(held)
        if not text.endswith(UNKNOWN):  # it may be a character of which some bytes are still to come
            yield text
            held = held[:0]
    yield vocabulary.decode(held)


def _begin(
    model: LanguageModel,
    prompts: ArrayLike,
    lengths: ArrayLike | None,
    key: Key[Array, ""],
    sampling: Sampling,
    stop: Sequence[int],
) -> tuple[Partial, Decoding, Array]:
    """Arguments checked and prompts read: the model's step, the moment before the first new symbol, the stop."""
    _check_model(model)
    last = model.vocab_size - 1
    prompts = checks.whole_numbers("prompts", prompts, ("B", "P"), 0, last)
    rows, width = prompts.shape
    checks.positive_int("the number of symbols in prompts", width)
    lengths = np.full(rows, width, np.int32) if lengths is None else lengths
    lengths = checks.whole_numbers("lengths", lengths, (rows,), 1, width)
    ending = checks.whole_numbers("stop", stop, ("S",), 0, last)
    checks.random_key("key", key)
    if not isinstance(sampling, Sampling):
        raise TypeError(f"sampling must be a Sampling, got {sampling!r}")
    return one_step(model), _prime(model, prompts, lengths, key, ending), ending


@jax.jit
def _prime(model: LanguageModel, prompts: Array, lengths: Array, key: Key[Array, ""], stop: Array) -> Decoding:
    """Read the prompts; the scores at each row's last symbol are those of its first new one."""
    ys, state = model.hidden(prompts, lengths=lengths)
    last = jnp.take_along_axis(ys, (lengths - 1)[:, None, None], axis=1)[:, 0]
    return start(state, model.score(last), key, stop)


def _encode(
    model: LanguageModel, vocabulary: Vocabulary, prompts: Sequence[str], stop: str
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Prompts as one padded array, their lengths, and the stop sequence."""
    if isinstance(prompts, str):
        raise TypeError(f"prompts must be a list of texts, got the text {prompts!r}")
    _check_model(model)
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


def _check_model(model: object) -> None:
    if not isinstance(model, LanguageModel):
        raise TypeError(f"model must be a LanguageModel (decode goes over any other), got {type(model).__name__}")
