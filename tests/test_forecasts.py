"""Forecasts: in the data's own units, from arrays of any of their shapes, and paths that a plain loop would draw."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from experiments.forecast.predictions import PredictConfig, predict
from lstmjax.data.series import Series, SeriesSet
from lstmjax.data.timeline import calendar, parse_frequency
from lstmjax.data.windows import Rows, Windows, filled_forward
from lstmjax.decoding.forecasts import Forecast, draw_value, forecast, path_keys, paths
from lstmjax.distributions import Gaussian
from lstmjax.errors import InputError
from lstmjax.layers import SeriesScaler
from lstmjax.layers.scaling import statistics
from lstmjax.models import ForecasterConfig, RecursiveForecaster, forecaster_config
from lstmjax.models.forecaster_task import SeriesMeaning

RNG = np.random.default_rng(0)
NAN = np.nan
B, T, C, L, H = 3, 9, 2, 6, 3
SMALL = {"hidden_features": (3,), "input_length": L, "horizon": H, "num_targets": C, "output": "gaussian"}
HISTORY = 1000.0 + 50.0 * RNG.normal(size=(B, T, C))
HISTORY[0, 4, 1] = HISTORY[2, :5, 0] = NAN
KNOWN = RNG.normal(size=(B, T + 2 * H, 2))
PARTS = [RNG.normal(1000.0, 40.0, (30, C)), RNG.normal(-3.0, 0.1, (20, C)), RNG.normal(0.0, 1e6, (20, C))]
KEY = jax.random.key(7)


@functools.cache
def model_of(**options):
    config = ForecasterConfig(**(SMALL | options))
    model = forecaster_config.build(config, nnx.Rngs(0))
    if config.scaling != "none" and config.transform == "none":
        model.scaler.adapt(PARTS if config.num_series > 1 else PARTS[:1])
    return model


LINEAR = {"network": "linear", "num_series": 3}
RECURSIVE = {"head": "recursive", "num_known": 2}


@nnx.jit
def say(model, *arrays):
    return model(*arrays)


@pytest.mark.parametrize("series", [0, 1, 2, None])
def test_own_units(series):
    """What the model says of the scaled history, moved back; None measures the scales on the history itself."""
    model = model_of(**LINEAR)
    for row in range(B):
        own = statistics(HISTORY[row], "standard") if series is None else model.scaler.of(series)
        shift, scale, _ = own
        said = say(model, ((HISTORY[row] - shift) / scale)[None, -L:].astype(np.float32))
        found = forecast(model, HISTORY[row], series=series, num_paths=8, key=KEY)
        np.testing.assert_allclose(found.point, np.asarray(said.loc[0], float) * scale + shift, rtol=1e-6)
        shares = (np.arange(8) + 0.5) / 8
        middle = (said.quantile(shares)[:, 0]) * scale + shift
        np.testing.assert_allclose(np.sort(found.paths, axis=0), middle, rtol=1e-6)
        np.testing.assert_allclose(found.quantile(shares), middle, rtol=1e-6)
        np.testing.assert_allclose(found.quantile(0.5), said.quantile(0.5)[0] * scale + shift, rtol=1e-6)
        assert found.point.dtype == found.paths.dtype == np.float64


@pytest.mark.parametrize("series", [0, None])
def test_a_model_on_a_log_scale_is_one_of_logarithms(series):
    parts = [np.abs(part) + 1.0 for part in PARTS]
    bent, plain = (model_of.__wrapped__(**LINEAR, transform=transform) for transform in ("log", "none"))
    bent.scaler.adapt(parts)
    plain.scaler.adapt([np.log(part) for part in parts])
    found = forecast(bent, HISTORY, series=series, num_paths=8, key=KEY)
    logs = forecast(plain, np.log(HISTORY), series=series, num_paths=8, key=KEY)
    np.testing.assert_allclose(found.point, np.exp(logs.point), rtol=1e-12)
    np.testing.assert_allclose(found.paths, np.exp(logs.paths), rtol=1e-12)


@pytest.mark.parametrize("level", [0.0, 1e9])
def test_a_model_of_nothing_goes_on_with_the_last_value(level):
    """To the digit: the head's weights are 0, and what is added back was taken out in float64."""
    options = SMALL | {"network": "linear", "output": "mse", "instance_norm": "last"}
    model = forecaster_config.build(ForecasterConfig(**options), nnx.Rngs(0))
    model.network.head.kernel[...] *= 0
    history = level + np.array([[5.0, NAN], [NAN, 7.25], [1.0, NAN]])
    model.scaler.adapt([history])
    found = forecast(model, history)
    np.testing.assert_allclose(found.point, level + np.array([[1.0, 7.25]] * H), atol=1e-6)
    assert found.paths.shape == (0, H, C)
    with pytest.raises(ValueError, match="paths must not be empty"):
        found.quantile(0.5)


