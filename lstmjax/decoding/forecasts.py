"""Forecasts of a trained model, in the data's own units: points and sample paths."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.data.windows import WindowBatch, filled_forward
from lstmjax.decoding.loop import as_partial, decode, start
from lstmjax.distributions import OUTPUTS, Distribution, Point
from lstmjax.layers.scaling import Scale, scaled, statistics
from lstmjax.layers.standardize import LARGEST
from lstmjax.models.forecaster import Forecaster, PathState, RecursiveForecaster
from lstmjax.types import Array, Float, Int, Key


class Forecast(NamedTuple):
    """What is said of H steps to come, in the data's own units, float64.

    `point` [..., H, C]: one number for each value, the mean (of quantiles and of transformed series the median).
    `paths` [S, ..., H, C]: sample paths; S is 0 for a model of points alone. The steps of a path belong together
    where a recursive model drew one after another; a model that says all steps at once draws each by itself.

    >>> forecast = Forecast(np.zeros((1, 1)), np.arange(4.0).reshape(4, 1, 1))
    >>> forecast.quantile(np.array([0.125, 0.5])).ravel().tolist()
    [0.0, 1.5]
    """

    point: np.ndarray
    paths: np.ndarray

    def quantile(self, p: float | np.ndarray) -> np.ndarray:
        """Where a fraction p of the paths lies below: [..., H, C] for a number in (0, 1), [N, ..., H, C] for N of them.

        Hazen's definition: the k-th of S paths, in order, is the quantile (k - 1/2) / S, with straight lines between.

        Raises:
          ValueError: there are no paths, or a p outside [0, 1].
        """
        if len(self.paths) == 0:
            raise ValueError("paths must not be empty: a model that gives points alone has no quantiles")
        found: np.ndarray = np.quantile(self.paths, p, axis=0, method="hazen")
        return found


def forecast(
    model: Forecaster | RecursiveForecaster,
    history: np.ndarray,
    horizon: int | None = None,
    *,
    past: np.ndarray | None = None,
    known: np.ndarray | None = None,
    series: int | None = None,
    num_paths: int = 200,
    key: Key[Array, ""] | None = None,
) -> Forecast:
    """Say what comes after a history, in the data's own units: what `model.forecast` does, where all is explained.

    Args:
      model: any forecaster; the others are those of `lstmjax.models.Forecaster.forecast`.

    Raises:
      TypeError, ValueError: see `lstmjax.models.Forecaster.forecast`.
    """
    checks.positive_int("num_paths", num_paths)
    steps = model.horizon if horizon is None else checks.positive_int("horizon", horizon)
    ahead = model.horizon if isinstance(model, Forecaster) else steps
    checks.index("horizon", steps, 1, ahead)
    values = np.asarray(history, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    values, past, known = _checked(model, values, past, known, ahead)
    scales = [_scale(model, each, series) for each in values]
    batch = _scaled(model, values, past, known, ahead, scales)
    point, drawn = paths(model, batch, num_paths, jax.random.key(0) if key is None else key)
    found = in_own_units(point[:, :steps], drawn[:, :, :steps], scales)
    return Forecast(found.point[0], found.paths[:, 0]) if np.ndim(history) < 3 else found


def paths(
    model: Forecaster | RecursiveForecaster, batch: WindowBatch, num_paths: int, key: Key[Array, ""]
) -> tuple[np.ndarray, np.ndarray]:
    """Points [B, H, C] and sample paths [S, B, H, C] of windows in the scale of training, float64.

    Args:
      model: any forecaster.
      batch: windows; `known` has the steps to come, and `future` is not looked at.
      num_paths: S; a model that gives points alone has none.
      key: fixes the paths.
    """
    if isinstance(model, RecursiveForecaster):
        is_point = OUTPUTS[model.output].kind is Point
        horizon = batch.known.shape[1] - model.input_length
        drawn = _drawn(model, batch.history, batch.known, key, 1 if is_point else num_paths, horizon)
        drawn = np.asarray(drawn, np.float64)
        return drawn.mean(axis=0), drawn[:0] if is_point else drawn
    said = _said(model, batch.history, batch.past, batch.known)
    point = np.asarray(said.mean(), np.float64)
    if isinstance(said, Point):
        return point, np.zeros((0, *point.shape))
    # The middles of equal shares have the distribution's own quantiles; drawn ones would have them with an error.
    shares = said.quantile((np.arange(num_paths) + 0.5) / num_paths)
    return point, _shuffled(shares, key)


def _shuffled(shares: np.ndarray, key: Key[Array, ""]) -> np.ndarray:
    """[S, B, H, C] with the S of each value in an order of its own, which follows from the key and the row."""
    seed = np.asarray(jax.random.key_data(key)).tolist()
    rows = [np.random.default_rng([*seed, row]).permuted(shares[:, row], axis=0) for row in range(shares.shape[1])]
    return np.stack(rows, axis=1)


def in_own_units(point: np.ndarray, drawn: np.ndarray, scales: Sequence[Scale]) -> Forecast:
    """Points [B, H, C] and paths [S, B, H, C], each row brought back by its own scale."""
    points = [scale.inverse(each) for scale, each in zip(scales, point, strict=True)]
    rows = [scale.inverse(each) for scale, each in zip(scales, drawn.swapaxes(0, 1), strict=True)]
    return Forecast(np.stack(points), np.stack(rows, axis=1))


@jax.jit
def _said(
    model: Forecaster, history: Float[Array, "B L C"], past: Float[Array, "B L P"], known: Float[Array, "B L+H K"]
) -> Distribution:
    return model(history, past, known)


@functools.partial(jax.jit, static_argnames=("num_paths", "horizon"))
def _drawn(
    model: RecursiveForecaster,
    history: Float[Array, "B L C"],
    known: Float[Array, "B L+H K"],
    key: Key[Array, ""],
    num_paths: int,
    horizon: int,
) -> Float[Array, "S B H C"]:
    """Paths drawn step by step; the history is read once for all of them."""
    length, batch = model.input_length, len(history)
    said, state = model.read(history, history, known[:, 1 : length + 1])

    def for_every_path(leaf: Array) -> Array:
        return jnp.tile(leaf, (num_paths, *[1] * (leaf.ndim - 1)))

    ahead = jnp.pad(known[:, length + 1 :], ((0, 0), (0, 1), (0, 0)))  # what follows the last step is not used
    carried = jax.tree.map(for_every_path, (state, ahead, jnp.zeros(batch, jnp.int32)))
    scores = jax.tree.map(lambda leaf: for_every_path(leaf[:, -1]), said)
    begin = start(carried, scores, key)._replace(keys=path_keys(key, num_paths, batch))
    drawn, _ = decode(as_partial("step", _step, model), begin, horizon, draw_value)
    paths: Array = drawn.reshape(num_paths, -1, *drawn.shape[1:])
    return paths


def path_keys(key: Key[Array, ""], num_paths: int, batch: int) -> Key[Array, "SB"]:
    """A key for each path of each row, path by path, that depends on its two numbers alone.

    >>> path_keys(jax.random.key(0), 3, 2).shape
    (6,)
    """
    numbered = jax.vmap(jax.random.fold_in, (None, 0))
    rows = numbered(key, jnp.arange(batch, dtype=jnp.int32))
    return jax.vmap(numbered, (0, None), 1)(rows, jnp.arange(num_paths, dtype=jnp.int32)).reshape(-1)


def _step(
    model: RecursiveForecaster,
    values: Float[Array, "B C"],
    carried: tuple[PathState, Float[Array, "B H K"], Int[Array, "B"]],
) -> tuple[Distribution, tuple[PathState, Float[Array, "B H K"], Int[Array, "B"]]]:
    state, ahead, number = carried
    known = jnp.take_along_axis(ahead, number[:, None, None], axis=1)[:, 0]
    said, state = model.step(values, known, state)
    return said, (state, ahead, number + 1)


def draw_value(key: Key[Array, ""], said: Distribution) -> Float[Array, "..."]:
    """A value from a distribution: a `draw` for `lstmjax.decoding.decode`.

    >>> from lstmjax.distributions import Point
    >>> draw_value(jax.random.key(0), Point(jnp.array([2.0]))).tolist()
    [2.0]
    """
    return said.sample(key)


def _checked(
    model: Forecaster | RecursiveForecaster,
    history: np.ndarray,
    past: np.ndarray | None,
    known: np.ndarray | None,
    horizon: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """History [B, T, C], past [B, T, P] and known [B, T + H, K], of one B."""
    if history.ndim not in (2, 3) or 0 in history.shape[:-1]:
        raise ValueError(f"history must have shape [T, C] or [B, T, C], B and T at least 1, got {list(history.shape)}")
    *lead, steps, _ = history.shape
    wanted = (
        ("history", history, steps, model.scaler.channels),
        ("past", past, steps, model.num_past),
        ("known", known, steps + horizon, model.num_known),
    )
    history, past, known = (_covariates(*each, lead) for each in wanted)
    if np.any(np.isnan(known)):
        raise ValueError("known must be finite in every row, got NaN")
    return history, past, known


def _covariates(name: str, given: np.ndarray | None, rows: int, features: int, lead: list[int]) -> np.ndarray:
    if given is None and features:
        raise ValueError(f"{name} must be given: the model was trained with {features} such covariates")
    array = np.zeros((*lead, rows, 0)) if given is None else np.asarray(given, np.float64)
    checks.shape(name, array, (*lead, rows, features))
    too_large = array[np.abs(array) > LARGEST]
    if too_large.size:
        raise ValueError(f"{name} must be finite numbers of at most {LARGEST:g}, got {too_large[0]:g}")
    return array if lead else array[None]


def _scaled(
    model: Forecaster | RecursiveForecaster,
    history: np.ndarray,
    past: np.ndarray,
    known: np.ndarray,
    horizon: int,
    scales: Sequence[Scale],
) -> WindowBatch:
    """The windows in the scale of training."""
    length = model.input_length
    before = ((0, 0), (max(length - history.shape[1], 0), 0), (0, 0))
    values = np.stack([scale(each) for scale, each in zip(scales, history, strict=True)])
    values = np.pad(values, before, constant_values=np.nan)[:, -length:]
    past = np.stack([filled_forward(scaled(model.past_scaler, each)) for each in past])
    past = np.pad(past, before, mode="edge")[:, -length:]  # before a series begins, as in windows of training
    known = np.pad(scaled(model.known_scaler, known), before, mode="edge")[:, -length - horizon :]
    future = np.full((len(history), horizon, history.shape[2]), np.nan, np.float32)
    return WindowBatch(values, past, known, future, np.ones(len(history), np.float32))


def _scale(model: Forecaster | RecursiveForecaster, history: np.ndarray, series: int | None) -> Scale:
    if series is None and model.scaler.num_series > 1:
        return statistics(history, model.scaler.scaling, model.scaler.transform)
    return model.scaler.of(series or 0)
