"""What sequence-to-sequence models write, in symbols: by beam search or by sampling, alone or several together."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from lstmjax import checks
from lstmjax.data.symbols import END, START
from lstmjax.decoding.beam import LengthPenalty, beam_search, length_divisors
from lstmjax.decoding.ensemble import ensemble, mean_log_probabilities
from lstmjax.decoding.loop import as_partial, decode, start
from lstmjax.decoding.penalties import UNPENALISED, GNMTLength, coverage_penalty
from lstmjax.decoding.search import Beams
from lstmjax.models import PlainDecoder, Seq2Seq
from lstmjax.sampling import Sampling
from lstmjax.types import Array, ArrayLike, Float, Int, Key, PyTree


@dataclasses.dataclass(frozen=True)
class BeamSettings:
    """How a translation is searched for; see `beam_search`.

    Args:
      beam: K, hypotheses kept at a time; 1 is greedy.
      n_best: how many translations of each source, at most `beam`.
      steps: the most symbols of a translation.
      min_steps: the fewest.
      length_penalty: what log probabilities are divided by.
      coverage_beta: weight of `coverage_penalty`, at least 0.
      block_ngrams: n: no n symbols twice in a translation; 0 blocks none.
    """

    beam: int = 5
    n_best: int = 1
    steps: int = 200
    min_steps: int = 0
    length_penalty: LengthPenalty = dataclasses.field(default=GNMTLength(0.6))
    coverage_beta: float = 0.0
    block_ngrams: int = 0

    def __post_init__(self) -> None:
        checks.positive_int("beam", self.beam)
        checks.index("n_best", self.n_best, 1, self.beam)
        checks.positive_int("steps", self.steps)
        checks.index("min_steps", self.min_steps, 0, self.steps)
        checks.index("block_ngrams", self.block_ngrams, 0)
        checks.at_least_zero("coverage_beta", self.coverage_beta)


def translate(
    models: Seq2Seq | Sequence[Seq2Seq],
    source: Int[ArrayLike, "B S"],
    *,
    lengths: Int[ArrayLike, "B"] | None = None,
    settings: BeamSettings = BeamSettings(),
) -> Beams:
    """The best translations of each source that beam search finds.

    Args:
      models: one, or several over the same symbols, whose probabilities are averaged at each symbol.
      source: symbols [B, S], each row ended as in training by the end symbol, padded on the right.
      lengths: integers [B] in 1..S; None means S.
      settings: how it is searched.

    Returns:
      `Beams`: symbols [B, N, steps] without the end symbol, their lengths, scores and log probabilities.

    Raises:
      TypeError, ValueError: no model, models of different vocabularies, a coverage penalty for a model that does not
        look back at its source, or arguments that do not fit.

    >>> config = lx.models.Seq2SeqConfig(source_vocab_size=20, target_vocab_size=30)
    >>> model = lx.models.seq2seq_config.build(config, nnx.Rngs(0))
    >>> translate(model, jnp.array([[5, 6, 3]]), settings=BeamSettings(beam=2, steps=4)).symbols.shape
    (1, 1, 4)
    """
    members = as_members(models)
    if settings.coverage_beta and any(isinstance(model.decoder, PlainDecoder) for model in members):
        raise ValueError("coverage_beta needs models that look back at their source, got one with a PlainDecoder")
    source, lengths = _checked(members[0], source, lengths)
    penalties = length_divisors(settings.length_penalty, settings.steps)
    compiled_for = dataclasses.replace(settings, length_penalty=UNPENALISED)
    beams: Beams = _searched(members, source, lengths, penalties, compiled_for)
    return beams


@functools.partial(jax.jit, static_argnames="settings")
def _searched(
    models: list[Seq2Seq],
    source: Int[Array, "B S"],
    lengths: Int[Array, "B"],
    penalties: Float[Array, "lengths"],
    settings: BeamSettings,
) -> Beams:
    """Reading and searching as one program, the same for all length penalties."""
    step, state, scores, masks = _started(models, source, lengths)
    beta = settings.coverage_beta
    return beam_search(
        step,
        state,
        scores,
        beam=settings.beam,
        steps=settings.steps,
        end=END,
        min_steps=settings.min_steps,
        n_best=settings.n_best,
        length_penalty=lambda _: penalties,
        block_ngrams=settings.block_ngrams,
        extra=as_partial("extra", _uncovered, masks, jnp.asarray(beta)) if beta else None,
    )


def sample_translations(
    models: Seq2Seq | Sequence[Seq2Seq],
    source: Int[ArrayLike, "B S"],
    *,
    lengths: Int[ArrayLike, "B"] | None = None,
    key: Key[Array, ""],
    sampling: Sampling = Sampling(),
    steps: int = 200,
) -> tuple[Int[Array, "B N"], Int[Array, "B"]]:
    """A translation of each source, drawn symbol by symbol from the models' probabilities.

    Args:
      models, source, lengths: see `translate`.
      key: fixes every random choice.
      sampling: how a symbol is drawn.
      steps: N, the most symbols.

    Returns:
      symbols [B, N], and how many of each row's count, without the end symbol.

    Raises:
      TypeError, ValueError: no model, models of different vocabularies, or arguments that do not fit.
    """
    members = as_members(models)
    step, state, scores, _ = _started(members, *_checked(members[0], source, lengths))
    symbols, after = decode(step, start(state, scores, key, (END,)), steps, sampling, (END,))
    return symbols, after.lengths


def _checked(
    model: Seq2Seq, source: Int[ArrayLike, "B S"], lengths: Int[ArrayLike, "B"] | None
) -> tuple[Int[Array, "B S"], Int[Array, "B"]]:
    """Sources of the model's symbols, and their lengths."""
    source = checks.whole_numbers("source", source, ("B", "S"), 0, vocabulary_sizes(model)[0] - 1)
    lengths = jnp.full(len(source), source.shape[1], jnp.int32) if lengths is None else lengths
    return source, checks.whole_numbers("lengths", lengths, (len(source),), 1, source.shape[1])


