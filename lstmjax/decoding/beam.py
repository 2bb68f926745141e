"""Beam search: the likeliest strings of a step function, found by keeping the best few beginnings."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.decoding.loop import MOST_SYMBOLS, StepFn, as_partial
from lstmjax.decoding.penalties import UNPENALISED
from lstmjax.decoding.search import Beams, Rules, search
from lstmjax.types import Array, ArrayLike, Float, PyTree

LengthPenalty = Callable[[Float[np.ndarray, "N"]], Float[ArrayLike, "N"]]


def beam_search(
    step: StepFn,
    state: PyTree,
    scores: Float[Array, "B V"],
    *,
    beam: int,
    steps: int,
    end: int,
    min_steps: int = 0,
    n_best: int = 1,
    length_penalty: LengthPenalty = UNPENALISED,
    block_ngrams: int = 0,
    extra: Callable[[PyTree], Float[Array, "R"]] | None = None,
) -> Beams:
    """The best strings of each source that K hypotheses kept at a time can find, over any step function.

        score = sum of log p(symbol) / length_penalty(L) + extra,  L symbols with the end symbol

    At each step the living hypotheses are continued by every symbol. Of all continuations of a source, those among
    the K best that end are finished, and the K best that do not end live on. A source is done once K hypotheses have
    finished, or once nothing that lives could still come among its `n_best`; the second changes no result. What still
    lives after `steps` symbols must end there, and its log p(end) counts. `beam=1` is greedy decoding, whatever the
    penalty. What a source gives depends on no other source in the batch.

    It is compiled once for each step function, `extra`, shapes, `beam`, `steps`, `n_best` and `block_ngrams`. What a
    plain function closes over is compiled in: give what will change by `Partial(function, parameters, memory)` of
    `jax.tree_util`. The K hypotheses of a source are rows that stand together, R = B * K, and the state is copied and
    put in order with them. What is the same for all of them, such as an encoder's memory [B, S, M], belongs not in the
    state but in the `Partial`, where it is never copied; the step function reads its rows as [B, K].

    Args:
      step: `(symbols int32 [R], state) -> (logits [R, V], state)`, the state with leaves [R, ...].
      state: what the step function carries, leaves [B, ...], of any dtype.
      scores: logits of the first symbol, floating [B, V], V at least 2.
      beam: K, at least 1.
      steps: at least 1, the most symbols a hypothesis has, the end symbol not counted.
      end: the symbol that ends a hypothesis, in 0..V-1.
      min_steps: in 0..steps, the fewest symbols, the end symbol not counted.
      n_best: N, in 1..beam, how many hypotheses are wanted of each source.
      length_penalty: from the lengths 1..steps + 1 to what they divide by, above 0: `PlainLength`, `GNMTLength`.
      block_ngrams: n: no n symbols come twice in this order in a hypothesis; 0 blocks none. Probabilities stay what
        they are: the others do not share what is blocked.
      extra: `state -> [R]`, at most 0: what is added to the score of a hypothesis that ends in this state, such as
        `coverage_penalty`.

    Returns:
      the `Beams`; log probabilities and scores are at least float32.

    Raises:
      TypeError: an argument of another kind, or a step function that changes the kind of the state or the scores.
      ValueError: a number out of range, or shapes that do not fit.

    >>> scores = jnp.log(jnp.array([[0.1, 0.6, 0.3]]))  # symbol 0 ends
    >>> def step(symbols, state):  # after 1 all is open; after 2 the end is near
    ...     after = jnp.log(jnp.array([[0.3, 0.3, 0.4], [0.3, 0.3, 0.4], [0.9, 0.05, 0.05]]))
    ...     return after[symbols], state
    >>> beams = lx.decoding.beam_search(step, (), scores, beam=2, steps=3, end=0)
    >>> beams.symbols.tolist(), beams.lengths.tolist()  # 0.3 * 0.9; greedy goes by 0.6 * 0.4 * 0.9
    ([[[2, 0, 0]]], [[1]])

    Sutskever, Vinyals and Le 2014, "Sequence to Sequence Learning with Neural Networks"; Paulus, Xiong and Socher
    2017, "A Deep Reinforced Model for Abstractive Summarization", for blocked n-grams.
    """
    tree_step = as_partial("step", step)
    checks.kind("scores", scores, jnp.floating)
    checks.shape("scores", scores, ("B", "V"))
    sources, symbols = scores.shape
    checks.index("the number of symbols in scores", symbols, 2)
    _check_rows(state, sources)
    beam, steps = checks.positive_int("beam", beam), checks.index("steps", steps, 1, MOST_SYMBOLS - 1)
    rules = Rules(
        penalties=length_divisors(length_penalty, steps).astype(accumulation_dtype(scores.dtype)),
        end=jnp.asarray(checks.index("end", end, 0, symbols - 1), jnp.int32),
        min_steps=jnp.asarray(checks.index("min_steps", min_steps, 0, steps), jnp.int32),
        extra=None if extra is None else as_partial("extra", extra),
    )
    n_best, block = checks.index("n_best", n_best, 1, beam), checks.index("block_ngrams", block_ngrams, 0)
    beams: Beams = search(tree_step, state, jnp.asarray(scores), rules, beam, steps, n_best, block)
    return beams


def _check_rows(state: PyTree, sources: int) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = "state" + jax.tree_util.keystr(path)
        if not hasattr(leaf, "shape"):
            raise TypeError(f"{name} must be an array, got {type(leaf).__name__}")
        if leaf.shape[:1] != (sources,):
            raise ValueError(f"{name} must have a row for each of the {sources} sources, got shape {list(leaf.shape)}")


def length_divisors(length_penalty: LengthPenalty, steps: int) -> Float[Array, "lengths"]:
    """What the lengths 1..steps + 1 divide by, once it is sure that they can.

    Raises:
      TypeError, ValueError: a penalty that is no function, or gives something else than finite numbers above 0.
    """
    checks.function("length_penalty", length_penalty)
    penalties: Any = length_penalty(np.arange(1.0, steps + 2.0))
    checks.shape("what length_penalty returns", penalties, (steps + 1,))
    if not isinstance(penalties, jax.core.Tracer) and not (np.isfinite(penalties) & (penalties > 0)).all():
        raise ValueError(
            f"length_penalty must give finite numbers above 0, got {np.asarray(penalties).min()} among them"
        )
    return jnp.asarray(penalties)