@pytest.mark.parametrize("options", [LINEAR, RECURSIVE], ids=["direct", "recursive"])
def test_several_histories_are_forecast_as_each_by_itself(options):
    """The first row's paths too; those of others have numbers of their own."""
    model = model_of(**options)
    known = KNOWN[:, : T + H] if "num_known" in options else None
    found = forecast(model, HISTORY, known=known, num_paths=4, key=KEY)
    assert found.point.shape == (B, H, C)
    assert found.paths.shape == (4, B, H, C)
    for row in range(B):
        alone = forecast(model, HISTORY[row], known=None if known is None else known[row], num_paths=4, key=KEY)
        assert alone.point.shape == (H, C)
        if row == 0:
            np.testing.assert_allclose(alone.paths, found.paths[:, 0], rtol=1e-6)
        if options is LINEAR:
            np.testing.assert_allclose(alone.point, found.point[row], rtol=1e-6)
            np.testing.assert_allclose(np.sort(alone.paths, axis=0), np.sort(found.paths[:, row], axis=0), rtol=1e-6)
    assert len(np.unique(found.paths[:, 1])) == 4 * H * C


def test_one_channel_needs_no_axis():
    model = model_of(network="linear", num_targets=1, scaling="none")
    flat = forecast(model, HISTORY[0, :, 0], num_paths=3)
    np.testing.assert_array_equal(flat.paths, forecast(model, HISTORY[0, :, :1], num_paths=3).paths)
    assert flat.point.shape == (H, 1)


def test_fewer_steps_are_the_first_of_all():
    """A model that says all steps at once reads the known covariates of all."""
    model = model_of(network="linear", num_known=2)
    whole = forecast(model, HISTORY, known=KNOWN[:, : T + H], num_paths=4, key=KEY)
    part = forecast(model, HISTORY, 2, known=KNOWN[:, : T + H], num_paths=4, key=KEY)
    assert part.point.shape == (B, 2, C)
    np.testing.assert_array_equal(part.point, whole.point[:, :2])
    np.testing.assert_array_equal(part.paths, whole.paths[:, :, :2])


@pytest.mark.parametrize("length", [2, L, T])
def test_a_history_is_read_as_windows_of_training_are(length):
    """Scales, covariates and what stands before a series begins are the same: here, a network that reads it all."""
    model = model_of(network="mlp", num_known=2, num_past=1)
    model.past_scaler.adapt([PARTS[0][:, :1]])
    model.known_scaler.adapt([PARTS[0] / 100])
    past = HISTORY[0, :, 1:] * 2
    ends = slice(T - length, T)
    targets = np.concatenate([HISTORY[0, ends], np.zeros((H, C))])
    covariates = np.concatenate([past[ends], np.zeros((H, 1))])
    known = KNOWN[0, T - length : T + H]
    rows = Rows(model.scaler(targets), filled_forward(model.past_scaler(covariates)), model.known_scaler(known))
    point, drawn = paths(model, Windows([rows], [np.array([length])], L, H, 1).batch(0), 5, KEY)
    found = forecast(model, HISTORY[0, ends], past=past[ends], known=known, num_paths=5, key=KEY)
    np.testing.assert_allclose(found.point, model.scaler.inverse(point[0]), rtol=1e-6)
    np.testing.assert_allclose(found.paths, model.scaler.inverse(drawn[:, 0]), rtol=1e-6)


def test_known_covariates_are_read_at_their_own_step():
    model = forecaster_config.build(
        ForecasterConfig(**(SMALL | {"network": "linear", "output": "mse", "num_known": 2, "instance_norm": "none"})),
        nnx.Rngs(0),
    )
    kernel = np.zeros(model.network.head.kernel.shape, np.float32)
    for step in range(H):
        kernel[L * 3 + 2 * step + 1, step] = 1.0  # the second covariate of the step
    model.network.head.kernel[...] = jnp.asarray(kernel)
    found = forecast(model, HISTORY[0], known=KNOWN[0, : T + H]).point
    np.testing.assert_allclose(found, np.repeat(KNOWN[0, T : T + H, 1:], C, axis=1), rtol=1e-6)


