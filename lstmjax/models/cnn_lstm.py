"""Clips to labels: a convolutional encoder reads every frame, a recurrent model what it makes of them."""

import functools

import jax.numpy as jnp
from flax import nnx

from lstmjax import checks, layers
from lstmjax.layers.recurrent import check_rngs
from lstmjax.masking import valid_steps, zero_invalid
from lstmjax.models.frame_encoder import FrameEncoder
from lstmjax.models.sequence_to_one import SequenceClassifier
from lstmjax.regularizers import split_key
from lstmjax.types import Array, Bool, Float, Int, Key


class CNNLSTM(nnx.Module):
    """Scores for each class from a clip, or from each of its frames.

        v_t = frames(x_t),    logits = classifier(v_1 ... v_T)

    The same convolutions read every frame. What stands after a clip's end changes nothing, nor does it reach the
    statistics of a batch normalisation.

    Args:
      frames: the encoder of a frame.
      classifier: takes vectors of `frames.out_features` numbers. With a `pool` of `lstmjax.layers` in
        its encoder a clip has one label, with `every_step` each frame has one.

    Raises:
      TypeError: parts of another kind.

    Source: Donahue et al. 2015, "Long-term Recurrent Convolutional Networks for Visual Recognition and Description".

    >>> frames = lx.models.FrameEncoder((8, 8, 1), (4, 4), 6, rngs=nnx.Rngs(0))
    >>> encoder = lx.models.SequenceEncoder(lx.LSTM(6, 5, rngs=nnx.Rngs(1)), lx.layers.last_step)
    >>> model = CNNLSTM(frames, lx.models.SequenceClassifier(encoder, 5, num_classes=3, rngs=nnx.Rngs(2)))
    >>> clips = jnp.zeros((2, 7, 8, 8, 1), jnp.uint8)
    >>> model(clips, lengths=jnp.array([7, 4])).shape
    (2, 3)
    >>> model.classifier.encoder.pool = lx.models.cnn_lstm.every_step
    >>> model(clips, lengths=jnp.array([7, 4])).shape
    (2, 7, 3)
    """

    def __init__(self, frames: FrameEncoder, classifier: SequenceClassifier) -> None:
        checks.instance("frames", frames, FrameEncoder)
        checks.instance("classifier", classifier, SequenceClassifier)
        self.frames, self.classifier = frames, classifier

    def __call__(
        self,
        clips: Array,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B *T C"]:
        """Logits [B, C], or [B, T, C] with `every_step`; those after a clip's end mean nothing.

        Args:
          clips: [B, T, H, W, C], floats, nearly always in [0, 1], or uint8, which is divided by 255.
          lengths: integers [B] in 0..T, for clips of different lengths.
          mask: booleans [B, T], True at frames that are there.
          key: in training: it draws dropout, and batch normalisation takes the batch's own statistics and keeps them.
            None, as at evaluation, changes nothing in the model.

        Raises:
          TypeError, ValueError: clips, lengths or mask of another shape or dtype.
        """
        key_frames, key_rest = split_key(key, 2)
        vectors = self.vectors(clips, lengths=lengths, mask=mask, key=key_frames)
        return self.classifier(vectors, lengths=lengths, mask=mask, key=key_rest)

    def vectors(
        self,
        clips: Array,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B T F"]:
        """What the encoder makes of each frame, zeros where none is; arguments as above."""
        clips = jnp.asarray(clips)
        checks.shape("clips", clips, ("B", "T", *self.frames.image_shape))
        valid = valid_steps(lengths, mask, clips.shape[1], clips.shape[0])
        is_there = None if valid is None else valid.T.reshape(-1)
        read = layers.TimeDistributed(functools.partial(self.frames, is_there=is_there, key=key))
        return read(clips, lengths=lengths, mask=mask)


class StackedCNN(nnx.Module):
    """Scores for each class from the frames of a clip side by side, as the channels of one image.

    It has no recurrence, and reads a fixed number of frames: what a `CNNLSTM` should beat, or at least equal.

    Args:
      frames: the encoder of an image of H, W, `window` * C.
      window: how many frames are read; missing ones are zeros, later ones are not seen.
      num_classes: how many classes.
      rngs: draws the initial parameters (stream "params").

    Raises:
      TypeError, ValueError: sizes that do not fit.

    >>> frames = lx.models.FrameEncoder((8, 8, 5), (4, 4), 6, rngs=nnx.Rngs(0))
    >>> model = lx.models.cnn_lstm.StackedCNN(frames, 5, num_classes=3, rngs=nnx.Rngs(1))
    >>> model(jnp.zeros((2, 7, 8, 8, 1)), lengths=jnp.array([7, 4])).shape
    (2, 3)
    """

    def __init__(self, frames: FrameEncoder, window: int, num_classes: int, *, rngs: nnx.Rngs) -> None:
        check_rngs("rngs", rngs)
        checks.instance("frames", frames, FrameEncoder)
        if frames.image_shape[2] % checks.positive_int("window", window):
            raise ValueError(f"frames must read images of {window} * C channels, got {frames.image_shape[2]}")
        self.frames, self.window = frames, window
        self.head = nnx.Linear(frames.out_features, checks.positive_int("num_classes", num_classes), rngs=rngs)

    def __call__(
        self,
        clips: Array,
        *,
        lengths: Int[Array, "B"] | None = None,
        mask: Bool[Array, "B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B C"]:
        """Logits [B, C]; arguments as in `CNNLSTM`."""
        clips = jnp.asarray(clips)
        height, width, channels = self.frames.image_shape
        checks.shape("clips", clips, ("B", "T", height, width, channels // self.window))
        valid = valid_steps(lengths, mask, clips.shape[1], clips.shape[0])
        seen = zero_invalid(valid, clips, False)[:, : self.window]
        seen = jnp.pad(seen, ((0, 0), (0, self.window - seen.shape[1]), (0, 0), (0, 0), (0, 0)))
        image = jnp.moveaxis(seen, 1, 3).reshape(len(seen), height, width, channels)
        is_there = None if valid is None else jnp.any(valid, axis=0)
        logits: Array = self.head(self.frames(image, is_there=is_there, key=key))
        return logits


def every_step(
    ys: Float[Array, "B T H"], *, lengths: Int[Array, "B"] | None = None, mask: Bool[Array, "B T"] | None = None
) -> Float[Array, "B T H"]:
    """No pooling: every step's own output, zeros at invalid ones.

    >>> every_step(jnp.ones((1, 2, 1)), lengths=jnp.array([1])).tolist()
    [[[1.0], [0.0]]]
    """
    return zero_invalid(valid_steps(lengths, mask, ys.shape[1], ys.shape[0]), ys, False)
