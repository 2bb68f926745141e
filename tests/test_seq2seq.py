"""Sequence to sequence: what the model sees and what it doesn't, noise, scheduled sampling, the task, configs, runs."""

import dataclasses
import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from lstmjax import load_model, training
from lstmjax.data.source import Bucketed, SequenceBatch
from lstmjax.data.subwords import Subwords
from lstmjax.data.symbol_pairs import PairVocabulary, save_pair
from lstmjax.data.symbols import END, START, Characters, Words
from lstmjax.decoding.translation import BeamSettings, translate
from lstmjax.errors import InputError
from lstmjax.models import Seq2SeqConfig, seq2seq_config, seq2seq_task
from lstmjax.trees import split_model

B, S, T, V, W = 4, 5, 4, 8, 9
LENGTHS, TARGET_LENGTHS = np.array([5, 2, 1, 3], np.int32), np.array([2, 4, 3, 1], np.int32)
IN_SOURCE, IN_TARGET = np.arange(S) < LENGTHS[:, None], np.arange(T) < TARGET_LENGTHS[:, None]
RNG = np.random.default_rng(0)
SOURCE = np.where(IN_SOURCE, RNG.integers(4, V, (B, S)), 0).astype(np.int32)
TARGETS = np.where(IN_TARGET, RNG.integers(4, W, (B, T)), 0).astype(np.int32)
TARGETS[np.arange(B), TARGET_LENGTHS - 1] = END
DROPOUTS = [field.name for field in dataclasses.fields(Seq2SeqConfig) if field.name.endswith("_dropout")]
QUIET = dict.fromkeys([*DROPOUTS, "label_smoothing"], 0.0)
CONFIG = Seq2SeqConfig(
    embed_features=3,
    encoder_features=(2,),
    decoder_features=(4,),
    out_features=3,
    attention_features=3,
    source_vocab_size=V,
    target_vocab_size=W,
    **QUIET,
)
BATCH = SequenceBatch(SOURCE, TARGETS, LENGTHS, TARGET_LENGTHS, np.ones(B, np.float32))


def changed(**changes):
    return dataclasses.replace(CONFIG, **changes)


@functools.cache
def built(config):
    """A model with opinions: parameters far from 0."""
    model = seq2seq_config.build(config, nnx.Rngs(0))
    nnx.update(model, jax.tree.map(lambda leaf: 2 * leaf + 0.1, nnx.state(model)))
    return model


@nnx.jit
def run(model, source, inputs, lengths):
    return model(source, inputs, lengths=lengths)


@nnx.jit
def trained(model, source, inputs, key):
    return model(source, inputs, key=key)


def test_a_pair_is_scored_the_same_in_any_batch():
    """Whatever stands after the ends, beside it, and compiled or not."""
    model, inputs = built(CONFIG), np.asarray(seq2seq_task.shifted(jnp.asarray(TARGETS)))
    assert inputs[:, 0].tolist() == [START] * B
    np.testing.assert_array_equal(inputs[:, 1:], TARGETS[:, :-1])
    logits = np.asarray(run(model, SOURCE, inputs, LENGTHS))
    assert (logits.shape, logits.dtype) == ((B, T, W), np.float32)
    dirty = run(model, np.where(IN_SOURCE, SOURCE, V - 1), np.where(IN_TARGET, inputs, W - 1), LENGTHS)
    np.testing.assert_array_equal(logits[IN_TARGET], np.asarray(dirty)[IN_TARGET])
    more = ((0, 2), (0, 3))
    padded = run(model, np.pad(SOURCE, more), np.pad(inputs, more), np.pad(LENGTHS, (0, 2)))
    np.testing.assert_allclose(logits, padded[:B, :T], atol=1e-6)
    alone, weights = model.with_alignments(SOURCE[3:, :3], inputs[3:])  # not compiled as a whole
    np.testing.assert_allclose(logits[3:], alone, atol=1e-5)
    np.testing.assert_allclose(np.sum(weights, axis=2), 1.0, rtol=1e-5)
    assert not np.allclose(logits[1], run(model, SOURCE, inputs, np.maximum(LENGTHS - 1, 1))[1])  # the source is read


