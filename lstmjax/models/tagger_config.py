"""Taggers from a config alone."""

import dataclasses
from typing import Literal

from flax import nnx

from lstmjax import crf, layers, regularizers
from lstmjax.models.config_parts import cell_maker, check_fields, check_recurrent, embedding
from lstmjax.models.tagger import CharacterCNN, CharacterLSTM, Tagger


@dataclasses.dataclass(frozen=True)
class TaggerConfig:
    """Sizes and regularisation of a `Tagger`."""

    output: Literal["softmax", "crf"] = "softmax"
    """Every token's tag by itself, or a CRF: tags that know their neighbours."""
    cell: Literal["lstm", "gru", "elman", "none"] = "lstm"
    """What the layers are made of; none leaves them out, and every token is tagged by itself."""
    hidden_features: tuple[int, ...] = (200,)
    """The width of each recurrent layer, in each direction, bottom first; unused where there is no cell."""
    bidirectional: bool = True
    """Two cells a layer, one in each direction."""
    word_features: int = 100
    """Size of a word's embedding."""
    train_embedding: bool = True
    """Whether the words' embedding is trained; pretrained vectors may be left as they are."""
    spelling: Literal["lstm", "cnn", "none"] = "lstm"
    """What reads a word's characters: a bidirectional LSTM, a convolution, or nothing."""
    character_features: int = 32
    """Size of a character's embedding."""
    spelling_features: int = 64
    """Size of the vector that is made of a word's characters; even for lstm, half for each direction."""
    unknown_rate: float = 0.25
    """a: in training, a word that occurs n times is taken for an unknown one with probability a / (a + n)."""
    input_dropout: float = 0.5
    """Locked dropout on what the lowest layer reads, in [0, 1)."""
    hidden_dropout: float = 0.0
    """Dropout between recurrent layers, in [0, 1); needs two of them."""
    recurrent_dropout: float = 0.0
    """Dropout on what enters the recurrent product, one mask a sentence, in [0, 1)."""
    output_dropout: float = 0.5
    """Locked dropout on what the last layer reads, in [0, 1)."""
    vocab_size: int | None = None
    """V, how many words have a symbol; None leaves this and what follows to the data."""
    num_characters: int | None = None
    """How many characters have a symbol; None also where they are not read."""
    tags: tuple[str, ...] | None = None
    """The names of the K tags."""
    scheme: Literal["BIO", "IOBES", "IOB1", "mixed"] | None = None
    """How tags write spans, see `spans.scheme_of`; a CRF never breaks BIO or IOBES. None for tags that are no spans."""

    def __post_init__(self) -> None:
        check_fields(self, {"unknown_rate": 0})
        check_recurrent(self, "recurrent_dropout")
        if self.spelling == "lstm" and self.spelling_features % 2:
            raise ValueError(f"spelling_features must be even, half for each direction, got {self.spelling_features}")


def build(config: TaggerConfig, rngs: nnx.Rngs) -> Tagger:
    """The model that a config describes.

    Raises:
      ValueError: the config leaves open what the data decide.

    >>> config = TaggerConfig(vocab_size=50, num_characters=30, tags=("NOUN", "VERB"))
    >>> lx.models.tagger_config.build(config, nnx.Rngs(0))(jnp.ones((2, 7), int), jnp.ones((2, 7, 9), int)).shape
    (2, 7, 2)
    """
    if config.vocab_size is None or config.tags is None:
        raise ValueError("vocab_size and tags must be set")
    words = embedding(config.vocab_size, config.word_features, config.train_embedding, rngs)
    spelling = _spelling(config, rngs)
    features = config.word_features + (0 if spelling is None else config.spelling_features)
    recurrent = None
    if config.cell != "none":
        recurrent = layers.stack(
            cell_maker(config.cell, config.recurrent_dropout),
            features,
            config.hidden_features,
            bidirectional=config.bidirectional,
            dropout=config.hidden_dropout,
            rngs=rngs,
        )
    return Tagger(
        words,
        regularizers.UnknownWords(config.vocab_size, config.unknown_rate),
        spelling,
        recurrent,
        features if recurrent is None else recurrent.out_shape[-1],
        _tags(config, config.tags),
        names=config.tags,
        input_dropout=config.input_dropout,
        output_dropout=config.output_dropout,
        rngs=rngs,
    )


def _spelling(config: TaggerConfig, rngs: nnx.Rngs) -> CharacterLSTM | CharacterCNN | None:
    if config.spelling == "none":
        return None
    if config.num_characters is None:
        raise ValueError("num_characters must be set where characters are read")
    kind = CharacterCNN if config.spelling == "cnn" else CharacterLSTM
    return kind(config.num_characters, config.character_features, config.spelling_features, rngs=rngs)


def _tags(config: TaggerConfig, names: tuple[str, ...]) -> layers.IndependentTags | layers.CRF:
    if config.output == "softmax":
        return layers.IndependentTags(len(names))
    if config.scheme == "BIO" or config.scheme == "IOBES":
        return layers.CRF(len(names), crf.constraints(names, config.scheme))
    return layers.CRF(len(names))
