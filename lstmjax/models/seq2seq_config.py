"""Sequence-to-sequence models from a config alone."""

import dataclasses
import itertools
from typing import Any, Literal

from flax import nnx

from lstmjax import attention, layers
from lstmjax.models.config_parts import cell_maker, check_fields
from lstmjax.models.decoder_steps import Decoder, Looking
from lstmjax.models.decoders import BahdanauDecoder, LuongDecoder, PlainDecoder
from lstmjax.models.seq2seq import Seq2Seq
from lstmjax.types import Cell

ATTENTIONS = ("general", "dot", "concat", "bahdanau", "none")


@dataclasses.dataclass(frozen=True)
class Seq2SeqConfig:
    """Sizes, regularisation and training of a `Seq2Seq`."""

    cell: Literal["lstm", "gru"] = "lstm"
    """What encoder and decoder are made of."""
    embed_features: int = 256
    """D, size of a symbol's embedding."""
    encoder_features: tuple[int, ...] = (256,)
    """The width of each encoder layer, in each direction, bottom first."""
    bidirectional: bool = True
    """Whether the encoder reads in both directions."""
    decoder_features: tuple[int, ...] = (512,)
    """The width of each decoder layer, bottom first."""
    attention: Literal["general", "dot", "concat", "bahdanau", "none"] = "general"
    """How the decoder looks back: Luong's three, Bahdanau's, or not at all."""
    attention_features: int = 256
    """A of concat and bahdanau: in how many features query and source are compared."""
    window: Literal["monotonic", "predicted"] | None = None
    """Look only near a step of the source: that of the target's own position, or a predicted one."""
    half_width: int = 5
    """Of a window: how many steps on each side."""
    coverage: bool = False
    """Of concat and bahdanau: attention knows what it has looked at before."""
    coverage_loss: float = 0.0
    """Of coverage: weight of the loss for looking again where it has looked, at least 0."""
    input_feeding: bool = True
    """Of Luong's attention: what was found is fed in with the next symbol."""
    out_features: int = 256
    """Size of the vector that symbols are scored from."""
    tie_output: bool = True
    """Score symbols by their embeddings; embed_features and out_features are then the same."""
    share_embeddings: bool = False
    """One embedding for both sides, which then have one vocabulary."""
    word_dropout: float = 0.0
    """Share of symbols that lose their embedding everywhere in a batch, in [0, 1)."""
    input_dropout: float = 0.3
    """Locked dropout on embeddings, in [0, 1)."""
    hidden_dropout: float = 0.0
    """Dropout between recurrent layers, in [0, 1); needs two of them on a side."""
    recurrent_dropout: float = 0.0
    """Dropout on what enters the recurrent product, one mask a sequence, in [0, 1)."""
    memory_dropout: float = 0.3
    """Locked dropout on what the encoder gives, in [0, 1)."""
    output_dropout: float = 0.3
    """Locked dropout on what symbols are scored from, in [0, 1)."""
    label_smoothing: float = 0.1
    """Of the training loss, in [0, 1)."""
    sampling: Literal["none", "linear", "exponential", "inverse_sigmoid"] = "none"
    """Scheduled sampling: how the share of true symbols that the decoder reads in training falls."""
    sampling_steps: int = 5000
    """Of scheduled sampling: updates after which linear is at its lowest, exponential has fallen to 1 / e, and, for
    inverse_sigmoid, k of k / (k + exp(step / k))."""
    sampling_least: float = 0.5
    """Of scheduled sampling: the lowest share of true symbols, in [0, 1]."""
    source_vocab_size: int | None = None
    """How many symbols the source has; None leaves this and what follows to the data."""
    target_vocab_size: int | None = None
    """V, how many symbols the target has."""

    def __post_init__(self) -> None:
        check_fields(self, {"sampling_least": 0, "coverage_loss": 0})
        for name in ("encoder_features", "decoder_features"):
            if not getattr(self, name):
                raise ValueError(f"{name} must have a width for at least one layer, got none")
        if self.sampling_least > 1.0:
            raise ValueError(f"sampling_least must be in [0, 1], got {self.sampling_least}")
        self._check_together()

    def _check_together(self) -> None:
        """What one option asks of another; nothing that is given is left unused."""
        if self.tie_output and self.out_features != self.embed_features:
            came = f"{self.out_features} and {self.embed_features}"
            raise ValueError(f"tie_output needs as many out_features as embed_features, got {came}")
        if self.attention == "dot" and self.memory_features != self.decoder_features[-1]:
            came = f"{self.memory_features} and {self.decoder_features[-1]}"
            raise ValueError(f"dot needs an encoder as wide as the decoder, got {came}")
        if self.coverage and self.attention not in ("concat", "bahdanau"):
            raise ValueError(f"coverage is of concat and bahdanau, got attention {self.attention!r}")
        if self.coverage_loss and not self.coverage:
            raise ValueError(f"coverage_loss needs coverage, got {self.coverage_loss}")
        if self.window is not None and self.attention == "none":
            raise ValueError("window needs attention, got attention 'none'")
        if self.hidden_dropout and len(self.encoder_features) < 2 and len(self.decoder_features) < 2:
            where = "encoder_features or decoder_features"
            raise ValueError(f"hidden_dropout acts between recurrent layers, so it needs two widths in {where}")

    @property
    def memory_features(self) -> int:
        """M, what the encoder gives at each step."""
        return self.encoder_features[-1] * (2 if self.bidirectional else 1)


