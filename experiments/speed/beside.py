"""Programs that time ours beside others' on one problem, in turn, once all are known to compute the same."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
from flax import nnx

from experiments.speed import machine
from experiments.speed.turns import OURS, Prepared, Process, Times, Timing, check, difference, time_in_turn
from lstmjax import checks, training
from lstmjax.errors import InputError

Problem = TypeVar("Problem")


@dataclasses.dataclass(frozen=True)
class BesideConfig(Timing):
    """How to time."""

    seconds: float = 1.0
    """The least length of a turn, above 0; one run where that takes longer."""
    threads: int | None = None
    """Cores that each library may use; without it, all."""
    out: Path | None = None
    """The file to write."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threads is not None:
            checks.index("threads", self.threads, 1, machine.cores())


class Comparison(NamedTuple):
    """How far each of the others is from ours in what it computes, and times by kind of work."""

    differences: dict[str, dict[str, float]]
    times: dict[str, Times]


def compare(
    libraries: Mapping[str, Callable[[Problem], Prepared]],
    problem: Problem,
    kinds: Sequence[str],
    config: BesideConfig,
    largest_difference: float,
) -> Comparison:
    """Prepare, check and time libraries, of which one is `OURS`; they answer in dicts of arrays of the same names.

    Raises:
      InputError: one computes something else than ours.
    """
    with contextlib.ExitStack() as stack:
        processes = {name: stack.enter_context(Process(config.threads)) for name in libraries}
        for name, process in processes.items():
            process.prepare(libraries[name], problem)
        answers = {name: process.ask(check) for name, process in processes.items()}
        ours = answers.pop(OURS)
        apart = {peer: {part: difference(ours[part], one[part]) for part in ours} for peer, one in answers.items()}
        for peer, each in apart.items():
            if not all(one <= largest_difference for one in each.values()):  # NaN too
                raise InputError(f"{OURS} and {peer} compute different things: {each}")
        return Comparison(apart, {kind: time_in_turn(processes, kind, config) for kind in kinds})


def our_training(model: nnx.Module, task: Any, config: training.OptimizerConfig, batches: Sequence[Any]) -> Any:
    """A step of training on each batch, as `lstmjax.training` does it, ready to be called again and again."""
    optimizer = training.make_optimizer(config, steps=10**6)
    graphdef, _, _ = training.split_model(model)
    train_step = training.make_train_step(task, graphdef, optimizer)
    rows = len(batches[0].weights)
    state = training.initial_train_state(model, task, optimizer, rows, jax.random.key(0))

    def train() -> None:
        nonlocal state
        for batch in batches:
            state, _ = train_step(state, batch)
        jax.block_until_ready(state)  # type: ignore[no-untyped-call]

    return train


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], names: int = 1) -> list[str]:
    """A table's lines; the first columns, so many, are names and stand on the left."""
    rule = "|" + "---|" * names + "---:|" * (len(head) - names)
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return [lines[0], rule, *lines[1:]]
