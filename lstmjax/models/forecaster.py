"""Forecasters: from the history of one or several series, what is likely of every value to come."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax import checks, regularizers
from lstmjax.data.windows import WindowBatch
from lstmjax.distributions import OUTPUTS, Distribution
from lstmjax.layers.recurrent import Layer
from lstmjax.layers.scaling import SeriesScaler
from lstmjax.models.forecast_networks import Network
from lstmjax.tasks import Mean
from lstmjax.types import Array, Bool, Float, Key

if TYPE_CHECKING:
    from lstmjax.decoding.forecasts import Forecast

InstanceNorm = Literal["none", "last", "standard", "scale"]
INSTANCE_NORMS = get_args(InstanceNorm)
EPSILON = 1e-5  # as in RevIN: a window that never changes keeps a scale above 0


class Window(NamedTuple):
    """A history as networks read it.

    `values` [B, L, C]: normalised, the last observed value where one is missing, 0 before the first. `observed`
    [B, L, C]. `shift` and `scale` [B, 1, C]: `values * scale + shift` is the history.
    """

    values: Float[Array, "B L C"]
    observed: Bool[Array, "B L C"]
    shift: Float[Array, "B 1 C"]
    scale: Float[Array, "B 1 C"]


def normalised(history: Float[Array, "B L C"], norm: InstanceNorm) -> Window:
    """Bring every window to one level and scale of its own, measured on its observed values.

        none: shift 0, scale 1;    last: the last value, and 1;    standard: mean, and sqrt(variance + 1e-5);
        scale: 0, and 1 + the mean absolute value

    Source: standard, without weights of its own: Kim et al. 2022, "Reversible Instance Normalization for Accurate Time
    Series Forecasting against Distribution Shift"; last: NLinear, Zeng et al. 2023; scale: DeepAR, Salinas et al. 2020.

    >>> window = normalised(jnp.array([[[1.0], [4.0], [jnp.nan]]]), "last")
    >>> window.values.ravel().tolist(), window.shift.ravel().tolist()
    ([-3.0, 0.0, 0.0], [4.0])
    """
    observed = ~jnp.isnan(history)
    known = jnp.where(observed, history, 0)
    count = jnp.maximum(jnp.sum(observed, axis=1, keepdims=True), 1).astype(history.dtype)
    filled = _filled_forward(known, observed)
    shift, scale = jnp.zeros_like(count), jnp.ones_like(count)
    if norm == "last":
        shift = filled[:, -1:]
    elif norm == "standard":
        shift = jnp.sum(known, axis=1, keepdims=True) / count
        squares = jnp.where(observed, jnp.square(known - shift), 0)
        scale = jnp.sqrt(jnp.sum(squares, axis=1, keepdims=True) / count + EPSILON)
    elif norm == "scale":
        scale = 1 + jnp.sum(jnp.abs(known), axis=1, keepdims=True) / count
    has_begun = jax.lax.cummax(observed.astype(jnp.int8), axis=1) > 0
    return Window(jnp.where(has_begun, (filled - shift) / scale, 0), observed, shift, scale)


def _filled_forward(known: Float[Array, "B L C"], observed: Bool[Array, "B L C"]) -> Float[Array, "B L C"]:
    """The last observed value at every step, 0 before the first."""
    steps = jnp.broadcast_to(jnp.arange(known.shape[1])[None, :, None], known.shape)
    latest = jax.lax.cummax(jnp.where(observed, steps, 0), axis=1)
    return jnp.take_along_axis(known, latest, axis=1)


class _Forecaster(nnx.Module):
    """What all forecasters share: sizes, scales, and forecasts from arrays in the data's own units."""

    def __init__(
        self,
        output: str,
        scaler: SeriesScaler,
        num_past: int,
        num_known: int,
        input_length: int,
        horizon: int,
        instance_norm: InstanceNorm,
        shared_channels: bool,
    ) -> None:
        checks.one_of("output", output, tuple(OUTPUTS))
        checks.one_of("instance_norm", instance_norm, INSTANCE_NORMS)
        checks.instance("scaler", scaler, SeriesScaler)
        self.output, self.scaler, self.instance_norm = output, scaler, instance_norm
        self.num_past, self.num_known = checks.index("num_past", num_past, 0), checks.index("num_known", num_known, 0)
        self.past_scaler = SeriesScaler(num_past) if num_past else None
        self.known_scaler = SeriesScaler(num_known) if num_known else None
        self.input_length = checks.positive_int("input_length", input_length)
        self.horizon = checks.positive_int("horizon", horizon)
        self.shared_channels = shared_channels

    def forecast(
        self,
        history: np.ndarray,
        horizon: int | None = None,
        *,
        past: np.ndarray | None = None,
        known: np.ndarray | None = None,
        series: int | None = None,
        num_paths: int = 200,
        key: Key[Array, ""] | None = None,
    ) -> "Forecast":
        """Say what comes after a history, in the data's own units.

        Args:
          history: [T, C], or [B, T, C] for several, in the data's own units, NaN where a value is missing; [T] will do
            for one channel. The last `input_length` rows are read; where there are fewer, the others are missing.
          horizon: steps to forecast; None means as many as in training, which is the most for a model that says all
            steps at once: asked for fewer, it says all, and the first of them are given.
          past: covariates [T, P] or [B, T, P], of a model that was trained with some; NaN where one is missing.
          known: covariates [T + horizon, K] or [B, T + horizon, K], likewise, of history and steps to come, none
            missing. A model that says all steps at once reads those of all of them: [T + model.horizon, K].
          series: which series of the training it is, by its number, for a model that scales each by its own
            statistics; None measures them on the history. Where all share one scale, it makes no difference.
          num_paths: S, sample paths.
          key: fixes the paths; None means `jax.random.key(0)`. Those of a row are the same whatever other rows there
            are; a recursive model's are the same however many there are and however long.

        Raises:
          TypeError, ValueError: arrays of another shape, numbers that are infinite or above 1e30, covariates that are
            missing or that the model has no use for, a horizon out of range.

        >>> config = lx.models.ForecasterConfig(hidden_features=(8,), input_length=12, horizon=3, num_targets=1)
        >>> model = lx.models.forecaster_config.build(config, nnx.Rngs(0))
        >>> forecast = model.forecast(np.sin(np.arange(30.0)), num_paths=5)
        >>> forecast.point.shape, forecast.paths.shape
        ((3, 1), (5, 3, 1))
        """
        from lstmjax.decoding.forecasts import forecast  # decoding stands on models

        model: Any = self
        return forecast(model, history, horizon, past=past, known=known, series=series, num_paths=num_paths, key=key)

    def _distribution(
        self, raw: Float[Array, "N T O"], shift: Float[Array, "B 1 C"], scale: Float[Array, "B 1 C"]
    ) -> Distribution:
        """The distribution that a network's outputs are, leaves [B, T, C], at each window's own level and scale."""
        kind, (batch, _, channels), steps = OUTPUTS[self.output].kind, shift.shape, raw.shape[1]
        if self.shared_channels:
            raw = raw.reshape(batch, channels, steps, kind.size).swapaxes(1, 2)
        shape = (batch, steps, channels)
        normalised = kind.of(raw.reshape(*shape, kind.size))
        return normalised.affine(jnp.broadcast_to(shift, shape), jnp.broadcast_to(scale, shape))


