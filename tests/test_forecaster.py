"""Forecasters: networks against their formulas, what a missing value may do, and laws between windows."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.test_util import check_grads

import lstmjax as lx
from lstmjax.data.timeline import Frequency, calendar
from lstmjax.data.windows import Rows, WindowBatch, Windows
from lstmjax.distributions import OUTPUTS
from lstmjax.models import FAMILIES, DecoderNetwork, DirectNetwork, ForecasterConfig, WindowNetwork, forecaster_config
from lstmjax.models.forecaster import INSTANCE_NORMS, normalised
from lstmjax.models.forecaster_task import SeriesMeaning
from lstmjax.trees import split_model

RNG = np.random.default_rng(0)
NAN = np.nan
N, L, H = 3, 6, 2
HEADS = {"DirectNetwork": "direct", "DecoderNetwork": "decoder"}
SMALL = {"hidden_features": (3,), "input_length": L, "horizon": H, "num_targets": 2, "output": "mse"}


@functools.cache
def model_of(**options):
    return forecaster_config.build(ForecasterConfig(**(SMALL | options)), nnx.Rngs(0))


@nnx.jit
def say(model, *arrays):
    return model(*arrays)


@functools.partial(jax.jit, static_argnums=0)
def gradients(graphdef, params, other, batch):
    """The loss of a batch and what pulls at the parameters."""

    def loss(params):
        return nnx.merge(graphdef, params, other).loss(batch, None)[1].value

    return jax.value_and_grad(loss)(params)


def numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def longer(model, steps):
    """The same parameters in a model of another input length, which recurrent networks don't know of."""
    _, variables = nnx.split(model)
    config = {"head": HEADS[type(model.network).__name__], "input_length": model.input_length + steps}
    return nnx.merge(nnx.split(model_of(**config, instance_norm=model.instance_norm))[0], variables)


def close(first, second, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), first, second)


HISTORY = np.array([[[NAN, 4.0], [3.0, NAN], [NAN, NAN], [-1.0, 7.0], [NAN, 8.0]], [[NAN, NAN]] * 5])


@pytest.mark.parametrize("norm", INSTANCE_NORMS)
def test_normalised_windows_against_numpy(norm):
    """By channel: 3 and -1 observed, and 4, 7 and 8; and a row where nothing was ever observed."""
    window = normalised(jnp.asarray(HISTORY, jnp.float32), norm)
    filled = np.array([[0.0, 4.0], [3.0, 4.0], [3.0, 4.0], [-1.0, 7.0], [-1.0, 8.0]])
    shift, scale = {
        "none": ([0.0, 0.0], [1.0, 1.0]),
        "last": ([-1.0, 8.0], [1.0, 1.0]),
        "standard": (np.nanmean(HISTORY[0], axis=0), np.sqrt(np.nanvar(HISTORY[0], axis=0) + 1e-5)),
        "scale": ([0.0, 0.0], 1 + np.nanmean(np.abs(HISTORY[0]), axis=0)),
    }[norm]
    expected = (filled - shift) / scale
    expected[0, 0] = 0.0  # before the first observed value
    np.testing.assert_allclose(window.values[0], expected, rtol=1e-6)
    np.testing.assert_allclose(window.shift[0, 0], shift, rtol=1e-6)
    np.testing.assert_allclose(window.scale[0, 0], scale, rtol=1e-6)
    np.testing.assert_array_equal(window.observed, ~np.isnan(HISTORY))
    assert not np.any(window.values[1])
    assert not np.any(window.shift[1])
    assert np.all(window.scale[1] > 0)


@pytest.mark.parametrize("norm", INSTANCE_NORMS)
def test_missing_values_pull_at_nothing(norm, x64):
    """Gradients are those of finite differences where a value was observed, and 0 where none was."""
    where = ~np.isnan(HISTORY)

    def total(observed):
        window = normalised(jnp.where(where, observed, NAN), norm)
        return jnp.sum(jnp.sin(window.values) + window.shift * window.scale)

    given = jnp.where(where, HISTORY, 1e30)
    check_grads(total, (jnp.where(where, HISTORY, 0.5),), order=1, modes=["rev"])
    pull = jax.grad(total)(given)
    assert np.isfinite(pull).all()
    assert not np.any(np.where(where, 0.0, pull))


