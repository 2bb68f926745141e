"""What scores of tags mean: each token's tag by itself, or a chain of tags; both with the same three questions."""

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks, crf
from lstmjax.positions import classes, counted, keep_counted
from lstmjax.types import Array, Bool, Float, Int, Lengths


class IndependentTags(nnx.Module):
    """Each token's tag by itself: a softmax of its emissions.

        log p(y | x) = sum_t log softmax(e_t)[y_t]

    It has no parameters.

    Args:
      num_tags: K.

    >>> tags = lx.layers.IndependentTags(2)
    >>> tags.decode(jnp.array([[[0.0, 1.0], [2.0, 1.0], [0.0, 9.0]]]), lengths=jnp.array([2])).tolist()
    [[1, 0, 0]]
    """

    def __init__(self, num_tags: int) -> None:
        self.num_tags = checks.positive_int("num_tags", num_tags)

    def log_likelihood(
        self, emissions: Float[Array, "B T K"], tags: Int[Array, "B T"], *, lengths: Lengths = None
    ) -> Float[Array, "B"]:
        """`log p(y | x)` of each sentence, 0 where it is empty.

        Args:
          emissions: a score for every tag at every token, [B, T, K].
          tags: integers [B, T] in 0..K-1; what stands after a sentence's end makes no difference.
          lengths: integers [B] in 0..T; None where every sentence has T tokens.
        """
        valid = _valid(emissions, self.num_tags, lengths)
        tags = classes("tags", tags, emissions.shape[:2], self.num_tags, valid)
        each = jax.nn.log_softmax(keep_counted(emissions, valid), axis=2)
        of_tags = jnp.take_along_axis(each, tags[..., None], axis=2)[..., 0]
        return jnp.sum(of_tags, axis=1, where=valid)

    def decode(self, emissions: Float[Array, "B T K"], *, lengths: Lengths = None) -> Int[Array, "B T"]:
        """The most probable tags, int32 [B, T], the first of equals; 0 after the end."""
        valid = _valid(emissions, self.num_tags, lengths)
        return keep_counted(jnp.argmax(emissions, axis=2).astype(jnp.int32), valid)

    def marginals(self, emissions: Float[Array, "B T K"], *, lengths: Lengths = None) -> Float[Array, "B T K"]:
        """The probability of every tag at every token; zeros after the end."""
        valid = _valid(emissions, self.num_tags, lengths)
        return keep_counted(jax.nn.softmax(keep_counted(emissions, valid), axis=2), valid)


class CRF(nnx.Module):
    """A linear-chain conditional random field: tags that know their neighbours.

        score(y) = start[y_1] + sum_t e_t[y_t] + sum_t between[y_{t-1}, y_t] + end[y_T]
        log p(y | x) = score(y) - log sum_{y'} exp(score(y'))

    Args:
      num_tags: K.
      constraints: 0 for the starts, transitions and ends that may be, -inf for all others, such as
        `lstmjax.crf.constraints` gives; they hold for `decode` and `marginals`. `log_likelihood` does not ask, so that
        true tags that break the rules (as many files have) can still be learnt from. None allows everything.

    All transitions start at 0.

    Raises:
      ValueError: `num_tags` below 1, or constraints of another number of tags.

    Source: Lafferty, McCallum and Pereira 2001; Lample et al. 2016, "Neural Architectures for Named Entity
    Recognition".

    >>> tags = lx.layers.CRF(3, lx.crf.constraints(["O", "B-x", "I-x"], "BIO"))
    >>> emissions = jnp.array([[[0.0, 1.0, 5.0], [0.0, 1.0, 2.0]]])
    >>> tags.decode(emissions).tolist(), lx.layers.CRF(3).decode(emissions).tolist()
    ([[1, 2]], [[2, 2]])
    """

    def __init__(self, num_tags: int, constraints: crf.Transitions | None = None) -> None:
        self.num_tags = checks.positive_int("num_tags", num_tags)
        self.between = nnx.Param(jnp.zeros((num_tags, num_tags), jnp.float32))
        self.start = nnx.Param(jnp.zeros(num_tags, jnp.float32))
        self.end = nnx.Param(jnp.zeros(num_tags, jnp.float32))
        if constraints is not None:
            jax.tree.map(
                lambda rule, score: checks.shape("constraints", rule, score.shape), constraints, self.transitions
            )
        self.constraints = None if constraints is None else nnx.data(jax.tree.map(nnx.Variable, constraints))

    @property
    def transitions(self) -> crf.Transitions:
        """What is learnt, without the constraints."""
        return crf.Transitions(self.between[...], self.start[...], self.end[...])

    @property
    def allowed(self) -> crf.Transitions:
        """What is learnt, -inf where the constraints forbid."""
        if self.constraints is None:
            return self.transitions
        allowed: crf.Transitions = jax.tree.map(
            lambda score, rule: score + rule[...], self.transitions, self.constraints
        )
        return allowed

    def log_likelihood(
        self, emissions: Float[Array, "B T K"], tags: Int[Array, "B T"], *, lengths: Lengths = None
    ) -> Float[Array, "B"]:
        """`log p(y | x)` of each sentence; arguments as in `IndependentTags`."""
        return crf.log_likelihood(emissions, tags, self.transitions, lengths=lengths)

    def decode(self, emissions: Float[Array, "B T K"], *, lengths: Lengths = None) -> Int[Array, "B T"]:
        """The most probable chain of those allowed, int32 [B, T]; 0 after the end."""
        return crf.viterbi(emissions, self.allowed, lengths=lengths)[0]

    def marginals(self, emissions: Float[Array, "B T K"], *, lengths: Lengths = None) -> Float[Array, "B T K"]:
        """The probability of every tag at every token, over all chains allowed; zeros after the end."""
        return crf.marginals(emissions, self.allowed, lengths=lengths)


def _valid(emissions: Array, num_tags: int, lengths: Lengths) -> Bool[Array, "B T"] | None:
    checks.shape("emissions", emissions, ("B", "T", num_tags))
    return counted(emissions.shape[:2], lengths, None, None)
