"""Which notes sound at a step: each by itself, or all together; both with the same questions."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from lstmjax import checks
from lstmjax.initializers import glorot_uniform
from lstmjax.layers.recurrent import check_rngs
from lstmjax.sampling import BernoulliSampling, Draw
from lstmjax.types import Array, ArrayLike, Bool, Float, Key


class IndependentNotes(nnx.Module):
    """Every note by itself: a Bernoulli distribution for each, given what came before.

        p(v | h) = prod_i p_i^v_i (1 - p_i)^(1 - v_i),    p = sigmoid(W h + b)

    Args:
      features: D, the size of h.
      num_notes: P.
      rngs: draws the initial parameters (stream "params").

    Source: the outputs of the RNN of Boulanger-Lewandowski, Bengio and Vincent 2012, "Modeling Temporal Dependencies in
    High-Dimensional Sequences".

    >>> notes = lx.models.IndependentNotes(8, 5, rngs=nnx.Rngs(0))
    >>> logits = notes(jnp.ones((2, 7, 8)))
    >>> logits.shape, notes.log_likelihood(logits, jnp.zeros((2, 7, 5), bool)).shape
    ((2, 7, 5), (2, 7))
    """

    def __init__(self, features: int, num_notes: int, *, rngs: nnx.Rngs) -> None:
        check_rngs("rngs", rngs)
        self.in_features = checks.positive_int("features", features)
        self.num_notes = checks.positive_int("num_notes", num_notes)
        self.head = nnx.Linear(features, num_notes, rngs=rngs)

    def __call__(self, hs: Float[Array, "*batch D"]) -> Float[Array, "*batch P"]:
        """Logits, one a note, from h [*batch, D]: what `log_likelihood` and draws take."""
        logits: Array = self.head(hs)
        return logits

    def log_likelihood(
        self, scores: Float[Array, "*batch P"], notes: Bool[Array, "*batch P"]
    ) -> Float[Array, "*batch"]:
        """`log p(v | h)` in nats, summed over the notes of each step.

        Args:
          scores: logits [*batch, P].
          notes: v, booleans or 0 and 1, [*batch, P].
        """
        return -jnp.sum(optax.sigmoid_binary_cross_entropy(scores, _sounding(notes, scores)), axis=-1)

    def probabilities(
        self, scores: Float[Array, "*batch P"], notes: Bool[Array, "*batch P"]
    ) -> Float[Array, "*batch P"]:
        """That each note sounds, [*batch, P]; `notes`, which say what else does, change nothing here."""
        checks.shape("notes", notes, scores.shape)
        return jax.nn.sigmoid(scores)

    def draw(self, temperature: float = 1.0) -> Draw:
        """Draws notes [P] from the scores of one row, see `lstmjax.decoding.decode`.

        Args:
          temperature: at least 0; divides every logit. 0 takes each note that is likelier than not.
        """
        return BernoulliSampling(temperature)

    def start_from(self, shares: Float[ArrayLike, "P"]) -> None:
        """Set b so that, as long as h says nothing, each note sounds as often as `shares` [P] in (0, 1) say."""
        self.head.bias = nnx.Param(_log_odds(shares, self.num_notes))


class NADEScores(NamedTuple):
    """What h says of the notes: `visible` [*batch, P], added to each note's logit, and `hidden` [*batch, H]."""

    visible: Float[Array, "*batch P"]
    hidden: Float[Array, "*batch H"]


