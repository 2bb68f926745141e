"""Learn to draw: handwriting and sketches as movements of a pen, each next point a mixture of Gaussians.

Usage: python -m experiments.strokes [--data FILE] [--out DIR] ...
       python -m experiments.strokes --checkpoint DIR [--sample N] [--bias B] [--out FILE]; see --help.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from scipy.stats import multivariate_normal

from experiments import cli, settings, study
from experiments.observers import plot_curves
from experiments.stroke_pictures import draw, draw_densities
from lstmjax import checks, data, training
from lstmjax.data.made_strokes import made_words
from lstmjax.data.strokes import LIFTS, Drawings, read_strokes, to_strokes
from lstmjax.decoding import generate_strokes
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import MixtureDensity, MixtureDensityConfig
from lstmjax.saved import load_model

DESCRIPTION = """Learn to draw: handwriting and sketches as movements of a pen.

Trains on handwriting that it makes itself, or on a file of drawings (.ndjson as Quick, Draw! publishes it, .json,
.npz), and baselines beside it; chooses by a validation part, looks at the test part once. Writes checkpoints, metrics,
figures, drawings of its own and a summary into one folder. Ctrl-C saves and says how to go on. More drawings of a
trained model are written by --checkpoint DIR, which has options of its own (--checkpoint DIR --help). Exit codes: 0
done, 1 failed on the way, 2 the command or its input can't be used, 130 stopped."""

BIASES = (0.0, 0.5, 1.0, 2.0)
Figures = dict[str, float]


@dataclasses.dataclass(frozen=True)
class StrokesConfig(settings.StepsConfig):
    """Every setting of a run."""

    data: str = "made"
    """made: words in handwriting that the study makes; or a file of drawings."""
    limit: int | None = None
    """Read the first so many drawings of a file; of made ones, make so many, 5000 where nothing is said."""
    only_recognized: bool = False
    """Leave out what Quick, Draw! says that nobody recognised."""
    longest: int = 300
    """Drawings of more points are left out; how many these are is said."""
    validation_fraction: float = 0.08
    """Share of the drawings to choose the model by, in (0, 1)."""
    test_fraction: float = 0.12
    """Share of the drawings to look at once, at the end, in (0, 1)."""
    num_buckets: int = 4
    """At most so many lengths of batches, so that drawings are batched with others of nearly their length."""
    columns: int = 6
    """Drawings in a row of the pictures."""
    baselines: bool = True
    """Train the simple models too that this one should beat."""
    quick: bool = False
    """A look in under a minute: 400 drawings, 60 steps."""
    steps: int = 2000
    """Optimisation steps."""
    eval_every: int = 200
    """Steps between evaluations on all validation data; each is followed by a checkpoint."""
    model: MixtureDensityConfig = dataclasses.field(default_factory=MixtureDensityConfig)
    optimizer: training.OptimizerConfig = dataclasses.field(
        default_factory=lambda: training.OptimizerConfig(learning_rate=5e-3)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_buckets", "columns"):
            checks.positive_int(name, getattr(self, name))
        checks.index("longest", self.longest, 2)
        if self.limit is not None:
            checks.positive_int("limit", self.limit)
        for name in ("validation_fraction", "test_fraction"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)}")
        if self.only_recognized and not self.data.lower().endswith((".ndjson", ".ndjson.gz")):
            raise ValueError(f"only_recognized is for .ndjson files of Quick, Draw!, got {self.data}")

    def cadence(self, train: Any) -> training.Cadence:
        steps = min(self.steps, 60) if self.quick else self.steps
        return training.Cadence(steps, self.log_every, min(self.eval_every, steps), self.patience)


class Parts(NamedTuple):
    """Drawings to learn from, to choose a model by, and to look at once."""

    train: Drawings
    validation: Drawings
    test: Drawings


def load(config: StrokesConfig) -> study.Data:
    """Read or make the drawings, and hold two parts out; the same ones whatever the seed."""
    drawings, notes = read(config)
    parts = split(drawings, config, notes)
    buckets = 1 if config.quick else config.num_buckets  # each takes its time to compile
    seeds = (config.seed, None, None)
    train, *others = (batches(part, config.batch_size, buckets, seed) for part, seed in zip(parts, seeds, strict=True))
    offsets = [points[1:, :2] for points in parts.train.points]
    count = [len(part.points) for part in parts]
    described = f"drawings: {count[0]:,} to learn from, {count[1]:,} to choose by, {count[2]:,} to test on"
    return study.Data(
        train=train,
        validation=others[0],
        test=others[1],
        model=config.model,
        save_companion=lambda folder: None,
        identity={"drawings": count, "sha256": digest(parts)},
        symbols_per_step=round(config.batch_size * np.mean([len(points) for points in parts.train.points])),
        description="\n".join([described, *notes]),
        prepare=lambda model: model.standardize.adapt(offsets),  # type: ignore[attr-defined]
        parts=parts,
    )


