"""What comes after the end of a file: a forecast of every series in it, as tables and as a picture."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments import cli, trained
from experiments.forecast import parts, pictures
from experiments.ranges import Checked, Fraction, Index, Positive, Seed
from lstmjax.data.series import Series, SeriesSet, read_series
from lstmjax.decoding.forecasts import Forecast, forecast
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import Forecaster, RecursiveForecaster
from lstmjax.models.forecaster_task import SeriesMeaning


@dataclasses.dataclass(frozen=True)
class PredictConfig(Checked):
    """What to go on from, with which model, and where to write."""

    checkpoint: Path
    """The folder of a trained run."""
    predict: Path
    """A file with the columns that the model was trained on; the forecast begins after its last row. Columns that are
    known ahead have rows beyond that, whose targets are empty."""
    out: Path | None = None
    """The CSV file to write; without it, FILE-forecast.csv in this folder. Beside it come sample paths, in a file whose
    name ends in -paths.csv, and a picture of the same name that ends in .png."""
    horizon: Positive | None = None
    """Steps to forecast; without it, as many as in training, the most there can be but for recursive models."""
    quantiles: tuple[Fraction, ...] = (0.025, 0.1, 0.5, 0.9, 0.975)
    """Which quantiles to write, each in (0, 1)."""
    paths: Positive = 100
    """Sample paths to draw and write."""
    step: Index | None = None
    """Which checkpoint; without it, the best."""
    seed: Seed = 0
    """Fixes the sample paths."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for file in self.files:
            if file.resolve() == self.predict.resolve():
                raise ValueError(f"out must be another file than the one to predict, which {file} is")
        if len(set(self.files)) < 3:
            raise ValueError(f"out must name a CSV file, beside which a picture ends in .png, got {self.out}")

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """What is written: the forecast, its sample paths, its picture."""
        out = self.out or Path(f"{self.predict.name.split('.')[0]}-forecast.csv")
        return out, out.with_name(f"{out.stem}-paths.csv"), out.with_suffix(".png")


class Ahead(NamedTuple):
    """A series, the times to come, and what is said of them: `point` [H, C], `paths` [S, H, C]."""

    series: Series
    times: np.ndarray
    forecast: Forecast


def run(config: PredictConfig) -> None:
    """Read a file, forecast what comes after it, and write it down."""
    out, beside, picture = config.files
    for file in config.files:
        cli.check_out(file)
    model, meaning = trained.load(config.checkpoint, config.step, Forecaster, RecursiveForecaster)
    table = read_like(config.predict, meaning)
    if model.output == "negative-binomial":
        parts.check_counts(table)
    ahead = [predict(model, meaning, table, each, config) for each in table.series]
    replace_text(out, forecast_table(meaning.targets, ahead, config.quantiles))
    written = [out]
    if len(ahead[0].forecast.paths):
        replace_text(beside, paths_table(meaning.targets, ahead))
        written.append(beside)
    pictures.plot_ahead(picture, meaning.targets, ahead)
    for note in (*table.notes, *surprises(table, meaning)):
        print(f"note: {note}")
    print(f"{len(ahead[0].times)} steps of {len(ahead)} series in {', '.join(map(str, (*written, picture)))}")


def surprises(table: SeriesSet, meaning: SeriesMeaning) -> list[str]:
    """What a user may not expect: series that were not trained on, and histories that end in missing values."""
    found = []
    strangers = [each.name for each in table.series if each.name not in meaning.series]
    if meaning.id is not None and strangers:
        found.append(f"not trained on, so scaled by their own history: {_some(strangers)}")
    ended = [each.name for each in table.series if np.all(np.isnan(each.targets[-1]))]
    if ended:
        found.append(f"no target in the last row, where the history ends all the same: {_some(ended)}")
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def read_like(path: Path, meaning: SeriesMeaning) -> SeriesSet:
    """Read a file as that of the training was read.

    Raises:
      InputError: see `read_series`; steps of another length than in training.
    """
    return read_series(
        path,
        time=meaning.time,
        targets=meaning.targets,
        series=meaning.id,
        past=meaning.past,
        known=meaning.known,
        frequency=meaning.frequency,
        time_format=meaning.time_format,
        duplicates=meaning.duplicates,
    )


