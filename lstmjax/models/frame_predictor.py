"""The next frames of a video: a stack of convolutional LSTMs reads the given ones, another writes what comes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import cells, checks, layers
from lstmjax.data.source import Examples
from lstmjax.layers.recurrent import check_rngs
from lstmjax.losses import binary_cross_entropy, mean_squared_error
from lstmjax.models.config_parts import check_fields
from lstmjax.tasks import Mean, Task
from lstmjax.types import Array, Float


@dataclasses.dataclass(frozen=True)
class FramePredictorConfig:
    """Sizes of a `FramePredictor`."""

    hidden_features: tuple[int, ...] = (64, 64)
    """Channels of each layer's state, bottom first, in the encoder and in the forecaster."""
    kernel_sizes: tuple[int, ...] = (3, 3)
    """Width and height of each layer's convolutions; where all are 1, every patch has an LSTM to itself."""
    patch_size: int = 4
    """p: p x p pixels are one place of the grid, with all their values as channels; divides height and width."""
    spatial_shape: tuple[int, int] | None = None
    """Height and width of a frame; None leaves this and what follows to the data."""
    channels: int | None = None
    """C, values of a pixel."""

    def __post_init__(self) -> None:
        check_fields(self)
        checks.sizes("hidden_features", self.hidden_features, range(1, 17))
        checks.sizes("kernel_sizes", self.kernel_sizes, [len(self.hidden_features)])
        if self.spatial_shape is not None:
            checks.sizes("spatial_shape", self.spatial_shape, [2])
            if any(size % self.patch_size for size in self.spatial_shape):
                raise ValueError(f"patch_size must divide height and width {self.spatial_shape}, got {self.patch_size}")


class FramePredictor(nnx.Module):
    """Frames that follow the given ones: an encoder and a forecaster, stacks of `ConvLSTM`s of the same sizes.

        states = encoder(frames)                   the state of each layer after the last given frame
        h_1, ..., h_L = forecaster(1; states)      over the steps to come, from those states
        logits = W [h_1; ...; h_L] + b             at each place of the grid

    Frames are cut into patches of p x p pixels: [height, width, C] becomes [height/p, width/p, p p C], and logits are
    put together again. The forecaster knows nothing but its states: its input is 1 at every place and step, so that
    it can tell places by the border, beyond which there are zeros.

    Args:
      config: all sizes, those that it leaves to the data included.
      rngs: draws the initial parameters (stream "params").

    Raises:
      ValueError: the config leaves spatial_shape or channels open.
      TypeError: `rngs` is no `nnx.Rngs`.

    Source: Shi et al. 2015, "Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting"
    (here without peepholes).

    >>> config = lx.models.FramePredictorConfig((8, 4), (3, 3), patch_size=2, spatial_shape=(8, 6), channels=1)
    >>> model = lx.models.FramePredictor(config, rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((2, 5, 8, 6, 1)), steps=3).shape
    (2, 3, 8, 6, 1)
    """

    def __init__(self, config: FramePredictorConfig, *, rngs: nnx.Rngs) -> None:
        if config.spatial_shape is None or config.channels is None:
            raise ValueError("spatial_shape and channels must be set")
        check_rngs("rngs", rngs)
        self.config = config
        values = config.patch_size**2 * config.channels
        self.encoder = nnx.List(_stack(config, values, rngs))
        self.forecaster = nnx.List(_stack(config, 1, rngs))
        self.head = nnx.Linear(sum(config.hidden_features), values, rngs=rngs)

    def __call__(
        self, frames: Float[Array, "B T height width C"], *, steps: int
    ) -> Float[Array, "B steps height width C"]:
        """Logits of the frames to come: a pixel's brightness in [0, 1] is `sigmoid(logit)`.

        Args:
          frames: the given ones, at least one, floating, brightness in [0, 1].
          steps: how many to say, at least 1.

        Raises:
          TypeError, ValueError: frames of another dtype or size, steps below 1.
        """
        frames = jnp.asarray(frames)
        checks.kind("frames", frames, jnp.floating)
        checks.shape("frames", frames, ("B", "T", *(self.config.spatial_shape or ()), self.config.channels or 0))
        checks.positive_int("steps", steps)
        xs, states = to_patches(frames, self.config.patch_size), []
        for layer in self.encoder:
            xs, state = layer(xs)
            states.append(state)
        xs = jnp.ones((len(frames), steps, *xs.shape[2:4], 1), xs.dtype)
        outputs: list[Array] = []
        for layer, state in zip(self.forecaster, states, strict=True):
            xs, _ = layer(xs, state=state)
            outputs.append(xs)
        return from_patches(self.head(jnp.concatenate(outputs, axis=-1)), self.config.patch_size)

    def predict(
        self, frames: Float[Array, "B T height width C"], *, steps: int
    ) -> Float[Array, "B steps height width C"]:
        """The frames to come, brightness in [0, 1]; arguments as above."""
        return jax.nn.sigmoid(self(frames, steps=steps))


def _stack(config: FramePredictorConfig, in_features: int, rngs: nnx.Rngs) -> list[layers.Recurrent]:
    assert config.spatial_shape is not None
    height, width = (size // config.patch_size for size in config.spatial_shape)
    sizes = zip((in_features, *config.hidden_features), config.hidden_features, config.kernel_sizes, strict=False)
    return [
        layers.Recurrent(cells.ConvLSTM(below, hidden, spatial_shape=(height, width), kernel_size=kernel), rngs=rngs)
        for below, hidden, kernel in sizes
    ]


def to_patches(frames: Array, size: int) -> Array:
    """[..., H, W, C] as [..., H/p, W/p, p p C].

    >>> to_patches(jnp.arange(16).reshape(4, 4, 1), 2)[0].tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    *lead, height, width, channels = frames.shape
    apart = frames.reshape(*lead, height // size, size, width // size, size, channels)
    return jnp.swapaxes(apart, -4, -3).reshape(*lead, height // size, width // size, size * size * channels)


def from_patches(patches: Array, size: int) -> Array:
    """What `to_patches` made into patches, as it was."""
    *lead, rows, columns, values = patches.shape
    apart = patches.reshape(*lead, rows, columns, size, size, values // size**2)
    return jnp.swapaxes(apart, -4, -3).reshape(*lead, rows * size, columns * size, values // size**2)


def build(config: FramePredictorConfig, rngs: nnx.Rngs) -> FramePredictor:
    """The model that a config describes."""
    return FramePredictor(config, rngs=rngs)


def task(config: FramePredictorConfig) -> Task:
    """Predict the frames that follow, from `Examples`: `inputs` [B, T, H, W, C] and `targets` [B, steps, H, W, C].

    Returns:
      a task. The loss is the cross-entropy of a pixel, in nats; at evaluation also cross_entropy and mse, of a frame:
      summed over its pixels, as they are published.
    """
    return Task(_loss)


def _loss(model: FramePredictor, batch: Examples, carry: tuple[()], key: Any) -> tuple[dict[str, Any], tuple[()]]:
    targets, weights = jnp.asarray(batch.targets), jnp.asarray(batch.weights)
    logits = model(jnp.asarray(batch.inputs), steps=targets.shape[1])
    loss = binary_cross_entropy(logits, targets, weights=weights)
    if key is not None:
        return {"loss": loss}, carry
    error = mean_squared_error(jax.nn.sigmoid(logits), targets, weights=weights)
    pixels = float(targets[0, 0].size)
    of_frames = {"cross_entropy": loss, "mse": error}
    return {"loss": loss} | {name: Mean(mean.total, mean.weight / pixels) for name, mean in of_frames.items()}, carry