def read(config: StrokesConfig) -> tuple[Drawings, list[str]]:
    """All drawings that are not too long, and what a user may want to know of the others."""
    limit = min(config.limit or 400, 400) if config.quick else config.limit
    if config.data == "made":
        drawings = made_words(limit or 5000, seed=0)
    else:
        drawings = read_strokes(config.data, only_recognized=config.only_recognized, limit=limit)
    lengths = np.array([len(points) for points in drawings.points])
    kept = drawings.take(np.flatnonzero((lengths > 1) & (lengths <= config.longest)).tolist())
    notes = [
        f"left out: {count:,} drawings of {what}"
        for count, what in (
            (int(np.sum(lengths > config.longest)), f"more than {config.longest} points, see --longest"),
            (int(np.sum(lengths == 1)), "a single point"),
        )
        if count
    ]
    return kept, notes


def split(drawings: Drawings, config: StrokesConfig, notes: Sequence[str] = ()) -> Parts:
    """Three parts at random, each of at least one drawing."""
    count = len(drawings.points)
    held = [max(1, round(count * share)) for share in (config.test_fraction, config.validation_fraction)]
    if sum(held) >= count:
        too_few = f"{count} drawings are too few to train on and to hold {sum(held)} of them out"
        raise InputError("; ".join([f"{config.data}: {too_few}", *notes]))
    test, validation, train = np.split(np.random.default_rng(0).permutation(count), np.cumsum(held))
    return Parts(*(drawings.take(np.sort(rows).tolist()) for rows in (train, validation, test)))


def batches(part: Drawings, batch_size: int, num_buckets: int, seed: int | None) -> data.Bucketed:
    """Each drawing without its last point, and without its first."""
    before, after = [points[:-1] for points in part.points], [points[1:] for points in part.points]
    return data.Bucketed(before, after, batch_size, num_buckets, seed)


def digest(parts: Parts) -> str:
    found = hashlib.sha256()
    for part in parts:
        for points in part.points:
            found.update(len(points).to_bytes(8, "little") + points.tobytes())
    return found.hexdigest()


def finish(run: study.Run, model: Any, companion: None) -> Figures:
    """Test once, train the baselines, draw, and say how good all are and where everything lies."""
    found = {run.data.model.cell: measure(run, model, companion)} | simple_figures(run.data.parts, model)
    if run.config.baselines:
        found["one_gaussian"] = train_baseline(run)
    folder, parts = run.folder.path, run.data.parts
    plot_curves(run.folder.metrics, run.folder.curve, folder.name, {"loss": "nats a point", "pen_accuracy": "accuracy"})
    columns, key = run.config.columns, jax.random.key(run.config.seed)
    true = parts.train.points[: 4 * columns]
    draw(folder / "true.png", {f"{n}": true[n : n + columns] for n in range(0, len(true), columns)}, titles=False)
    drawn = {f"bias {bias:g}": generate_strokes(model, columns, key=key, bias=bias) for bias in BIASES}
    for name in ("samples.png", "samples.svg"):
        draw(folder / name, drawn)
    draw_densities(folder / "densities.png", model, parts.test.points[0])
    print_table(found)
    print(f"saved in {folder}: summary.json, loss.png, true.png, samples.png, samples.svg, densities.png")
    print(f"draw more: {cli.command('experiments.strokes', '--checkpoint', folder, '--out', 'drawings.svg')}")
    own, *others = found
    unit = float(np.sum(np.log(model.standardize.scale[...])))
    beside = {f"baseline_{name}_{figure}": value for name in others for figure, value in found[name].items()}
    return found[own] | {"test_nll_in_own_units": found[own]["test_nll"] + unit} | beside


def measure(run: study.Run, model: Any, companion: None) -> Figures:
    """The figures of the validation and of the test part, in nats a point."""
    graphdef, params, other = training.split_model(model)
    evaluate = training.make_evaluate(run.task, graphdef)
    sources: dict[str, Any] = {"validation": run.data.validation, "test": run.data.test}
    found = {name: evaluate(params, other, source) for name, source in sources.items()}
    return {
        f"{part}_{'nll' if name == 'loss' else name}": value
        for part, figures in found.items()
        for name, value in figures.items()
    }


def simple_figures(parts: Parts, model: MixtureDensity) -> dict[str, Figures]:
    """Two baselines without a network: one Gaussian for all offsets, and one around a line through the last two."""
    seen, asked = (rows_of(part, model) for part in (parts.train, parts.test))
    found = {}
    for name, columns in (("marginal", 1), ("linear", None)):
        known, given = seen.before[:, :columns], asked.before[:, :columns]
        weights = np.linalg.lstsq(known, seen.offsets)[0]
        spread = np.cov((seen.offsets - known @ weights).T, bias=True) + 1e-12 * np.eye(2)
        offset_nll = -multivariate_normal(np.zeros(2), spread).logpdf(asked.offsets - given @ weights)
        counts = np.ones((2, 3))
        np.add.at(counts, (known[:, -1].astype(int), seen.pens), 1)  # a row for each state of what is known last
        shares = (counts / counts.sum(axis=1, keepdims=True))[given[:, -1].astype(int)]
        pen_nll = -np.log(shares[np.arange(len(asked.pens)), asked.pens])
        found[name] = {
            "test_nll": float(np.mean(offset_nll + pen_nll)),
            "test_offset_nll": float(np.mean(offset_nll)),
            "test_pen_nll": float(np.mean(pen_nll)),
            "test_pen_accuracy": float(np.mean(shares.argmax(axis=1) == asked.pens)),
        }
    return found


