"""The next frames of videos: what the model sees, its figures by hand, SSIM, and the command from files to pictures."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from flax import nnx
from PIL import Image

import lstmjax as lx
from experiments import frames
from lstmjax import load_model, metrics, training
from lstmjax.data import Examples
from lstmjax.models import FramePredictor, FramePredictorConfig, frame_predictor
from tests.cases import run_quietly

RNG = np.random.default_rng(0)
SIZES = {"spatial_shape": (4, 6), "channels": 2}
CONFIG = FramePredictorConfig((4, 3), (3, 1), patch_size=2, **SIZES)
VIDEO = RNG.random((2, 3, 4, 6, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return FramePredictor(CONFIG, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def run(model):
    return nnx.jit(lambda frames: model(frames, steps=3))


def test_patches_are_cut_and_put_together():
    patches = frame_predictor.to_patches(VIDEO, 2)
    assert patches.shape == (2, 3, 2, 3, 8)
    np.testing.assert_array_equal(patches[1, 2, 1, 2], VIDEO[1, 2, 2:4, 4:6].ravel())
    np.testing.assert_array_equal(frame_predictor.from_patches(patches, 2), VIDEO)


def test_it_is_two_stacks_joined_by_their_states(model, run):
    xs, states = frame_predictor.to_patches(VIDEO, 2), []
    for layer in model.encoder:
        xs, state = lx.unroll(layer.cell, layer.params, xs)
        states.append(state)
    hs, said = np.ones((2, 3, 2, 3, 1), np.float32), []
    for layer, state in zip(model.forecaster, states, strict=True):
        hs, _ = lx.unroll(layer.cell, layer.params, hs, state)
        said.append(hs)
    logits = np.concatenate(said, -1) @ model.head.kernel[...] + model.head.bias[...][None, None, None, None]
    found = run(VIDEO)
    np.testing.assert_allclose(found, frame_predictor.from_patches(logits, 2), atol=1e-5)
    np.testing.assert_allclose(run(VIDEO[::-1]), found[::-1], atol=1e-6)


def test_every_parameter_learns(model):
    graphdef, params, other = training.split_model(model)
    batch = Examples(VIDEO, np.roll(VIDEO, 1, axis=0), np.ones(2, np.float32))
    loss = frame_predictor.task(CONFIG).loss
    gradient = jax.jit(
        jax.grad(lambda params: loss(nnx.merge(graphdef, params, other), batch, (), jax.random.key(0))[0]["loss"].value)
    )
    for path, leaf in jax.tree.leaves_with_path(gradient(params)):
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


def test_an_lstm_for_every_pixel_sees_no_other():
    config = FramePredictorConfig((3,), (1,), patch_size=1, spatial_shape=(2, 2), channels=1)
    model = FramePredictor(config, rngs=nnx.Rngs(0))
    pixels = nnx.jit(lambda video: model(video, steps=2))
    video = VIDEO[:, :, :2, :2, :1]
    whole = pixels(video)
    changed = np.array(video)
    changed[:, :, 0, 1] = 0
    differs = (np.asarray(pixels(changed)) != whole).any(axis=(0, 1, 4))
    assert differs.tolist() == [[False, True], [False, False]]
    turned = pixels(video.swapaxes(2, 3))  # one LSTM, wherever the pixel is
    np.testing.assert_allclose(turned, whole.swapaxes(2, 3), atol=1e-6)


def test_figures_are_of_frames_and_rows_that_fill_up_count_nothing(model, run):
    weights, targets = np.float32([1, 0]), np.where(VIDEO > 0.5, 1, VIDEO)
    batch = Examples(VIDEO, targets, weights)
    sums, _ = frame_predictor.task(CONFIG).loss(model, batch, (), None)
    p = np.asarray(jax.nn.sigmoid(run(VIDEO[:1])), np.float64)
    entropy = -(targets[:1] * np.log(p) + (1 - targets[:1]) * np.log(1 - p))
    expected = {
        "loss": entropy.mean(),
        "cross_entropy": entropy.sum() / 3,
        "mse": ((p - targets[:1]) ** 2).sum() / 3,
    }
    found = frame_predictor.task(CONFIG).summary(sums)
    assert found == {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kernel_sizes": (3,)}, r"kernel_sizes must be a tuple of 2 whole numbers, got \(3,\)"),
        ({"hidden_features": ()}, "hidden_features must be a tuple of"),
        ({"patch_size": 4}, r"patch_size must divide height and width \(4, 6\), got 4"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"channels": None}, "spatial_shape and channels must be set"),
    ],
)
def test_models_that_cannot_be(change, sentence):
    sizes = {"hidden_features": (4, 3), "kernel_sizes": (3, 1), "patch_size": 2, **SIZES}
    with pytest.raises(ValueError, match=sentence):
        FramePredictor(FramePredictorConfig(**{**sizes, **change}), rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("given", "steps", "error", "sentence"),
    [
        (VIDEO[:, :, :2], 3, ValueError, r"frames must have shape \[B, T, 4, 6, 2\], got \[2, 3, 2, 6, 2\]"),
        (VIDEO.astype(int), 3, TypeError, "frames must have dtype floating"),
        (VIDEO, 0, ValueError, "steps must be at least 1, got 0"),
    ],
)
def test_frames_that_it_cannot_read(model, given, steps, error, sentence):
    with pytest.raises(error, match=sentence):
        model(given, steps=steps)


def similarity(x, y, data_range):
    """By SciPy's filter, in float64; its places by the border are left out."""

    def smooth(image):
        return scipy.ndimage.gaussian_filter(image, 1.5, radius=5)[5:-5, 5:-5]

    c_1, c_2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    m_x, m_y = smooth(x), smooth(y)
    s_x, s_y, s_xy = smooth(x * x) - m_x**2, smooth(y * y) - m_y**2, smooth(x * y) - m_x * m_y
    return np.mean((2 * m_x * m_y + c_1) * (2 * s_xy + c_2) / ((m_x**2 + m_y**2 + c_1) * (s_x + s_y + c_2)))


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_structural_similarity_is_what_scipy_says(data_range):
    true = data_range * RNG.random((2, 1, 13, 16, 2))
    said = np.clip(true + data_range * RNG.normal(0, 0.2, true.shape), 0, data_range)
    found = metrics.structural_similarity(jnp.float32(said), jnp.float32(true), data_range=data_range)
    expected = [
        [np.mean([similarity(said[b, 0, ..., c], true[b, 0, ..., c], data_range) for c in (0, 1)])] for b in (0, 1)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    same = metrics.structural_similarity(jnp.float32(true), jnp.float32(true), data_range=data_range)
    np.testing.assert_allclose(same, 1, atol=1e-6)


def test_pictures_that_cannot_be_compared():
    picture = jnp.zeros((12, 12, 1))
    with pytest.raises(ValueError, match=r"predictions must have shape .* at least 11, got \[12, 10, 1\]"):
        metrics.structural_similarity(picture[:, :10], picture[:, :10])
    with pytest.raises(ValueError, match=r"targets must have shape \[12, 12, 1\], got \[12, 12\]"):
        metrics.structural_similarity(picture, picture[..., 0])
    with pytest.raises(TypeError, match="predictions must have dtype floating"):
        metrics.structural_similarity(picture.astype(int), picture)
    with pytest.raises(ValueError, match="data_range must be above 0"):
        metrics.structural_similarity(picture, picture, data_range=0.0)


GIVEN, AHEAD = 3, 2
OPTIONS = "--given 3 --ahead 2 --steps 3 --batch-size 4 --model.hidden-features 3 --model.kernel-sizes 3 "
OPTIONS += "--model.patch-size 4 --optimizer.warmup-steps 1"


def call(*arguments):
    with jax.numpy_rank_promotion("allow"):
        return run_quietly(frames.main, arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a file of moving bars, 30 videos of 7 frames, so two clips each; its folder, file and summary."""
    folder = tmp_path_factory.mktemp("bars")
    places = RNG.integers(0, 12, (30, 1)) + np.arange(7) * RNG.integers(1, 3, (30, 1))
    bars = np.zeros((30, 7, 16, 12), np.uint8)
    bars[np.arange(30)[:, None], np.arange(7), :, places % 12] = 255
    np.save(folder / "bars.npy", bars)
    assert call("--data", folder / "bars.npy", "--out", folder / "run", *OPTIONS.split()) == 0
    return folder / "run", bars, json.loads((folder / "run" / "summary.json").read_text())


def test_a_run_leaves_its_figures_and_pictures(trained):
    folder, bars, summary = trained
    figures = {"mse", "mae", "ssim", "cross_entropy", "mse_ahead_1", "mse_ahead_2"}
    assert {f"test_{name}" for name in figures} <= summary.keys()
    assert {f"baseline_pixel_lstm_test_{name}" for name in figures} <= summary.keys()
    assert {f"baseline_copy_last_test_{name}" for name in figures - {"cross_entropy"}} <= summary.keys()
    assert "baseline_copy_last_test_cross_entropy" not in summary
    test = bars[np.random.default_rng(0).permutation(30)[:3]] / 255
    clips = np.concatenate([test[:, :5], test[:, 2:]])
    error = clips[:, 3:] - clips[:, 2:3]
    assert summary["baseline_copy_last_test_mse"] == pytest.approx((error**2).sum((2, 3)).mean(), rel=1e-5)
    assert summary["baseline_copy_last_test_mse_ahead_2"] == pytest.approx((error[:, 1] ** 2).sum((1, 2)).mean())
    assert summary["test_mse"] == pytest.approx((summary["test_mse_ahead_1"] + summary["test_mse_ahead_2"]) / 2)
    for name in ("loss.png", "steps.png", "frames.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"
    with Image.open(folder / "frames.gif") as moving:
        assert moving.n_frames == GIVEN + AHEAD
        assert moving.size == (4 * (12 + 2 + 12), 4 * 3 * 16)


def test_figures_are_those_of_the_model_that_is_read_back(trained):
    folder, bars, summary = trained
    model, companion = load_model(folder)
    assert companion is None
    test = bars[np.random.default_rng(0).permutation(30)[:3]].astype(np.float32)[..., None] / 255
    clips = np.concatenate([test[:, :5], test[:, 2:]])
    said = np.asarray(model.predict(clips[:, :3], steps=2), np.float64)
    assert summary["test_mae"] == pytest.approx(np.abs(said - clips[:, 3:]).sum((2, 3, 4)).mean(), rel=1e-4)
    entropy = -np.log(np.where(clips[:, 3:] == 1, said, 1 - said))
    assert summary["test_cross_entropy"] == pytest.approx(entropy.sum((2, 3, 4)).mean(), rel=1e-4)
    pairs = zip(said.reshape(-1, 16, 12), clips[:, 3:].reshape(-1, 16, 12), strict=True)
    ssim = [similarity(a, b, 1.0) for a, b in pairs]
    assert summary["test_ssim"] == pytest.approx(np.mean(ssim), abs=1e-4)


def test_other_videos_go_on(trained, tmp_path, capsys):
    folder, bars, _ = trained
    np.savez(tmp_path / "more.npz", bars[:5, :4] / 255)
    made = tmp_path / "made.npy"
    assert call("--checkpoint", folder, "--predict", tmp_path / "more.npz", "--out", made, "--batch-size", 4) == 0
    predict = nnx.jit(lambda given: load_model(folder).model.predict(given, steps=2))
    np.testing.assert_allclose(np.load(made), predict(bars[:5, 1:4, :, :, None].astype(np.float32) / 255), atol=1e-5)
    moving = tmp_path / "made.gif"
    assert call("--checkpoint", folder, "--predict", tmp_path / "more.npz", "--out", moving, "--ahead", 3) == 0
    with Image.open(moving) as image:
        assert (image.n_frames, image.size) == (4 + 3, (48, 64))
    np.save(tmp_path / "wide.npy", np.zeros((2, 4, 12, 16)))
    assert call("--checkpoint", folder, "--predict", tmp_path / "wide.npy", "--out", made) == 2
    assert "wide.npy: expected frames [16, 12, 1], as in training, got [12, 16, 1]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shape", "options", "sentence"),
    [
        ((2, 5, 12, 12), "", "expected at least 3 videos, to learn, choose and test, got 2"),
        ((4, 4, 12, 12), "", "expected videos of at least 5 frames, got 4 of 4"),
        ((4, 5, 12, 14), "", "--model.patch-size 4 must divide height and width of the frames of"),
        ((4, 5, 12, 12), "--given 0", "given must be at least 1, got 0"),
    ],
)
def test_a_sentence_for_what_cannot_be_learnt_from(tmp_path, capsys, shape, options, sentence):
    np.save(tmp_path / "v.npy", np.zeros(shape))
    assert call("--data", tmp_path / "v.npy", *OPTIONS.split(), *options.split(), "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_made_sets_have_digits_of_their_own_in_each_part(monkeypatch):
    parts = [np.full((2, 14, 14), brightness, np.uint8) for brightness in (50, 100, 200)]
    monkeypatch.setattr(frames.moving_digits, "mnist_digits", lambda side: parts)
    data = frames.load(frames.FramesConfig(clips=5, batch_size=2, given=2, ahead=1))
    assert data.test is not None
    for source, brightness, batches in ((data.train, 50, 100), (data.validation, 100, 1), (data.test, 200, 3)):
        assert len(source) == batches
        assert set(np.unique(np.rint(255 * source.batch(0).inputs))) == {0, brightness}
    assert data.model.spatial_shape == (32, 32)
    other = frames.load(frames.FramesConfig(clips=5, batch_size=2, given=2, ahead=1, seed=1))
    assert other.identity == data.identity  # the test part is the same for every seed
