"""What a language model is made of: sizes, and regularisation up to AWD-LSTM's."""

import dataclasses
import itertools
from typing import Any, Literal

import jax.numpy as jnp

from lstmjax import cells, checks
from lstmjax.data.text import Vocabulary
from lstmjax.regularizers import WeightDrop
from lstmjax.types import Cell

CELLS = {"lstm": cells.LSTM, "gru": cells.GRU, "elman": cells.ElmanRNN}


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
        for name in ("embed_features", "hidden_features", "num_layers"):
            checks.index(name, getattr(self, name), 1, 2**29 - 1)  # the gates' 4H is a size that JAX can hold
        if self.vocab_size is not None:
            checks.positive_int("vocab_size", self.vocab_size)
        if self.sampled_symbols is not None:
            checks.index("sampled_symbols", self.sampled_symbols, 4)
        checks.boolean("tie_embeddings", self.tie_embeddings)
        for name in ("embedding_dropout", "input_dropout", "weight_drop", "hidden_dropout", "output_dropout"):
            checks.rate(name, getattr(self, name))
        for name in ("activation_penalty", "temporal_penalty"):
            checks.at_least_zero(name, getattr(self, name))
        checks.one_of("cell", self.cell, tuple(CELLS))
        checks.one_of("dtype", self.dtype, ("float32", "bfloat16"))
        self._check_single_layer()

    def _check_single_layer(self) -> None:
        """What one layer alone has no place for."""
        if self.num_layers > 1:
            return
        if self.hidden_dropout > 0.0:
            raise ValueError(f"hidden_dropout needs num_layers of at least 2, got hidden_dropout {self.hidden_dropout}")
        if self.tie_embeddings and self.embed_features != self.hidden_features:
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
    if config.vocab_size not in (None, len(vocabulary)):
        raise ValueError(f"its vocab_size is {config.vocab_size}, and its vocabulary has {len(vocabulary)} symbols")
    return dataclasses.replace(config, vocab_size=len(vocabulary))