def _started(
    members: Sequence[Seq2Seq], source: Int[Array, "B S"], lengths: Int[Array, "B"]
) -> tuple[Partial, PyTree, Float[Array, "B V"], tuple[Array, ...]]:
    """The sources read: a step function, its state, the scores of the first symbol, and which steps are there."""
    steps, states, scores, masks = [], [], [], []
    for model in members:
        memory, state, logits = _read(model, source, lengths)
        steps.append(as_partial("step", type(model).step, model, memory))
        states.append(state)
        scores.append(logits)
        masks.append(memory.is_there)
    if len(members) == 1:
        return steps[0], states[0], scores[0], tuple(masks)
    return ensemble(steps), tuple(states), mean_log_probabilities(scores), tuple(masks)


@jax.jit
def _read(model: Seq2Seq, source: Array, lengths: Array) -> tuple[Any, PyTree, Float[Array, "B V"]]:
    memory, state = model.encode(source, lengths=lengths)
    logits, state = model.step(memory, jnp.full(len(source), START, jnp.int32), state)
    return memory, state, logits


def _uncovered(masks: tuple[Array, ...], beta: Array, states: PyTree) -> Float[Array, "R"]:
    """The coverage penalty, the mean of the members'."""
    each = (states,) if len(masks) == 1 else states
    penalties = [coverage_penalty(state.coverage, mask, beta) for state, mask in zip(each, masks, strict=True)]
    return jnp.mean(jnp.stack(penalties), axis=0)


def as_members(models: Seq2Seq | Sequence[Seq2Seq]) -> list[Seq2Seq]:
    """One or several models as a list, once it is sure that they belong together."""
    members = [models] if isinstance(models, Seq2Seq) else list(models)
    if not members:
        raise ValueError("models must be at least one Seq2Seq, got none")
    for model in members:
        if not isinstance(model, Seq2Seq):
            raise TypeError(f"models must be Seq2Seq models, got {type(model).__name__}")
    sizes = {vocabulary_sizes(model) for model in members}
    if len(sizes) > 1:
        raise ValueError(f"models must have the same vocabularies, got {sorted(sizes)} symbols")
    return members


def vocabulary_sizes(model: Seq2Seq) -> tuple[int, int]:
    """How many symbols source and target have."""
    return model.source_embed.embed.num_embeddings, model.vocab_size