@pytest.mark.parametrize("network", ["lstm", "mlp"])
@pytest.mark.parametrize("norm", ["last", "standard"])
def test_the_level_of_a_window_goes_through(network, norm):
    """5 more throughout is 5 more ahead; standard: 4 times as wide, as wide ahead, quantiles too."""
    model = model_of(network=network, output="student-t", instance_norm=norm)
    history = numbers(N, L, 2)
    history[0, 2, 0] = NAN
    plain, moved = say(model, history), say(model, history + np.float32(5))
    close(moved, plain.affine(5.0, 1.0), rtol=1e-4, atol=1e-4)
    if norm == "standard":
        close(say(model, history * np.float32(4)), plain.affine(0.0, 4.0), rtol=1e-3, atol=1e-3)


def test_scale_norm_keeps_the_mean_of_counts_in_proportion():
    """Large counts 8 times as large are forecast 8 times as large, of the same dispersion."""
    model = model_of(output="negative-binomial", scaling="none", instance_norm="scale")
    history = np.round(np.exp(numbers(N, L, 2)) * 1e6).astype(np.float32)
    close(say(model, history * np.float32(8)), say(model, history).affine(0.0, 8.0), rtol=1e-4)


@pytest.mark.parametrize("head", ["direct", "decoder"])
@pytest.mark.parametrize("norm", ["none", "standard"])
def test_leading_rows_without_values_are_not_there(head, norm):
    model, history = model_of(head=head, instance_norm=norm), numbers(N, L, 2)
    before = np.full((N, 3, 2), NAN, np.float32)
    close(say(longer(model, 3), np.concatenate([before, history], axis=1)), say(model, history))


def test_a_step_without_a_value_is_not_there():
    """Each channel goes by itself: the first misses step 2, the second step 5, of 7."""
    model, history = model_of(), numbers(N, L + 1, 2)
    gaps = history.copy()
    gaps[:, 2, 0] = gaps[:, 5, 1] = NAN
    without = np.stack([np.delete(history[:, :, 0], 2, axis=1), np.delete(history[:, :, 1], 5, axis=1)], axis=2)
    close(say(longer(model, 1), gaps), say(model, without))


@pytest.mark.parametrize("network", ["lstm", "dlinear"])
def test_shared_channels_and_rows_go_each_by_itself(network):
    model = model_of(network=network, num_targets=3, output="gaussian", num_past=1, num_known=2)
    arrays = numbers(N, L, 3), numbers(N, L, 1), numbers(N, L + H, 2)
    history, *covariates = arrays
    said = say(model, *arrays)
    assert said.loc.shape == (N, H, 3)
    close(say(model, history[:, :, [2, 0, 1]], *covariates), jax.tree.map(lambda leaf: leaf[:, :, [2, 0, 1]], said))
    other = history.copy()
    other[:, :, 1], other[1, :, 2] = 9.0, NAN
    again = say(model, other, *covariates)
    assert not np.allclose(again.loc[:, :, 1], said.loc[:, :, 1])
    close(again.loc[:, :, 0], said.loc[:, :, 0])
    close(again.loc[[0, 2], :, 2], said.loc[[0, 2], :, 2])
    assert np.isfinite(again.loc).all()


def test_joint_channels_read_one_another():
    model, history = model_of(channels="joint", output="gaussian"), numbers(N, L, 2)
    other = history + np.array([0.0, 1.0], np.float32) * numbers(1, L, 1)
    said, again = say(model, history), say(model, other)
    assert said.loc.shape == (N, H, 2)
    assert not np.allclose(said.loc[:, :, 0], again.loc[:, :, 0], atol=1e-3)
    close(jax.tree.map(lambda leaf: leaf[1], say(model, history[[1, 1, 0]])), jax.tree.map(lambda leaf: leaf[1], said))


