"""What a language model is made of: sizes, and regularisation up to AWD-LSTM's."""

import dataclasses
import itertools
from typing import Any, Literal

import jax.numpy as jnp

from lstmjax.data.text import Vocabulary
from lstmjax.models.config_parts import CELLS, check_fields, check_size
from lstmjax.regularizers import WeightDrop
from lstmjax.types import Cell


@dataclasses.dataclass(frozen=True)
class LanguageModelConfig:
    """Sizes and regularisation of a `LanguageModel`."""

    embed_features: int = 128
    """D, size of a symbol's embedding."""
    hidden_features: int = 256
    """H, size of the hidden state of every layer."""
    num_layers: int = 2
    """L, how many recurrent layers are stacked."""
    cell: Literal["lstm", "gru", "elman"] = "lstm"
    """What the layers are made of."""
    embedding_dropout: float = 0.0
    """Share of the symbols that lose their embedding everywhere in a batch, in [0, 1)."""
    input_dropout: float = 0.0
    """Locked dropout on the embedded symbols, in [0, 1)."""
    weight_drop: float = 0.0
    """Dropout on the recurrent weights, drawn once a batch, in [0, 1)."""
    hidden_dropout: float = 0.0
    """Locked dropout between layers, in [0, 1); needs num_layers of at least 2."""
    output_dropout: float = 0.0
    """Locked dropout on the last layer's outputs, in [0, 1)."""
    activation_penalty: float = 0.0
    """Weight, at least 0, of the last layer's mean squared output, after dropout, in the loss (AR)."""
    temporal_penalty: float = 0.0
    """Weight, at least 0, of the mean squared change of the last layer's output, before dropout, in the loss (TAR)."""
    tie_embeddings: bool = False
    """Use the embedding as the output projection too; the last layer then gives embed_features."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the layers compute in; parameters, cell states, sums and scores are float32 either way."""
    sampled_symbols: int | None = None
    """In training, estimate each softmax's sum from so many of the symbols; None takes all, as evaluation does."""
    vocab_size: int | None = None
    """V, how many symbols there are; None leaves it to the data."""

    def __post_init__(self) -> None:
        check_fields(self, {"activation_penalty": 0, "temporal_penalty": 0, "sampled_symbols": 4})
        if self.num_layers == 1 and self.hidden_dropout > 0.0:
            raise ValueError(f"hidden_dropout needs num_layers of at least 2, got hidden_dropout {self.hidden_dropout}")
        if self.num_layers == 1 and self.tie_embeddings and self.embed_features != self.hidden_features:
            raise ValueError(
                f"tie_embeddings with one layer needs embed_features = hidden_features, "
                f"got {self.embed_features} and {self.hidden_features}"
            )

    @property
    def output_features(self) -> int:
        """The size of the last layer's outputs, which the scores are made from."""
        return self.embed_features if self.tie_embeddings else self.hidden_features

    def widths(self) -> list[tuple[int, int]]:
        """What each layer takes and gives, bottom first."""
        sizes = [self.embed_features, *[self.hidden_features] * (self.num_layers - 1), self.output_features]
        return list(itertools.pairwise(sizes))


def cell_of(config: LanguageModelConfig, in_features: int, hidden_features: int) -> Cell[Any, Any]:
    """One layer's cell, with the noise that the config asks for around it."""
    plain: Cell[Any, Any] = CELLS[config.cell](in_features, hidden_features, dtype=jnp.dtype(config.dtype))
    return WeightDrop(plain, config.weight_drop) if config.weight_drop else plain


def with_vocabulary(config: LanguageModelConfig, vocabulary: Vocabulary) -> LanguageModelConfig:
    """The config with the vocabulary's size.

    Raises:
      ValueError: it has another.
    """
    if config.vocab_size is not None:
        check_size("vocab_size", config.vocab_size, len(vocabulary), "symbols in its vocabulary")
    return dataclasses.replace(config, vocab_size=len(vocabulary))
