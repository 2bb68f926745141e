"""Images as vectors and as maps of features, by convolutions: what reads the frames of a clip, or a picture."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.layers.recurrent import check_rngs
from lstmjax.models.config_parts import check_fields
from lstmjax.types import Array, Bool, Float, Key

Norm = Literal["batch", "group", "none"]


@dataclasses.dataclass(frozen=True)
class FrameEncoderConfig:
    """Sizes of a `FrameEncoder`, for the configs of models that have one."""

    channels: tuple[int, ...] = (8, 16, 32)
    """Features of each block of convolution, pooling and normalisation."""
    halvings: int | None = None
    """How many blocks, the first ones, halve height and width; None: all do."""
    kernel_size: int = 3
    """Height and width of the convolutions' filters."""
    norm: Norm = "batch"
    """Normalise over the batch's frames, over groups of a frame's own features, or not at all."""
    groups: int = 4
    """Of group: into how many the features of every block are parted."""
    image_shape: tuple[int, int, int] | None = None
    """H, W, C of a frame; None leaves this and what follows to the data."""

    def __post_init__(self) -> None:
        check_fields(self, {"halvings": 0})
        if not self.channels:
            raise ValueError("channels must hold the features of at least one block, got none")
        if self.halvings is not None:
            checks.index("halvings", self.halvings, 0, len(self.channels))
        if self.image_shape is not None:
            checks.sizes("image_shape", self.image_shape, (3,))
        if self.norm == "group":
            for features in self.channels:
                if features % self.groups:
                    raise ValueError(
                        f"groups must divide the features of every block, got {self.groups} for {features}"
                    )


