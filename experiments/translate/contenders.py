"""Sentences to translate and to learn from, made ready by each library to be timed: see `beside_torch.py`."""

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from experiments.speed import machine
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
    """A model by its config, and sentences in symbols, each with the end symbol behind it."""

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
    model, task = problem.build(), seq2seq_task.task(problem.model)
    optimizer = training.make_optimizer(OPTIMIZER, steps=10**6)
    graphdef, _, _ = training.split_model(model)
    train_step = training.make_train_step(task, graphdef, optimizer)
    rows = len(problem.sources)
    source, lengths = together(problem.sources, rows)
    targets = problem.padded_targets()
    of_targets = np.full(rows, TARGET_STEPS, np.int32)
    batch = jax.device_put(SequenceBatch(source, targets, lengths, of_targets, np.ones(rows, np.float32)))
    state = [training.initial_train_state(problem.build(), task, optimizer, rows, jax.random.key(0))]

    def train() -> None:
        state[0], _ = train_step(state[0], batch)
        jax.block_until_ready(state)  # type: ignore[no-untyped-call]

    def decode(beam: int) -> np.ndarray:
        return np.asarray(translate(model, source, lengths=lengths, settings=problem.settings(beam)).symbols[:, 0])

    def check() -> dict[str, Any]:
        means, _ = task.loss(model, batch, (), None)
        return {"loss": float(means["loss"].value)} | {f"beam {beam}": decode(beam) for beam in BEAMS}

    runs: dict[str, Callable[[], Any]] = {f"beam {beam}": functools.partial(decode, beam) for beam in BEAMS}
    return Prepared(check, runs | {"training": train})


def prepare_torch(problem: Problem, compiles: bool) -> Prepared:
    """The same in PyTorch; `compiles`: a step of decoding is compiled by `torch.compile`, its weights laid out anew."""
    library: Any = importlib.import_module("experiments.translate.torch_seq2seq")
    torch = library.torch
    torch.set_num_threads(machine.cores())
    model = library.TorchSeq2Seq(problem.model, library.arrays_of(problem.build())).eval()
    learner = library.TorchSeq2Seq(problem.model, library.arrays_of(problem.build()))
    if compiles:
        library.compile_steps(model)
    train_step = library.make_train_step(learner, OPTIMIZER)
    lengths = torch.tensor([len(source) for source in problem.sources])
    padded = together(problem.sources, len(lengths))[0][:, : problem.steps]
    source, targets = (torch.tensor(array, dtype=torch.int64) for array in (padded, problem.padded_targets()))

    def decode(beam: int) -> np.ndarray:
        found: np.ndarray = model.translate(source, lengths, problem.settings(beam)).numpy()
        return found

    def check() -> dict[str, Any]:
        loss = float(model.loss(source, lengths, targets).detach())
        return {"loss": loss} | {f"beam {beam}": decode(beam) for beam in BEAMS}

    runs: dict[str, Callable[[], Any]] = {f"beam {beam}": functools.partial(decode, beam) for beam in BEAMS}
    return Prepared(check, runs | {"training": lambda: train_step(source, lengths, targets)})


LIBRARIES: dict[str, Callable[[Problem], Prepared]] = {
    "lstmjax": prepare_lstmjax,
    "torch": functools.partial(prepare_torch, compiles=False),
    "torch, compiled": functools.partial(prepare_torch, compiles=True),
}
