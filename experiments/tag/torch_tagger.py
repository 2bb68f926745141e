"""The same tagger written in PyTorch, at its best: tokens and characters stay packed, and only what is faster padded
is padded.
"""

import importlib
from typing import Any, NamedTuple

import numpy as np

from lstmjax.data.source import SequenceBatch
from lstmjax.interop import to_torch_arrays
from lstmjax.interop.layouts import Arrays
from lstmjax.models import Tagger, TaggerConfig

torch: Any = importlib.import_module("torch")


class TokenBatch(NamedTuple):
    """Sentences as PyTorch's layers take them fastest, N tokens with M characters in all.

    Args:
      words: symbols [N], packed: the first tokens of all sentences, longest sentence first, then the second ones, ...
      sizes: how many sentences have a first token, a second one, ...
      sentence: [N], which of the B sentences a token is of, longest first.
      tags: [N].
      characters: symbols [M], packed likewise: the first ones of all words, longest word first, ...
      character_sizes: how many words have a first character, a second one, ...
      spelled: [N], where a token is among the words, longest first.
      order: [B], the sentences' places in the batch, longest first.
      forwards: [N], where each token stands among the T * B of padded sentences, first tokens first.
      backwards: [N], the same where each sentence begins with its last token.
    """

    words: Any
    sizes: Any
    sentence: Any
    tags: Any
    characters: Any
    character_sizes: Any
    spelled: Any
    order: Any
    forwards: Any
    backwards: Any


def packed(batch: SequenceBatch) -> TokenBatch:
    """All that depends on the data alone, as a collate function prepares it; every sentence has a token."""
    assert batch.lengths is not None
    tokens, sizes, sentence, order = _pack(batch.inputs, batch.lengths)
    tags, *_ = _pack(batch.targets, batch.lengths)
    spelling = tokens[:, 1:]
    characters, character_sizes, _, longest_first = _pack(spelling, np.sum(spelling != 0, axis=1))
    spelled = np.argsort(longest_first)
    step = np.repeat(np.arange(len(sizes)), sizes)
    forwards, backwards = (at * len(order) + sentence for at in (step, batch.lengths[order][sentence] - 1 - step))
    arrays = (tokens[:, 0], sizes, sentence, tags, characters, character_sizes, spelled, order, forwards, backwards)
    return TokenBatch(*(torch.tensor(array, dtype=torch.int64) for array in arrays))


