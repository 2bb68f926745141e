"""Image decoders from a config alone."""

import dataclasses
from typing import Any, Literal

from flax import nnx

from lstmjax import attention, cells, checks
from lstmjax.models.decoder_steps import Decoder, Looking
from lstmjax.models.decoders import BahdanauDecoder, LuongDecoder, PlainDecoder
from lstmjax.models.frame_encoder import FrameEncoder, FrameEncoderConfig
from lstmjax.models.image_decoder import ImageDecoder
from lstmjax.types import Cell

CELLS = {"lstm": cells.LSTM, "gru": cells.GRU}
RATES = ("input_dropout", "hidden_dropout", "memory_dropout", "output_dropout", "label_smoothing")


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
        checks.one_of("attention", self.attention, ("bahdanau", "general", "none"))
        checks.one_of("cell", self.cell, tuple(CELLS))
        for name in RATES:
            checks.rate(name, getattr(self, name))
        if isinstance(self.decoder_features, list):  # from JSON
            object.__setattr__(self, "decoder_features", tuple(self.decoder_features))
        if not self.decoder_features:
            raise ValueError("decoder_features must have a width for at least one layer, got none")
        checks.sizes("decoder_features", self.decoder_features, (len(self.decoder_features),))
        for name in ("attention_features", "embed_features", "out_features"):
            checks.positive_int(name, getattr(self, name))
        if self.vocab_size is not None:
            checks.positive_int("vocab_size", self.vocab_size)
        if self.hidden_dropout and len(self.decoder_features) < 2:
            raise ValueError("hidden_dropout acts between layers, so it needs two widths in decoder_features")


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
    frames = FrameEncoder(
        config.image_shape,
        config.channels,
        None,
        halvings=config.halvings,
        kernel_size=config.kernel_size,
        norm=config.norm,
        groups=config.groups,
        rngs=rngs,
    )
    return ImageDecoder(
        frames,
        _decoder(config, rngs),
        nnx.Embed(config.vocab_size, config.embed_features, rngs=rngs),
        input_dropout=config.input_dropout,
        memory_dropout=config.memory_dropout,
        output_dropout=config.output_dropout,
        rngs=rngs,
    )


def _decoder(config: ImageDecoderConfig, rngs: nnx.Rngs) -> Decoder:
    memory, query, out = config.channels[-1], config.decoder_features[-1], config.out_features
    dropout: Any = {"dropout": config.hidden_dropout, "rngs": rngs}
    if config.attention == "none":
        return PlainDecoder(_cells(config, 0), out, **dropout)
    if config.attention == "general":
        score: attention.Attention = attention.GeneralAttention(query, memory, rngs=rngs)
        return LuongDecoder(
            _cells(config, out), Looking(score, query_features=query, rngs=rngs), memory, out, **dropout
        )
    score = attention.AdditiveAttention(query, memory, config.attention_features, rngs=rngs)
    looking = Looking(score, query_features=query, rngs=rngs)
    return BahdanauDecoder(_cells(config, memory), looking, memory, out, **dropout)


def _cells(config: ImageDecoderConfig, more_inputs: int) -> list[Cell[Any, Any]]:
    """Bottom first; the lowest takes an embedding and so many features more."""
    widths = (config.embed_features + more_inputs, *config.decoder_features)
    return [CELLS[config.cell](below, above) for below, above in zip(widths, config.decoder_features, strict=False)]
