"""Measure how far our layers are from other libraries' with the same weights, and write the table.

Usage: python -m experiments.parity [--out FILE] [--libraries NAME ...]; see --help.
"""

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jax
from rich.progress import track

from experiments import cli
from experiments.parity.cases import BARS, CASES, LIBRARIES, Case
from experiments.parity.measuring import BATCH, HIDDEN, IN, STEPS, Difference
from experiments.speed.beside import markdown
from lstmjax.errors import InputError
from lstmjax.files import replace_text

DESCRIPTION = """Measure how far our layers are from other libraries' with the same weights, and write the table.

Exit codes: 0 all within the bars, 1 one is not, 2 the command can't be used, 130 stopped."""

LibraryName = Literal["torch", "keras", "nnx", "linen", "equinox", "haiku"]

INTRODUCTION = """# Parity with other libraries

How far outputs, final states and gradients of our layers are from those of other libraries' layers, when their weights
come in through `lstmjax.interop`: the largest absolute difference in float32, and in float64. Gradients are of all
weights, of the inputs and of the initial states, for the loss that sums sin over outputs at valid steps and over final
states. Inputs, weights and initial states are random. I={IN}, H={HIDDEN}, B={BATCH}, T={STEPS}.

- unidirectional, bidirectional: one layer; stacked: two.
- ragged: one bidirectional layer, sequences of 6, 1 and 3 steps: PyTorch's packed sequences, Keras' mask, Flax's
  `seq_lengths`; ragged stack: two such layers.
- masked: one bidirectional layer, a mask with padding on the left and holes (Keras).

What a library has no layer for is not in the table. Keras runs on JAX; in float64 its tanh is replaced by JAX's,
because its own rounds to float32 there. The bars are {float32:.0e} in float32 and {float64:.0e} in float64;
`tests/test_parity.py` holds to them. Made on a CPU by `python -m experiments.parity --out docs/parity.md`, with
{versions}.
"""


@dataclasses.dataclass(frozen=True)
class ParityConfig:
    """What to compare with, and where to write."""

    out: Path = Path("docs/parity.md")
    """The Markdown page to write."""
    libraries: tuple[LibraryName, ...] = ("torch", "keras", "nnx", "linen", "equinox", "haiku")
    """Which libraries to compare with, at least one; each must be installed."""

    def __post_init__(self) -> None:
        if not self.libraries:
            raise ValueError("libraries must name at least one library, got none")


def main(arguments: Sequence[str]) -> int:
    config = cli.parse(ParityConfig, DESCRIPTION, arguments)
    cli.check_out(config.out)
    for name in config.libraries:
        if LIBRARIES[name].version is None:
            raise InputError(f'{name} is not installed; pip install -e ".[interop]" brings every library')
    cli.check_backend()
    cases = [case for case in CASES if case.library in config.libraries]
    measured = {case: case.measure() for case in track(cases, description="comparing")}
    replace_text(config.out, page(config.libraries, measured))
    beyond = [case for case, difference in measured.items() if not max(difference) <= BARS[case.dtype]]
    for case in beyond:
        print(f"beyond the bar: {case}: {measured[case]}", file=sys.stderr)
    print(f"{len(measured) - len(beyond)} of {len(measured)} comparisons within the bars; see {config.out}")
    return 1 if beyond else 0


def page(libraries: Sequence[str], measured: dict[Case, Difference]) -> str:
    versions = dict.fromkeys(f"{LIBRARIES[name].distribution} {LIBRARIES[name].version}" for name in libraries)
    sizes = {"IN": IN, "HIDDEN": HIDDEN, "BATCH": BATCH, "STEPS": STEPS}
    opening = INTRODUCTION.format(**sizes, **BARS, versions=", ".join([f"jax {jax.__version__}", *versions]))
    columns = [f"{what}, {dtype}" for dtype in BARS for what in Difference._fields]
    table = markdown(["library", "cell", "form", *columns], rows(measured), names=3)
    return "\n".join([opening, *table]) + "\n"


def rows(measured: dict[Case, Difference]) -> list[list[str]]:
    """A row for each library, cell and form, dtypes side by side."""

    def place(case: Case) -> tuple[str, str, str]:
        return LIBRARIES[case.library].title, case.cell, case.form.name

    return [
        [*where, *(f"{value:.1e}" for case in cases for value in measured[case])]
        for where, cases in itertools.groupby(measured, place)
    ]


if __name__ == "__main__":
    cli.run(lambda: main(sys.argv[1:]))