class Echo(nnx.Module):
    """A layer that says what it reads."""

    def __init__(self, features):
        self.in_shape = self.out_shape = (features,)

    def __call__(self, xs, *, state=None, mask=None, key=None):
        return xs, jnp.zeros(len(xs)) if state is None else state


@pytest.mark.parametrize("shared", [True, False])
def test_known_covariates_are_read_one_step_ahead(shared):
    model = RecursiveForecaster(
        Echo(3 if shared else C + 2),
        "mse",
        SeriesScaler(C, "none"),
        num_known=2,
        input_length=L,
        horizon=H,
        shared_channels=shared,
        rngs=nnx.Rngs(0),
    )
    model.head.kernel[...] = jnp.zeros(model.head.kernel.shape).at[-1].set(1.0)
    found = forecast(model, HISTORY[0], 2 * H, known=KNOWN[0])
    np.testing.assert_allclose(found.point, np.repeat(KNOWN[0, T:, 1:], C, axis=1), rtol=1e-6)
    assert found.paths.shape == (0, 2 * H, C)


def test_a_recursive_model_of_points_feeds_them_back():
    """Each channel 0.5 times the one before: a head that reads the value alone."""
    model = RecursiveForecaster(
        Echo(1), "mse", SeriesScaler(C), input_length=L, horizon=H, instance_norm="standard", rngs=nnx.Rngs(0)
    )
    model.scaler.adapt([HISTORY[1]])
    model.head.kernel[...], model.head.bias[...] = jnp.full((1, 1), 0.5), jnp.zeros(1)
    read = HISTORY[1, -L:]
    level = read.mean(axis=0)
    expected = [level + 0.5 ** (step + 1) * (read[-1] - level) for step in range(5)]
    np.testing.assert_allclose(forecast(model, HISTORY[1], 5).point, expected, rtol=1e-5)


def windows_of(model, history=HISTORY):
    rows = [
        Rows(model.scaler(np.concatenate([each, 900 + 9.0 * RNG.normal(size=(H, C))])), np.zeros((T + H, 0)), known)
        for each, known in zip(history, KNOWN[:, : T + H].astype(np.float32), strict=True)
    ]
    return Windows(rows, [np.array([T])] * B, L, H, B).batch(0)


def in_float64(channels):
    """A model that computes, and holds its parameters, in float64."""
    options = {"num_known": 2, "input_length": L, "horizon": H, "instance_norm": "standard"}
    is_shared = channels == "shared"
    layer = lx.LSTM(3 if is_shared else C + 2, 3, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    model = RecursiveForecaster(
        layer, "gaussian", SeriesScaler(C), **options, shared_channels=is_shared, rngs=nnx.Rngs(1)
    )
    model.scaler.adapt(PARTS[:1])
    for each in (model.head.kernel, model.head.bias):
        each.set_value(each[...].astype(jnp.float64))
    return model


@pytest.mark.parametrize("channels", ["shared", "joint"])
def test_what_is_trained_is_what_is_drawn_from(channels, x64, lenient_promotion):
    """In training a step's distribution is that of `step`, once it was told the values before: no other reads them."""
    model = in_float64(channels)
    given = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), windows_of(model))
    taught, _ = nnx.jit(lambda model, batch: model.loss(batch, None))(model, given)
    read, step = (nnx.jit(lambda model, *args, name=name: getattr(model, name)(*args)) for name in ("read", "step"))
    said, state = read(model, given.history, given.history, given.known[:, 1 : L + 1])
    said = jax.tree.map(lambda leaf: leaf[:, -1], said)
    for ahead in range(H):
        now = jax.tree.map(lambda leaf, ahead=ahead: leaf[:, ahead], taught)
        assert isinstance(now, Gaussian)
        assert now.loc.dtype == jnp.float64
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), now, said)
        if ahead < H - 1:
            said, state = step(model, given.future[:, ahead], given.known[:, L + 1 + ahead], state)