@pytest.mark.parametrize("kind", ["linear", "dlinear", "mlp"])
def test_window_networks_against_their_formulas(kind):
    """DLinear: the mean of 3 around each step, the ends repeated, is the trend; each part has weights of its own."""
    network = WindowNetwork(
        L,
        2,
        H,
        1,
        4,
        hidden_features=(5, 3) if kind == "mlp" else (),
        moving_average=3 if kind == "dlinear" else None,
        rngs=nnx.Rngs(0),
    )
    values, known = numbers(N, L, 2), numbers(N, H, 1)
    parts = [values.astype(float)]
    if kind == "dlinear":
        wide = np.concatenate([values[:, :1], values, values[:, -1:]], axis=1).astype(float)
        trend = (wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]) / 3
        parts = [trend, values - trend]
    kernel, bias = np.asarray(network.head.kernel, float), np.asarray(network.head.bias, float)
    if kind == "mlp":
        x = np.concatenate([values.reshape(N, -1), known.reshape(N, -1)], axis=1).astype(float)
        for layer in network.hidden:
            x = np.maximum(x @ np.asarray(layer.kernel, float) + np.asarray(layer.bias, float), 0)
        expected = x @ kernel + bias
    else:
        weights = kernel[: -H * 1].reshape(L, len(parts), 2, -1)
        expected = sum(np.einsum("nlf,lfo->no", part, weights[:, p]) for p, part in enumerate(parts))
        expected = expected + known.reshape(N, -1) @ kernel[-H * 1 :] + bias
    got = network(values, jnp.ones((N, L), bool), known)
    np.testing.assert_allclose(got, expected.reshape(N, H, 4), rtol=1e-4, atol=1e-5)


def test_direct_network_against_its_parts():
    """Two steps at a time; the first row has begun at step 4, of another the last two steps are missing."""
    layer = lx.LSTM(2 * 2, 3, rngs=nnx.Rngs(0))
    network = DirectNetwork(layer, H, 1, 2, segment=2, rngs=nnx.Rngs(1))
    values, known, observed = numbers(N, L, 2), numbers(N, H, 1), np.ones((N, L), bool)
    observed[0, :4] = observed[1, 4:] = observed[2, 3] = False
    for row, read in enumerate([slice(4, 6), slice(0, 4), slice(0, 6)]):
        ys, _ = layer(values[row : row + 1, read].reshape(1, -1, 4))
        joined = np.concatenate([np.asarray(ys[0, -1]), known[row].ravel()])
        expected = (joined @ np.asarray(network.head.kernel) + np.asarray(network.head.bias)).reshape(H, 2)
        np.testing.assert_allclose(network(values, observed, known)[row], expected, rtol=1e-5, atol=1e-6)


def test_decoder_network_against_its_parts_and_all_of_it_learns():
    encoder, decoder = (lx.LSTM(size, 3, rngs=nnx.Rngs(size)) for size in (2 * 2, 5 + 2))
    network = DecoderNetwork(encoder, decoder, 4, 5, 2, segment=2, rngs=nnx.Rngs(1))
    values, known, observed = numbers(N, L, 2), numbers(N, 4, 1), np.ones((N, L), bool)
    _, state = encoder(values.reshape(N, 3, 4))
    leads = np.broadcast_to(np.asarray(network.lead.embedding), (N, 2, 5))
    ys, _ = decoder(np.concatenate([leads, known.reshape(N, 2, 2)], axis=2), state=state)
    expected = (np.asarray(ys) @ np.asarray(network.head.kernel) + np.asarray(network.head.bias)).reshape(N, 4, 2)
    np.testing.assert_allclose(network(values, observed, known), expected, rtol=1e-5, atol=1e-6)
    pull = nnx.grad(lambda each: jnp.sum(jnp.square(each(values, observed, known))))(network)
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(pull))