class FrameEncoder(nnx.Module):
    """Blocks of convolution, pooling, normalisation and ReLU; then one vector an image.

        z_0 = x,    z_k = relu(norm(pool(conv(z_{k-1})))),    v = relu(W [all of z_K] + b)

    `pool` takes the largest of 2 x 2 values, so a map is half as high and wide as the one before, rounded up; the last
    blocks may go without it.

    Batch normalisation takes mean and variance of the batch exactly when a key is given, and moves its running
    statistics a tenth of the way towards them; without a key it uses the running ones and changes nothing. They are no
    parameters: they are `nnx.BatchStat`s, which training carries along and checkpoints keep. Images that are not there,
    such as frames after a clip's end, have no part in them; at least one must be. Group normalisation knows nothing
    but its own image.

    Args:
      image_shape: H, W, C.
      channels: features of each block.
      out_features: F, the size of v; None has no dense layer: v is then the mean of z_K over its places.
      halvings: how many blocks, the first ones, pool; None: all do.
      kernel_size: height and width of the filters.
      norm: "batch", "group" or "none".
      groups: of "group": into how many the features of every block are parted.
      rngs: draws the initial parameters (stream "params").

    Raises:
      TypeError, ValueError: sizes below 1, another norm, or groups that do not divide a block's features.

    Source: blocks: Simonyan and Zisserman 2015; Ioffe and Szegedy 2015, "Batch Normalization"; Wu and He 2018, "Group
    Normalization".

    >>> encoder = FrameEncoder((28, 28, 1), (4, 8), 16, rngs=nnx.Rngs(0))
    >>> images = jnp.zeros((3, 28, 28, 1), jnp.uint8)
    >>> encoder(images).shape, encoder.feature_map(images).shape, encoder.map_shape
    ((3, 16), (3, 7, 7, 8), (7, 7, 8))
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: Sequence[int],
        out_features: int | None,
        *,
        halvings: int | None = None,
        kernel_size: int = 3,
        norm: Norm = "batch",
        groups: int = 4,
        rngs: nnx.Rngs,
    ) -> None:
        check_rngs("rngs", rngs)
        config = FrameEncoderConfig(tuple(channels), halvings, kernel_size, norm, groups, image_shape)
        height, width, below = self.image_shape = config.image_shape or image_shape
        halvings = len(config.channels) if halvings is None else halvings
        self.blocks: nnx.List[_Block] = nnx.List()
        for number, above in enumerate(config.channels):
            halves = number < halvings
            self.blocks.append(_Block(below, above, config, halves, rngs))
            height, width, below = (*(-(-side // 2) if halves else side for side in (height, width)), above)
        self.map_shape = (height, width, below)
        self.dense = None if out_features is None else nnx.Linear(height * width * below, out_features, rngs=rngs)
        self.out_features = below if out_features is None else checks.positive_int("out_features", out_features)

    def __call__(
        self,
        images: Array,
        *,
        is_there: Bool[Array, "N"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "N F"]:
        """A vector an image.

        Args:
          images: [N, H, W, C], floats, nearly always in [0, 1], or uint8, which is divided by 255.
          is_there: booleans [N], False for images that only fill the batch up: they have no part in the statistics of
            batch normalisation. None: all are there.
          key: given in training; see the class.

        Raises:
          TypeError, ValueError: images of another shape or dtype.
        """
        features = self.feature_map(images, is_there=is_there, key=key)
        if self.dense is None:
            return jnp.mean(features, axis=(1, 2))
        return jax.nn.relu(self.dense(features.reshape(len(features), -1)))

    def feature_map(
        self,
        images: Array,
        *,
        is_there: Bool[Array, "N"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "N h w K"]:
        """What the last block gives, features of each place of the image; arguments as above."""
        x = _in_unit(images)
        checks.shape("images", x, ("N", *self.image_shape))
        if is_there is not None:
            checks.shape("is_there", is_there, (len(x),))
        for block in self.blocks:
            x = block(x, is_there, is_training=key is not None)
        return x


def encoder_of(
    config: FrameEncoderConfig, image_shape: tuple[int, int, int], out_features: int | None, rngs: nnx.Rngs
) -> FrameEncoder:
    """The encoder of images of `image_shape` that a config describes."""
    return FrameEncoder(
        image_shape,
        config.channels,
        out_features,
        halvings=config.halvings,
        kernel_size=config.kernel_size,
        norm=config.norm,
        groups=config.groups,
        rngs=rngs,
    )


class _Block(nnx.Module):
    """Convolution, pooling, normalisation and ReLU; what is pooled first need not be normalised four times."""

    def __init__(self, below: int, above: int, config: FrameEncoderConfig, halves: bool, rngs: nnx.Rngs) -> None:
        self.halves = halves
        size = (config.kernel_size, config.kernel_size)
        self.convolution = nnx.Conv(below, above, size, use_bias=config.norm == "none", rngs=rngs)
        kinds: dict[str, Callable[[], Any]] = {
            "batch": lambda: nnx.BatchNorm(above, momentum=0.9, rngs=rngs),
            "group": lambda: nnx.GroupNorm(above, num_groups=config.groups, rngs=rngs),
            "none": lambda: None,
        }
        self.norm = kinds[config.norm]()

    def __call__(self, x: Array, is_there: Array | None, *, is_training: bool) -> Array:
        x = self.convolution(x)
        x = _pool(x) if self.halves else x
        if isinstance(self.norm, nnx.BatchNorm):
            mask = None if is_there is None else is_there[:, None, None, None]
            x = self.norm(x, use_running_average=not is_training, mask=mask)
        elif self.norm is not None:
            x = self.norm(x)
        return jax.nn.relu(x)


def _pool(x: Float[Array, "N H W C"]) -> Float[Array, "N h w C"]:
    """The largest of 2 x 2; on a CPU its gradient takes half the time of that of `nnx.max_pool`."""
    count, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    halves = x.reshape(count, -(-height // 2), 2, -(-width // 2), 2, channels)
    return jnp.max(halves, axis=(2, 4))


def _in_unit(images: Array) -> Float[Array, "N H W C"]:
    """As floats; bytes come to [0, 1]."""
    images = jnp.asarray(images)
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255
    checks.kind("images", images, jnp.floating)
    return images
