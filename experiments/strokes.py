"""Learn to draw: handwriting and sketches as movements of a pen.

Trains on handwriting that it makes itself, or on a file of drawings (.ndjson as Quick, Draw! publishes it, .json,
.npz), and baselines beside it; chooses by a validation part, looks at the test part once. More drawings of a trained
model are written by --checkpoint DIR.

Usage: python -m experiments.strokes [--data FILE] [--out DIR] ...
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
from scipy.stats import multivariate_normal

from experiments import baselines, cli, settings, study, trained
from experiments.baselines import Figures
from experiments.observers import plot_curves
from experiments.parts import Parts, described, digest, in_batches
from experiments.ranges import Amount, Checked, Fraction, Positive, Seed, at_least
from experiments.stroke_pictures import draw, draw_densities
from lstmjax import checks, data, training
from lstmjax.data.made_strokes import made_words
from lstmjax.data.strokes import LIFTS, Drawings, read_strokes, to_strokes
from lstmjax.decoding import generate_strokes
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import MixtureDensity, MixtureDensityConfig

BIASES = (0.0, 0.5, 1.0, 2.0)


@dataclasses.dataclass(frozen=True)
class StrokesConfig(settings.StepsConfig, settings.HeldOutConfig):
    """Every setting of a run."""

    data: str = "made"
    """made: words in handwriting that the study makes; or a file of drawings."""
    limit: Positive | None = None
    """Read the first so many drawings of a file; of made ones, make so many, 5000 where nothing is said."""
    only_recognized: bool = False
    """Leave out what Quick, Draw! says that nobody recognised."""
    longest: Annotated[int, at_least(2)] = 300
    """Drawings of more points are left out; how many these are is said."""
    validation_fraction: Fraction = 0.08
    test_fraction: Fraction = 0.12
    num_buckets: Positive = 4
    """At most so many lengths of batches, so that drawings are batched with others of nearly their length."""
    columns: Positive = 6
    """Drawings in a row of the pictures."""
    quick: bool = False
    """A look in under a minute: 400 drawings, 60 steps."""
    steps: settings.Steps = 2000
    model: MixtureDensityConfig = dataclasses.field(default_factory=MixtureDensityConfig)
    optimizer: training.OptimizerConfig = training.OptimizerConfig(learning_rate=5e-3)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.only_recognized and not self.data.lower().endswith((".ndjson", ".ndjson.gz")):
            raise ValueError(f"only_recognized is for .ndjson files of Quick, Draw!, got {self.data}")


def load(config: StrokesConfig) -> study.Data:
    """Read or make the drawings, and hold two parts out; the same ones whatever the seed."""
    drawings, notes = read(config)
    parts = split(drawings, config, notes)
    buckets = 1 if config.quick else config.num_buckets  # each takes its time to compile
    sources = in_batches(parts, lambda part, seed: batches(part, config.batch_size, buckets, seed), config.seed)
    offsets = [points[1:, :2] for points in parts.train.points]
    counts = [len(part.points) for part in parts]
    return study.Data(
        *sources,
        model=config.model,
        save_companion=lambda folder: None,
        identity={"drawings": counts, "sha256": digest(_pieces(parts))},
        symbols_per_step=round(config.batch_size * np.mean([len(points) for points in parts.train.points])),
        description="\n".join([described("drawings", counts), *notes]),
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


def split(drawings: Drawings, config: StrokesConfig, notes: Sequence[str] = ()) -> Parts[Drawings]:
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


def _pieces(parts: Parts[Drawings]) -> Iterator[bytes]:
    for part in parts:
        for points in part.points:
            yield len(points).to_bytes(8, "little") + points.tobytes()


def finish(run: study.Run, model: Any, companion: None) -> Figures:
    """Test once, train the baselines, draw, and say how good all are and where everything lies."""
    found = {run.data.model.cell: measure(run, model, companion)} | simple_figures(run.data.parts, model)
    if run.config.baselines:
        one = dataclasses.replace(run.data.model, components=1)
        found["one_gaussian"] = baselines.train(run, "one_gaussian", one, measure)
    folder, parts = run.folder.path, run.data.parts
    plot_curves(run.folder.metrics, run.folder.curve, folder.name, {"loss": "nats a point", "pen_accuracy": "accuracy"})
    columns, key = run.config.columns, jax.random.key(run.config.seed)
    true = parts.train.points[: 4 * columns]
    draw(folder / "true.png", {f"{n}": true[n : n + columns] for n in range(0, len(true), columns)}, titles=False)
    drawn = {f"bias {bias:g}": generate_strokes(model, columns, key=key, bias=bias) for bias in BIASES}
    for name in ("samples.png", "samples.svg"):
        draw(folder / name, drawn)
    draw_densities(folder / "densities.png", model, parts.test.points[0])
    shown = ("test_nll", "test_offset_nll", "test_pen_nll", "test_pen_accuracy")
    baselines.print_models(found, shown)
    baselines.print_saved(run, "draw more", "--out", "drawings.svg")
    unit = float(np.sum(np.log(model.standardize.scale[...])))
    own = found[run.data.model.cell]["test_nll"]
    return baselines.summary(found) | {"test_nll_in_own_units": own + unit}


def measure(run: study.Run, model: Any, companion: None) -> Figures:
    """The figures of the validation and of the test part, in nats a point."""
    found = baselines.evaluate(run, model)
    return baselines.by_name({part: {"nll": each.pop("loss")} | each for part, each in found.items()})


def simple_figures(parts: Parts[Drawings], model: MixtureDensity) -> dict[str, Figures]:
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


@dataclasses.dataclass(frozen=True)
class SampleConfig(Checked):
    """What to draw."""

    checkpoint: Path
    """The folder of a trained run."""
    sample: Positive = 12
    """How many drawings."""
    bias: Amount = 0.5
    """At least 0: 0 follows the model, more is neater."""
    seed: Seed = 0
    """The same seed draws the same."""
    length: Annotated[int, at_least(2)] = 500
    """Points after which a drawing is ended if it has not ended by then."""
    columns: Positive = 6
    """Drawings in a row of a picture."""
    out: Path = Path("drawings.svg")
    """Where to: a picture that ends in .svg or .png; or .json, which --data reads."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("the ending of out", self.out.suffix.lower(), (".svg", ".png", ".json"))


def write_samples(config: SampleConfig) -> None:
    """Draw with a trained model."""
    cli.check_out(config.out)
    model, _ = trained.load(config.checkpoint, None, MixtureDensity)
    key = jax.random.key(config.seed)
    drawn = generate_strokes(model, config.sample, key=key, bias=config.bias, length=config.length)
    if config.out.suffix.lower() == ".json":
        strokes = [[stroke.T.tolist() for stroke in to_strokes(points)] for points in drawn]
        replace_text(config.out, json.dumps(strokes) + "\n")
    else:
        size = config.columns
        draw(config.out, {f"{n}": drawn[n : n + size] for n in range(0, len(drawn), size)}, titles=False)
    print(f"{len(drawn)} drawings in {config.out}")


STUDY: study.Study[StrokesConfig] = study.Study(
    module="experiments.strokes",
    description=__doc__,
    family="mixture-density",
    config=StrokesConfig,
    name=lambda config: f"strokes-{Path(config.data).name.split('.')[0]}",
    load=load,
    finish=finish,
    use=study.Use(SampleConfig, write_samples, "--sample"),
)
main = STUDY.main


if __name__ == "__main__":
    cli.run(main)
