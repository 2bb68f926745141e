"""Drawings and handwriting, point by point: where the pen goes next is a mixture of Gaussians."""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from lstmjax import checks, layers, regularizers
from lstmjax.data.source import SequenceBatch
from lstmjax.data.strokes import ENDS
from lstmjax.densities import log_density
from lstmjax.models.config_parts import CELLS, check_fields
from lstmjax.positions import counted, keep_counted
from lstmjax.sampling import GaussianMixture
from lstmjax.tasks import Mean, Task
from lstmjax.types import Array, Float, Int, Key

PENS = ENDS + 1


@dataclasses.dataclass(frozen=True)
class MixtureDensityConfig:
    """Sizes and regularisation of a `MixtureDensity`."""

    cell: Literal["lstm", "gru"] = "lstm"
    """What the layers are made of."""
    hidden_features: tuple[int, ...] = (200,)
    """The width of each recurrent layer, bottom first."""
    components: int = 20
    """M, how many Gaussians the next point's place is a mixture of."""
    smallest_scale: float = 0.01
    """Added to the diagonal of every covariance's Cholesky factor, at least 0, in standard deviations of all offsets:
    where points repeat or lie on a grid, the likeliest density would be infinite."""
    output_dropout: float = 0.0
    """Locked dropout on what the last layer hands to the scores, in [0, 1)."""

    def __post_init__(self) -> None:
        check_fields(self, {"smallest_scale": 0})
        if not self.hidden_features:
            raise ValueError("hidden_features must have a width for at least one recurrent layer, got none")


class StrokeScores(NamedTuple):
    """The distribution of the next point.

    `offset`: a `GaussianMixture` over dx and dy, in the data's own units. `pen`: logits [*batch, 3] of what the pen
    does there, see `lstmjax.data.strokes`.
    """

    offset: GaussianMixture
    pen: Float[Array, "*batch 3"]