class Rows(NamedTuple):
    """Every point to be predicted, `offsets` [N, 2], standardised, and `pens` [N]; and what comes `before` it, [N, 6]:
    a one, the last two offsets, and whether the pen was lifted.
    """

    offsets: np.ndarray
    pens: np.ndarray
    before: np.ndarray


def rows_of(part: Drawings, model: MixtureDensity) -> Rows:
    mean, scale = (np.asarray(each[...], np.float64) for each in (model.standardize.mean, model.standardize.scale))
    found = []
    for points in part.points:
        z, pens = (points[:, :2] - mean) / scale, points[:, 2].astype(int)
        z[0] = 0.0  # the origin: how the pen came there is not known
        earlier = np.concatenate([np.zeros((1, 2)), z[:-2]])
        before = np.hstack([np.ones((len(z) - 1, 1)), z[:-1], earlier, pens[:-1, None] == LIFTS])
        found.append((z[1:], pens[1:], before))
    return Rows(*map(np.concatenate, zip(*found, strict=True)))


def train_baseline(run: study.Run) -> Figures:
    """The same network with one Gaussian, by the same code, in a folder of its own."""
    print("\nbaseline one_gaussian:")
    folder = training.RunFolder(run.folder.path / "baselines" / "one_gaussian")
    config = dataclasses.replace(run.config, out=folder.path, resume=folder.holds_a_run())
    one = run.data._replace(model=dataclasses.replace(run.data.model, components=1))
    found = study.complete(dataclasses.replace(STUDY, finish=measure), config, one, folder)
    return {name: value for name, value in found.items() if name.startswith("test_")}


def print_table(models: dict[str, Figures]) -> None:
    """The test part, a line a model."""
    names = ("nll", "offset_nll", "pen_nll", "pen_accuracy")
    table = Table("test", *(Column(name.replace("_", " "), justify="right") for name in names), box=SIMPLE_HEAD)
    for model, found in models.items():
        table.add_row(model.replace("_", " "), *(f"{found[f'test_{name}']:.4f}" for name in names))
    Console(highlight=False).print(table)


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """What to draw."""

    checkpoint: Path
    """The folder of a trained run."""
    sample: int = 12
    """How many drawings."""
    bias: float = 0.5
    """At least 0: 0 follows the model, more is neater."""
    seed: int = 0
    """The same seed draws the same."""
    length: int = 500
    """Points after which a drawing is ended if it has not ended by then."""
    columns: int = 6
    """Drawings in a row of a picture."""
    out: Path = Path("drawings.svg")
    """Where to: a picture that ends in .svg or .png; or .json, which --data reads."""

    def __post_init__(self) -> None:
        for name in ("sample", "columns"):
            checks.positive_int(name, getattr(self, name))
        checks.index("seed", self.seed, 0, 2**32 - 1)
        checks.index("length", self.length, 2)
        checks.at_least_zero("bias", self.bias)
        checks.one_of("the ending of out", self.out.suffix.lower(), (".svg", ".png", ".json"))


def write_samples(arguments: Sequence[str]) -> int:
    """Draw with a trained model; returns the exit code."""
    config = cli.parse(SampleConfig, DESCRIPTION, arguments)
    cli.check_out(config.out)
    cli.check_backend()
    model, _ = load_model(config.checkpoint)
    if not isinstance(model, MixtureDensity):
        raise InputError(f"{config.checkpoint} holds a {type(model).__name__}; expected a MixtureDensity")
    key = jax.random.key(config.seed)
    drawn = generate_strokes(model, config.sample, key=key, bias=config.bias, length=config.length)
    if config.out.suffix.lower() == ".json":
        strokes = [[stroke.T.tolist() for stroke in to_strokes(points)] for points in drawn]
        replace_text(config.out, json.dumps(strokes) + "\n")
    else:
        size = config.columns
        draw(config.out, {f"{n}": drawn[n : n + size] for n in range(0, len(drawn), size)}, titles=False)
    print(f"{len(drawn)} drawings in {config.out}")
    return 0


STUDY: study.Study[StrokesConfig] = study.Study(
    module="experiments.strokes",
    description=DESCRIPTION,
    family="mixture-density",
    config=StrokesConfig,
    name=lambda config: f"strokes-{Path(config.data).name.split('.')[0]}",
    load=load,
    finish=finish,
)


def main() -> int:
    if any(argument.split("=")[0] == "--checkpoint" for argument in sys.argv[1:]):
        return write_samples(sys.argv[1:])
    return study.run(STUDY, sys.argv[1:])


if __name__ == "__main__":
    cli.run(main)