def test_every_parameter_learns_and_padding_teaches_nothing():
    """Nor does a row of weight 0."""
    config = changed(tie_output=False, attention="concat", coverage=True, window="predicted")
    graphdef, params, other = split_model(built(config))
    assert jax.tree.leaves(other) == []

    @jax.jit
    def gradient(batch):
        return jax.grad(
            lambda params: (
                seq2seq_task.task(config).loss(nnx.merge(graphdef, params, other), batch, (), None)[0]["loss"].value
            )
        )(params)

    counts = np.array([1, 1, 0, 1], np.float32)
    found = gradient(BATCH._replace(weights=counts))
    for path, leaf in jax.tree.leaves_with_path(found):
        assert np.abs(leaf).sum() > 0, jax.tree_util.keystr(path)
    is_dirt = (counts == 0)[:, None]
    dirty = BATCH._replace(
        inputs=np.where(IN_SOURCE & ~is_dirt, SOURCE, V - 1),
        targets=np.where(IN_TARGET & ~is_dirt, TARGETS, W - 1),
        weights=counts,
    )
    jax.tree.map(np.testing.assert_array_equal, found, gradient(dirty))
    of_source = np.abs(found["source_embed"]["embed"]["embedding"]).sum(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(of_source), np.unique(SOURCE[IN_SOURCE & ~is_dirt]))


def test_noise_comes_from_a_key_alone():
    rates = dict.fromkeys(DROPOUTS, 0.4)
    loud = built(changed(encoder_features=(2, 2), **rates))
    keys = jax.random.split(jax.random.key(0), 2)
    given = SOURCE[:1, :2], TARGETS[1:2, :2]
    first, second = (trained(loud, *given, key) for key in keys)
    assert not np.allclose(first, second)
    assert not np.allclose(first, trained(loud, *given, None))
    np.testing.assert_array_equal(first, trained(loud, *given, keys[0]))
    np.testing.assert_array_equal(trained(built(CONFIG), *given, keys[0]), trained(built(CONFIG), *given, None))


@pytest.mark.parametrize("name", DROPOUTS)
def test_every_dropout_acts(name):
    config = changed(attention="none", cell="gru", bidirectional=False, decoder_features=(4, 4), **{name: 0.6})
    config = dataclasses.replace(config, attention="general" if name == "memory_dropout" else "none")
    model, given = built(config), (SOURCE[:1, :3], TARGETS[1:2, :3])
    loud = trained(model, *given, jax.random.key(1))
    assert not np.allclose(loud, model(*given))


def test_masks_are_the_same_at_all_steps():
    model = seq2seq_config.build(
        changed(attention="dot", out_features=W, tie_output=False, output_dropout=0.5, memory_dropout=0.5), nnx.Rngs(0)
    )
    model.head.kernel[...] = jnp.eye(W, dtype=jnp.float32)
    key = jax.random.key(0)
    is_zero = np.asarray(trained(model, SOURCE, TARGETS, key) == 0)
    assert 0.2 < is_zero.mean() < 0.8
    np.testing.assert_array_equal(is_zero, np.broadcast_to(is_zero[:, :1], is_zero.shape))
    is_zero = np.asarray(model.encode(SOURCE, key=key).memory.keys == 0)
    assert 0.1 < is_zero.mean() < 0.9
    np.testing.assert_array_equal(is_zero, np.broadcast_to(is_zero[:, :1], is_zero.shape))


def mixed_by_hand(model, source, inputs, share, lengths, key):
    """Scheduled sampling, a symbol at a time."""
    memory, state = model.encode(source, lengths=lengths)
    key_keep, key_draw = jax.random.split(key)
    kept = np.asarray(jax.random.bernoulli(key_keep, share, inputs.T.shape))
    read = [inputs[:, 0]]
    for t, key_now in enumerate(jax.random.split(key_draw, inputs.shape[1])[:-1]):
        logits, state = model.step(memory, jnp.asarray(read[-1]), state)
        read.append(np.where(kept[t + 1], inputs[:, t + 1], jax.random.categorical(key_now, logits)))
    return np.stack(read, axis=1)


def test_scheduled_sampling_reads_what_the_model_writes():
    model, key = built(CONFIG), jax.random.key(7)

    @nnx.jit
    def mixed(model, share):
        return model.mixed_inputs(SOURCE, jnp.asarray(TARGETS), share, lengths=LENGTHS, key=key)

    np.testing.assert_array_equal(mixed(model, 1.0), TARGETS)
    for share in (0.0, 0.5):
        found = np.asarray(mixed(model, share))
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found[:, 0], TARGETS[:, 0])
        np.testing.assert_array_equal(found, mixed_by_hand(model, SOURCE, TARGETS, share, LENGTHS, key))
        assert (found != TARGETS).any()


