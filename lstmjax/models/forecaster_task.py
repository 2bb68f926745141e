"""What forecasters are trained to do, their figures, and what their numbers mean."""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from lstmjax import checks, losses
from lstmjax.data.timeline import Frequency, calendar
from lstmjax.data.windows import WindowBatch
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models.config_parts import check_size
from lstmjax.models.forecaster import Forecaster, RecursiveForecaster
from lstmjax.models.forecaster_config import ForecasterConfig
from lstmjax.tasks import Mean, Task

FILE = "series.json"


class SeriesMeaning(NamedTuple):
    """What a trained forecaster's numbers mean.

    `time`, `id`: the columns of times and of the series' names, None where there are none. `targets`, `past`, `known`:
    columns. `has_calendar`: whether features of the calendar follow the known ones. `series`: names, in the order of
    their scales. `frequency`: of the steps. `time_format`, `duplicates`: how its file was read.
    """

    time: str | None
    id: str | None
    targets: tuple[str, ...]
    past: tuple[str, ...]
    known: tuple[str, ...]
    has_calendar: bool
    series: tuple[str, ...]
    frequency: Frequency
    time_format: str | None
    duplicates: Literal["error", "mean", "first", "last"]

    def covariates(self, times: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
        """What `model.forecast` takes as `known`: the known columns, and features of the calendar where it has them.

        Args:
          times: of history and steps to come, datetime64 [T + H].
          known: the columns [T + H, K] in the order of `self.known`; None where there are none.

        >>> hours = Frequency("step", 3600 * 10**6)
        >>> hourly = SeriesMeaning("time", None, ("load",), (), ("holiday",), True, ("load",), hours, None, "error")
        >>> times = np.datetime64("2024-01-01T00", "us") + np.arange(30) * np.timedelta64(1, "h")
        >>> hourly.covariates(times, np.zeros((30, 1))).shape  # sine and cosine of hour, weekday, day of the year
        (30, 7)
        """
        columns = np.zeros((len(times), 0)) if known is None else np.asarray(known, np.float64)
        checks.shape("known", columns, (len(times), len(self.known)))
        if not self.has_calendar:
            return columns
        return np.hstack([columns, calendar(np.asarray(times).astype("M8[us]"), self.frequency)[0]])


def save_meaning(meaning: SeriesMeaning, folder: Path) -> None:
    """Write it beside a trained model."""
    fields = meaning._asdict() | {"frequency": meaning.frequency._asdict()}
    replace_text(folder / FILE, json.dumps(fields, indent=2) + "\n")


def read_meaning(folder: Path) -> SeriesMeaning:
    """Read what stands beside a trained model.

    Raises:
      InputError: it is missing or damaged.
    """
    path = folder / FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return SeriesMeaning(**fields | lists | {"frequency": Frequency(**fields["frequency"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} does not say what the series are: {error}") from error


def with_meaning(config: ForecasterConfig, meaning: SeriesMeaning) -> ForecasterConfig:
    """The config, once it is sure that it belongs with its series.

    Raises:
      ValueError: they have other sizes than the config says.
    """
    check_size("num_targets", config.num_targets, len(meaning.targets), "targets")
    check_size("num_series", config.num_series, len(meaning.series), "series")
    return config


def task(config: ForecasterConfig) -> Task:
    """Forecast windows, from batches of `WindowBatch`.

    Args:
      config: any; the model knows its output.

    Returns:
      a task. loss: what the output is trained on, a mean over all observed values; mse, mae: errors of the means
      (recursive: one step ahead), in the scale of training.
    """
    return Task(_loss)


def _loss(
    model: Forecaster | RecursiveForecaster, batch: WindowBatch, carry: tuple[()], key: Any
) -> tuple[dict[str, Mean], tuple[()]]:
    predicted, loss = model.loss(batch, key)
    future = jnp.asarray(batch.future)
    weights = jnp.where(jnp.isnan(future), 0, jnp.asarray(batch.weights)[:, None, None])
    means = {
        "loss": loss,
        "mse": losses.mean_squared_error(predicted.mean(), future, weights=weights),
        "mae": losses.mean_absolute_error(predicted.mean(), future, weights=weights),
    }
    return means, carry
