"""Regularisation: dropout modules, regularised cells, penalties on activations, what weight decay should touch.

Nothing here holds an RNG: a call with a key is training, one without is evaluation and leaves everything as it is.
After a model's `train()` a call without a key is refused, and after its `eval()` one with a key.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.cells.noise import RecurrentDropout, WeightDrop, Zoneout
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.masking import valid_steps
from lstmjax.types import Array, Bool, Float, Int, Key, Lengths, Mask, PyTree

__all__ = [
    "Dropout",
    "EmbeddingDropout",
    "RecurrentDropout",
    "UnknownWords",
    "WeightDrop",
    "Zoneout",
    "activation_penalty",
    "locked_dropout",
    "temporal_activation_penalty",
    "weight_decay_mask",
]


def split_key(key: Key[Array, ""] | None, count: int) -> Sequence[Any]:
    """A key for each of `count` parts of a model; None for each, so no noise, where there is no key.

    >>> split_key(None, 2)
    [None, None]
    """
    return [None] * count if key is None else list(jax.random.split(key, count))


class Noisy(nnx.Module):
    """A module with noise, which `train()` and `eval()` make strict about the key that a call is given.

    `deterministic` is None until one of them, or `nnx.view(model, deterministic=...)`, is called: then a key alone says
    whether there is noise.
    """

    deterministic: bool | None = None

    def set_view(self, deterministic: bool | None = None) -> None:
        """What `nnx.view` calls.

        Args:
          deterministic: False, as `train()`: a key is needed. True, as `eval()`: a key is refused.
        """
        if deterministic is not None:
            self.deterministic = deterministic

    def check_key(self, key: Key[Array, ""] | None) -> None:
        """A key is there after `train()`, and none after `eval()`.

        Raises:
          ValueError: it is the other way round.
        """
        name = type(self).__name__
        if self.deterministic is False and key is None:
            raise ValueError(f"key must be given after train(), or {name} would drop nothing; eval() switches it off")
        if self.deterministic is True and key is not None:
            raise ValueError(f"key must be left out after eval(), where {name} drops nothing; train() switches it on")


class Dropout(Noisy):
    """Zero each entry with probability `rate` and scale the rest by 1 / (1 - rate), whenever a key is given.

    Args:
      rate: in [0, 1).
      broadcast_dims: axes along which one mask is shared; `(1,)` on [B, T, D] is locked dropout.

    Raises:
      ValueError: `rate` outside [0, 1); and, when called, no key after `train()`, or one after `eval()`.

    Source: Srivastava et al. 2014.

    >>> Dropout(0.5)(jnp.ones((2, 3)), key=None).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """

    def __init__(self, rate: float, broadcast_dims: tuple[int, ...] = ()) -> None:
        checks.rate("rate", rate)
        self.drop = nnx.Dropout(rate, broadcast_dims=broadcast_dims)

    def __call__(self, x: Float[Array, "*batch D"], *, key: Key[Array, ""] | None) -> Float[Array, "*batch D"]:
        if self.drop.rate > 0:
            self.check_key(key)
        return x if key is None else self.drop(x, deterministic=False, rngs=key)


def locked_dropout(rate: float, time_axis: int = 1) -> Dropout:
    """Dropout with one mask for all steps of a sequence (variational dropout; Keras calls it SpatialDropout1D).

    Source: Gal and Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks".

    >>> y = locked_dropout(0.5)(jnp.ones((2, 4, 8)), key=jax.random.key(0))
    >>> bool(jnp.all(y == y[:, :1]))
    True
    """
    return Dropout(rate, broadcast_dims=(time_axis,))


class EmbeddingDropout(nnx.Module):
    """Word dropout: with a key, each symbol loses its embedding everywhere in the batch with probability `rate`.

    The rest are scaled by 1 / (1 - rate).

    Args:
      embed: Flax's embedding of V symbols.
      rate: in [0, 1).

    Raises:
      ValueError: `rate` outside [0, 1).

    Source: Gal and Ghahramani 2016; Merity, Keskar and Socher 2018 (AWD-LSTM).

    >>> embed = EmbeddingDropout(nnx.Embed(10, 4, rngs=nnx.Rngs(0)), 0.5)
    >>> ys = embed(jnp.array([[1, 2, 1]]), key=jax.random.key(0))
    >>> ys.shape, bool(jnp.all(ys[0, 0] == ys[0, 2]))
    ((1, 3, 4), True)
    """

    def __init__(self, embed: nnx.Embed, rate: float) -> None:
        if not isinstance(embed, nnx.Embed):
            raise TypeError(f"embed must be an nnx.Embed, got {type(embed).__name__}")
        self.embed = embed
        self.drop = Dropout(rate)

    def __call__(self, tokens: Int[Array, "*batch"], *, key: Key[Array, ""] | None) -> Float[Array, "*batch D"]:
        xs = self.embed(tokens)
        kept = self.drop(jnp.ones(self.embed.num_embeddings, xs.dtype), key=key)
        return xs * jnp.broadcast_to(kept[tokens][..., None], xs.shape)


class UnknownWords(Noisy):
    """Words taken for unknown ones in training, rare ones more often, so that the unknown word's embedding is learnt.

        p = rate / (rate + count)

    With a key, each token takes the symbol `unknown` with probability p, by itself, where `count` says how often its
    word occurs in the training data; a word that never occurs always does.

    Args:
      vocab_size: V.
      rate: at least 0; 0 changes nothing.
      unknown: the symbol of unknown words, in 0..V-1.

    `count` [V], 1 for every word until it is set, belongs to the model and is saved with it.

    Raises:
      ValueError: a negative rate, or another symbol.

    Source: Kiperwasser and Goldberg 2016, "Simple and Accurate Dependency Parsing Using Bidirectional LSTM Feature
    Representations".

    >>> words = UnknownWords(4, rate=1.0, unknown=1)
    >>> words.count[...] = jnp.array([1.0, 1.0, 1e9, 1e-9])
    >>> words(jnp.array([[2, 3]]), key=jax.random.key(0)).tolist(), words(jnp.array([[2, 3]]), key=None).tolist()
    ([[2, 1]], [[2, 3]])
    """

    def __init__(self, vocab_size: int, rate: float, unknown: int = 1) -> None:
        checks.positive_int("vocab_size", vocab_size)
        checks.at_least_zero("rate", rate)
        self.rate, self.unknown = rate, checks.index("unknown", unknown, 0, vocab_size - 1)
        self.count = nnx.Variable(jnp.ones(vocab_size, jnp.float32))

    def __call__(self, tokens: Int[Array, "*batch"], *, key: Key[Array, ""] | None) -> Int[Array, "*batch"]:
        if self.rate == 0:
            return tokens
        self.check_key(key)
        if key is None:
            return tokens
        count = self.count[...][tokens]
        is_lost = jax.random.bernoulli(key, self.rate / (self.rate + count))
        return jnp.where(is_lost, jnp.asarray(self.unknown, tokens.dtype), tokens)


def activation_penalty(ys: Float[Array, "B T *out"], *, lengths: Lengths = None, mask: Mask = None) -> Float[Array, ""]:
    """Activation regularisation (AR): the mean square of the outputs at valid steps; add `alpha` times it to a loss.

    Args:
      ys: outputs [B, T, H], after dropout.
      lengths, mask: see `lstmjax.unroll`.

    Returns:
      A scalar, 0 if no step is valid.

    Source: Merity, McCann and Socher 2017, "Revisiting Activation Regularization for Language RNNs".

    >>> float(activation_penalty(jnp.full((1, 2, 3), 2.0), lengths=jnp.array([1])))
    4.0
    """
    valid = _valid(ys, lengths, mask)
    return _mean_square(ys, valid)


def temporal_activation_penalty(
    ys: Float[Array, "B T *out"], *, lengths: Lengths = None, mask: Mask = None
) -> Float[Array, ""]:
    """Temporal activation regularisation (TAR): the mean square of what changes from a step to the next.

    Args:
      ys: outputs [B, T, H], before dropout.
      lengths, mask: see `lstmjax.unroll`; both steps of a pair must be valid.

    Returns:
      A scalar, 0 if there is no pair.

    Source: Merity, McCann and Socher 2017, "Revisiting Activation Regularization for Language RNNs".

    >>> float(temporal_activation_penalty(jnp.array([[[0.0], [2.0], [3.0]]]), lengths=jnp.array([2])))
    4.0
    """
    valid = _valid(ys, lengths, mask)
    return _mean_square(ys[:, 1:] - ys[:, :-1], valid[:, 1:] & valid[:, :-1])


def weight_decay_mask(params: PyTree) -> PyTree:
    """Which parameters weight decay should pull to zero: what multiplies an input or a state, and nothing else.

    This is the one rule of lstmjax, by names: `w_x`, `w_h`, `w_c`, `w_p` of our cells and `kernel` of Flax's layers
    decay. All else is left alone: biases, gains of a normalisation, learned initial states, embeddings (tied ones too),
    scores of transitions, and whatever has another name.

    Args:
      params: a tree whose leaves' names are those of lstmjax and Flax, such as `lstmjax.trees.split_model` gives.

    Returns:
      Booleans in the tree of `params`, as `optax.add_decayed_weights` and `optax.adamw` take for `mask`.

    >>> weight_decay_mask({"lstm": lx.cells.LSTM(3, 5).init(jax.random.key(0))})
    {'lstm': LSTMParams(w_x=True, w_h=True, b=False)}
    """
    names = {"w_x", "w_h", "w_c", "w_p", "kernel"}

    def decays(path: tuple[jax.tree_util.KeyEntry, ...], _: Array) -> bool:
        return bool(names & {jax.tree_util.keystr((entry,), simple=True) for entry in path[-2:]})

    return jax.tree_util.tree_map_with_path(decays, params)


def _valid(ys: Array, lengths: Lengths, mask: Mask) -> Bool[Array, "B T"]:
    checks.kind("ys", ys, jnp.floating)
    if ys.ndim < 3:
        raise ValueError(f"ys must have shape [B, T, ...], got {list(ys.shape)}")
    batch, steps = ys.shape[:2]
    valid = valid_steps(lengths, mask, steps, batch)
    return jnp.ones((batch, steps), bool) if valid is None else valid.T


def _mean_square(values: Float[Array, "B T *out"], valid: Bool[Array, "B T"]) -> Float[Array, ""]:
    """In at least float32, which holds sums that half precision can't."""
    every = jnp.broadcast_to(valid.reshape(valid.shape + (1,) * (values.ndim - 2)), values.shape)
    squares = jnp.square(jnp.where(every, values, jnp.zeros_like(values)).astype(accumulation_dtype(values.dtype)))
    return jnp.sum(squares) / jnp.maximum(jnp.sum(every), 1).astype(squares.dtype)