def test_the_share_of_truth_falls_from_one_to_the_least():
    steps = np.arange(0, 3000, 7)
    curves = {
        "none": np.ones(len(steps)),
        "linear": 1 - 0.7 * np.minimum(steps / 400, 1),
        "exponential": np.exp(-steps / 400),
        "inverse_sigmoid": 400 / (400 + np.exp(steps / 400)),
    }
    for name, curve in curves.items():
        share = seq2seq_task.share_of_truth(changed(sampling=name, sampling_steps=400, sampling_least=0.3))
        found = np.broadcast_to(share(jnp.asarray(steps, jnp.int32)), steps.shape)
        np.testing.assert_allclose(found, np.maximum(curve, 0.3), rtol=1e-4)
        assert found[0] > 0.99
        assert (np.diff(found) <= 0).all()


def log_probabilities(model, source, target):
    """Of every symbol at each step of one target, without padding."""
    inputs = np.append(START, target[:-1]).astype(np.int32)
    return np.asarray(jax.nn.log_softmax(model(source[None], inputs[None])[0]), np.float64)


def test_figures_are_those_counted_by_hand():
    """Exact are those which greedy decoding writes; the last batch is filled up with rows of no weight."""
    config = changed(tie_output=False, label_smoothing=0.1, coverage=True, attention="concat", coverage_loss=1.0)
    model = built(config)
    model.head.bias[...] = jnp.zeros(W, jnp.float32).at[END].set(2.0)
    sources = [RNG.integers(4, V, 3).astype(np.int32) for _ in range(3)]
    beams = translate(model, np.stack(sources), settings=BeamSettings(beam=1, steps=4))
    written = [
        np.append(symbols[0, :length], END)
        for symbols, (length,) in zip(beams.symbols, np.asarray(beams.lengths), strict=True)
    ]
    targets = [written[0], np.array([4, END]), written[2]]
    targets = [target.astype(np.int32) for target in targets]
    assert len(written[0]) < 5  # it ended of itself
    source = Bucketed(sources, targets, batch_size=2, num_buckets=1, seed=None)
    graphdef, params, other = split_model(model)
    found = training.make_evaluate(seq2seq_task.task(config), graphdef)(params, other, source)
    each = [log_probabilities(model, *pair) for pair in zip(sources, targets, strict=True)]
    losses = np.concatenate([-p[np.arange(len(y)), y] for p, y in zip(each, targets, strict=True)])
    hits = [p.argmax(axis=1) == y for p, y in zip(each, targets, strict=True)]
    exact = np.mean([np.array_equal(*pair) for pair in zip(written, targets, strict=True)])
    expected = {
        "loss": losses.mean(),
        "perplexity": np.exp(losses.mean()),
        "accuracy": np.concatenate(hits).mean(),
        "exact": exact,
    }
    assert 0 < exact < 1
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_a_training_loss_smooths_labels_and_minds_what_is_looked_at_twice():
    config = changed(coverage=True, attention="bahdanau", coverage_loss=0.7, label_smoothing=0.2)
    model, inputs = built(config), np.asarray(seq2seq_task.shifted(jnp.asarray(TARGETS)))
    logits, weights = jax.tree.map(np.asarray, model.with_alignments(SOURCE, inputs, lengths=LENGTHS))
    counts = np.array([1.0, 0.5, 0.0, 1.0], np.float32)
    means, carry = seq2seq_task.task(config).loss(model, BATCH._replace(weights=counts), (), jax.random.key(0))
    assert (set(means), carry) == ({"loss"}, ())
    total = weight = 0.0
    for b, t in itertools.product(range(B), range(T)):
        if IN_TARGET[b, t]:
            log_p = logits[b, t] - np.log(np.exp(logits[b, t]).sum())
            covered = weights[b, :t].sum(axis=0)
            each = -0.8 * log_p[TARGETS[b, t]] - 0.2 * log_p.mean() + 0.7 * np.minimum(weights[b, t], covered).sum()
            total, weight = total + counts[b] * each, weight + counts[b]
    np.testing.assert_allclose(means["loss"].value, total / weight, rtol=1e-5)


