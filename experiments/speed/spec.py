"""What is measured: rows (a shape and what is done with it), modes and dtypes."""

import dataclasses
import re
from typing import Any, Literal, get_args

from lstmjax import checks
from lstmjax.errors import InputError

Kind = Literal["layer", "generation", "job"]
Mode = Literal["forward", "forward+backward", "generate", "epoch", "compile", "memory"]
DType = Literal["float32", "bfloat16"]

MODES: tuple[str, ...] = get_args(Mode)
RUN_MODES = ("forward", "forward+backward", "generate", "epoch")
"""Modes that are timed; "compile" and "memory" are read off the program of the kind's gradient, or of its run."""

LAYER_MODES = ("forward", "forward+backward", "compile")
GROUPS = ("rows of full length", "ragged rows", "rows of one sequence")
BARS = {"forward": 1e-4, "forward+backward": 1e-3, "generate": 0.1, "epoch": 0.1}
"""How far a contender's answers in float32 may be from the reference's before it counts as computing something else.

Of forward the largest difference; of forward+backward the largest of a gradient, as a share of that gradient's largest
entry; of generate the share of other symbols, for one near tie changes all that comes after; of epoch the loss's, as a
share of it, which may differ because torch has two biases that both learn.
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
      runs: whether anything is run, or the program only compiled, for what the compiler says of its memory.
      extra: contenders that are measured there whenever lstmjax is.
      sweep: the letter that changes along the line of a plot the row belongs to.
      symbols: V, of generation.
      sequences: of a job; B of them at a time.
    """

    name: str
    steps: int
    batch: int
    in_features: int
    hidden: int
    layers: int = 1
    bidirectional: bool = False
    ragged: bool = False
    kind: Kind = "layer"
    modes: tuple[str, ...] = LAYER_MODES
    runs: bool = True
    extra: tuple[str, ...] = ()
    sweep: str = ""
    symbols: int = 256
    sequences: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "in_features", "hidden", "layers"):
            checks.positive_int(name, getattr(self, name))

    @property
    def ways(self) -> int:
        return 2 if self.bidirectional else 1

    def features_into(self, layer: int) -> int:
        return self.in_features if layer == 0 else self.ways * self.hidden

    @property
    def out_features(self) -> int:
        return self.ways * self.hidden

    @property
    def group(self) -> str:
        """The rows of layers that it is averaged with, of `GROUPS`."""
        full, ragged, one = GROUPS
        return ragged if self.ragged else one if self.batch == 1 else full

    @property
    def shape(self) -> str:
        sizes = f"T {self.steps}, B {self.batch}, I {self.in_features}, H {self.hidden}"
        forms = [f"{self.layers} layers"] * (self.layers > 1) + ["bidirectional"] * self.bidirectional
        return ", ".join([sizes, *forms, *["lengths 1..T"] * self.ragged])


def row_from_json(fields: dict[str, Any]) -> Row:
    plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return Row(**plain)


def plain(steps: int, batch: int, in_features: int, hidden: int, **options: Any) -> Row:
    return Row(f"{steps}x{batch}x{in_features}x{hidden}", steps, batch, in_features, hidden, **options)


def ragged(row: Row) -> Row:
    return dataclasses.replace(row, name=f"ragged-{row.name}", ragged=True, modes=LAYER_MODES)


def generation(hidden: int, batch: int) -> Row:
    name = f"generate-H{hidden}-B{batch}"
    return Row(name, 256, batch, hidden, hidden, kind="generation", modes=("generate",))


_WITH_MEMORY = (*LAYER_MODES, "memory")
_ROWS = (
    plain(1000, 64, 1, 50),
    plain(100, 64, 128, 512),
    plain(35, 20, 650, 650),
    plain(200, 32, 256, 256, modes=_WITH_MEMORY),
    plain(128, 128, 9, 96),
    plain(4000, 8, 16, 64, modes=_WITH_MEMORY),
    plain(25, 128, 256, 1024),
    ragged(plain(200, 32, 256, 256)),
    ragged(plain(100, 64, 128, 512)),
    Row("tagger", 40, 32, 100, 200, layers=2, bidirectional=True),
    Row("language-model", 70, 20, 400, 1150, layers=3, modes=_WITH_MEMORY),
    Row("long", 16000, 32, 64, 256, modes=("memory",), runs=False, extra=("lstmjax-fused", "lstmjax-scan")),
    *(plain(t, 1, h, h, modes=("forward", "forward+backward")) for t in (200, 2000) for h in (128, 512)),
    generation(512, 1),
    generation(1024, 1),
    generation(1024, 64),
)
ROWS = {row.name: row for row in _ROWS}

JOBS = (Row("forecasting", 1000, 64, 1, 50, kind="job", modes=("epoch",), sequences=1000),)


def sweep_rows() -> tuple[Row, ...]:
    """Shapes along three lines: T, H (with I = H) and B."""

    def at(letter: str, value: int, *sizes: int) -> Row:
        return dataclasses.replace(
            plain(*sizes), name=f"sweep-{letter}-{value}", sweep=letter, modes=("forward+backward",)
        )

    times = [at("T", t, t, 32, 128, 128) for t in (32, 64, 128, 256, 512, 1024, 2048, 4096)]
    widths = [at("H", h, 100, 32, h, h) for h in (32, 64, 128, 256, 512, 1024)]
    batches = [at("B", b, 100, b, 256, 256) for b in (1, 2, 4, 8, 16, 32, 64, 128, 256)]
    return (*times, *widths, *batches)


def row_named(name: str) -> Row:
    """One of `ROWS`, or a shape of one's own, written TxBxIxH.

    Raises:
      InputError: neither.
    """
    if name in ROWS:
        return ROWS[name]
    if re.fullmatch(r"[1-9][0-9]*(x[1-9][0-9]*){3}", name):
        return plain(*map(int, name.split("x")), modes=_WITH_MEMORY)
    raise InputError(f"rows must be shapes such as 100x64x128x512 (TxBxIxH) or of {', '.join(ROWS)}, got {name!r}")


def bar(mode: str, dtype: str, device: str = "cpu") -> float:
    """The largest difference at which a contender counts as computing the same."""
    return BARS[mode] * (1 if (dtype, device) == ("float32", "cpu") else COARSER)