def batch_of(**changes):
    future = numbers(N, H, 2)
    batch = WindowBatch(numbers(N, L, 2), numbers(N, L, 0), numbers(N, L + H, 0), future, np.ones(N, np.float32))
    return batch._replace(**changes)


@pytest.mark.parametrize("options", [{"output": "student-t"}, {"head": "recursive", "output": "gaussian"}])
def test_what_is_missing_reaches_neither_loss_nor_gradient(options):
    """The mean is that of the observed targets alone; rows of weight 0 may hold anything."""
    model = model_of(**options)
    batch = batch_of(weights=np.array([1, 1, 0], np.float32))
    history, future = batch.history.copy(), batch.future.copy()
    history[0, :2, 1] = future[0, 1, 0] = future[1, 0, :] = NAN
    batch = batch._replace(history=history, future=future)
    loss, pull = gradients(*split_model(model), batch)
    history, future = history.copy(), future.copy()
    history[2], future[2] = 1e6, -7e5
    history[2, 3], future[2, 1] = NAN, NAN
    close(gradients(*split_model(model), batch._replace(history=history, future=future)), (loss, pull))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(pull))
    if "head" not in options:
        losses = OUTPUTS["student-t"].loss(say(model, batch.history), jnp.nan_to_num(batch.future))
        there = ~np.isnan(batch.future) & (batch.weights > 0)[:, None, None]
        np.testing.assert_allclose(loss, np.asarray(losses, float)[there].mean(), rtol=1e-5)


def test_figures_are_errors_of_the_observed():
    config = ForecasterConfig(**SMALL)
    batch = batch_of(weights=np.array([1, 0, 1], np.float32))
    batch.future[0, 0, 0] = NAN
    means, carry = FAMILIES["forecaster"].task(config).loss(model_of(), batch, (), None)
    error = (np.asarray(say(model_of(), batch.history).value, float) - batch.future)[[0, 2]]
    assert carry == ()
    for name, expected in (("mse", np.nanmean(error**2)), ("mae", np.nanmean(np.abs(error)))):
        np.testing.assert_allclose(means[name].value, expected, rtol=1e-5)
    np.testing.assert_allclose(means["loss"].value, means["mse"].value, rtol=1e-6)


TRAINED = [  # the command's tests train the other heads and outputs
    {"output": "quantiles", "head": "decoder"},
    {"output": "gaussian", "head": "recursive", "network": "gru"},
]


@pytest.mark.parametrize("options", TRAINED, ids=lambda options: options["output"])
def test_thirty_steps_lower_the_loss(options, lenient_promotion):
    wave = 2 * np.sin(np.arange(60) * 2 * np.pi / 8)
    if options["output"] == "negative-binomial":
        wave = np.round(np.exp(wave))
    rows = Rows(wave[:, None].astype(np.float32), *[np.zeros((60, 0), np.float32)] * 2)
    source = Windows([rows], [np.arange(8, 58)], 8, H, batch_size=16, seed=0)
    config = ForecasterConfig(**(SMALL | {"input_length": 8, "num_targets": 1, "hidden_features": (5,)} | options))
    family = FAMILIES["forecaster"]
    graphdef, params, other = split_model(family.build(config, nnx.Rngs(0)))
    rule = optax.adam(0.03)

    @jax.jit
    def step(params, opt_state, batch):
        def loss(params):
            return family.task(config).loss(nnx.merge(graphdef, params, other), batch, (), jax.random.key(0))[0]["loss"]

        value, pull = jax.value_and_grad(lambda params: loss(params).value)(params)
        change, opt_state = rule.update(pull, opt_state)
        return optax.apply_updates(params, change), opt_state, value

    opt_state, found = rule.init(params), []
    for position in range(30):
        params, opt_state, value = step(params, opt_state, source.batch(position))
        found.append(float(value))
    assert np.mean(found[-3:]) < np.mean(found[:3]) - 0.15 * abs(np.mean(found[:3]))