REVERSE = changed(
    embed_features=8,
    out_features=8,
    encoder_features=(8,),
    decoder_features=(16,),
    sampling="linear",
    sampling_steps=50,
    sampling_least=0.5,
    output_dropout=0.1,
)


@pytest.fixture(scope="module")
def reversing():
    """A task to learn: write four symbols from the last to the first."""
    sources = RNG.integers(4, V, (256, 4)).astype(np.int32)
    targets = np.concatenate([sources[:, ::-1], np.full((256, 1), END, np.int32)], axis=1)
    source = Bucketed(list(sources), list(targets), batch_size=32, num_buckets=1, seed=0)
    task = seq2seq_task.task(REVERSE)
    with jax.numpy_dtype_promotion("standard"):
        optimizer = training.make_optimizer(
            training.OptimizerConfig(learning_rate=0.03, schedule="constant", warmup_steps=0), 60
        )
    model = seq2seq_config.build(REVERSE, nnx.Rngs(0))
    step = training.make_train_step(task, split_model(model)[0], optimizer)
    return source, step, lambda: training.initial_train_state(model, task, optimizer, 32, jax.random.key(0))


def test_a_small_model_learns_to_reverse_and_goes_on_where_it_was(reversing, tmp_path, lenient_promotion):
    """The carry counts batches, and is kept with a run."""
    source, step, begin = reversing
    state, losses = begin(), []
    checkpoints = training.Checkpoints(tmp_path)
    for position in range(60):
        state, metrics = step(state, source.batch(position))
        losses.append(float(metrics["loss"]))
        if position == 56:
            checkpoints.save(state, losses[-1])
    checkpoints.close()
    assert losses[0] > 1.8
    assert np.mean(losses[-5:]) < 0.6, losses
    assert state.carry.tolist() == [60] * 32
    again = training.Checkpoints(tmp_path).restore(begin())
    assert again.carry.tolist() == [57] * 32
    for position in (57, 58, 59):
        again, _ = step(again, source.batch(position))
    jax.tree.map(np.testing.assert_array_equal, again._replace(key=0), state._replace(key=0))


def saved(folder, config, model):
    optimizer = training.make_optimizer(training.OptimizerConfig(), 1)
    with jax.numpy_dtype_promotion("standard"):
        state = training.initial_train_state(model, seq2seq_task.task(config), optimizer, 1, jax.random.key(0))
    folder.write_config({"family": "seq2seq", "model": dataclasses.asdict(config), "run": "x"})
    with training.Checkpoints(folder.checkpoints, 1, folder.run_to_resume()) as checkpoints:
        checkpoints.save(state, 0.0)


def test_a_saved_model_writes_the_same(tmp_path):
    """With symbols of every kind; where they are damaged, the file is named."""
    subwords = Subwords.train(["ein Hund"], 300)
    words = Words(tuple(f"w{k}" for k in range(len(subwords) - 4)))
    characters = Characters(tuple(chr(300 + k) for k in range(len(subwords) - 4)))
    config = changed(source_vocab_size=len(words), target_vocab_size=len(words), share_embeddings=True)
    model, folder = built(config), training.RunFolder(tmp_path)
    saved(folder, config, model)
    for symbols in (words, characters, subwords):
        save_pair(PairVocabulary(symbols, symbols), folder.vocabulary)
        again, companion = load_model(tmp_path)
        assert (companion.source, companion.shared) == (symbols, True)
    logits = run(again, SOURCE, TARGETS, LENGTHS)
    np.testing.assert_array_equal(logits, run(model, SOURCE, TARGETS, LENGTHS))
    save_pair(PairVocabulary(words, words), folder.vocabulary)
    whole = folder.vocabulary.read_text()
    for damaged, sentence in (
        (whole[:99], "vocabulary.json is not a readable vocabulary of two sides"),
        (whole.replace('"w7", ', ""), "does not describe a model: its vocabularies are of"),
        (whole.replace('"w7"', '"w8"'), "known must be distinct"),
    ):
        folder.vocabulary.write_text(damaged)
        with pytest.raises(InputError, match=sentence):
            load_model(tmp_path)


