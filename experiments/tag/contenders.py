"""A tagger and batches for it, made ready by each library to be timed: see `beside_torch.py`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.speed import machine
from experiments.speed.beside import our_training
from experiments.speed.turns import Prepared
from lstmjax import training
from lstmjax.data.source import SequenceBatch
from lstmjax.models import TaggerConfig, tagger_config, tagger_task

OPTIMIZER = training.OptimizerConfig(learning_rate=2e-3, beta2=0.999, schedule="constant", warmup_steps=0)
KINDS = ("training", "tagging")


class Problem(NamedTuple):
    """A model by its config, how often each word occurs, and batches without rows that only fill them up."""

    model: TaggerConfig
    word_counts: np.ndarray
    batches: list[SequenceBatch]

    @property
    def tokens(self) -> int:
        return sum(int(np.asarray(batch.lengths).sum()) for batch in self.batches)

    def of_tokens(self, emissions: np.ndarray) -> np.ndarray:
        """[N, K] of the first batch's [B, T, K], without the padding."""
        lengths: Any = self.batches[0].lengths
        return np.concatenate([sentence[:length] for sentence, length in zip(emissions, lengths, strict=True)])

    def build(self) -> Any:
        """The model, the same each time; no transition is 0, so that all of them matter."""
        model: Any = tagger_config.build(self.model, nnx.Rngs(0))
        model.unknown.count[...] = jnp.asarray(self.word_counts)
        if self.model.output == "crf":
            for number, score in enumerate((model.tags.between, model.tags.start, model.tags.end)):
                score[...] = jax.random.normal(jax.random.key(number), score.shape)
        return model


def prepare_lstmjax(problem: Problem) -> Prepared:
    """Training as `lstmjax.training` does it, tagging as `predictions.py` does."""
    model, task = problem.build(), tagger_task.task(problem.model)
    graphdef, params, other = training.split_model(model)
    batches = jax.device_put(problem.batches)

    @jax.jit
    def tags_of(params: Any, other: Any, batch: SequenceBatch) -> Any:
        words, characters = tagger_task.read(batch.inputs, problem.model)
        return nnx.merge(graphdef, params, other).tag(words, characters, lengths=batch.lengths)

    def tag() -> None:
        for batch in batches:
            np.asarray(tags_of(params, other, batch))

    def check() -> dict[str, Any]:
        """The first batch's emissions, without noise, and its loss."""
        words, characters = tagger_task.read(batches[0].inputs, problem.model)
        means, _ = task.loss(model, batches[0], (), None)
        emissions = np.asarray(model(words, characters, lengths=batches[0].lengths))
        return {"emissions": problem.of_tokens(emissions), "loss": float(means["loss"].value)}

    train = our_training(problem.build(), task, OPTIMIZER, batches)
    return Prepared({"training": train, "tagging": tag}, check)


def prepare_torch(problem: Problem, pads: bool) -> Prepared:
    """The same in PyTorch; `pads` as in `TorchTagger`."""
    import torch

    from experiments.peers.torch_layers import make_train_step
    from experiments.tag.torch_tagger import TorchTagger, arrays_of, packed

    torch.set_num_threads(machine.cores())
    model = TorchTagger(problem.model, arrays_of(problem.build()), problem.word_counts, pads=pads)
    train_step = make_train_step(model, OPTIMIZER)
    batches = [packed(batch) for batch in problem.batches]

    def train() -> None:
        model.train()
        for batch in batches:
            train_step(batch)

    def tag() -> None:
        model.eval()
        with torch.inference_mode():
            for batch in batches:
                model.tag(batch)

    def check() -> dict[str, Any]:
        model.eval()
        loss = float(model.loss(batches[0]).detach())
        return {"emissions": problem.of_tokens(model.emissions(batches[0])), "loss": loss}

    return Prepared({"training": train, "tagging": tag}, check)


LIBRARIES: dict[str, Callable[[Problem], Prepared]] = {
    "lstmjax": prepare_lstmjax,
    "torch": functools.partial(prepare_torch, pads=True),
    "torch, packed": functools.partial(prepare_torch, pads=False),
}
