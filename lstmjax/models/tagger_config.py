"""Taggers from a config alone."""

import dataclasses
from typing import Any, Literal

from flax import nnx

from lstmjax import cells, checks, crf, layers, regularizers
from lstmjax.models.tagger import CharacterCNN, CharacterLSTM, Tagger
from lstmjax.types import Cell

CELLS = {"lstm": cells.LSTM, "gru": cells.GRU, "elman": cells.ElmanRNN}
DROPOUTS = ("input_dropout", "hidden_dropout", "recurrent_dropout", "output_dropout")


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
        checks.one_of("output", self.output, ("softmax", "crf"))
        checks.one_of("cell", self.cell, (*CELLS, "none"))
        checks.one_of("spelling", self.spelling, ("lstm", "cnn", "none"))
        if self.scheme is not None:
            checks.one_of("scheme", self.scheme, ("BIO", "IOBES", "IOB1", "mixed"))
        for name in ("bidirectional", "train_embedding"):
            checks.boolean(name, getattr(self, name))
        for name in DROPOUTS:
            checks.rate(name, getattr(self, name))
        self._check_sizes()
        self._check_together()

    def _check_sizes(self) -> None:
        for name in ("hidden_features", "tags"):
            if isinstance(getattr(self, name), list):  # from JSON
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isinstance(self.hidden_features, tuple):
            raise TypeError(f"hidden_features must be a tuple of numbers, got {self.hidden_features!r}")
        for width in self.hidden_features:
            checks.index("hidden_features", width, 1, 2**29 - 1)
        for name in ("word_features", "character_features", "spelling_features", "vocab_size", "num_characters"):
            if getattr(self, name) is not None:
                checks.positive_int(name, getattr(self, name))
        checks.at_least_zero("unknown_rate", self.unknown_rate)

    def _check_together(self) -> None:
        """What one option asks of another; nothing that is given is left unused."""
        if self.cell == "none" and (self.recurrent_dropout or self.hidden_dropout):
            raise ValueError("hidden_dropout and recurrent_dropout act on recurrent layers, got cell 'none'")
        if self.cell != "none" and not self.hidden_features:
            raise ValueError("hidden_features must have a width for at least one recurrent layer, got none")
        if self.hidden_dropout and len(self.hidden_features) < 2:
            raise ValueError("hidden_dropout acts between recurrent layers, so it needs two widths in hidden_features")
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
    words = nnx.Embed(config.vocab_size, config.word_features, rngs=rngs)
    if not config.train_embedding:
        frozen: Any = nnx.Variable(words.embedding[...])  # no Param, so not trained
        words.embedding = frozen
    spelling = _spelling(config, rngs)
    features = config.word_features + (0 if spelling is None else config.spelling_features)
    recurrent = None if config.cell == "none" else _recurrent(config, features, rngs)
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


def _recurrent(config: TaggerConfig, in_features: int, rngs: nnx.Rngs) -> layers.Stacked:
    def cell(inputs: int, hidden: int) -> Cell[Any, Any]:
        plain: Cell[Any, Any] = CELLS[config.cell](inputs, hidden)
        return regularizers.RecurrentDropout(plain, config.recurrent_dropout) if config.recurrent_dropout else plain

    return layers.stack(
        cell,
        in_features,
        config.hidden_features,
        bidirectional=config.bidirectional,
        dropout=config.hidden_dropout,
        rngs=rngs,
    )


def _tags(config: TaggerConfig, names: tuple[str, ...]) -> layers.IndependentTags | layers.CRF:
    if config.output == "softmax":
        return layers.IndependentTags(len(names))
    if config.scheme == "BIO" or config.scheme == "IOBES":
        return layers.CRF(len(names), crf.constraints(names, config.scheme))
    return layers.CRF(len(names))