def test_shared_embeddings_are_one_table():
    """Both sides teach it, and the scores too where they are tied to it."""
    config = changed(source_vocab_size=W, share_embeddings=True, cell="gru")
    model = built(config)
    graphdef, params, other = split_model(model)
    tables = [name for name in lx.trees.to_table(params) if "embedding" in name]
    assert len(tables) == 1
    assert model.source_embed.embed is model.target_embed.embed
    assert "head" not in params
    again = nnx.merge(graphdef, params, other)
    assert again.source_embed.embed is again.target_embed.embed

    def loss(params):
        logits = nnx.merge(graphdef, params, other)(np.array([[5]]), np.array([[6]]))
        return jax.nn.log_softmax(logits)[0, 0, 7]

    of_table = np.abs(lx.trees.to_table(jax.jit(jax.grad(loss))(params))[tables[0]]).sum(axis=1)
    assert (of_table > 0).all()  # tied to the output: every symbol is scored
    features = jnp.ones((2, 3), jnp.float32)
    np.testing.assert_allclose(model.score(features), features @ model.target_embed.embed.embedding[...].T, rtol=1e-6)
    free = dataclasses.replace(config, tie_output=False)
    graphdef, params, other = split_model(built(free))
    of_table = np.abs(lx.trees.to_table(jax.jit(jax.grad(loss))(params))[tables[0]]).sum(axis=1)
    assert np.flatnonzero(of_table).tolist() == [5, 6]


CELLS_AND_ATTENTIONS = itertools.product(("lstm", "gru"), seq2seq_config.ATTENTIONS, (None, "monotonic", "predicted"))


