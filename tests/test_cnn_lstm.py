"""Clips: the frame encoder against NumPy, frames one by one and at once, padding, statistics, tasks, configs."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax.data import SequenceBatch
from lstmjax.data.labels import Labels
from lstmjax.models import CNNLSTM, CNNLSTMConfig, FrameEncoder, cnn_lstm_config, cnn_lstm_task
from lstmjax.models.cnn_lstm import StackedCNN
from lstmjax.trees import split_model

B, T, C = 3, 4, 5
SHAPE = (6, 5, 2)
LENGTHS = np.array([4, 2, 1], np.int32)
INSIDE = np.arange(T) < LENGTHS[:, None]
RNG = np.random.default_rng(0)
CLIPS = np.where(INSIDE[..., None, None, None], RNG.random((B, T, *SHAPE)), np.nan).astype(np.float32)
CONFIG = CNNLSTMConfig(
    channels=(4, 4), image_shape=SHAPE, num_classes=C, frame_features=3, hidden_features=(4,), groups=2
)
CONFIGS = {
    "batch": CONFIG,
    "group": dataclasses.replace(CONFIG, norm="group", cell="gru", bidirectional=True),
    "frames": dataclasses.replace(CONFIG, pooling="none", bidirectional=True),
    "alone": dataclasses.replace(CONFIG, norm="none", cell="none", pooling="attention", halvings=1),
    "stacked": dataclasses.replace(CONFIG, cell="none", window=3),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


@functools.cache
def built(config):
    """A model with opinions, and statistics far from 0 and 1."""
    model = cnn_lstm_config.build(config, nnx.Rngs(0))
    opinionated = jax.tree.map(lambda leaf: np.float32(1.5) * np.asarray(leaf) + np.float32(0.1), nnx.state(model))
    nnx.update(model, jax.tree.map(jnp.asarray, opinionated))
    return model


@nnx.jit
def run(model, clips, lengths, mask=None):
    return model(clips, lengths=lengths, mask=mask)


@nnx.jit
def encode(encoder, images):
    return encoder(images), encoder.feature_map(images)


def encoder_by_hand(encoder, images, *, mean=None, var=None):
    """In float64, loops and all: convolution with zeros around, largest of 2 x 2, normalisation, ReLU; dense, ReLU."""
    x = np.asarray(images, np.float64)
    for block in encoder.blocks:
        kernel, norm = np.asarray(block.convolution.kernel[...], np.float64), block.norm
        count, height, width, _ = x.shape
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        y = np.zeros((count, height, width, kernel.shape[3]))
        for i, j in itertools.product(range(height), range(width)):
            y[:, i, j] = np.einsum("nhwc,hwcd->nd", padded[:, i : i + 3, j : j + 3], kernel)
        pooled = np.zeros((count, -(-height // 2), -(-width // 2), y.shape[3]))
        for i, j in itertools.product(*map(range, pooled.shape[1:3])):
            pooled[:, i, j] = y[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(1, 2))
        mean, var = np.asarray(norm.mean[...]), np.asarray(norm.var[...])
        normal = (pooled - mean) / np.sqrt(var + 1e-5) * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
        x = np.maximum(normal, 0)
    flat = x.reshape(len(x), -1)
    return np.maximum(flat @ np.asarray(encoder.dense.kernel[...]) + np.asarray(encoder.dense.bias[...]), 0), x


def test_the_frame_encoder_is_its_formula():
    encoder, images = built(CONFIG).frames, RNG.random((3, *SHAPE)).astype(np.float32)
    vectors, features = encoder_by_hand(encoder, images)
    assert encoder.map_shape == (2, 2, 4)  # 6 x 5, 3 x 3, 2 x 2
    found = encode(encoder, images)
    np.testing.assert_allclose(found[0], vectors, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], features, rtol=1e-4, atol=1e-5)
    pixels = np.rint(images * 255).astype(np.uint8)
    numbers = pixels.astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(encode(encoder, pixels)[0], encode(encoder, numbers)[0], rtol=1e-5)


def test_without_a_dense_layer_it_is_the_mean_of_the_map():
    encoder = FrameEncoder(SHAPE, (4, 6), None, halvings=1, norm="none", rngs=nnx.Rngs(0))
    images = RNG.random((2, *SHAPE)).astype(np.float32)
    assert (encoder.map_shape, encoder.out_features) == ((3, 3, 6), 6)
    vectors, features = encode(encoder, images)
    np.testing.assert_allclose(vectors, np.mean(features, axis=(1, 2)), rtol=1e-5)


def test_a_clip_is_its_frames_one_after_another():
    model = built(CONFIG)
    (layer,) = model.classifier.encoder.recurrent.layers
    logits = np.asarray(run(model, CLIPS, LENGTHS))

    @nnx.jit
    def step(model, state, frame):
        (layer,) = model.classifier.encoder.recurrent.layers
        state, h = layer.cell.step(layer.params, state, layer.cell.project(layer.params, model.frames(frame)))
        return state, model.classifier.head(h)

    for row, length in enumerate(LENGTHS):
        state = layer.cell.initial_state((1,))
        for frame in CLIPS[row, :length]:
            state, said = step(model, state, frame[None])
        np.testing.assert_allclose(logits[row], said[0], rtol=1e-4, atol=1e-5)


@every_config
def test_padding_and_batch_do_not_matter(config):
    """NaN after the ends, more of it, and other clips beside; nor does the way that says which frames are there."""
    model = built(config)
    logits = np.asarray(run(model, CLIPS, LENGTHS))
    assert logits.shape == ((B, T, C) if config.each_frame else (B, C))
    more = np.pad(CLIPS, ((0, 1), (0, 2), (0, 0), (0, 0), (0, 0)), constant_values=np.nan)
    padded = np.asarray(run(model, more, np.append(LENGTHS, 0).astype(np.int32)))[:B]
    compare = (lambda a: a[INSIDE]) if config.each_frame else (lambda a: a)
    assert np.isfinite(compare(logits)).all()
    np.testing.assert_allclose(compare(logits), compare(padded[:, :T] if config.each_frame else padded), atol=1e-5)
    alone = run(model, CLIPS[1:2, :2], None)
    np.testing.assert_allclose(logits[1:2, :2] if config.each_frame else logits[1:2], alone, atol=1e-5)
    np.testing.assert_allclose(compare(logits), compare(np.asarray(run(model, CLIPS, None, INSIDE))), atol=1e-5)


def statistics(model):
    return jax.tree.leaves(nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))


@nnx.jit
def train(model, clips, lengths):
    return model(clips, lengths=lengths, key=jax.random.key(0))


def trained(model, clips, lengths):
    """The logits of a training call, and the statistics after it; the model stays as it was."""
    copy = nnx.clone(model)
    logits = train(copy, clips, lengths)
    return np.asarray(logits), statistics(copy)


def test_statistics_move_in_training_alone_and_padding_has_no_part_in_them():
    model = built(CONFIG)
    logits, after = trained(model, CLIPS, LENGTHS)
    assert np.isfinite(logits).all()
    before = [np.asarray(leaf) for leaf in statistics(model)]
    run(model, CLIPS, LENGTHS)
    for was, now, moved in zip(before, statistics(model), after, strict=True):
        np.testing.assert_array_equal(was, now)
        assert np.isfinite(moved).all()
        assert not np.allclose(was, moved)
    frames = CLIPS[INSIDE]  # those that are there, side by side
    first = model.frames.blocks[0]
    pooled = np.asarray(first.convolution(frames))
    pooled = np.pad(pooled, ((0, 0), (0, 0), (0, 1), (0, 0)), mode="edge").reshape(len(frames), 3, 2, 3, 2, 4)
    pooled = pooled.max(axis=(2, 4)).astype(np.float64)
    copy = nnx.clone(model)
    train(copy, CLIPS, LENGTHS)
    norm, old = copy.frames.blocks[0].norm, first.norm
    mean, var = (0.9 * np.asarray(x[...]) for x in (old.mean, old.var))
    np.testing.assert_allclose(norm.mean[...], mean + 0.1 * pooled.mean(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(norm.var[...], var + 0.1 * pooled.var(axis=(0, 1, 2)), rtol=1e-3)
    dirty, same = trained(model, np.where(np.isnan(CLIPS), 7, CLIPS).astype(np.float32), LENGTHS)
    np.testing.assert_array_equal(logits, dirty)
    jax.tree.map(np.testing.assert_array_equal, after, same)


def test_groups_know_nothing_of_the_batch():
    model = built(CONFIGS["group"])
    assert statistics(model) == []
    logits, _ = trained(model, CLIPS, LENGTHS)
    np.testing.assert_allclose(logits, run(model, CLIPS, LENGTHS), atol=1e-5)  # it has no dropout


def batch_of(config, weights):
    targets = np.where(INSIDE, RNG.integers(0, C, (B, T)), 0) if config.each_frame else np.array([1, 4, 0])
    lengths = LENGTHS if config.each_frame else None
    return SequenceBatch(CLIPS, targets.astype(np.int32), LENGTHS, lengths, np.array(weights, np.float32))


@pytest.mark.parametrize("name", ["batch", "frames", "stacked"])
def test_every_parameter_learns_and_rows_that_do_not_count_teach_nothing(name, lenient_promotion):
    config = CONFIGS[name]
    graphdef, params, other = split_model(built(config))

    @jax.jit
    def gradient(batch):
        def loss(params):
            model = nnx.merge(graphdef, params, other)
            found, _ = cnn_lstm_task.task(config).loss(model, batch, (), jax.random.key(0))
            return found["loss"].value, split_model(model)[2]

        return jax.grad(loss, has_aux=True)(params)

    batch = batch_of(config, [1, 1, 0])
    found, statistics = gradient(batch)
    for path, leaf in jax.tree.leaves_with_path(found):
        assert np.abs(leaf).sum() > 0, jax.tree_util.keystr(path)
    dirty = batch._replace(inputs=np.where(np.arange(B)[:, None, None, None, None] == 2, 9, CLIPS).astype(np.float32))
    jax.tree.map(np.testing.assert_array_equal, (found, statistics), gradient(dirty))


@pytest.mark.parametrize("name", ["batch", "frames"])
def test_figures_count_what_counts(name):
    config = CONFIGS[name]
    batch, task = batch_of(config, [1, 0, 1]), cnn_lstm_task.task(config)
    sums = nnx.jit(lambda model, batch: task.loss(model, batch, (), None)[0])(built(config), batch)
    logits = np.asarray(run(built(config), CLIPS, LENGTHS), np.float64)
    counts = np.array([True, False, True])
    counts = INSIDE & counts[:, None] if config.each_frame else counts
    said, true = logits.argmax(axis=-1)[counts], batch.targets[counts]
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    figures = task.summary(sums)
    assert figures["accuracy"] == pytest.approx(np.mean(said == true))
    assert figures["loss"] == pytest.approx(-log_p[counts][np.arange(len(true)), true].mean(), rel=1e-4)


def test_stacked_frames_are_channels():
    model = built(CONFIGS["stacked"])
    assert isinstance(model, StackedCNN)
    image = np.zeros((1, *SHAPE[:2], 6), np.float32)
    for frame in range(2):
        image[0, :, :, 2 * frame : 2 * frame + 2] = CLIPS[1, frame]
    np.testing.assert_allclose(run(model, CLIPS, LENGTHS)[1], model.head(model.frames(image))[0], atol=1e-5)
    later = CLIPS.copy()
    later[0, 3] = 0  # the fourth frame of four is not seen
    np.testing.assert_array_equal(run(model, CLIPS, LENGTHS), run(model, later, LENGTHS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ()}, "channels must hold"),
        ({"norm": "group", "channels": (4, 6), "groups": 4}, "groups must divide .* got 4 for 6"),
        ({"halvings": 3}, "halvings must be at most 2"),
        ({"norm": "layer"}, "norm must be one of 'batch', 'group', 'none'"),
        ({"pooling": "flatten"}, "pooling must be one of"),
        ({"cell": "none", "bidirectional": True}, "bidirectional acts on recurrent layers"),
        ({"window": 3}, "window reads all frames at once"),
        ({"image_shape": (6, 0, 1)}, "image_shape must be at least 1"),
    ],
)
def test_a_config_refuses_what_does_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_what_does_not_fit_is_refused():
    model = built(CONFIG)
    with pytest.raises(ValueError, match=r"clips must have shape \[B, T, 6, 5, 2\], got \[3, 4, 6, 5, 1\]"):
        model(CLIPS[..., :1])
    with pytest.raises(TypeError, match="images must have dtype floating, got int32"):
        model.frames(np.zeros((1, *SHAPE), np.int32))
    with pytest.raises(TypeError, match="classifier must be of the class SequenceClassifier"):
        CNNLSTM(model.frames, model.frames)
    with pytest.raises(ValueError, match="image_shape and num_classes must be set"):
        cnn_lstm_config.build(CNNLSTMConfig(), nnx.Rngs(0))
    with pytest.raises(ValueError, match="num_classes is 5, and there are 2 labels"):
        cnn_lstm_task.with_meaning(CONFIG, Labels(("a", "b")))