def build(config: Seq2SeqConfig, rngs: nnx.Rngs) -> Seq2Seq:
    """The model that a config describes.

    Raises:
      ValueError: the config leaves open what the data decide.

    >>> config = Seq2SeqConfig(attention="bahdanau", source_vocab_size=20, target_vocab_size=30)
    >>> type(build(config, nnx.Rngs(0)).decoder).__name__
    'BahdanauDecoder'
    """
    if config.source_vocab_size is None or config.target_vocab_size is None:
        raise ValueError("source_vocab_size and target_vocab_size must be set")
    if config.share_embeddings and config.source_vocab_size != config.target_vocab_size:
        sizes = f"{config.source_vocab_size} and {config.target_vocab_size}"
        raise ValueError(f"share_embeddings needs one vocabulary for both sides, got {sizes} symbols")
    source = nnx.Embed(config.source_vocab_size, config.embed_features, rngs=rngs)
    target = source
    if not config.share_embeddings:
        target = nnx.Embed(config.target_vocab_size, config.embed_features, rngs=rngs)
    encoder = layers.stack(
        cell_maker(config.cell, config.recurrent_dropout),
        config.embed_features,
        config.encoder_features,
        bidirectional=config.bidirectional,
        dropout=config.hidden_dropout if len(config.encoder_features) > 1 else 0.0,
        rngs=rngs,
    )
    return Seq2Seq(
        source,
        encoder,
        build_decoder(config, config.memory_features, rngs),
        target,
        tie_output=config.tie_output,
        word_dropout=config.word_dropout,
        input_dropout=config.input_dropout,
        memory_dropout=config.memory_dropout,
        output_dropout=config.output_dropout,
        rngs=rngs,
    )


def build_decoder(config: Seq2SeqConfig, memory_features: int, rngs: nnx.Rngs) -> Decoder:
    """The decoder that a config describes, over an encoder that gives `memory_features` at each step."""
    out, dropout = config.out_features, config.hidden_dropout
    if config.attention == "none":
        return PlainDecoder(_decoder_cells(config, 0), out, dropout=dropout, rngs=rngs)
    looking = _looking(config, memory_features, rngs)
    if config.attention == "bahdanau":
        stacked = _decoder_cells(config, memory_features)
        return BahdanauDecoder(stacked, looking, memory_features, out, dropout=dropout, rngs=rngs)
    feeding = config.input_feeding
    stacked = _decoder_cells(config, out if feeding else 0)
    return LuongDecoder(stacked, looking, memory_features, out, input_feeding=feeding, dropout=dropout, rngs=rngs)


def _decoder_cells(config: Seq2SeqConfig, more_inputs: int) -> list[Cell[Any, Any]]:
    """Bottom first; the lowest takes an embedding and so many features more."""
    widths = (config.embed_features + more_inputs, *config.decoder_features)
    make_cell = cell_maker(config.cell, config.recurrent_dropout)
    return [make_cell(below, above) for below, above in itertools.pairwise(widths)]


def _looking(config: Seq2SeqConfig, memory: int, rngs: nnx.Rngs) -> Looking:
    query = config.decoder_features[-1]
    score: attention.Attention
    if config.attention == "dot":
        score = attention.DotAttention()
    elif config.attention == "general":
        score = attention.GeneralAttention(query, memory, rngs=rngs)
    else:
        features = config.attention_features
        score = attention.AdditiveAttention(query, memory, features, coverage=config.coverage, rngs=rngs)
    return Looking(score, config.window, config.half_width, query_features=query, rngs=rngs)