class Forecaster(_Forecaster):
    """Predicts all steps to come at once, each value by a distribution of its own.

        window = normalised(history),    distribution = network(window, past, known) * scale + shift

    Args:
      network: see `lstmjax.models.forecast_networks`; of C + P + K inputs a step and `C * size` outputs, where `size`
        numbers make a distribution. With `shared_channels`, of 1 + P + K inputs and `size` outputs: every channel goes
        through the same network by itself.
      output: a key of `lstmjax.distributions.OUTPUTS`.
      scaler: of the C targets; `adapt` measures it.
      num_past: P, covariates that end with the history.
      num_known: K, covariates known for the steps to come, too.
      input_length: L, steps of history.
      horizon: H, steps to come.
      instance_norm: what brings each window to a level of its own; see `normalised`.
      shared_channels: see `network`.

    >>> network = lx.models.WindowNetwork(12, 1, 3, 0, 2, rngs=nnx.Rngs(0))
    >>> model = lx.models.Forecaster(
    ...     network, "gaussian", lx.layers.SeriesScaler(5), input_length=12, horizon=3, instance_norm="last"
    ... )
    >>> model(jnp.ones((2, 12, 5))).loc.shape
    (2, 3, 5)
    """

    def __init__(
        self,
        network: Network,
        output: str,
        scaler: SeriesScaler,
        *,
        num_past: int = 0,
        num_known: int = 0,
        input_length: int,
        horizon: int,
        instance_norm: InstanceNorm = "none",
        shared_channels: bool = True,
    ) -> None:
        super().__init__(output, scaler, num_past, num_known, input_length, horizon, instance_norm, shared_channels)
        self.network = network

    def __call__(
        self,
        history: Float[Array, "B L C"],
        past: Float[Array, "B L P"] | None = None,
        known: Float[Array, "B L+H K"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
    ) -> Distribution:
        """The distribution of all values to come, leaves [B, H, C], in the scale of training.

        Args:
          history: [B, L, C] in the scale of training, NaN where a value is missing.
          past, known: covariates, scaled; None where there are none.
          key: switches dropout on and draws it.
        """
        batch, steps, channels = history.shape
        checks.shape("history", history, ("B", self.input_length, self.scaler.channels))
        window = normalised(history, self.instance_norm)
        past = jnp.zeros((batch, steps, 0)) if past is None else past
        known = jnp.zeros((batch, steps + self.horizon, 0)) if known is None else known
        covariates = jnp.concatenate([past, known[:, :steps]], axis=2)
        values, observed, ahead = window.values, jnp.any(window.observed, axis=2), known[:, steps:]
        if self.shared_channels:
            values, observed = _rows_of_channels(values), _rows_of_channels(window.observed)[:, :, 0]
            covariates, ahead = (jnp.repeat(each, channels, axis=0) for each in (covariates, ahead))
        raw = self.network(jnp.concatenate([values, covariates], axis=2), observed, ahead, key)
        return self._distribution(raw, window.shift, window.scale)

    def loss(self, batch: WindowBatch, key: Key[Array, ""] | None) -> tuple[Distribution, Mean]:
        """The distribution of a batch's futures, and the mean loss of all their observed values."""
        distribution = self(*map(jnp.asarray, (batch.history, batch.past, batch.known)), key=key)
        return distribution, _mean_loss(
            self.output, distribution, jnp.asarray(batch.future), jnp.asarray(batch.weights)
        )


class RecursiveForecaster(_Forecaster):
    """Predicts one step from all before it; what it draws there is what it reads next. DeepAR, for any recurrent layer.

        distribution[t + 1] = head(recurrent([y[t]; known[t + 1]])[t]) * scale + shift

    In training every step reads what came (teacher forcing), history and future alike; their level and scale are those
    of the history. A missing value is read as the last observed one. Forecasts are sample paths, drawn in one compiled
    loop, over any horizon.

    Args:
      recurrent: any layer in one direction, of C + K inputs; with `shared_channels`, 1 + K.
      output, scaler, num_known, input_length, horizon, instance_norm, shared_channels: see `Forecaster`. `horizon` is
        how many steps beyond the history a window of training has.
      dropout: on what the head reads, in [0, 1).
      rngs: draws the initial parameters.

    Source: Salinas et al. 2020, "DeepAR: Probabilistic forecasting with autoregressive recurrent networks".

    >>> scaler, layer = lx.layers.SeriesScaler(1), lx.LSTM(1, 8, rngs=nnx.Rngs(0))
    >>> model = lx.models.RecursiveForecaster(layer, "gaussian", scaler, input_length=12, horizon=3, rngs=nnx.Rngs(1))
    >>> model.forecast(np.sin(np.arange(30.0)), horizon=5, num_paths=7).paths.shape
    (7, 5, 1)
    """

    def __init__(
        self,
        recurrent: Layer,
        output: str,
        scaler: SeriesScaler,
        *,
        num_known: int = 0,
        input_length: int,
        horizon: int,
        instance_norm: InstanceNorm = "none",
        shared_channels: bool = True,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(output, scaler, 0, num_known, input_length, horizon, instance_norm, shared_channels)
        self.recurrent = recurrent
        self.dropout = regularizers.Dropout(dropout)
        channels = 1 if shared_channels else scaler.channels
        self.head = nnx.Linear(recurrent.out_shape[-1], channels * OUTPUTS[output].kind.size, rngs=rngs)

    def loss(self, batch: WindowBatch, key: Key[Array, ""] | None) -> tuple[Distribution, Mean]:
        """The distribution of a batch's futures, each step given all before it; the mean loss of history and future."""
        history, future = jnp.asarray(batch.history), jnp.asarray(batch.future)
        whole = jnp.concatenate([history, future], axis=1)
        distribution, _ = self.read(whole[:, :-1], history, jnp.asarray(batch.known)[:, 1:], key)
        loss = _mean_loss(self.output, distribution, whole[:, 1:], jnp.asarray(batch.weights))
        ahead: Distribution = jax.tree.map(lambda leaf: leaf[:, history.shape[1] - 1 :], distribution)
        return ahead, loss

    def read(
        self,
        series: Float[Array, "B T C"],
        history: Float[Array, "B L C"],
        known: Float[Array, "B T K"],
        key: Key[Array, ""] | None = None,
    ) -> tuple[Distribution, "PathState"]:
        """The distribution of the step after each of a series, leaves [B, T, C], and the state to go on from.

        Args:
          series: in the scale of training, NaN where a value is missing.
          history: what of it decides the level and the scale.
          known: covariates of the step after each.
          key: switches dropout on and draws it.
        """
        channels = series.shape[2]
        own = normalised(history, self.instance_norm)
        plain = normalised(series, "none")
        has_begun = jax.lax.cummax(plain.observed.astype(jnp.int8), axis=1) > 0
        values = jnp.where(has_begun, (plain.values - own.shift) / own.scale, 0)
        mask = jnp.any(has_begun, axis=2)
        if self.shared_channels:
            values, mask = _rows_of_channels(values), _rows_of_channels(has_begun)[:, :, 0]
            known = jnp.repeat(known, channels, axis=0)
        key_recurrent, key_out = regularizers.split_key(key, 2)
        ys, state = self.recurrent(jnp.concatenate([values, known], axis=2), mask=mask, key=key_recurrent)
        raw = self.head(self.dropout(ys.astype(jnp.float32), key=key_out))
        return self._distribution(raw, own.shift, own.scale), PathState(state, own.shift, own.scale)

    def step(
        self, values: Float[Array, "B C"], known: Float[Array, "B K"], state: "PathState"
    ) -> tuple[Distribution, "PathState"]:
        """The distribution of the step after one more value, leaves [B, C], and the state after it."""
        channels = values.shape[1]
        inputs = ((values[:, None] - state.shift) / state.scale).reshape(-1, 1, 1 if self.shared_channels else channels)
        known = jnp.repeat(known[:, None], channels if self.shared_channels else 1, axis=0)
        ys, carried = self.recurrent(jnp.concatenate([inputs, known], axis=2), state=state.recurrent)
        ahead = self._distribution(self.head(ys.astype(jnp.float32)), state.shift, state.scale)
        return jax.tree.map(lambda leaf: leaf[:, 0], ahead), state._replace(recurrent=carried)


class PathState(NamedTuple):
    """Where a sample path is: the recurrent state of each row (and channel), and the level and scale of its history."""

    recurrent: Any
    shift: Float[Array, "B 1 C"]
    scale: Float[Array, "B 1 C"]


def _rows_of_channels(x: Any) -> Any:
    """[B, T, C] as [B * C, T, 1]: every channel a row of its own."""
    return x.swapaxes(1, 2).reshape(-1, x.shape[1], 1)


def _mean_loss(output: str, distribution: Distribution, targets: Float[Array, "B T C"], weights: Array) -> Mean:
    """The mean over observed targets, each row with its weight; a missing one reaches neither value nor gradient."""
    missing = jnp.isnan(targets)
    losses = OUTPUTS[output].loss(distribution, jnp.where(missing, 0, targets))
    return Mean.of(losses, jnp.where(missing, 0, weights[:, None, None]))