class NADE(nnx.Module):
    """All notes together, the lowest first, each given h and the notes below it: the neural autoregressive estimator.

        p(v | h) = prod_i p(v_i | v_<i, h)
        p(v_i = 1 | v_<i, h) = sigmoid(b_i + V_i . sigmoid(c + sum_{j < i} v_j W_j)),    b = B h + b0,  c = C h + c0

    It is exact: the probabilities of all 2^P chords sum to 1. What is added to c changes only where a note sounds, so a
    step in which K notes sound takes K + 1 sums, all at once, and not P one after another.

    Args:
      features: D, the size of h.
      num_notes: P.
      hidden_features: H, the size of c.
      most_notes: K, in 1..P: how many notes of a step `log_likelihood` takes at most. Draws may have more.
      rngs: draws the initial parameters (stream "params").

    Source: Larochelle and Murray 2011, "The Neural Autoregressive Distribution Estimator"; after a recurrent network:
    the RNN-NADE of Boulanger-Lewandowski, Bengio and Vincent 2012.

    >>> notes = lx.models.NADE(8, 5, 16, most_notes=3, rngs=nnx.Rngs(0))
    >>> scores = notes(jnp.ones((2, 7, 8)))
    >>> scores.visible.shape, scores.hidden.shape, notes.log_likelihood(scores, jnp.zeros((2, 7, 5), bool)).shape
    ((2, 7, 5), (2, 7, 16), (2, 7))
    """

    def __init__(self, features: int, num_notes: int, hidden_features: int, *, most_notes: int, rngs: nnx.Rngs) -> None:
        check_rngs("rngs", rngs)
        self.in_features = checks.positive_int("features", features)
        self.num_notes = checks.positive_int("num_notes", num_notes)
        self.most_notes = checks.index("most_notes", most_notes, 1, num_notes)
        self.visible = nnx.Linear(features, num_notes, rngs=rngs)
        self.hidden = nnx.Linear(features, checks.positive_int("hidden_features", hidden_features), rngs=rngs)
        self.w = nnx.Param(glorot_uniform(rngs.params(), (num_notes, hidden_features), jnp.float32))
        self.v = nnx.Param(glorot_uniform(rngs.params(), (num_notes, hidden_features), jnp.float32))

    def __call__(self, hs: Float[Array, "*batch D"]) -> NADEScores:
        """b and c, from h [*batch, D]: what `log_likelihood` and draws take."""
        return NADEScores(self.visible(hs), self.hidden(hs))

    def log_likelihood(self, scores: NADEScores, notes: Bool[Array, "*batch P"]) -> Float[Array, "*batch"]:
        """`log p(v | h)` in nats, over all notes of each step.

        Args:
          scores: what a call gave for h [*batch, D].
          notes: v, booleans or 0 and 1, [*batch, P].

        Raises:
          ValueError: notes of another shape, or more than K of them at a step (NaN inside `jit`).
        """
        logits = self.logits(scores, notes)
        return -jnp.sum(optax.sigmoid_binary_cross_entropy(logits, _sounding(notes, logits)), axis=-1)

    def probabilities(self, scores: NADEScores, notes: Bool[Array, "*batch P"]) -> Float[Array, "*batch P"]:
        """That each note sounds, given that of the notes below it those sound that `notes` [*batch, P] says."""
        return jax.nn.sigmoid(self.logits(scores, notes))

    def logits(self, scores: NADEScores, notes: Bool[Array, "*batch P"]) -> Float[Array, "*batch P"]:
        """Those of each note given the notes below it, [*batch, P]."""
        v = _sounding(notes, scores.visible)
        below = jnp.cumsum(v, axis=-1) - v  # how many notes sound below each
        too_many = jnp.sum(v, axis=-1, keepdims=True) > self.most_notes
        if not isinstance(too_many, jax.core.Tracer) and bool(too_many.any()):
            raise ValueError(f"notes must be at most {self.most_notes} at a step, got {int(v.sum(axis=-1).max())}")
        each = jnp.arange(self.most_notes + 1, dtype=v.dtype).reshape(-1, *[1] * v.ndim)
        lowest = jnp.where(below[None] < each, v[None], 0)  # [K + 1, *batch, P]: none, the lowest, the lowest two, ...
        c = scores.hidden[None] + jnp.matmul(lowest, self.w[...])
        given = jnp.matmul(jax.nn.sigmoid(c), self.v[...].T)
        given_lower = jnp.sum(jnp.where(below[None] == each, given, 0), axis=0)
        return jnp.where(too_many, jnp.nan, scores.visible + given_lower)

    def draw(self, temperature: float = 1.0) -> Draw:
        """Draws notes [P], the lowest first, from the scores of one row, see `lstmjax.decoding.decode`.

        Args:
          temperature: at least 0; divides every note's logit. 0 takes each note that is likelier than not.
        """
        return NADESampling(self.w[...], self.v[...], BernoulliSampling(temperature))

    def start_from(self, shares: Float[ArrayLike, "P"]) -> None:
        """Set b0 so that, as long as c is 0, each note sounds as often as `shares` [P] in (0, 1) say."""
        at_zero = jnp.sum(self.v[...], axis=1) / 2
        self.visible.bias = nnx.Param(_log_odds(shares, self.num_notes) - at_zero)


@dataclasses.dataclass(frozen=True, eq=False)
class NADESampling:
    """Draws the notes of one row, the lowest first, each given those that were drawn below it; see `NADE.draw`.

    Args:
      w, v: the weights of a `NADE`, [P, H].
      choose: draws one note from its logit.
    """

    w: Float[Array, "P H"]
    v: Float[Array, "P H"]
    choose: BernoulliSampling

    def __call__(self, key: Key[Array, ""], scores: NADEScores) -> Bool[Array, "P"]:
        """A boolean for each note."""

        def note(c: Array, at: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
            key, b, w, v = at
            (sounds,) = self.choose(key, (b + jnp.matmul(jax.nn.sigmoid(c), v))[None])
            return c + sounds.astype(c.dtype) * w, sounds

        _, notes = lax.scan(note, scores.hidden, (jax.random.split(key, len(self.w)), scores.visible, self.w, self.v))
        return notes


def _log_odds(shares: ArrayLike, num_notes: int) -> Float[Array, "P"]:
    shares = jnp.asarray(shares, jnp.float32)
    checks.shape("shares", shares, (num_notes,))
    return jnp.log(shares) - jnp.log1p(-shares)


def _sounding(notes: ArrayLike, like: Array) -> Array:
    """Notes as 0 and 1 in the dtype of the scores."""
    notes = jnp.asarray(notes)
    checks.shape("notes", notes, like.shape)
    return notes.astype(like.dtype)
