"""The same sequence-to-sequence model written in PyTorch, as one who knows it well would write it to be fast."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np

from lstmjax.data.symbols import END, PADDING, START
from lstmjax.decoding.translation import BeamSettings
from lstmjax.interop import to_torch_arrays
from lstmjax.interop.layouts import Arrays
from lstmjax.models import Seq2Seq, Seq2SeqConfig

torch: Any = importlib.import_module("torch")
functional: Any = importlib.import_module("torch.nn.functional")
rnn: Any = importlib.import_module("torch.nn.utils.rnn")


class State(NamedTuple):
    """What the decoder hands from step to step, each of R rows: memory and output of the cell, and what is fed in."""

    h: Any
    c: Any
    features: Any


class Memory(NamedTuple):
    """What the decoder looks back at: keys [B, H, S], values [B, S, A], and [B, 1, S], -inf where nothing is."""

    keys: Any
    values: Any
    missing: Any


class TorchSeq2Seq(torch.nn.Module):  # type: ignore[misc]
    """What `Seq2SeqConfig` describes by its defaults: LSTMs of one layer, Luong's general attention, input feeding.

    Args:
      config: of the model; the output is tied.
      arrays: from `arrays_of`.
    """

    def __init__(self, config: Seq2SeqConfig, arrays: Arrays) -> None:
        super().__init__()
        assert config.source_vocab_size is not None
        assert config.target_vocab_size is not None
        self.config = config
        embed, out, memory = config.embed_features, config.out_features, config.memory_features
        (reads,), (hidden,) = config.encoder_features, config.decoder_features
        self.source_embed = torch.nn.Embedding(config.source_vocab_size, embed)
        self.target_embed = self.source_embed
        if not config.share_embeddings:
            self.target_embed = torch.nn.Embedding(config.target_vocab_size, embed)
        self.encoder = torch.nn.LSTM(embed, reads, bidirectional=True, batch_first=True)
        self.bridge = torch.nn.Linear(4 * reads, 2 * hidden)
        self.to_keys = torch.nn.Linear(memory, hidden, bias=False)
        self.of_context = torch.nn.Linear(memory, out, bias=False)
        self.cell = torch.nn.LSTMCell(embed + out, hidden)
        self.of_state = torch.nn.Linear(hidden, out)
        self.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        self.stepped: Callable[..., tuple[Any, State]] = self.step

    def encode(self, source: Any, lengths: Any) -> tuple[Memory, State]:
        """Sources [B, S] as the decoder reads them, and where it starts from."""
        xs = self._locked(self.source_embed(source), self.config.input_dropout)
        packed = rnn.pack_padded_sequence(xs, lengths, batch_first=True, enforce_sorted=False)
        ys, (h, c) = self.encoder(packed)
        encoded, _ = rnn.pad_packed_sequence(ys, batch_first=True, total_length=source.shape[1])
        encoded = self._locked(encoded, self.config.memory_dropout)
        first = torch.tanh(self.bridge(torch.cat([h[0], c[0], h[1], c[1]], dim=1)))
        is_there = torch.arange(source.shape[1]) < lengths[:, None]
        missing = torch.zeros(is_there.shape).masked_fill(~is_there, -torch.inf)[:, None]
        keys = self.to_keys(encoded).transpose(1, 2).contiguous()
        h, c = first.chunk(2, dim=1)
        state = State(h, c, torch.zeros(len(source), self.config.out_features))
        return Memory(keys, self.of_context(encoded), missing), state

    def step(self, symbols: Any, state: State, memory: Memory) -> tuple[Any, State]:
        """Logits [R, V] of what follows the symbols [R], and the state after them; K rows look at each source."""
        state = self.advance(self.target_embed(symbols), state, memory)
        return functional.linear(state.features, self.target_embed.weight), state

    def advance(self, x: Any, state: State, memory: Memory) -> State:
        """One step over embeddings [R, D]."""
        h, c = self.cell(torch.cat([x, state.features], dim=1), (state.h, state.c))
        return State(h, c, self._features(h, memory))

    def _features(self, h: Any, memory: Memory) -> Any:
        queries = h.view(len(memory.keys), -1, h.shape[1])
        weights = torch.softmax(torch.baddbmm(memory.missing, queries, memory.keys), dim=2)
        return torch.tanh(self.of_state(h) + torch.bmm(weights, memory.values).view(len(h), -1))

    def forward(self, source: Any, lengths: Any, inputs: Any) -> Any:
        """Logits [B, T, V], the true inputs [B, T] given."""
        memory, state = self.encode(source, lengths)
        xs = self._locked(self.target_embed(inputs), self.config.input_dropout)
        steps = []
        for x in xs.unbind(1):
            state = self.advance(x, state, memory)
            steps.append(state.features)
        features = self._locked(torch.stack(steps, dim=1), self.config.output_dropout)
        return functional.linear(features, self.target_embed.weight)

    def loss(self, source: Any, lengths: Any, targets: Any) -> Any:
        """The mean over symbols of targets [B, T], padded after their end."""
        inputs = torch.cat([torch.full_like(targets[:, :1], START), targets[:, :-1]], dim=1)
        logits = self(source, lengths, inputs).flatten(0, 1)
        smoothing = self.config.label_smoothing if self.training else 0.0
        return functional.cross_entropy(logits, targets.flatten(), ignore_index=PADDING, label_smoothing=smoothing)

    def translate(self, source: Any, lengths: Any, settings: BeamSettings) -> Any:
        """The best translation of each source, symbols [B, N] without the end symbol, N at most `steps`."""
        search = self._greedy if settings.beam == 1 else self._beam_search
        with torch.inference_mode():
            return search(source, lengths, settings)

    def _greedy(self, source: Any, lengths: Any, settings: BeamSettings) -> Any:
        """The likeliest symbol at each step."""
        memory, state = self.encode(source, lengths)
        symbols, done = torch.full((len(source),), START), torch.zeros(len(source), dtype=torch.bool)
        written = []
        for number in range(settings.steps):
            logits, state = self.stepped(symbols, state, memory)
            if number < settings.min_steps:
                logits[:, END] = -torch.inf
            symbols = logits.argmax(dim=1)
            done |= symbols == END
            if done.all():
                break
            written.append(symbols.masked_fill(done, PADDING))
        return torch.stack(written, dim=1)

    def _beam_search(self, source: Any, lengths: Any, settings: BeamSettings) -> Any:
        """What `lstmjax.decoding.beam_search` searches, by its rules."""
        beam, steps = settings.beam, settings.steps
        penalties = torch.tensor(settings.length_penalty(np.arange(1.0, steps + 2.0)), dtype=torch.float32)
        memory, state = self.encode(source, lengths)
        sources = len(source)
        logits, state = self.stepped(torch.full((sources,), START), state, memory)
        first = torch.arange(0, sources * beam, beam)[:, None]
        best = _Best(torch.full((sources,), -torch.inf), torch.zeros(sources, steps, dtype=torch.int64))
        living, ended = torch.zeros(sources, 1), torch.zeros(sources, dtype=torch.int64)
        written = torch.zeros(sources, 1, steps, dtype=torch.int64)
        for number in range(steps + 1):
            scores = torch.log_softmax(logits, dim=1).view(sources, -1, logits.shape[1]) + living[:, :, None]
            if number == steps:
                return best.with_ending(scores[:, :, END] / penalties[number], written).symbols
            if number < settings.min_steps:
                scores[:, :, END] = -torch.inf
            likeliest, at = scores.flatten(1).topk(2 * beam)
            parents, symbols = at // scores.shape[2], at % scores.shape[2]
            ends = symbols == END
            if number >= settings.min_steps:
                ending = likeliest.masked_fill(~ends, -torch.inf)[:, :beam]
                before = written.take_along_dim(parents[:, :beam, None], 1)
                best = best.with_ending(ending / penalties[number], before)
                ended += (ending > -torch.inf).sum(dim=1)
            living, chosen = likeliest.masked_fill(ends, -torch.inf).topk(beam)
            parents, symbols = parents.gather(1, chosen), symbols.gather(1, chosen)
            done = (ended >= beam) | (living[:, 0] / penalties[number + 1 :].max() <= best.scores)
            if done.all():
                return best.symbols
            living[done] = -torch.inf
            rows = (parents + (first if number else first // beam)).flatten()
            written = written.take_along_dim(parents[:, :, None], 1)
            written[:, :, number] = symbols
            state = State(*(leaf.index_select(0, rows) for leaf in state))
            logits, state = self.stepped(symbols.flatten(), state, memory)
        raise AssertionError

    def _locked(self, xs: Any, rate: float) -> Any:
        """Locked dropout of [B, T, D]: one mask for all steps of a sequence."""
        return xs * functional.dropout(xs.new_ones(len(xs), 1, xs.shape[2]), rate) if self.training else xs


class _Best(NamedTuple):
    """The best finished hypothesis of each source: its score [B], and its symbols [B, steps]."""

    scores: Any
    symbols: Any

    def with_ending(self, scores: Any, symbols: Any) -> "_Best":
        """The same with hypotheses [B, K, steps] that now finish by scores [B, K], -inf where one does not."""
        score, at = scores.max(dim=1)
        new = symbols.take_along_dim(at[:, None, None], 1)[:, 0]
        is_better = score > self.scores
        return _Best(torch.where(is_better, score, self.scores), torch.where(is_better[:, None], new, self.symbols))


def compile_steps(model: TorchSeq2Seq) -> None:
    """Steps of decoding compiled for each shape, the weights constants that the compiler may lay out anew."""
    inductor: Any = importlib.import_module("torch._inductor.config")
    inductor.freezing = True
    model.stepped = torch.compile(model.step, dynamic=False)


def arrays_of(model: Seq2Seq) -> Arrays:
    """The parameters of ours by the names of `TorchSeq2Seq`."""
    decoder: Any = model.decoder
    weights, bridge = decoder.layers[0].params, cast(Any, model.bridge)
    arrays = {
        "source_embed.weight": model.source_embed.embed.embedding[...],
        "target_embed.weight": model.target_embed.embed.embedding[...],
        "bridge.weight": bridge.kernel[...].T,
        "bridge.bias": bridge.bias[...],
        "to_keys.weight": decoder.looking.attention.to_keys.kernel[...].T,
        "of_context.weight": decoder.of_context.kernel[...].T,
        "of_state.weight": decoder.of_state.kernel[...].T,
        "of_state.bias": decoder.of_state.bias[...],
        "cell.weight_ih": weights.w_x.T,
        "cell.weight_hh": weights.w_h.T,
        "cell.bias_ih": weights.b,
        "cell.bias_hh": 0.0 * weights.b,
    }
    arrays |= {f"encoder.{name}": array for name, array in to_torch_arrays(model.encoder).items()}
    return {name: np.asarray(array) for name, array in arrays.items()}
