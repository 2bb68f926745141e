"""Sentences to translate and to learn from, made ready by each library to be timed: see `beside_torch.py`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from experiments.speed import machine
from experiments.speed.beside import our_training
from experiments.speed.turns import Prepared
from lstmjax import training
from lstmjax.data.source import SequenceBatch
from lstmjax.data.symbols import END, SPECIAL
from lstmjax.decoding.translated_text import together
from lstmjax.decoding.translation import BeamSettings, translate
from lstmjax.models import Seq2SeqConfig, seq2seq_config, seq2seq_task

OPTIMIZER = training.OptimizerConfig(learning_rate=1e-3, beta2=0.999, schedule="constant", warmup_steps=0)
BEAMS = (1, 5)
TARGET_STEPS = 16


class Problem(NamedTuple):
    """A model by its config, and sentences in symbols, each with the end symbol after it."""

    model: Seq2SeqConfig
    sources: list[np.ndarray]
    targets: list[np.ndarray]

    @property
    def steps(self) -> int:
        """How many symbols each translation has: an end is allowed neither before nor after."""
        return max(map(len, self.sources))

    def settings(self, beam: int) -> BeamSettings:
        return BeamSettings(beam=beam, steps=self.steps, min_steps=self.steps)

    def build(self) -> Any:
        """The model, the same each time."""
        return seq2seq_config.build(self.model, nnx.Rngs(0))

    def padded_targets(self) -> np.ndarray:
        """[B, T]."""
        return together(self.targets, len(self.targets))[0][:, :TARGET_STEPS]


def problem(config: Seq2SeqConfig, sentences: int) -> Problem:
    """Made-up sentences of 8 to 25 symbols, as long as those of Multi30k; one alone has 16."""
    rng = np.random.default_rng(sentences)
    lengths = rng.integers(8, 26, sentences) if sentences > 1 else [16]

    def sentence(length: int) -> np.ndarray:
        return np.append(rng.integers(len(SPECIAL), config.source_vocab_size, length - 1), END)

    sources = [sentence(int(length)) for length in lengths]
    return Problem(config, sources, [sentence(TARGET_STEPS) for _ in sources])


def prepare_lstmjax(problem: Problem) -> Prepared:
    """Training as `lstmjax.training` does it, decoding as `translate` does."""
    model, task, rows = problem.build(), seq2seq_task.task(problem.model), len(problem.sources)
    source, lengths = together(problem.sources, rows)
    of_targets = np.full(rows, TARGET_STEPS, np.int32)
    weights = np.ones(rows, np.float32)
    batch = jax.device_put(SequenceBatch(source, problem.padded_targets(), lengths, of_targets, weights))

    def decode(beam: int) -> np.ndarray:
        return np.asarray(translate(model, source, lengths=lengths, settings=problem.settings(beam)).symbols[:, 0])

    def loss() -> float:
        means, _ = task.loss(model, batch, (), None)
        return float(means["loss"].value)

    return _prepared(decode, our_training(problem.build(), task, OPTIMIZER, [batch]), loss)


def prepare_torch(problem: Problem, compiles: bool) -> Prepared:
    """The same in PyTorch; `compiles`: a step of decoding is compiled by `torch.compile`, its weights laid out anew."""
    import torch

    from experiments.peers.torch_layers import make_train_step
    from experiments.translate.torch_seq2seq import TorchSeq2Seq, arrays_of, compile_steps

    torch.set_num_threads(machine.cores())
    model, learner = (TorchSeq2Seq(problem.model, arrays_of(problem.build())) for _ in range(2))
    model.eval()
    if compiles:
        compile_steps(model)
    train_step = make_train_step(learner, OPTIMIZER)
    lengths = torch.tensor([len(source) for source in problem.sources])
    padded = together(problem.sources, len(lengths))[0][:, : problem.steps]
    source, targets = (torch.tensor(array, dtype=torch.int64) for array in (padded, problem.padded_targets()))

    def decode(beam: int) -> np.ndarray:
        found: np.ndarray = model.translate(source, lengths, problem.settings(beam)).numpy()
        return found

    def loss() -> float:
        return float(model.loss(source, lengths, targets).detach())

    return _prepared(decode, lambda: train_step(source, lengths, targets), loss)


def _prepared(decode: Callable[[int], np.ndarray], train: Callable[[], None], loss: Callable[[], float]) -> Prepared:
    runs: dict[str, Callable[[], Any]] = {f"beam {beam}": functools.partial(decode, beam) for beam in BEAMS}

    def check() -> dict[str, Any]:
        return {"loss": loss()} | {name: run() for name, run in runs.items()}

    return Prepared(runs | {"training": train}, check)


LIBRARIES: dict[str, Callable[[Problem], Prepared]] = {
    "lstmjax": prepare_lstmjax,
    "torch": functools.partial(prepare_torch, compiles=False),
    "torch, compiled": functools.partial(prepare_torch, compiles=True),
}
