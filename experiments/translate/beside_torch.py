"""How fast sentences are translated, beside the same model in PyTorch: `python -m experiments.translate.beside_torch`.

The model is that of `python -m experiments.translate`, of 6000 symbols, with parameters as they are drawn; sentences
are made up, 8 to 25 symbols long, and each translation has as many symbols as the longest of its batch, so that all do
the same work. First it is checked that all write the same symbols and have the same loss. PyTorch decodes in plain
steps, and in steps compiled by `torch.compile`; ours is compared with the faster of the two. Each works in a process of
its own, idle while another works; all is compiled before. Training is a whole step of 64 pairs: dropout, loss,
gradients, clipping, Adam.
"""

import contextlib
import dataclasses
import importlib.util
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from experiments import cli
from experiments.speed import machine
from experiments.speed.ratios import paired_ratio
from experiments.speed.turns import Process, in_turn
from experiments.translate.contenders import BEAMS, LIBRARIES, TARGET_STEPS, Problem, problem
from lstmjax import checks
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import Seq2SeqConfig

MODEL = Seq2SeqConfig(source_vocab_size=6000, target_vocab_size=6000, share_embeddings=True)
BATCHES = (1, 64)
PEERS = ("torch", "torch, compiled")
LARGEST_DIFFERENCE = 1e-4


@dataclasses.dataclass(frozen=True)
class BesideTorchConfig:
    """How to time."""

    rounds: int = 7
    """How often each library is timed."""
    seconds: float = 1.0
    """The least time of a turn."""
    threads: int | None = None
    """Cores that each library may use; without it, all."""
    training: bool = True
    """Time training too."""
    out: Path | None = None
    """A Markdown file for the table."""

    def __post_init__(self) -> None:
        checks.positive_int("rounds", self.rounds)
        checks.positive("seconds", self.seconds)
        if self.threads is not None:
            checks.index("threads", self.threads, 1, machine.cores())


def measure(problem: Problem, kinds: list[str], config: BesideTorchConfig) -> dict[str, dict[str, list[float]]]:
    """Seconds a run of each kind of work, by library, once all are known to do the same.

    Raises:
      InputError: they do not.
    """
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(Process(prepare, problem, config.threads)) for name, prepare in LIBRARIES.items()
        }
        answers = {name: process.ask("check") for name, process in processes.items()}
        for peer in PEERS:
            _check_alike(answers["lstmjax"], answers[peer], peer)
        return {kind: in_turn(kind, processes, config.rounds, config.seconds) for kind in kinds}


def _check_alike(ours: dict[str, Any], theirs: dict[str, Any], peer: str) -> None:
    if not abs(ours["loss"] - theirs["loss"]) <= LARGEST_DIFFERENCE:  # NaN too
        raise InputError(f"lstmjax and {peer} have different losses: {ours['loss']} and {theirs['loss']}")
    for beam in BEAMS:
        differing = np.any(ours[f"beam {beam}"] != theirs[f"beam {beam}"], axis=1)
        if differing.any():
            raise InputError(f"lstmjax and {peer} write {differing.sum()} translations differently, beam {beam}")


def row(batch: int, kind: str, seconds: dict[str, list[float]]) -> list[str]:
    """How much of what a second, and how many times as fast ours is as the faster PyTorch."""
    amount, what = (batch, "sentences/s") if kind != "training" else (batch * TARGET_STEPS, "target symbols/s")
    speeds = [f"{amount / statistics.median(seconds[name]):,.1f}" for name in LIBRARIES]
    ratio = min(paired_ratio(seconds[peer], seconds["lstmjax"]) for peer in PEERS)
    return [f"{kind}, batch {batch}", what, *speeds, f"{ratio:.2f}"]


def table(rows: list[list[str]]) -> str:
    """The rows in Markdown."""
    heads = ["", "", *LIBRARIES, "ours / best of PyTorch"]
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(config: BesideTorchConfig) -> int:
    """Measure, print a table, and write it down."""
    if not importlib.util.find_spec("torch"):
        raise InputError("torch is not installed: pip install torch")
    if config.out is not None:
        cli.check_out(config.out)
    rows = []
    for batch in BATCHES:
        kinds = [f"beam {beam}" for beam in BEAMS] + ["training"] * (config.training and batch == BATCHES[-1])
        print(f"batch {batch}: all are prepared, which takes minutes", flush=True)
        found = measure(problem(MODEL, batch), kinds, config)
        rows += [row(batch, kind, seconds) for kind, seconds in found.items()]
    print(table(rows))
    if config.out is not None:
        about = machine.describe()
        cores = config.threads or about["cores"]
        versions = ", ".join(f"{name} {about['versions'][name]}" for name in ("jaxlib", "torch"))
        replace_text(config.out, f"{table(rows)}\n{about['processor']}, {cores} cores; {versions}.\n")
    return 0


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(BesideTorchConfig, __doc__)))
