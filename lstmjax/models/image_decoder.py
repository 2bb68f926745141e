"""From an image to a sequence: convolutions read the image, a decoder writes and looks back at its places."""

import jax.numpy as jnp
from flax import nnx

from lstmjax import checks, regularizers
from lstmjax.layers.recurrent import check_rngs
from lstmjax.models.decoder_steps import Decoder, first_state
from lstmjax.models.frame_encoder import FrameEncoder
from lstmjax.models.seq2seq import Encoded, Seq2Seq, state_size
from lstmjax.types import Array, Int, Key


class ImageDecoder(Seq2Seq):
    """A `Seq2Seq` whose source is an image: an encoder of images, a bridge, and a decoder that writes symbols.

        m_p = z_p + u_p at every place p of the feature map z,    s_0 = tanh(W_b mean(z) + b_b)
        s_t = decoder(E y_{t-1}, s_{t-1}, m),    p(y_t | y_<t, x) = softmax(W a_t + b)

    where a_t are the features of s_t, and u, which starts at 0, is learned, so that the decoder knows where it looks.
    All that a `Seq2Seq` does once its source is read, this does too: `step`, `score`, `with_alignments`, whose weights
    are [B, T, h * w], and scheduled sampling. A call with a key is training: see `FrameEncoder` for what that means to
    batch normalisation. Its statistics take every row of a batch for an image, so train on batches that no row only
    fills up, such as those of `data.Shuffled(..., drop_last=True)`.

    Args:
      frames: the encoder, without a dense layer.
      decoder: a `LuongDecoder`, `BahdanauDecoder` or `PlainDecoder` that looks at K features, those of the map.
      target_embed: embedding of the V symbols.
      input_dropout: locked dropout on embeddings, in [0, 1).
      memory_dropout: locked dropout on the map's features: one mask for all places, in [0, 1).
      output_dropout: locked dropout on the features that symbols are scored from, in [0, 1).
      rngs: draws the initial parameters (stream "params").

    Raises:
      TypeError: a part of another kind.
      ValueError: an encoder with a dense layer, or a rate outside [0, 1).

    Source: Xu et al. 2015, "Show, Attend and Tell: Neural Image Caption Generation with Visual Attention".

    >>> config = lx.models.ImageDecoderConfig(image_shape=(28, 28, 1), vocab_size=20)
    >>> model = lx.models.image_decoder_config.build(config, nnx.Rngs(0))
    >>> images, target = jnp.zeros((2, 28, 28, 1), jnp.uint8), jnp.ones((2, 5), int)
    >>> logits, weights = model.with_alignments(images, target)
    >>> logits.shape, weights.shape, model.frames.map_shape
    ((2, 5, 20), (2, 5, 49), (7, 7, 48))
    """

    def __init__(
        self,
        frames: FrameEncoder,
        decoder: Decoder,
        target_embed: nnx.Embed,
        *,
        input_dropout: float = 0.0,
        memory_dropout: float = 0.0,
        output_dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        check_rngs("rngs", rngs)
        checks.instance("frames", frames, FrameEncoder)
        checks.instance("decoder", decoder, Decoder)
        checks.instance("target_embed", target_embed, nnx.Embed)
        if frames.dense is not None:
            raise ValueError("frames must have no dense layer, made with out_features=None: its map is looked at")
        height, width, features = frames.map_shape
        self.frames, self.decoder = frames, decoder
        self.places = nnx.Param(jnp.zeros((height * width, features)))
        self.target_embed = regularizers.EmbeddingDropout(target_embed, 0.0)
        self.bridge = nnx.Linear(features, state_size(decoder.initial_recurrent(1)), rngs=rngs)
        self.input_dropout = regularizers.locked_dropout(input_dropout)
        self.memory_dropout = regularizers.locked_dropout(memory_dropout)
        self.output_dropout = regularizers.locked_dropout(output_dropout)
        self.vocab_size = target_embed.num_embeddings
        self.head = nnx.Linear(decoder.out_features, self.vocab_size, rngs=rngs)

    def encode(
        self, source: Array, *, lengths: Int[Array, "B"] | None = None, key: Key[Array, ""] | None = None
    ) -> Encoded:
        """Read images.

        Args:
          source: images [B, H, W, C], floats, nearly always in [0, 1], or uint8, which is divided by 255.
          lengths: None, for images have none.
          key: given in training; it draws dropout.

        Raises:
          TypeError, ValueError: images of another shape or dtype, or lengths.
        """
        if lengths is not None:
            raise ValueError("lengths must be None: images have none")
        key_frames, key_memory = regularizers.split_key(key, 2)
        features = self.frames.feature_map(source, key=key_frames)
        by_place = features.reshape(len(features), *self.places.shape)
        state = self._bridged(jnp.mean(by_place, axis=1), len(by_place))
        seen = self.memory_dropout(by_place + self.places[...][None], key=key_memory)
        memory = self.decoder.remember(seen, None)
        return Encoded(memory, first_state(self.decoder, state, memory))
