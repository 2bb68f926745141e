"""Scales of series: NumPy's own numbers, and the way back."""

import numpy as np
import pytest
from flax import nnx

from lstmjax.layers import SeriesScaler
from lstmjax.layers.scaling import SCALINGS, scaled, statistics
from lstmjax.models import ForecasterConfig, forecaster_config
from lstmjax.trees import from_table, split_model, to_table

RNG = np.random.default_rng(0)
NAN = np.nan
PARTS = [RNG.normal(3.0, 2.0, (40, 3)), RNG.gamma(2.0, 50.0, (25, 3)), RNG.normal(-1e4, 10.0, (7, 3))]
for _part in PARTS:
    _part[RNG.random(_part.shape) < 0.2] = NAN
NUMPY = {
    "none": lambda x: (0.0, 1.0),
    "standard": lambda x: (np.nanmean(x), np.nanstd(x)),
    "minmax": lambda x: (np.nanmin(x), np.nanmax(x) - np.nanmin(x)),
    "robust": lambda x: (np.nanmedian(x), np.nanpercentile(x, 75) - np.nanpercentile(x, 25)),
}


def adapted(parts, scaling="standard", num_series=1, transform="none"):
    scaler = SeriesScaler(parts[0].shape[1], scaling, num_series, transform)
    scaler.adapt(parts)
    return scaler


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("shared", [True, False])
def test_statistics_are_numpys_own(scaling, shared):
    scaler = adapted(PARTS, scaling, 1 if shared else len(PARTS))
    for number, part in enumerate(PARTS):
        measured = np.concatenate(PARTS) if shared else part
        for channel in range(3):
            shift, scale = NUMPY[scaling](measured[:, channel])
            np.testing.assert_allclose(scaler.of(number)[0][channel], shift, rtol=1e-7)
            np.testing.assert_allclose(scaler.of(number)[1][channel], scale, rtol=1e-7)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_there_and_back(scaling):
    scaler = adapted(PARTS, scaling, len(PARTS))
    for number, part in enumerate(PARTS):
        z = scaler(part, number)
        shift, scale, _ = scaler.of(number)
        assert z.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(z), np.isnan(part))
        np.testing.assert_array_equal(z, ((part - shift) / scale).astype(np.float32))
        error = np.abs(scaler.inverse(z, number) - part) / np.maximum(scale, np.abs(part) if scaling == "none" else 0)
        assert np.nanmax(error) < 1e-6


@pytest.mark.parametrize("scaling", ["standard", "minmax", "robust"])
@pytest.mark.parametrize("spread", [1.0, 100.0, 1e4])
def test_small_changes_of_large_numbers_are_kept(scaling, spread):
    """float32 has a distance of 64 between numbers near 1e9; the arithmetic on the host has none that matters."""
    part = 1e9 + spread * RNG.normal(size=(100, 1))
    scaler = adapted([part], scaling)
    back = scaler.inverse(scaler(part))
    np.testing.assert_allclose(scaler.of(0)[1], NUMPY[scaling](part)[1], rtol=1e-6)
    assert back.dtype == np.float64
    assert np.abs(back - part).max() < 3e-6 * spread  # a scaled number of 32 in float32


def test_constant_and_unobserved_channels_keep_the_scale_1():
    part = np.column_stack([np.full(9, 7.3), np.full(9, NAN), np.full(9, 0.0), np.arange(9.0)])
    for scaling in ("standard", "minmax", "robust"):
        shift, scale, _ = statistics(part, scaling)
        np.testing.assert_allclose(shift[:3], [7.3, 0.0, 0.0], rtol=1e-7)
        assert scale[:3].tolist() == [1.0, 1.0, 1.0]
        assert scale[3] > 2.0
    mostly_zero = np.r_[np.zeros(90), np.ones(10)][:, None]
    assert statistics(mostly_zero, "robust")[1].tolist() == [1.0]


def test_scaled_without_a_scaler():
    assert scaled(None, np.zeros((4, 0))).shape == (4, 0)
    np.testing.assert_array_equal(scaled(adapted(PARTS), PARTS[0]), adapted(PARTS)(PARTS[0]))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: SeriesScaler(2, "log"), "scaling must be one of"),
        (lambda: SeriesScaler(0), "channels must be at least 1"),
        (lambda: adapted(PARTS[:2], num_series=3), "parts must be those of 3 series, got 2"),
        (lambda: SeriesScaler(2).adapt(PARTS), r"parts\[0\] must have shape \[T, 2\], got \[40, 3\]"),
        (lambda: adapted([np.array([[1e31]])]), "numbers of at most 1e"),
        (lambda: adapted([np.array([[np.inf]])]), "numbers of at most 1e"),
        (lambda: adapted(PARTS, num_series=3).of(3), "series must be at most 2, got 3"),
        (lambda: adapted(PARTS)(PARTS[0][:, :1]), r"x must have shape \[..., 3\], got \[40, 1\]"),
        (lambda: adapted(PARTS).inverse(PARTS[0][:, :1]), r"z must have shape \[..., 3\], got \[40, 1\]"),
    ],
)
def test_refusals(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(("transform", "numpys"), [("log", np.log), ("sqrt", np.sqrt)])
def test_a_transform_comes_first_and_is_undone_last(transform, numpys):
    part = np.abs(PARTS[0]) + 0.1
    plain, bent = adapted([numpys(part)]), adapted([part], transform=transform)
    np.testing.assert_array_equal(bent(part), plain(numpys(part)))
    np.testing.assert_allclose(bent.inverse(bent(part)), part, rtol=1e-6)
    low = bent.inverse(np.full((1, 3), -1e3))
    assert np.all((low >= 0) & (low < 1e-30))  # what is forecast never leaves the transform's range


@pytest.mark.parametrize(
    ("transform", "number", "sentence"),
    [
        ("log", 0.0, "transform log needs numbers above 0, got 0"),
        ("log", -2.0, "transform log needs numbers above 0, got -2"),
        ("sqrt", -1e-3, "transform sqrt needs numbers of at least 0, got -0.001"),
    ],
)
def test_numbers_that_a_transform_has_no_value_for(transform, number, sentence):
    scaler = adapted([np.array([[1.0], [4.0], [NAN]])], transform=transform)
    with pytest.raises(ValueError, match=sentence):
        scaler(np.array([[2.0], [number], [NAN]]))
    with pytest.raises(ValueError, match=sentence):
        scaler.adapt([np.array([[2.0], [number]])])


def test_scales_are_saved_with_a_model_and_never_trained():
    config = ForecasterConfig(
        network="linear", output="mse", input_length=4, horizon=2, num_targets=3, num_past=1, num_known=2, num_series=3
    )
    model = forecaster_config.build(config, nnx.Rngs(0))
    model.scaler.adapt(PARTS)
    model.past_scaler.adapt([part[:, :1] for part in PARTS])
    model.known_scaler.adapt([part[:, 1:] for part in PARTS])
    _, params, other = split_model(model)
    assert not [name for name in to_table(params) if "scale" in name or "shift" in name]
    fresh = forecaster_config.build(config, nnx.Rngs(1))
    graphdef, fresh_params, fresh_other = split_model(fresh)
    again = nnx.merge(graphdef, fresh_params, from_table(fresh_other, to_table(other)))
    for name in ("scaler", "past_scaler", "known_scaler"):
        for number in range(3):
            for first, second in zip(getattr(model, name).of(number), getattr(again, name).of(number), strict=True):
                np.testing.assert_array_equal(first, second)
