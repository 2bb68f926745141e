"""Forecast time series, with intervals and an honest look back.

Trains on a file (.csv, .tsv, packed or not) or a named set, and simple baselines beside it; chooses by the validation
part, and looks back at every origin of the test part once. What comes after the end of a file is written by
--checkpoint DIR --predict FILE.

Usage: python -m experiments.forecast --data FILE|NAME [--time COLUMN] [--target COLUMN ...] [--horizon H] [--out DIR]
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from experiments import cli, settings, study
from experiments.forecast import parts, predictions, results
from experiments.parts import digest
from experiments.ranges import Positive
from lstmjax import checks, training
from lstmjax.data.downloads import find
from lstmjax.data.named_series import NAMED_SERIES
from lstmjax.data.series import SeriesSet, read_series
from lstmjax.data.windows import Windows
from lstmjax.errors import InputError
from lstmjax.models import Forecaster, ForecasterConfig
from lstmjax.models.forecaster_task import SeriesMeaning, save_meaning

SHORTEST_EPOCH = 50  # batches: a short series is gone through several times before it is looked at


@dataclasses.dataclass(frozen=True)
class ForecastConfig(settings.EpochsConfig, settings.HeldOutConfig):
    """Every setting of a run."""

    data: str | None = None
    """A file, or one of the named sets: etth1, airline, sunspots, temperatures."""
    time: str | None = None
    """The column of times; without it, rows are in order and have numbers."""
    target: tuple[str, ...] = ()
    """The columns to forecast; without any, all that are nothing else."""
    series: str | None = None
    """The column that says which of several series a row is of."""
    past: tuple[str, ...] = ()
    """Columns that help and are known up to now."""
    known: tuple[str, ...] = ()
    """Columns that help and are known for the steps to come, too; the file to predict has rows for these."""
    calendar: bool = False
    """Time of day, day of the week and day of the year help, too, as far as steps are shorter than these."""
    frequency: str | None = None
    """How far apart times are: 15min, h, D, B (business days), W, M, Q, Y; without it, what the times say."""
    time_format: str | None = None
    """How times are written, as strptime takes it: %d.%m.%Y; without it, ISO 8601, or 1949-01, 1949, 2020Q1."""
    duplicates: Literal["error", "mean", "first", "last"] = "error"
    """What becomes of several rows of one time: a mistake, their mean, or one of them."""
    horizon: Positive | None = None
    """Steps to forecast; without it, a season, or 12 where there is none."""
    input_length: Positive | None = None
    """Steps of history that are read; without it, three horizons or a season, at most half of the training part."""
    season: Positive | None = None
    """Steps after which things come again, for the seasonal naive forecast; without it, what the frequency suggests."""
    split: tuple[int, int, int] | None = None
    """Steps to train on, to validate on and to test on, from the first; without it, shares of all, those to validate
    on and to test on of at least a horizon."""
    stride: Positive = 1
    """Steps between two windows of training."""
    backtest_stride: Positive | None = None
    """Steps between two origins of the look back; without it, 1, or as many as leave about 3,000 origins."""
    paths: Positive = 100
    """Sample paths of a forecast, which quantiles are counted in."""
    quick: bool = False
    """A look in about a minute: at most 3 epochs of 100 batches."""
    epochs: Positive = 20
    """Passes over the windows of training, each of 50 batches at least."""
    patience: Positive | None = 5
    model: ForecasterConfig = dataclasses.field(default_factory=ForecasterConfig)
    optimizer: training.OptimizerConfig = training.OptimizerConfig(learning_rate=2e-3, beta2=0.999)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split is not None:
            checks.sizes("split", self.split, (3,))
        settings.keep_findable(self, self.data, NAMED_SERIES)

    def cadence(self, train: Any) -> training.Cadence:
        epoch, epochs = max(len(train), SHORTEST_EPOCH), self.epochs
        if self.quick:
            epoch, epochs = min(epoch, 100), min(epochs, 3)
        return training.Cadence(epochs * epoch, self.log_every, epoch, self.patience)


def load(config: ForecastConfig) -> study.Data:
    """Read, cut and scale the series; what the model must know of them goes into its config."""
    config = _completed(config)
    table = _read(config)
    if config.calendar and table.frequency.unit == "rows":
        raise InputError("--calendar needs times, and rows have numbers here; say --time COLUMN")
    season = config.season or table.frequency.season
    horizon = config.horizon or (table.frequency.season if table.frequency.season > 1 else 12)
    prepared = parts.prepare(
        table, _with(config.model, horizon=horizon), config.calendar, config.split, config.fractions
    )
    longest = max(cuts.validation for cuts in prepared.cuts)
    length = config.input_length or parts.input_length(horizon, season, longest, config.model.segment)
    model = _with(
        config.model,
        horizon=horizon,
        num_targets=len(table.targets),
        num_past=len(table.past),
        num_known=prepared.known[0].shape[1],
        num_series=len(prepared.table.series),
    )
    model = _with(model, segment=parts.segment_of(model, season, length), input_length=length)
    assert model.input_length is not None
    train, validation, test = (
        parts.windows(prepared, part, prepared.scaled(), model, model.input_length, stride)
        for part, stride in (("train", config.stride), ("validation", 1), ("test", 1))
    )
    batch_size = min(config.batch_size, train.num_windows)
    return study.Data(
        train=dataclasses.replace(train, batch_size=batch_size, seed=config.seed),
        validation=dataclasses.replace(validation, batch_size=batch_size),
        test=dataclasses.replace(test, batch_size=batch_size),
        model=model,
        save_companion=lambda folder: save_meaning(_meaning(config, prepared.table), folder.path),
        identity={"rows": sum(len(each.targets) for each in table.series), "sha256": digest(parts.pieces(table))},
        symbols_per_step=batch_size * model.input_length,
        description=_described(prepared, model, (train, validation, test)),
        prepare=lambda fresh: prepared.adapt(cast(Forecaster, fresh)),
        parts=(prepared, season),
    )


def _completed(config: ForecastConfig) -> ForecastConfig:
    """With what a named set says of itself, where no option says it."""
    named = NAMED_SERIES.get(str(config.data))
    if named is None:
        return config
    return dataclasses.replace(
        config,
        time=config.time or named.time,
        target=config.target or named.targets,
        split=config.split or named.split,
        season=config.season or named.season,
    )


def _read(config: ForecastConfig) -> SeriesSet:
    """The series that --data names."""
    names = ", ".join(NAMED_SERIES)
    if config.data is None:
        raise InputError(f"--data must name a file, or one of {names}")
    is_named = config.data in NAMED_SERIES
    path = find(NAMED_SERIES[config.data].file, packed=True) if is_named else Path(config.data)
    if not path.exists():
        raise InputError(f"--data {config.data} is neither a file nor one of {names}")
    if config.time is None:
        _check_no_times(config)
    return read_series(
        path,
        time=config.time,
        targets=config.target,
        series=config.series,
        past=config.past,
        known=config.known,
        frequency=config.frequency,
        time_format=config.time_format,
        duplicates=config.duplicates,
    )


def _check_no_times(config: ForecastConfig) -> None:
    for name in ("frequency", "time_format", "duplicates"):
        if getattr(config, name) not in (None, "error"):
            raise InputError(f"--{name.replace('_', '-')} is for rows that have times; say --time COLUMN")


def _with(model: ForecasterConfig, **decided: int | None) -> ForecasterConfig:
    """The model's config with what the data decide; a resumed run's has it already."""
    for name, value in decided.items():
        given = getattr(model, name)
        if given not in (getattr(ForecasterConfig, name), value):
            option = name.replace("_", "-")
            raise InputError(
                f"--model.{option} is for the data, --horizon and --input-length to say: {value}, got {given}"
            )
    try:
        return dataclasses.replace(model, **decided)  # type: ignore[arg-type]
    except ValueError as error:
        raise InputError(f"--model: {error}") from error


def _meaning(config: ForecastConfig, table: SeriesSet) -> SeriesMeaning:
    return SeriesMeaning(
        time=config.time,
        id=config.series,
        targets=table.targets,
        past=table.past,
        known=table.known,
        has_calendar=config.calendar,
        series=tuple(each.name for each in table.series),
        frequency=table.frequency,
        time_format=config.time_format,
        duplicates=config.duplicates,
    )


def _described(prepared: parts.Prepared, model: ForecasterConfig, windows: Sequence[Windows]) -> str:
    table = prepared.table
    rows = sum(len(each.targets) for each in table.series)
    counts = [f"{each.num_windows:,} {verb}" for each, verb in zip(windows, ("train", "validate", "test"), strict=True)]
    count = "1 series" if len(table.series) == 1 else f"{len(table.series):,} series"
    at_a_time = f", read {model.segment} at a time," if (model.segment or 1) > 1 else ""
    lines = [
        f"{count} of {rows:,} rows, one each {table.frequency}; targets: {', '.join(table.targets)}",
        f"windows of {model.input_length} steps{at_a_time} and {model.horizon} to forecast: {', '.join(counts)}",
    ]
    return "\n".join([*lines, *(f"note: {note}" for note in table.notes)])


STUDY: study.Study[ForecastConfig] = study.Study(
    module="experiments.forecast",
    description=__doc__,
    family="forecaster",
    config=ForecastConfig,
    name=lambda config: Path(str(config.data)).stem,
    load=load,
    finish=results.finish,
    use=study.Use(predictions.PredictConfig, predictions.run),
)
main = STUDY.main


if __name__ == "__main__":
    cli.run(main)