def _pack(sequences: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of sequences [B, T, ...]: their steps as PyTorch packs them, the sizes, each step's sequence, and the order."""
    order = np.argsort(-lengths, kind="stable")
    valid = np.arange(lengths.max())[:, None] < lengths[order]
    by_step = sequences[order].swapaxes(0, 1)[: len(valid)]
    return by_step[valid], valid.sum(axis=1), np.nonzero(valid)[1], order


class TorchTagger(torch.nn.Module):  # type: ignore[misc]
    """What `TaggerConfig` describes with its usual one layer of LSTM over LSTM-read characters.

    Args:
      config: of the tagger.
      arrays: from `arrays_of`.
      count: [V], how often each word occurs in the training data.
      pads: whether sentences are padded and each direction has a layer of its own, which PyTorch gives to oneDNN, or
        stay packed, as most write it. Padded is faster to train where sentences are long.
    """

    def __init__(self, config: TaggerConfig, arrays: Arrays, count: np.ndarray, *, pads: bool = True) -> None:
        super().__init__()
        assert config.tags is not None
        self.config, num_tags, (hidden,) = config, len(config.tags), config.hidden_features
        features = config.word_features + config.spelling_features
        self.words = torch.nn.Embedding(config.vocab_size, config.word_features)
        self.characters = torch.nn.Embedding(config.num_characters, config.character_features)
        self.spelling = torch.nn.LSTM(config.character_features, config.spelling_features // 2, bidirectional=True)
        self.recurrent = torch.nn.LSTM(features, hidden, bidirectional=True)
        self.head = torch.nn.Linear(2 * hidden, num_tags)
        self.crf = importlib.import_module("torchcrf").CRF(num_tags) if config.output == "crf" else None
        self.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        self.loss_rate = torch.tensor(config.unknown_rate / (config.unknown_rate + count))
        if pads:
            self.recurrent = _one_layer_a_direction(self.recurrent)

    def forward(self, batch: TokenBatch) -> Any:
        """Emissions [N, K], packed."""
        xs = torch.cat([self.words(self._with_unknown(batch.words)), self._spelled(batch)], dim=1)
        ys = self._both_ways(self._dropped(xs, self.config.input_dropout, batch), batch)
        return self.head(self._dropped(ys, self.config.output_dropout, batch))

    def loss(self, batch: TokenBatch) -> Any:
        """`-log p(tags | sentence)` over the number of tokens."""
        emissions = self(batch)
        if self.crf is None:
            return torch.nn.functional.cross_entropy(emissions, batch.tags)
        scores, valid = self._padded(emissions, batch)
        tags, _ = self._padded(batch.tags, batch)
        return -self.crf(scores, tags, valid) / len(batch.tags)

    def tag(self, batch: TokenBatch) -> Any:
        """The most probable tags: packed numbers [N], or as pytorch-crf gives them, a list for each sentence."""
        emissions = self(batch)
        return emissions.argmax(dim=1).numpy() if self.crf is None else self.crf.decode(*self._padded(emissions, batch))

    def emissions(self, batch: TokenBatch) -> np.ndarray:
        """[B, T, K], zeros after the end, sentences in the order they came."""
        scores, _ = self._padded(self(batch), batch)
        by_sentence: np.ndarray = scores.transpose(0, 1)[torch.argsort(batch.order)].detach().numpy()
        return by_sentence

    def _with_unknown(self, words: Any) -> Any:
        if not self.training:
            return words
        return torch.where(torch.rand(len(words)) < self.loss_rate[words], 1, words)

    def _spelled(self, batch: TokenBatch) -> Any:
        """What both directions say of each word when they have read it."""
        _, (ends, _) = self._read(self.spelling, self.characters(batch.characters), batch.character_sizes)
        return torch.cat([ends[0], ends[1]], dim=1)[batch.spelled]

    def _both_ways(self, xs: Any, batch: TokenBatch) -> Any:
        """The recurrent layer's outputs [N, 2 H] at every token."""
        if not isinstance(self.recurrent, torch.nn.ModuleList):
            return self._read(self.recurrent, xs, batch.sizes)[0].data
        steps, rows = len(batch.sizes), len(batch.order)

        def one_way(layer: Any, places: Any) -> Any:
            padded = torch.zeros(steps * rows, xs.shape[1]).index_copy(0, places, xs)
            ys, _ = layer(padded.view(steps, rows, -1))
            return ys.view(steps * rows, -1)[places]

        forward, backward = self.recurrent
        return torch.cat([one_way(forward, batch.forwards), one_way(backward, batch.backwards)], dim=1)

    def _dropped(self, xs: Any, rate: float, batch: TokenBatch) -> Any:
        """Locked dropout: one mask for all tokens of a sentence."""
        if not self.training:
            return xs
        mask = torch.nn.functional.dropout(torch.ones(len(batch.order), xs.shape[1]), rate)
        return xs * mask[batch.sentence]

    def _read(self, layer: Any, xs: Any, sizes: Any) -> Any:
        return layer(torch.nn.utils.rnn.PackedSequence(xs, sizes))

    def _padded(self, steps: Any, batch: TokenBatch) -> tuple[Any, Any]:
        """Packed steps as [T, B, ...], and which of these there are, [T, B]."""
        sequence = torch.nn.utils.rnn.PackedSequence(steps, batch.sizes)
        padded, lengths = torch.nn.utils.rnn.pad_packed_sequence(sequence)
        return padded, torch.arange(len(padded))[:, None] < lengths[None]


def _one_layer_a_direction(both: Any) -> Any:
    """The two directions of a bidirectional layer, each a layer by itself."""
    arrays = both.state_dict()
    layers = []
    for end in ("", "_reverse"):
        layer = torch.nn.LSTM(both.input_size, both.hidden_size)
        layer.load_state_dict({name: arrays[f"{name}{end}"] for name in layer.state_dict()})
        layers.append(layer)
    return torch.nn.ModuleList(layers)


def arrays_of(model: Tagger) -> Arrays:
    """The parameters of ours by the names of `TorchTagger`."""
    spelling: Any = model.spelling
    layers = {"spelling": spelling.recurrent, "recurrent": model.recurrent}
    bias: Any = model.head.bias
    arrays = {
        "words.weight": model.words.embedding[...],
        "characters.weight": spelling.embed.embedding[...],
        "head.weight": model.head.kernel[...].T,
        "head.bias": bias[...],
    }
    for name, layer in layers.items():
        arrays |= {f"{name}.{part}": array for part, array in to_torch_arrays(layer).items()}
    transitions = getattr(model.tags, "transitions", None)
    if transitions is not None:
        arrays |= {
            "crf.transitions": transitions.between,
            "crf.start_transitions": transitions.start,
            "crf.end_transitions": transitions.end,
        }
    return {name: np.asarray(array) for name, array in arrays.items()}