def predict(
    model: Forecaster | RecursiveForecaster,
    meaning: SeriesMeaning,
    table: SeriesSet,
    series: Series,
    config: PredictConfig,
) -> Ahead:
    """What comes after one series.

    Raises:
      InputError: a horizon that the model can't do, known covariates that end before it, nothing observed at the end.
    """
    horizon = config.horizon or model.horizon
    if isinstance(model, Forecaster) and horizon > model.horizon:
        raise InputError(f"--horizon must be at most the model's {model.horizon}, got {horizon}")
    rows = len(series.targets)
    if not np.any(~np.isnan(series.targets[-model.input_length :])):
        raise InputError(f"{table.file}: {series.name} has no value in its last {model.input_length} rows")
    ahead = model.horizon if isinstance(model, Forecaster) else horizon  # what the model reads to say any of it
    times = table.frequency.after(series.times[rows - 1], ahead)
    known = series.known[: rows + ahead]
    if known.shape[1] and len(known) < rows + ahead:
        there, names = len(known) - rows, ", ".join(table.known)
        raise InputError(f"{table.file}: {series.name} has {names} for {there} steps to come; expected {ahead}")
    known = meaning.covariates(np.concatenate([series.times[:rows], times]), known if known.shape[1] else None)
    try:
        said = forecast(
            model,
            series.targets,
            horizon,
            past=series.past,
            known=known,
            series=meaning.series.index(series.name) if series.name in meaning.series else None,
            num_paths=config.paths,
            key=jax.random.key(config.seed),
        )
    except ValueError as error:
        raise InputError(f"{table.file}: {series.name} can't be forecast: {error}") from error
    return Ahead(series, times[:horizon], said)


def forecast_table(targets: Sequence[str], ahead: Sequence[Ahead], quantiles: Sequence[float]) -> str:
    """A row for each series, time and target: the point, and the quantiles where there are paths."""
    has_paths = len(ahead[0].forecast.paths) > 0
    names = [f"quantile_{level:g}" for level in quantiles] if has_paths else []
    rows = []
    for place, said in _places(targets, ahead):
        levels = said.quantile(np.array(quantiles)) if has_paths else np.zeros(0)
        rows.append([*place, *map(trained.digits, (said.point, *levels))])
    return trained.csv_table(["series", "time", "target", "point", *names], rows)


def paths_table(targets: Sequence[str], ahead: Sequence[Ahead]) -> str:
    """A row for each series, time and target, a column for each sample path."""
    count = len(ahead[0].forecast.paths)
    header = ["series", "time", "target", *(f"path_{number}" for number in range(1, count + 1))]
    rows = ([*place, *map(trained.digits, said.paths)] for place, said in _places(targets, ahead))
    return trained.csv_table(header, rows)


def _places(targets: Sequence[str], ahead: Sequence[Ahead]) -> Iterator[tuple[tuple[str, str, str], Forecast]]:
    """Every value that is forecast: its series, time and target, and what is said of it alone."""
    for series, times, (point, paths) in ahead:
        for step, time in enumerate(written(times)):
            for channel, target in enumerate(targets):
                yield (series.name, time, target), Forecast(point[step, channel], paths[:, step, channel])


def written(times: np.ndarray) -> list[str]:
    """Times as dates where all are midnights, else to the second; row numbers as they are.

    >>> written(np.array(["2020-01-01T00:00", "2020-01-01T12:00"], "M8[us]"))
    ['2020-01-01 00:00:00', '2020-01-01 12:00:00']
    """
    if times.dtype.kind != "M":
        return list(map(str, times))
    are_days = np.all(times == times.astype("M8[D]"))
    return [str(time).replace("T", " ") for time in np.datetime_as_string(times, "D" if are_days else "s")]