def test_what_a_recursive_model_reads_of_missing_values():
    """Rows before the first value are not there, each channel by itself; later a value stands until the next."""
    model = model_of(**RECURSIVE, instance_norm="standard")
    read = nnx.jit(lambda model, history, known: model.read(history, history, known)[0])
    history, known = RNG.normal(size=(1, T, C)).astype(np.float32), KNOWN[:1, :T].astype(np.float32)
    whole = read(model, history, known)
    padded = np.concatenate([np.full((1, 3, C), NAN, np.float32), history], axis=1)
    late = read(model, padded, np.concatenate([known[:, :3] + 9, known], axis=1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[:, 3:], b, rtol=1e-5, atol=1e-6), late, whole)
    begins_later = history.copy()
    begins_later[:, :2, 1] = NAN
    part = read(model, begins_later, known)
    np.testing.assert_allclose(part.loc[:, :, 0], whole.loc[:, :, 0], rtol=1e-5)
    alone = read(model, begins_later[:, 2:], known[:, 2:])
    np.testing.assert_allclose(part.loc[:, 2:, 1], alone.loc[:, :, 1], rtol=1e-5, atol=1e-6)
    gaps, level = history.copy(), model_of(**RECURSIVE, instance_norm="none")
    gaps[:, 4:6] = NAN
    filled = history.copy()
    filled[:, 4:6] = filled[:, 3:4]
    first, second = read(level, gaps, known), read(level, filled, known)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), first, second)


def test_a_channel_that_begins_later_stands_at_its_level_before():
    """Channels that are read together: 5 more throughout is 5 more ahead, wherever the second one begins."""
    model = model_of(**RECURSIVE, channels="joint", instance_norm="standard")
    read = nnx.jit(lambda model, history, known: model.read(history, history, known)[0])
    history, known = RNG.normal(size=(1, T, C)).astype(np.float32), KNOWN[:1, :T].astype(np.float32)
    history[:, :3, 1] = NAN
    said, moved = read(model, history, known), read(model, history + np.float32(5), known)
    np.testing.assert_allclose(moved.loc, said.loc + 5, rtol=1e-4)
    np.testing.assert_allclose(moved.scale, said.scale, rtol=1e-4)


def test_paths_are_those_of_a_plain_loop():
    model = model_of(**RECURSIVE)
    given, count = windows_of(model), 2
    _, drawn = paths(model, given, count, KEY)
    step = nnx.jit(lambda model, values, known, state: model.step(values, known, state))
    many = [np.concatenate([array] * count) for array in (given.history, given.known)]
    history, known = map(jnp.asarray, many)
    said, state = nnx.jit(lambda model, *arrays: model.read(*arrays))(model, history, history, known[:, 1 : L + 1])
    said, keys = jax.tree.map(lambda leaf: leaf[:, -1], said), path_keys(KEY, count, B)
    for ahead in range(H):
        chosen = jax.vmap(draw_value)(jax.vmap(jax.random.fold_in, (0, None))(keys, ahead), said)
        np.testing.assert_allclose(drawn[:, :, ahead].reshape(-1, C), chosen, rtol=1e-5, atol=1e-6)
        if ahead < H - 1:
            said, state = step(model, chosen, known[:, L + 1 + ahead], state)


def test_paths_depend_on_their_key_and_numbers_alone():
    model = model_of(**RECURSIVE)

    def drawn(rows=slice(0, B), horizon=H, count=4, key=KEY):
        return forecast(model, HISTORY[rows], horizon, known=KNOWN[rows, : T + horizon], num_paths=count, key=key).paths

    found = drawn()
    np.testing.assert_array_equal(found, drawn())
    assert not np.any(found == drawn(key=jax.random.key(8)))
    np.testing.assert_allclose(drawn(horizon=2 * H)[:, :, :H], found, rtol=1e-6)
    np.testing.assert_allclose(drawn(slice(0, 2)), found[:, :2], rtol=1e-6)
    np.testing.assert_allclose(drawn(count=6)[:4], found, rtol=1e-6)
    keys = jax.random.key_data(path_keys(KEY, 5, 4))
    assert len(np.unique(keys, axis=0)) == 20


def test_quantiles_of_paths():
    drawn = RNG.normal(size=(11, 2, 3))
    said = Forecast(drawn.mean(axis=0), drawn)
    np.testing.assert_array_equal(said.quantile(0.5), np.sort(drawn, axis=0)[5])
    assert said.quantile(np.array([0.1, 0.9])).shape == (2, 2, 3)


