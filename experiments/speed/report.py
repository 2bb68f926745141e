"""The table and the plot of measured results.

Usage: python -m experiments.speed.report RESULTS.json ... [--out TABLE.md] [--plot PLOT.png]; see --help.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from experiments import cli
from experiments.speed import plot, ratios, results, tables
from experiments.speed.contenders import CONTENDERS
from experiments.speed.results import Results
from lstmjax.errors import InputError
from lstmjax.files import replace_text

DESCRIPTION = """Make the Markdown table, and from sweeps the plot, of what python -m experiments.speed measured."""

INTRODUCTION = r"""# Speed beside other libraries

What `python -m experiments.speed` measures: each library in a process of its own, one at a time, taking turns round by
round; medians, and ratios of paired rounds, because the machine's speed wanders by a quarter. Each library runs in its
own natural form: PyTorch's `nn.LSTM` time-major on all cores, under `inference_mode` forward; ONNX Runtime's LSTM
operator time-major on all cores, with its weights packed beforehand and nothing copied; Flax, Keras and Haiku under
`jax.jit`; and lstmjax with the backend it chooses, beside itself with backend "fused" and "scan". Forward+backward
gives the gradients of all weights and of the inputs. What a contender computes is compared with a float64 run first;
one that computes something else would not count. Where "best peer / lstmjax" is above 1 we are faster than the fastest
other library. "Of the matrix rate" is how much of the machine's speed in one large matrix product ours reaches.

```sh
pip install "torch==2.13.0" && pip install -e ".[experiments,interop]"
python -m experiments.speed --rounds 5 --jobs --out experiments/results/speed.json
python -m experiments.speed --rows --sweeps --rounds 3 --out experiments/results/speed-sweeps.json
python -m experiments.speed.report experiments/results/speed.json experiments/results/speed-sweeps.json \
    --out docs/speed.md --plot experiments/results/speed.png
```

Some rows (by name, or any shape TxBxIxH), contenders and modes, and their tables:

```sh
python -m experiments.speed --rows 200x1x128x128 100x64x128x512 tagger --contenders lstmjax lstmjax-fused torch \
    --modes forward --rounds 3 --out runs/some.json && python -m experiments.speed.report runs/some.json
```
"""

NOTES = {
    "haiku": "Haiku has no argument for sequences of different lengths and is left out of the ragged rows.",
    "flax": "Flax takes lengths, but computes the padding too.",
    "onnxruntime": "ONNX Runtime has no gradients of an LSTM and takes part forward only.",
}
FOOTNOTES = {
    "floor": "The floor is the matrix products at the machine's measured rate, or each array once at its memory's.",
    "of the memory's rate": "Above 100% of the memory's rate: the weights stay in a cache.",
}


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """What to read and what to write."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Results of one run or of several; of what was measured twice, the last counts."""
    out: Path | None = None
    """The Markdown file to write; None means stdout."""
    plot: Path | None = None
    """The picture to write of the sweeps: time against T, H and B."""


def main(arguments: Sequence[str]) -> int:
    config = cli.parse(ReportConfig, DESCRIPTION, arguments)
    if not config.results:
        raise InputError("results must name at least one file, got none")
    found = results.merged(config.results)
    if config.plot is not None:
        plot.draw(found, config.plot)
    if config.out is None:
        print(page(found), end="")
    else:
        replace_text(config.out, page(found))
    return 0


def page(found: Results) -> str:
    """All tables that there is something for."""
    parts = [INTRODUCTION, machine_line(found), *backend_lines(found)]
    for dtype in found.dtypes:
        suffix = "" if dtype == "float32" else f", {dtype}"
        for mode in ("forward", "forward+backward"):
            parts += _section(f"{mode.capitalize()}, milliseconds{suffix}", tables.layers(found, mode, dtype))
        parts += _section(f"Generation, symbols a second{suffix}", tables.generation(found, dtype))
        parts += _section(f"Seconds an epoch{suffix}", tables.jobs(found, dtype))
        parts += _section(f"Compiling forward+backward, seconds{suffix}", tables.compiling(found, dtype))
        parts += _section(f"Memory of forward+backward, MB{suffix}", tables.memory(found, dtype))
    present = {one.contender for one in found.measurements}
    parts += [note + "\n" for name, note in NOTES.items() if name in present]
    parts += [note + "\n" for column, note in FOOTNOTES.items() if any(f"| {column} |" in line for line in parts)]
    parts += note_lines(found)
    return "\n".join(parts + _section("Not counted", [f"- {failure}" for failure in found.failures]))


def machine_line(found: Results) -> str:
    machine = found.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    rates = (
        f"{machine['matrix_flops_per_second'] / 1e9:.0f} GFLOP/s in a float32 matrix product, "
        f"{machine['bytes_per_second'] / 1e9:.0f} GB/s of memory"
        if "bytes_per_second" in machine
        else "rates not measured"
    )
    settings = f"XLA_FLAGS {machine['xla_flags']!r}" if machine.get("xla_flags") else "no XLA_FLAGS"
    where = f"{machine.get('processor', 'unknown processor')}, {machine.get('cores')} cores"
    return f"{where}; {rates}; {settings}; {versions}.\n"


def note_lines(found: Results) -> list[str]:
    """What contenders say of themselves, and of which rows."""
    rows: dict[str, dict[str, None]] = {}
    for one in found.measurements:
        if one.note:
            rows.setdefault(f"{CONTENDERS[one.contender].title}: {one.note}", {})[one.row] = None
    return [f"{note}, {', '.join(names)}.\n" for note, names in sorted(rows.items())]


def backend_lines(found: Results) -> list[str]:
    """Which backend served lstmjax where it chose itself; nothing of results from before that was kept."""
    rows: dict[str, dict[str, None]] = {}
    for one in found.measurements:
        if one.contender == ratios.OURS and one.backend:
            rows.setdefault(one.backend, {})[one.row] = None
    by = [f"{backend} for {'all layers' if len(rows) == 1 else ', '.join(names)}" for backend, names in rows.items()]
    return [f"The backend that lstmjax chose: {'; '.join(by)}.\n"] if by else []


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}\n", *lines, ""] if lines else []


if __name__ == "__main__":
    cli.run(lambda: main(sys.argv[1:]))