class MixtureDensity(nnx.Module):
    """The next point of a drawing from all points before it.

        h = recurrent([(offset - mean) / scale; one_hot(pen)])
        logits, means, d, e, pen = split(W h + b),    L[m] = [[s + softplus(d1), 0], [e, s + softplus(d2)]]
        p(offset') = sum_m softmax(logits)[m] Normal(offset'; means[m], L[m] L[m]^T),    p(pen') = softmax(pen)

    Graves's network has standard deviations and a correlation in place of the Cholesky factor L, which says the same,
    and an end of stroke for each point; the pen's third state here ends the drawing too, so that one can be drawn to
    its end. As the three exclude one another, they are one choice and not two of yes and no.

    Args:
      config: sizes.
      rngs: draws the initial parameters (stream "params").

    Source: Graves 2013, "Generating Sequences With Recurrent Neural Networks", section 4, without its connections past
    layers; three states of the pen: Ha and Eck 2018, "A Neural Representation of Sketch Drawings".

    >>> model = lx.models.MixtureDensity(lx.models.MixtureDensityConfig(components=4), rngs=nnx.Rngs(0))
    >>> scores, state = model(jnp.zeros((2, 7, 3)))
    >>> scores.offset.means.shape, scores.pen.shape
    ((2, 7, 4, 2), (2, 7, 3))
    """

    def __init__(self, config: MixtureDensityConfig, *, rngs: nnx.Rngs) -> None:
        checks.instance("config", config, MixtureDensityConfig)
        self.config = config
        self.standardize = layers.Standardize(2)
        self.recurrent = layers.stack(CELLS[config.cell], 2 + PENS, config.hidden_features, rngs=rngs)
        self.output_dropout = regularizers.locked_dropout(config.output_dropout)
        self.head = nnx.Linear(config.hidden_features[-1], 6 * config.components + PENS, rngs=rngs)

    def initial_state(self, batch_size: int) -> tuple[Any, ...]:
        """Every layer's state before the first point."""
        return self.recurrent.initial_state(batch_size)

    def __call__(
        self,
        points: Float[Array, "B T 3"],
        state: tuple[Any, ...] | None = None,
        *,
        lengths: Int[Array, "B"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[StrokeScores, tuple[Any, ...]]:
        """Score what follows each point.

        Args:
          points: dx, dy and pen, floating [B, T, 3], as `lstmjax.data.strokes` has them.
          state: what an earlier call returned, to go on from there; None starts anew.
          lengths: integers [B] in 0..T, for drawings of different lengths.
          key: switches dropout on and draws its masks; None, as at evaluation, means no dropout.

        Returns:
          scores [B, T, ...], of the point after each; and the new state.

        Raises:
          TypeError, ValueError: points of another dtype or shape.
        """
        points = jnp.asarray(points)
        checks.kind("points", points, jnp.floating)
        checks.shape("points", points, ("B", "T", 3))
        pens = jax.nn.one_hot(points[..., 2].astype(jnp.int32), PENS, dtype=points.dtype)
        xs = jnp.concatenate([self.standardize(points[..., :2]), pens], axis=2)
        key_in, key_out = regularizers.split_key(key, 2)
        hs, state = self.recurrent(xs, state=state, lengths=lengths, key=key_in)
        return self._scores(self.head(self.output_dropout(hs, key=key_out))), state

    def _scores(self, raw: Float[Array, "B T K"]) -> StrokeScores:
        """The mixture in the data's own units: its means moved and stretched, its factors stretched."""
        count = self.config.components
        sizes = (count, 2 * count, 2 * count, count)
        logits, means, diagonal, below, pen = jnp.split(raw, np.cumsum(sizes).tolist(), axis=-1)
        diagonal = self.config.smallest_scale + jax.nn.softplus(diagonal)
        first, second = jnp.split(diagonal, 2, axis=-1)
        tril = jnp.stack([first, jnp.zeros_like(first), below, second], axis=-1).reshape(*first.shape, 2, 2)
        scale = jnp.broadcast_to(self.standardize.scale[...][:, None], tril.shape)
        means = self.standardize.inverse(jnp.stack(jnp.split(means, 2, axis=-1), axis=-1))
        return StrokeScores(GaussianMixture(logits, means, scale * tril), pen)


def task(config: MixtureDensityConfig) -> Task:
    """Predict each point from all before it, from batches of `SequenceBatch`: points [B, T, 3] and those after them.

        loss = mean over points of -log p(offset) - log p(pen),    in nats

    The density of offsets is that of standardised ones, `(offset - mean) / scale` by the training data, so figures do
    not depend on units; in the data's own units, a point has `log(scale_x scale_y)` nats more.

    Args:
      config: any; the task is the same for all.

    Returns:
      a task. Its figures: loss; offset_nll and pen_nll, its two parts; pen_accuracy.
    """
    return Task(_loss)


def _loss(model: MixtureDensity, batch: SequenceBatch, carry: tuple[()], key: Any) -> tuple[dict[str, Mean], tuple[()]]:
    targets = jnp.asarray(batch.targets)
    lengths: Any = batch.lengths
    scores, _ = model(jnp.asarray(batch.inputs), lengths=lengths, key=key)
    weights = counted(targets.shape[:2], lengths, None, batch.weights)
    targets = keep_counted(targets, weights)
    pens = targets[..., 2].astype(jnp.int32)
    unit = jnp.sum(jnp.log(model.standardize.scale[...]))
    offset_nll = -log_density(scores.offset, targets[..., :2]) - unit
    pen_nll = optax.softmax_cross_entropy_with_integer_labels(scores.pen, pens)
    hits = jnp.argmax(scores.pen, axis=-1) == pens
    figures = {"loss": offset_nll + pen_nll, "offset_nll": offset_nll, "pen_nll": pen_nll, "pen_accuracy": hits}
    return {name: Mean.of(values, weights) for name, values in figures.items()}, carry
