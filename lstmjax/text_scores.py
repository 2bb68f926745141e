"""A text scored by a trained language model, symbol by symbol, in the ways that results are published.

Each function gives the nats of every symbol but the first, `-log p(x[t] | x[..t-1])`, each from what comes before it
alone; their mean is the loss, its exponential the perplexity, and divided by log 2 it is in bits.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from lstmjax import checks
from lstmjax.data.text import Batch, EvaluationPlan, Reading
from lstmjax.models import LanguageModel
from lstmjax.tasks import Mean
from lstmjax.trees import split_model
from lstmjax.types import Array, Bool, Float, Int, PyTree

CHUNK, BLOCKS = 256, 8  # steps, and rows, that are read in one compiled call


def carried(model: LanguageModel, ids: Int[np.ndarray, "N"]) -> Float[np.ndarray, "N-1"]:
    """One state carried from the first symbol to the last: every symbol is predicted from all before it.

    Args:
      model: the language model.
      ids: the text's symbols, integers [N] in 0..V-1, at least 2 of them.

    Returns:
      nats [N - 1], float64.

    Raises:
      TypeError: no language model, or ids that are not an array of integers.
      ValueError: ids out of range.
      InputError: fewer than 2 symbols.

    >>> model = lx.models.LanguageModel(5, lx.models.LanguageModelConfig(3, 4), rngs=nnx.Rngs(0))
    >>> carried(model, np.array([0, 1, 2, 3])).shape
    (3,)
    """
    return _read(model, ids)[0]


def in_blocks(model: LanguageModel, ids: Int[np.ndarray, "N"], block_length: int) -> Float[np.ndarray, "N-1"]:
    """Blocks of so many predictions, each block from an empty state, as models with a window are scored.

    Block k reads x[kL], ..., x[kL + L - 1] and predicts x[kL + 1], ..., x[kL + L]: its j-th prediction is from j
    symbols, so on average half a block. Blocks follow one another without overlap, so every symbol but the first is
    predicted once; the last block may be shorter.

    Args:
      model, ids: see `carried`.
      block_length: L, at least 1.

    Returns and raises: see `carried`.

    Source: the evaluation of nanoGPT (there, over randomly placed blocks), https://github.com/karpathy/nanoGPT.

    >>> model = lx.models.LanguageModel(5, lx.models.LanguageModelConfig(3, 4), rngs=nnx.Rngs(0))
    >>> ids = np.array([0, 1, 2, 3, 4])
    >>> bool(np.allclose(in_blocks(model, ids, 2)[2:], carried(model, ids[2:])))
    True
    """
    _check(model, ids)
    checks.positive_int("block_length", block_length)
    graphdef, params = nnx.split(model)
    blocks = -(-(len(ids) - 1) // block_length)
    places = np.arange(blocks * block_length).reshape(blocks, block_length)
    found = []
    for first in range(0, blocks, BLOCKS):
        rows = np.arange(first, first + BLOCKS) % blocks  # the last call is filled up, and cut below
        mask = places[rows] < len(ids) - 1
        inside = np.minimum(places[rows], len(ids) - 2)
        batch = Batch(ids[inside], ids[inside + 1], np.ones(BLOCKS, bool), mask)
        found.append(np.asarray(_chunk(graphdef, params, model.initial_state(BLOCKS), batch)[0], np.float64))
    return np.concatenate(found).ravel()[: len(ids) - 1]


def with_cache(
    model: LanguageModel, ids: Int[np.ndarray, "N"], *, size: int, weight: float, flatness: float
) -> Float[np.ndarray, "N-1"]:
    """One carried state, and a memory of the last outputs h and of the symbols that came after them.

        p(w) = (1 - weight) p_model(w) + weight p_cache(w)
        p_cache(w) ~ sum of exp(flatness h_t . h_i) over the last `size` places i that w came after

    As long as nothing is remembered, p is the model's.

    Args:
      model, ids: see `carried`.
      size: at least 1, how many places are remembered.
      weight: in [0, 1).
      flatness: at least 0; 0 makes all places alike.

    Returns and raises: see `carried`; ValueError also for a setting out of range.

    Source: Grave, Joulin and Usunier 2017, "Improving Neural Language Models with a Continuous Cache".

    >>> model = lx.models.LanguageModel(5, lx.models.LanguageModelConfig(3, 4), rngs=nnx.Rngs(0))
    >>> ids = np.array([0, 1, 0, 1, 0, 1])
    >>> cached = with_cache(model, ids, size=4, weight=0.5, flatness=0.0)
    >>> bool(cached[0] == carried(model, ids)[0]), bool(cached[-1] < carried(model, ids)[-1])
    (True, True)
    """
    checks.positive_int("size", size)
    checks.rate("weight", weight)
    checks.at_least_zero("flatness", flatness)
    losses, outputs = _read(model, ids)
    pad = (-(len(ids) - 1)) % CHUNK
    keys = np.pad(outputs, ((size, pad), (0, 0)))
    after = np.pad(ids[1:].astype(np.int32), (size, pad), constant_values=-1)  # what came after; -1: nothing did
    found = []
    for first in range(0, len(ids) - 1, CHUNK):
        window = slice(first, first + size + CHUNK)
        found.append(np.asarray(_remembered(keys[window], after[window], flatness), np.float64))
    remembered, is_empty = np.concatenate(found)[: len(losses)], np.arange(len(losses)) == 0
    mixed = (1.0 - weight) * np.exp(-losses) + weight * remembered
    return np.where(is_empty, losses, -np.log(np.maximum(mixed, np.finfo(np.float64).tiny)))


def dynamic(
    model: LanguageModel,
    ids: Int[np.ndarray, "N"],
    *,
    learning_rate: float,
    decay: float = 0.0,
    chunk_length: int = 20,
) -> Float[np.ndarray, "N-1"]:
    """One carried state, and parameters that follow what was just read: each chunk is scored, then learnt from.

        params <- params - learning_rate g / (r + mean(r)) + min(decay r / mean(r), 1) (trained - params)

    with the gradient g of the chunk's mean loss, and r the root of the mean square of all chunks' gradients so far.
    mean(r) keeps the parameters of rare symbols from leaping; the paper has a constant there, and measures r on the
    training text before. The model that is given stays as it is.

    Args:
      model, ids: see `carried`.
      learning_rate: at least 0; at 0 this is `carried`.
      decay: at least 0, how strongly parameters are drawn back to the trained ones.
      chunk_length: at least 1, predictions between updates.

    Returns and raises: see `carried`; ValueError also for a setting out of range.

    Source: Krause, Kahembwe, Murray and Renals 2018, "Dynamic Evaluation of Neural Sequence Models".

    >>> model = lx.models.LanguageModel(3, lx.models.LanguageModelConfig(3, 4), rngs=nnx.Rngs(0))
    >>> losses = dynamic(model, np.array([0, 1, 2] * 20), learning_rate=0.01, chunk_length=3)
    >>> bool(losses[-3:].mean() < losses[:3].mean())
    True
    """
    _check(model, ids)
    checks.at_least_zero("learning_rate", learning_rate)
    checks.at_least_zero("decay", decay)
    reading = Reading(ids, EvaluationPlan(rows=1, warmup=0, chunk_length=chunk_length))
    graphdef, trained, other = split_model(model)
    zeros = jax.tree.map(jnp.zeros_like, trained)
    now = _Learning(jax.tree.map(jnp.copy, trained), zeros, jnp.zeros((), jnp.float32), model.initial_state(1))
    found = []
    for position in range(len(reading)):
        batch = reading.batch(position)
        losses, now = _learn(graphdef, trained, other, now, batch, learning_rate, decay)
        found.append(losses)
    return np.asarray(jnp.concatenate(found), np.float64)[: len(ids) - 1]


class _Learning(NamedTuple):
    """Parameters on their way, the sums of squares of their gradients, how many, and the carried state."""

    params: PyTree
    squares: PyTree
    updates: Float[Array, ""]
    state: PyTree


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def _learn(
    graphdef: nnx.GraphDef[Any],
    trained: PyTree,
    other: PyTree,
    now: _Learning,
    batch: Batch,
    learning_rate: float,
    decay: float,
) -> tuple[Float[Array, "T"], _Learning]:
    """Score a chunk, then go a step."""

    def loss_of(params: PyTree) -> tuple[Float[Array, ""], tuple[Float[Array, "T"], PyTree]]:
        losses, _, state = _scored(nnx.merge(graphdef, params, other), now.state, batch)
        return Mean.of(losses, batch.mask).value, (losses[0], state)

    gradients, (losses, state) = jax.grad(loss_of, has_aux=True)(now.params)
    squares = jax.tree.map(lambda sums, g: sums + jnp.square(g), now.squares, gradients)
    updates = now.updates + 1.0
    roots = jax.tree.map(lambda sums: jnp.sqrt(sums / updates), squares)
    mean = sum(jnp.sum(r) for r in jax.tree.leaves(roots)) / sum(r.size for r in jax.tree.leaves(roots)) + 1e-12

    def moved(param: Array, start: Array, gradient: Array, root: Array) -> Array:
        back = jnp.minimum(decay * root / mean, 1.0)
        step: Array = -learning_rate * gradient / (root + mean) + back * (start - param)
        return param + step

    params = jax.tree.map(moved, now.params, trained, gradients, roots)
    return losses, _Learning(params, squares, updates, state)


def _read(
    model: LanguageModel, ids: Int[np.ndarray, "N"]
) -> tuple[Float[np.ndarray, "N-1"], Float[np.ndarray, "N-1 H"]]:
    """The nats of each prediction, with one carried state, and the outputs that it is made from."""
    _check(model, ids)
    reading = Reading(ids, EvaluationPlan(rows=1, warmup=0, chunk_length=CHUNK))
    graphdef, params = nnx.split(model)
    state, losses, outputs = model.initial_state(1), [], []
    for position in range(len(reading)):
        found, ys, state = _chunk(graphdef, params, state, reading.batch(position))
        losses.append(np.asarray(found[0], np.float64))
        outputs.append(np.asarray(ys[0]))
    return np.concatenate(losses)[: len(ids) - 1], np.concatenate(outputs)[: len(ids) - 1]


@functools.partial(jax.jit, static_argnums=0)
def _chunk(
    graphdef: nnx.GraphDef[Any], params: PyTree, state: PyTree, batch: Batch
) -> tuple[Float[Array, "B T"], Float[Array, "B T H"], PyTree]:
    return _scored(nnx.merge(graphdef, params), state, batch)


def _scored(
    model: LanguageModel, state: PyTree, batch: Batch
) -> tuple[Float[Array, "B T"], Float[Array, "B T H"], PyTree]:
    ys, state = model.hidden(jnp.asarray(batch.inputs), state, mask=jnp.asarray(batch.mask))
    losses = optax.softmax_cross_entropy_with_integer_labels(model.score(ys), jnp.asarray(batch.targets))
    return losses, ys, state


@jax.jit
def _remembered(
    outputs: Float[Array, "M+T H"], after: Int[Array, "M+T"], flatness: Float[Array, ""]
) -> Float[Array, "T"]:
    """The cache's probability of what came after each of the last T outputs, from the M before it; 0 where none is."""
    size = len(after) - CHUNK
    places = jnp.arange(len(after))[None, :] - jnp.arange(CHUNK)[:, None]  # 0 is the oldest that is remembered
    inside: Bool[Array, "T M+T"] = (places >= 0) & (places < size) & (after >= 0)[None, :]
    alike = jnp.where(inside, flatness * (outputs[size:] @ outputs.T), -jnp.inf)
    shares = jax.nn.softmax(jnp.where(inside.any(axis=-1, keepdims=True), alike, 0.0), axis=-1)
    is_same = after[None, :] == after[size:, None]
    return jnp.sum(jnp.where(is_same & inside, shares, 0.0), axis=-1)


def _check(model: object, ids: object) -> None:
    if not isinstance(model, LanguageModel):
        raise TypeError(f"model must be a LanguageModel, got {type(model).__name__}")
    if not isinstance(ids, np.ndarray):
        raise TypeError(f"ids must be a NumPy array, got {type(ids).__name__}")
    checks.whole_numbers("ids", ids, ("N",), 0, model.vocab_size - 1)
