"""From an image to a sequence: training against steps, what is written, where it looked, statistics, configs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax.data import Characters, SequenceBatch, Words
from lstmjax.data.symbols import END, START
from lstmjax.data.text import save_vocabulary
from lstmjax.decoding.image_texts import looked_at, write_texts
from lstmjax.errors import InputError
from lstmjax.models import FrameEncoder, ImageDecoder, ImageDecoderConfig, image_decoder_config, image_decoder_task
from lstmjax.trees import split_model

B, T = 3, 4
SHAPE = (6, 10, 1)
SYMBOLS = Characters(("a", "b", "c"))
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (B, *SHAPE)).astype(np.uint8)
TARGETS = np.array([[4, 5, 6, END], [6, END, 0, 0], [5, 5, END, 0]], np.int32)
LENGTHS = np.array([4, 2, 3], np.int32)
CONFIG = ImageDecoderConfig(
    channels=(3, 4),
    halvings=1,
    embed_features=3,
    attention_features=3,
    decoder_features=(5,),
    out_features=4,
    image_shape=SHAPE,
    vocab_size=len(SYMBOLS),
)
KINDS = {"bahdanau": {}, "general": {"cell": "gru", "decoder_features": (5, 4)}, "none": {"norm": "group", "groups": 1}}
CONFIGS = {kind: dataclasses.replace(CONFIG, attention=kind, **changes) for kind, changes in KINDS.items()}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
BATCH = SequenceBatch(IMAGES, TARGETS, None, LENGTHS, np.ones(B, np.float32))


@functools.cache
def built(config):
    """A model with opinions: parameters far from 0."""
    model = image_decoder_config.build(config, nnx.Rngs(0))
    nnx.update(model, jax.tree.map(_changed, nnx.state(model)))
    return model


def _changed(leaf):
    return jnp.asarray(1.5 * np.asarray(leaf) + RNG.uniform(-0.3, 0.3, leaf.shape), leaf.dtype)


@nnx.jit
def run(model, images, inputs):
    return model.with_alignments(images, inputs)


@nnx.jit
def encode(model, images):
    return model.encode(images)


@nnx.jit
def step(model, memory, symbols, state):
    return model.step(memory, symbols, state)


def read(model, images, texts):
    """The logits step by step, each symbol by itself."""
    memory, state = encode(model, images)
    found = []
    for symbols in texts.T:
        logits, state = step(model, memory, symbols, state)
        found.append(logits)
    return np.stack(found, axis=1)


@every_config
def test_training_and_writing_compute_the_same(config):
    model = built(config)
    inputs = np.insert(TARGETS[:, :-1], 0, START, axis=1).astype(np.int32)
    logits, weights = run(model, IMAGES, inputs)
    np.testing.assert_allclose(logits, read(model, IMAGES, inputs), rtol=1e-4, atol=1e-5)
    alone, _ = run(model, IMAGES[1:2], inputs[1:2])
    np.testing.assert_allclose(logits[1:2], alone, rtol=1e-4, atol=1e-5)
    assert (weights.shape, model.frames.map_shape) == ((B, T, 15), (3, 5, 4))
    total = np.sum(weights, axis=2)
    np.testing.assert_allclose(total, 0.0 if config.attention == "none" else 1.0, rtol=1e-5)
    assert not np.allclose(logits[0], logits[1])


@pytest.mark.parametrize("config", [CONFIG])
def test_greedy_texts_are_the_likeliest_symbols_one_after_another(config):
    model = built(config)
    found = write_texts(model, SYMBOLS, list(IMAGES), steps=6, batch_size=2)
    for image, one in zip(IMAGES, found, strict=True):
        written, log_probability = [START], 0.0
        memory, state = encode(model, image[None])
        while True:
            logits, state = step(model, memory, np.array(written[-1:], np.int32), state)
            log_probability += float(jax.nn.log_softmax(logits[0]).max())
            written.append(int(logits[0].argmax()))
            if written[-1] == END or len(written) == 7:
                break
        own = [symbol for symbol in written[1:] if symbol != END]
        assert one.symbols.tolist() == own
        assert one.text == SYMBOLS.decode(np.array(own))
        if written[-1] == END:
            assert one.log_probability == pytest.approx(log_probability, rel=1e-4)
    best = write_texts(model, SYMBOLS, list(IMAGES), beam=4, steps=6)
    assert all(a.log_probability >= b.log_probability - 1e-4 for a, b in zip(best, found, strict=True))


def test_maps_are_the_weights_of_teacher_forcing():
    model = built(CONFIG)
    written = [np.array([4, 5]), np.array([6]), np.array([], int)]
    maps = looked_at(model, list(IMAGES), written, batch_size=2)
    assert [each.shape for each in maps] == [(3, 3, 5), (2, 3, 5), (1, 3, 5)]
    _, weights = model.with_alignments(IMAGES[:1], np.array([[START, 4, 5]], np.int32))
    np.testing.assert_allclose(maps[0], np.asarray(weights[0]).reshape(3, 3, 5), rtol=1e-4, atol=1e-6)


def test_the_decoder_can_know_where_it_looks():
    """An image that is the same everywhere is looked at evenly, until places are told apart."""
    model = image_decoder_config.build(dataclasses.replace(CONFIG, channels=(3,), kernel_size=1), nnx.Rngs(0))
    even = np.full((1, *SHAPE), 200, np.uint8)
    inputs = np.array([[START]], np.int32)
    np.testing.assert_allclose(model.with_alignments(even, inputs)[1], 1 / 15, rtol=1e-5)
    model.places[...] = jax.random.normal(jax.random.key(0), model.places.shape, jnp.float32)
    assert np.std(model.with_alignments(even, inputs)[1]) > 1e-3


@every_config
def test_every_parameter_learns_and_statistics_move_in_training_alone(config, lenient_promotion):
    graphdef, params, other = split_model(built(config))
    task = image_decoder_task.task(config)

    @jax.jit
    def gradient(key):
        def loss(params):
            model = nnx.merge(graphdef, params, other)
            found, _ = task.loss(model, BATCH, (), key)
            return found["loss"].value, split_model(model)[2]

        return jax.grad(loss, has_aux=True)(params)

    found, moved = gradient(jax.random.key(0))
    for path, leaf in jax.tree.leaves_with_path(found):
        name = jax.tree_util.keystr(path)
        assert (np.abs(leaf).sum() > 0) == ("places" not in name or config.attention != "none"), name
    assert (jax.tree.leaves(other) == []) == (config.norm == "group")
    for was, now in zip(jax.tree.leaves(other), jax.tree.leaves(moved), strict=True):
        assert not np.allclose(was, now)
    _, same = gradient(None)
    jax.tree.map(np.testing.assert_array_equal, other, same)


def test_exact_is_the_share_that_greedy_writes():
    model = nnx.clone(built(CONFIG))
    model.head.bias[...] = model.head.bias[...].at[END].add(4.0)  # so that texts end
    said = [one.symbols for one in write_texts(model, SYMBOLS, list(IMAGES), steps=30)]
    assert len(said[0]) < 30
    wanted = [said[0], np.append(said[1], 4), np.array([4, 5, 6])]
    rows = [np.append(symbols, END) for symbols in wanted]
    lengths = np.array([len(row) for row in rows], np.int32)
    targets = np.stack([np.pad(row, (0, max(lengths) - len(row))) for row in rows]).astype(np.int32)
    task = image_decoder_task.task(CONFIG)
    sums, _ = task.loss(model, BATCH._replace(targets=targets, target_lengths=lengths), (), None)
    hits = [a.tolist() == b.tolist() for a, b in zip(said, wanted, strict=True)]
    assert task.summary(sums)["exact"] == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("name", ["input_dropout", "memory_dropout", "output_dropout", "hidden_dropout"])
def test_every_dropout_acts(name):
    config = dataclasses.replace(CONFIG, norm="none", decoder_features=(5, 4), **{name: 0.6})
    model, inputs = built(config), np.array([[START, 4, 5]], np.int32)
    loud = nnx.jit(lambda m: m(IMAGES[:1], inputs, key=jax.random.key(0)))(model)
    assert not np.allclose(loud, model(IMAGES[:1], inputs))


def test_its_symbols_are_read_back(tmp_path):
    for symbols in (SYMBOLS, Words(("two", "one"))):
        save_vocabulary(symbols, tmp_path / "vocabulary.json")
        assert image_decoder_task.read_meaning(tmp_path) == symbols
    (tmp_path / "vocabulary.json").write_text('{"kind": "bytes"}')
    with pytest.raises(InputError, match="is not a vocabulary of characters or words"):
        image_decoder_task.read_meaning(tmp_path)
    (tmp_path / "vocabulary.json").write_text("{")
    with pytest.raises(InputError, match="is not a readable vocabulary"):
        image_decoder_task.read_meaning(tmp_path)
    with pytest.raises(ValueError, match="its vocab_size is 7, and there are 5 symbols in its vocabulary"):
        image_decoder_task.with_meaning(CONFIG, Characters(("a",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "dot"}, "attention must be one of"),
        ({"decoder_features": ()}, "decoder_features must have a width"),
        ({"hidden_dropout": 0.5}, "hidden_dropout acts between layers"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\)"),
    ],
)
def test_a_config_refuses_what_does_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_what_does_not_fit_is_refused():
    model = built(CONFIG)
    with pytest.raises(ValueError, match="lengths must be None"):
        model.encode(IMAGES, lengths=LENGTHS)
    with pytest.raises(ValueError, match=r"images must have shape \[N, 6, 10, 1\], got \[1, 6, 6, 1\]"):
        model.encode(IMAGES[:1, :, :6])
    dense = FrameEncoder(SHAPE, (4,), 3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="frames must have no dense layer"):
        ImageDecoder(dense, model.decoder, model.target_embed.embed, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="target_embed must be of the class Embed"):
        ImageDecoder(model.frames, model.decoder, model.target_embed, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="image_shape and vocab_size must be set"):
        image_decoder_config.build(ImageDecoderConfig(), nnx.Rngs(0))
    with pytest.raises(ValueError, match="symbols must be the model's 7, got 5"):
        write_texts(model, Characters(("a",)), list(IMAGES))
    with pytest.raises(ValueError, match="written must be as many as images, 3, got 1"):
        looked_at(model, list(IMAGES), [np.array([4])])
