"""How fast sentences are translated, beside the same model in PyTorch: `python -m experiments.translate.beside_torch`.

The model is that of `python -m experiments.translate`, of 6000 symbols, with parameters as they are drawn; sentences
are made up, 8 to 25 symbols long, and each translation has as many symbols as the longest of its batch, so that all do
the same work. First it is checked that all write the same symbols and have the same loss. PyTorch decodes in plain
steps, and in steps compiled by `torch.compile`; ours is compared with the faster of the two. Each works in a process of
its own, idle while another works; all is compiled before. Training is a whole step of 64 pairs: dropout, loss,
gradients, clipping, Adam.
"""

import dataclasses
import importlib.util
import statistics
from pathlib import Path

from experiments import cli
from experiments.speed import machine
from experiments.speed.beside import BesideConfig, compare, markdown
from experiments.speed.turns import OURS, Times, paired_ratio
from experiments.translate.contenders import BEAMS, LIBRARIES, TARGET_STEPS, problem
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import Seq2SeqConfig

MODEL = Seq2SeqConfig(source_vocab_size=6000, target_vocab_size=6000, share_embeddings=True)
BATCHES = (1, 64)
LARGEST_DIFFERENCE = 1e-4
"""Of the loss; of symbols, the share that differ, which is less than one of them."""


@dataclasses.dataclass(frozen=True)
class BesideTorchConfig(BesideConfig):
    """How to time."""

    training: bool = True
    """Time training too."""
    out: Path | None = None
    """A Markdown file for the table."""


def row(batch: int, kind: str, seconds: Times) -> list[str]:
    """How much of what a second, and how many times as fast ours is as the faster PyTorch."""
    amount, what = (batch, "sentences/s") if kind != "training" else (batch * TARGET_STEPS, "target symbols/s")
    speeds = [f"{amount / statistics.median(seconds[name]):,.1f}" for name in LIBRARIES]
    ratio = min(paired_ratio(each, seconds[OURS]) for name, each in seconds.items() if name != OURS)
    return [f"{kind}, batch {batch}", what, *speeds, f"{ratio:.2f}"]


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
        found = compare(LIBRARIES, problem(MODEL, batch), kinds, config, LARGEST_DIFFERENCE)
        rows += [row(batch, kind, seconds) for kind, seconds in found.times.items()]
    table = "\n".join(markdown(["", "", *LIBRARIES, "ours / best of PyTorch"], rows, names=2)) + "\n"
    print(table)
    if config.out is not None:
        about = machine.describe()
        cores = config.threads or about["cores"]
        versions = ", ".join(f"{name} {about['versions'][name]}" for name in ("jaxlib", "torch"))
        replace_text(config.out, f"{table}\n{about['processor']}, {cores} cores; {versions}.\n")
    return 0


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(BesideTorchConfig, __doc__)))
