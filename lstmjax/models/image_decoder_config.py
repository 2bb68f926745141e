"""Image decoders from a config alone."""

import dataclasses
from typing import Literal

from flax import nnx

from lstmjax.models import seq2seq_config
from lstmjax.models.frame_encoder import FrameEncoderConfig, encoder_of
from lstmjax.models.image_decoder import ImageDecoder
from lstmjax.models.seq2seq_config import Seq2SeqConfig


@dataclasses.dataclass(frozen=True)
class ImageDecoderConfig(FrameEncoderConfig):
    """Sizes, regularisation and training of an `ImageDecoder`."""

    channels: tuple[int, ...] = (16, 32, 32, 48)
    """Features of each block of convolution, pooling and normalisation; the last are those that are looked at."""
    halvings: int | None = 2
    """How many blocks, the first ones, halve height and width; None: all do."""
    attention: Literal["bahdanau", "general", "none"] = "bahdanau"
    """How the decoder looks at the image: as Bahdanau's does, as Luong's, or not at all."""
    attention_features: int = 32
    """Of bahdanau: in how many features query and place are compared."""
    cell: Literal["lstm", "gru"] = "lstm"
    """What the decoder is made of."""
    embed_features: int = 32
    """D, size of a symbol's embedding."""
    decoder_features: tuple[int, ...] = (96,)
    """The width of each decoder layer, bottom first."""
    out_features: int = 64
    """Size of the vector that symbols are scored from."""
    input_dropout: float = 0.0
    """Locked dropout on embeddings, in [0, 1)."""
    hidden_dropout: float = 0.0
    """Dropout between decoder layers, in [0, 1); needs two of them."""
    memory_dropout: float = 0.0
    """Locked dropout on the map's features, in [0, 1)."""
    output_dropout: float = 0.0
    """Locked dropout on what symbols are scored from, in [0, 1)."""
    label_smoothing: float = 0.0
    """Of the training loss, in [0, 1)."""
    vocab_size: int | None = None
    """V, how many symbols there are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.decoder_features:
            raise ValueError("decoder_features must have a width for at least one layer, got none")
        if self.hidden_dropout and len(self.decoder_features) < 2:
            raise ValueError("hidden_dropout acts between layers, so it needs two widths in decoder_features")

    def writing(self) -> Seq2SeqConfig:
        """The part that writes, and its training."""
        return Seq2SeqConfig(
            cell=self.cell,
            embed_features=self.embed_features,
            decoder_features=self.decoder_features,
            attention=self.attention,
            attention_features=self.attention_features,
            out_features=self.out_features,
            tie_output=False,
            hidden_dropout=self.hidden_dropout,
            label_smoothing=self.label_smoothing,
        )


def build(config: ImageDecoderConfig, rngs: nnx.Rngs) -> ImageDecoder:
    """The model that a config describes.

    Raises:
      ValueError: the config leaves open what the data decide.

    >>> config = ImageDecoderConfig(channels=(4, 4), image_shape=(8, 8, 1), attention="general", vocab_size=9)
    >>> type(build(config, nnx.Rngs(0)).decoder).__name__
    'LuongDecoder'
    """
    if config.image_shape is None or config.vocab_size is None:
        raise ValueError("image_shape and vocab_size must be set")
    return ImageDecoder(
        encoder_of(config, config.image_shape, None, rngs),
        seq2seq_config.build_decoder(config.writing(), config.channels[-1], rngs),
        nnx.Embed(config.vocab_size, config.embed_features, rngs=rngs),
        input_dropout=config.input_dropout,
        memory_dropout=config.memory_dropout,
        output_dropout=config.output_dropout,
        rngs=rngs,
    )