def test_a_config_survives_json():
    for options in (
        {},
        {"hidden_features": (8, 4), "hidden_dropout": 0.1, "head": "decoder", "segment": 2},
        TRAINED[1],
    ):
        config = ForecasterConfig(**(SMALL | options))
        assert ForecasterConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"network": "cnn"}, "network must be one of"),
        ({"head": "beam"}, "head must be one of"),
        ({"output": "poisson"}, "output must be one of"),
        ({"channels": "own"}, "channels must be one of"),
        ({"instance_norm": "batch"}, "instance_norm must be one of"),
        ({"scaling": "log"}, "scaling must be one of"),
        ({"hidden_features": (0,)}, "hidden_features must be at least 1, got 0"),
        ({"hidden_features": ()}, "hidden_features must have a width for network 'lstm'"),
        ({"hidden_features": (), "network": "mlp"}, "hidden_features must have a width for network 'mlp'"),
        ({"hidden_dropout": 0.1}, "hidden_dropout acts between layers"),
        ({"hidden_dropout": 0.1, "network": "linear"}, "hidden_dropout acts between layers"),
        ({"hidden_dropout": 0.1, "network": "dlinear"}, "hidden_dropout acts between layers"),
        ({"output_dropout": 1.0}, r"output_dropout must be in \[0, 1\)"),
        ({"moving_average": 4}, "moving_average must be odd"),
        ({"network": "mlp", "head": "recursive"}, "head is for recurrent networks"),
        ({"network": "linear", "segment": 2}, "segment is for recurrent networks"),
        ({"network": "dlinear", "recurrent_dropout": 0.1}, "recurrent_dropout is for recurrent networks"),
        ({"network": "mlp", "output_dropout": 0.1}, "output_dropout is for recurrent networks"),
        ({"output": "negative-binomial"}, "output negative-binomial .* needs scaling and transform none"),
        (
            {"output": "negative-binomial", "scaling": "none", "instance_norm": "last"},
            "instance_norm none or scale, got none, none and last",
        ),
        ({"head": "recursive", "segment": 2}, "segment must be 1"),
        ({"head": "recursive", "num_past": 1}, "head recursive has no past covariates"),
        ({"input_length": 7, "segment": 2}, "input_length must be a multiple of segment 2, got 7"),
        ({"head": "decoder", "segment": 3}, "horizon must be a multiple of segment 3, got 2"),
        ({"num_known": -1}, "num_known must be at least 0"),
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"num_series": 0}, "num_series must be at least 1"),
    ],
)
def test_configs_that_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ForecasterConfig(**(SMALL | options))


def test_models_that_are_refused():
    with pytest.raises(ValueError, match="input_length, horizon and num_targets must be set"):
        forecaster_config.build(ForecasterConfig(), nnx.Rngs(0))
    with pytest.raises(TypeError, match="hidden_features must be a tuple"):
        ForecasterConfig(hidden_features=8)
    with pytest.raises(TypeError, match="scale_each must be True or False"):
        ForecasterConfig(scale_each=1)
    with pytest.raises(TypeError, match="scaler must be of the class SeriesScaler, got int"):
        lx.models.Forecaster(model_of().network, "mse", 3, input_length=L, horizon=H)
    with pytest.raises(ValueError, match=r"history must have shape \[B, 6, 2\], got \[3, 6, 1\]"):
        model_of()(numbers(N, L, 1))


def test_covariates_are_the_known_columns_and_the_calendar():
    hours = Frequency("step", 3600 * 10**6)
    meaning = SeriesMeaning("time", None, ("load",), (), ("holiday",), True, ("load",), hours, None, "error")
    times = np.datetime64("2024-01-01T00", "us") + np.arange(30) * np.timedelta64(1, "h")
    known = np.arange(30.0)[:, None]
    np.testing.assert_array_equal(meaning.covariates(times, known), np.hstack([known, calendar(times, hours)[0]]))
    np.testing.assert_array_equal(meaning._replace(has_calendar=False).covariates(times, known), known)
    with pytest.raises(ValueError, match=r"known must have shape \[30, 1\], got \[30, 0\]"):
        meaning.covariates(times)
