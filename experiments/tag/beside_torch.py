"""How fast a tagger learns and tags, beside the same one in PyTorch: `python -m experiments.tag.beside_torch`.

PyTorch's is written twice: with packed sequences, as most do, and as it trains fastest, see `torch_tagger.py`. All
start from the same parameters, and first it is checked that they give the same emissions and the same loss. Each works
in a process of its own, idle while another works, on the same batches of real sentences, of several lengths in turn;
all is compiled before. Training is a whole step: dropout, loss, gradients, clipping, Adam. Real tokens count.
"""

import dataclasses
import importlib.util
import json
import statistics
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments import cli
from experiments.speed import machine
from experiments.speed.beside import BesideConfig, Comparison, compare, markdown
from experiments.speed.turns import OURS, paired_ratio
from experiments.tag.__main__ import TagConfig, load
from experiments.tag.contenders import KINDS, LIBRARIES, Problem
from lstmjax import checks
from lstmjax.errors import InputError
from lstmjax.files import replace_text

LARGEST_DIFFERENCE = 1e-4


@dataclasses.dataclass(frozen=True)
class BesideTorchConfig(BesideConfig):
    """Which sentences, and how to time."""

    data: str = "ud-ewt"
    """One of the named sets, unless --train is given."""
    train: Path | None = None
    """A file of one's own, CoNLL-U or columns."""
    batches: int = 24
    """How many batches are taken in turn."""
    batch_size: int = 32
    """Sentences of a batch."""
    out: Path | None = None
    """A JSON file for all figures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batches", "batch_size"):
            checks.positive_int(name, getattr(self, name))


def problems(config: BesideTorchConfig) -> dict[Literal["softmax", "crf"], Problem]:
    """Real sentences for both ways to choose tags, or for the softmax alone where pytorch-crf is not installed.

    Raises:
      InputError: too few sentences for a batch.
    """
    named = None if config.train else config.data
    data = load(TagConfig(data=named, train=config.train, batch_size=config.batch_size))
    source = data.train
    batches = (source.batch(position) for position in range(len(source)))
    full = [batch for batch in batches if batch.weights.all() and batch.lengths is not None][: config.batches]
    if not full:
        raise InputError(f"{config.train or named} fills no batch of {config.batch_size} sentences of several lengths")
    words = np.concatenate([encoded[:, 0] for encoded in data.parts.train.inputs])
    count = np.bincount(words, minlength=data.model.vocab_size).astype(np.float32)
    outputs: list[Literal["softmax", "crf"]] = ["softmax"]
    if importlib.util.find_spec("torchcrf"):
        outputs.append("crf")
    return {output: Problem(dataclasses.replace(data.model, output=output), count, full) for output in outputs}


def figures_of(problem: Problem, found: Comparison) -> dict[str, Any]:
    """Tokens a second, and how many times as long as ours the others take."""
    figures: dict[str, Any] = {"difference": found.differences}
    for kind, seconds in found.times.items():
        figures[kind] = {
            "tokens_per_second": {name: problem.tokens / statistics.median(each) for name, each in seconds.items()},
            "ratios": {peer: paired_ratio(seconds[peer], seconds[OURS]) for peer in found.differences},
            "seconds": seconds,
        }
    return figures


def table(found: dict[str, Any]) -> list[str]:
    peers = [name for name in LIBRARIES if name != OURS]
    head = ["", "tokens/s", *LIBRARIES, *(f"ours / {peer}" for peer in peers)]
    rows = []
    for output, figures in found.items():
        for kind in KINDS:
            speeds = [f"{figures[kind]['tokens_per_second'][name]:,.0f}" for name in LIBRARIES]
            rows.append([output, kind, *speeds, *(f"{figures[kind]['ratios'][peer]:.2f}" for peer in peers)])
    return markdown(head, rows, names=2)


def main(config: BesideTorchConfig) -> int:
    """Measure, print a table, and write everything down."""
    if not importlib.util.find_spec("torch"):
        raise InputError("torch is not installed: pip install torch pytorch-crf")
    if config.out is not None:
        cli.check_out(config.out)
    found: dict[str, Any] = {}
    for output, problem in problems(config).items():
        lengths = sorted({batch.inputs.shape[1] for batch in problem.batches})
        print(f"{output}: {problem.tokens:,} tokens in {len(problem.batches)} batches of {config.batch_size} sentences")
        print(f"  of up to {', '.join(map(str, lengths))} tokens; all are prepared, which takes minutes", flush=True)
        found[output] = figures_of(problem, compare(LIBRARIES, problem, KINDS, config, LARGEST_DIFFERENCE))
        for peer, apart in found[output]["difference"].items():
            line = f"emissions {apart['emissions']:.1e}, loss {apart['loss']:.1e}"
            print(f"  largest difference to {peer}: {line}", flush=True)
    print("\n".join(table(found)))
    if config.out is not None:
        settings = {name: value for name, value in dataclasses.asdict(config).items() if name not in ("train", "out")}
        record = {"settings": settings, "machine": machine.describe(), "results": found}
        replace_text(config.out, json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(BesideTorchConfig, __doc__)))
