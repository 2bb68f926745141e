"""What is measured: rows (a shape and what is done with it), modes and dtypes."""

import dataclasses
import re
from typing import Any, Literal, get_args

import numpy as np

from lstmjax.errors import InputError

Mode = Literal["forward", "forward+backward", "generate", "epoch", "compile", "memory"]
DType = Literal["float32", "bfloat16"]

MODES: tuple[Mode, ...] = get_args(Mode)
"""Whoever takes part has "compile" and "memory" measured of its forward+backward, in a fresh process."""

LAYER_MODES: tuple[Mode, ...] = ("forward", "forward+backward", "compile")
WITH_MEMORY: tuple[Mode, ...] = (*LAYER_MODES, "memory")
GROUPS = ("rows of full length", "ragged rows", "rows of one sequence")
SYMBOLS = 256
"""How many there are to generate from."""
BARS = {"forward": 1e-4, "forward+backward": 1e-3, "generate": 0.1, "epoch": 0.1}
"""How far a contender's answers in float32 may be from the reference's before it counts as computing something else.

Of outputs, gradients and an epoch's loss it is a share of the largest entry, and of symbols the share that differs: see
`turns.difference`. The loss may be off because torch has two biases that both learn.
"""
COARSER = 500
"""How much wider the bars are for bfloat16, and on a GPU, where by default products of float32 take fewer bits."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One shape, and what is done with it.

    Args:
      steps, batch, in_features, hidden: T, B, I, H; of generation T is the number of symbols.
      layers, bidirectional: how many, and whether in both directions.
      ragged: lengths are uniform in 1..T; else every sequence has T steps.
      modes: what is measured there; "memory" only on a few, for it takes a process for each contender.
      sequences: how many an epoch of training has, B of them at a time.
    """

    name: str
    steps: int
    batch: int
    in_features: int
    hidden: int
    layers: int = 1
    bidirectional: bool = False
    ragged: bool = False
    modes: tuple[Mode, ...] = LAYER_MODES
    sequences: int = 0

    @property
    def ways(self) -> int:
        return 2 if self.bidirectional else 1

    def features_into(self, layer: int) -> int:
        return self.in_features if layer == 0 else self.ways * self.hidden

    @property
    def group(self) -> str:
        """The rows that it is averaged with, of `GROUPS`."""
        full, ragged, one = GROUPS
        return ragged if self.ragged else one if self.batch == 1 else full

    @property
    def title(self) -> str:
        """What a table calls it."""
        shape = f"T {self.steps}, B {self.batch}, I {self.in_features}, H {self.hidden}"
        forms = [f"{self.layers} layers"] * (self.layers > 1) + ["bidirectional"] * self.bidirectional
        title = ", ".join([shape, *forms, *["lengths 1..T"] * self.ragged])
        return title if self.name[0].isdigit() or self.ragged else f"{self.name}: {title}"


def plain(steps: int, batch: int, in_features: int, hidden: int, **options: Any) -> Row:
    return Row(f"{steps}x{batch}x{in_features}x{hidden}", steps, batch, in_features, hidden, **options)


def ragged(row: Row) -> Row:
    return dataclasses.replace(row, name=f"ragged-{row.name}", ragged=True)


def generation(hidden: int, batch: int) -> Row:
    return Row(f"generate-H{hidden}-B{batch}", 256, batch, hidden, hidden, modes=("generate",))


_ROWS = (
    plain(1000, 64, 1, 50),
    plain(100, 64, 128, 512),
    plain(35, 20, 650, 650),
    plain(200, 32, 256, 256, modes=WITH_MEMORY),
    plain(128, 128, 9, 96),
    plain(4000, 8, 16, 64, modes=WITH_MEMORY),
    plain(25, 128, 256, 1024),
    ragged(plain(200, 32, 256, 256)),
    ragged(plain(100, 64, 128, 512)),
    Row("tagger", 40, 32, 100, 200, layers=2, bidirectional=True),
    Row("language-model", 70, 20, 400, 1150, layers=3, modes=WITH_MEMORY),
    Row("long", 16000, 32, 64, 256, modes=("memory",)),
    *(plain(t, 1, h, h, modes=("forward", "forward+backward")) for t in (200, 2000) for h in (128, 512)),
    generation(512, 1),
    generation(1024, 1),
    generation(1024, 64),
    Row("forecasting", 1000, 64, 1, 50, modes=("epoch",), sequences=1000),
)
ROWS = {row.name: row for row in _ROWS}


def row_named(name: str) -> Row:
    """One of `ROWS`, or a shape of one's own, written TxBxIxH or ragged-TxBxIxH.

    Raises:
      InputError: neither.
    """
    if name in ROWS:
        return ROWS[name]
    shape = name.removeprefix("ragged-")
    if not re.fullmatch(r"[1-9][0-9]*(x[1-9][0-9]*){3}", shape):
        raise InputError(f"rows must be shapes such as 100x64x128x512 (TxBxIxH) or of {', '.join(ROWS)}, got {name!r}")
    row = plain(*map(int, shape.split("x")), modes=WITH_MEMORY)
    return row if name == shape else ragged(row)


def bar(mode: str, dtype: str, device: str = "cpu") -> float:
    """The largest difference at which a contender counts as computing the same."""
    return BARS[mode] * (1 if (dtype, device) == ("float32", "cpu") else COARSER)


def draw_lengths(row: Row) -> np.ndarray:
    """[B], uniform in 1..T."""
    return np.random.default_rng([0, 1]).integers(1, row.steps + 1, row.batch).astype(np.int32)


def flops(row: Row, mode: str) -> int:
    """Operations of a layer's matrix products, two for each multiply and add; elementwise work is left out.

    Forward: 2 (I + H) 4H for each step and cell; backward twice as much, for weights and for inputs.
    """
    steps = int(np.sum(draw_lengths(row))) if row.ragged else row.steps * row.batch
    cells = sum(row.ways * 2 * 4 * row.hidden * (row.features_into(depth) + row.hidden) for depth in range(row.layers))
    return steps * cells * (1 if mode == "forward" else 3)