def test_every_combination_builds():
    for number, (cell, attention, window) in enumerate(CELLS_AND_ATTENTIONS):
        if attention == "none" and window:
            continue
        config = changed(
            cell=cell,
            attention=attention,
            window=window,
            bidirectional=number % 2 == 0,
            encoder_features=(2, 2) if number % 2 == 0 else (3, 4),
            input_feeding=number % 3 == 0,
            coverage=attention in ("concat", "bahdanau") and number % 3 == 0,
            share_embeddings=number % 3 == 1,
            source_vocab_size=W,
            recurrent_dropout=0.5,
            hidden_dropout=0.5,
        )
        shape = nnx.eval_shape(
            lambda config=config: seq2seq_config.build(config, nnx.Rngs(0))(
                SOURCE, TARGETS, lengths=jnp.asarray(LENGTHS), key=jax.random.key(0)
            )
        )
        assert (shape.shape, shape.dtype) == ((B, T, W), jnp.float32)
        assert Seq2SeqConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cell": "elman"}, "cell must be one of 'lstm', 'gru', got 'elman'"),
        ({"attention": "luong"}, "attention must be one of"),
        ({"sampling": "cosine"}, "sampling must be one of"),
        ({"window": "narrow"}, "window must be one of 'monotonic', 'predicted', got 'narrow'"),
        ({"input_dropout": 1.0}, r"input_dropout must be in \[0, 1\), got 1.0"),
        ({"label_smoothing": -0.1}, r"label_smoothing must be in \[0, 1\), got -0.1"),
        ({"sampling_least": 1.5}, r"sampling_least must be in \[0, 1\], got 1.5"),
        ({"sampling_least": float("nan")}, r"sampling_least must be finite, got nan"),
        ({"encoder_features": ()}, "encoder_features must have a width for at least one layer, got none"),
        ({"decoder_features": (4, 0)}, "decoder_features must be at least 1, got 0"),
        ({"half_width": 0}, "half_width must be at least 1, got 0"),
        ({"target_vocab_size": 0}, "target_vocab_size must be at least 1, got 0"),
        ({"out_features": 4}, "tie_output needs as many out_features as embed_features, got 4 and 3"),
        ({"attention": "dot", "encoder_features": (3,)}, "dot needs an encoder as wide as the decoder, got 6 and 4"),
        ({"coverage": True}, "coverage is of concat and bahdanau, got attention 'general'"),
        ({"coverage_loss": 1.0, "attention": "concat"}, "coverage_loss needs coverage, got 1"),
        ({"coverage_loss": -1.0, "coverage": True, "attention": "concat"}, "coverage_loss must be at least 0"),
        ({"coverage_loss": float("inf"), "coverage": True, "attention": "concat"}, "coverage_loss must be finite"),
        ({"attention": "none", "window": "monotonic"}, "window needs attention, got attention 'none'"),
        ({"hidden_dropout": 0.5}, "hidden_dropout acts between recurrent layers, so it needs two widths"),
    ],
)
def test_configs_that_cannot_be(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        changed(**changes)


def test_configs_of_the_wrong_kind_and_those_left_open():
    for changes, sentence in (
        ({"bidirectional": "no"}, "bidirectional must be True or False, got 'no'"),
        ({"share_embeddings": 1}, "share_embeddings must be True or False, got 1"),
        ({"embed_features": 4.0}, "embed_features must be a whole number"),
        ({"decoder_features": 4}, "decoder_features must be a tuple of numbers, got 4"),
        ({"encoder_features": (4.0,)}, "encoder_features must be a whole number"),
        ({"coverage_loss": "x"}, "coverage_loss must be a number"),
    ):
        with pytest.raises(TypeError, match=sentence):
            changed(**changes)
    for changes, sentence in (
        ({"source_vocab_size": None}, "source_vocab_size and target_vocab_size must be set"),
        ({"target_vocab_size": None}, "source_vocab_size and target_vocab_size must be set"),
        ({"share_embeddings": True}, "share_embeddings needs one vocabulary for both sides, got 8 and 9 symbols"),
    ):
        with pytest.raises(ValueError, match=sentence):
            seq2seq_config.build(changed(**changes), nnx.Rngs(0))
    symbols, other = Words(("a", "b", "c", "d")), Words(("e", "f", "g", "h"))
    for changes, vocabulary, sentence in (
        ({}, PairVocabulary(symbols, symbols), "its vocabularies are of 8 and 9 symbols, .* of 8 and 8"),
        (
            {"target_vocab_size": V, "share_embeddings": True},
            PairVocabulary(symbols, other),
            "share_embeddings needs one vocabulary for both sides",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            seq2seq_task.with_meaning(changed(**changes), vocabulary)


def test_parts_and_inputs_of_the_wrong_kind_are_named():
    model = built(CONFIG)
    for source, inputs, lengths, error, sentence in (
        ([[V, 4]], [[2]], None, ValueError, r"source must lie in \[0, 7\], got values from 4 to 8"),
        ([[-1, 4]], [[2]], None, ValueError, r"source must lie in \[0, 7\]"),
        ([4, 5], [[2]], None, ValueError, r"source must have shape \[B, S\], got \[2\]"),
        ([[4.0]], [[2]], None, TypeError, "source must have dtype integer"),
        ([[4]], [[W]], None, ValueError, r"inputs must lie in \[0, 8\], got values from 9 to 9"),
        ([[4]], [2], None, ValueError, r"inputs must have shape \[1, T\], got \[1\]"),
        ([[4]], [[2], [2]], None, ValueError, r"inputs must have shape \[1, T\], got \[2, 1\]"),
        ([[4]], [[2]], np.array([2]), ValueError, "lengths must lie in"),
        ([[4]], [[2]], np.array([1, 1]), ValueError, "lengths must have shape"),
    ):
        with pytest.raises(error, match=sentence):
            model(source, inputs, lengths=lengths)
    embed, encoder, decoder = model.source_embed.embed, model.encoder, model.decoder
    target = model.target_embed.embed
    for parts, options, error, sentence in (
        ((5, encoder, decoder, target), {}, TypeError, "source_embed must be of the class Embed, got int"),
        ((embed, 5, decoder, target), {}, TypeError, "encoder must be a layer"),
        ((embed, encoder, encoder, target), {}, TypeError, "decoder must be of the class Decoder, got Stacked"),
        ((embed, encoder, decoder, None), {}, TypeError, "target_embed must be of the class Embed, got NoneType"),
        ((embed, encoder, decoder, target), {"tie_output": 1}, TypeError, "tie_output must be True or False"),
        ((embed, encoder, decoder, target), {"word_dropout": 1.0}, ValueError, "rate must be in"),
        (
            (embed, encoder, decoder, nnx.Embed(W, 4, rngs=nnx.Rngs(0))),
            {"tie_output": True},
            ValueError,
            "tie_output needs embeddings of as many features as the decoder gives, got 4 for an embedding, 3 for",
        ),
    ):
        with pytest.raises(error, match=sentence):
            lx.models.Seq2Seq(*parts, **options, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="rngs must be"):
        lx.models.Seq2Seq(embed, encoder, decoder, target, rngs=0)