COVARIATES = {"network": "linear", "num_past": 1, "num_known": 2}
PAST, AHEAD = HISTORY[0, :, :1], KNOWN[0, : T + H]


@pytest.mark.parametrize(
    ("options", "history", "arguments", "sentence"),
    [
        (LINEAR, HISTORY[0], {"horizon": 4}, "horizon must be at most 3, got 4"),
        (LINEAR, HISTORY[0], {"horizon": 0}, "horizon must be at least 1, got 0"),
        (LINEAR, HISTORY[0], {"num_paths": 0}, "num_paths must be at least 1, got 0"),
        (LINEAR, HISTORY[0], {"series": 3}, "series must be at most 2, got 3"),
        (LINEAR, HISTORY[0, :, 0], {}, r"history must have shape \[9, 2\], got \[9, 1\]"),
        (LINEAR, HISTORY[None], {}, r"history must have shape \[T, C\] or \[B, T, C\], .*got \[1, 3, 9, 2\]"),
        (LINEAR, HISTORY[0, :0], {}, r"history must have shape .*T at least 1, got \[0, 2\]"),
        (LINEAR, HISTORY[:0], {}, r"history must have shape .*B and T at least 1, got \[0, 9, 2\]"),
        (LINEAR, np.array([[1.0, np.inf]]), {}, "history must be finite numbers of at most 1e.30, got inf"),
        (LINEAR, np.array([[1.0, -1e200]]), {"series": 0}, "history must be finite numbers of at most 1e.30, got -1e"),
        (LINEAR, HISTORY[0], {"past": PAST}, r"past must have shape \[9, 0\], got \[9, 1\]"),
        (LINEAR, HISTORY[0], {"known": AHEAD}, r"known must have shape \[12, 0\], got \[12, 2\]"),
        (COVARIATES, HISTORY[0], {"past": PAST}, "known must be given: the model was trained with 2 such covariates"),
        (COVARIATES, HISTORY[0], {"known": AHEAD}, "past must be given: the model was trained with 1 such covariates"),
        (
            COVARIATES,
            HISTORY[0],
            {"past": PAST, "known": AHEAD[:-1]},
            r"known must have shape \[12, 2\], got \[11, 2\]",
        ),
        (COVARIATES, HISTORY[0], {"past": PAST, "known": AHEAD * NAN}, "known must be finite in every row, got NaN"),
        (COVARIATES, HISTORY[0], {"past": PAST * np.inf, "known": AHEAD}, "past must be finite numbers"),
        (COVARIATES, HISTORY, {"past": PAST, "known": AHEAD}, r"past must have shape \[3, 9, 1\], got \[9, 1\]"),
        (RECURSIVE, HISTORY[0], {"horizon": 5, "known": AHEAD}, r"known must have shape \[14, 2\], got \[12, 2\]"),
    ],
)
def test_refusals(options, history, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        forecast(model_of(**options), history, **arguments)


def test_fewer_steps_than_trained_for_of_a_file():
    """The covariates and the calendar of all steps are read; only those asked for are given."""
    times = np.arange("2024-01-01", "2024-01-25", dtype="M8[h]").astype("M8[us]")[: T + H]
    series = Series("one", times, HISTORY[0], np.zeros((T, 0)), KNOWN[0, : T + H])
    hours = parse_frequency("h")
    table = SeriesSet([series], hours, ("a", "b"), (), ("k", "l"), "planted.csv", ())
    has = calendar(times, hours)[0].shape[1]
    model = model_of(network="linear", num_known=2 + has)
    meaning = SeriesMeaning(None, None, ("a", "b"), (), ("k", "l"), True, ("one",), hours, None, "error")

    def said(horizon, series=series):
        config = PredictConfig(Path("run"), Path("planted.csv"), horizon=horizon, paths=4)
        return predict(model, meaning, table, series, config)

    whole, part = said(None), said(2)
    assert part.times.tolist() == whole.times[:2].tolist() == times[T : T + 2].tolist()
    np.testing.assert_array_equal(part.forecast.point, whole.forecast.point[:2])
    np.testing.assert_array_equal(part.forecast.paths, whole.forecast.paths[:, :2])
    with pytest.raises(InputError, match="one has k, l for 2 steps to come; expected 3"):
        said(2, series._replace(known=series.known[:-1]))
