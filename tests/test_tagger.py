"""A tag for every token: what the model sees and what it doesn't, unknown words, tags, the task's figures, configs."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from lstmjax import crf, layers, load_model, spans, training
from lstmjax.data import SequenceBatch
from lstmjax.data.source import Bucketed
from lstmjax.data.tokens import TokenVocabulary, save_tokens
from lstmjax.models import CharacterCNN, TaggerConfig, tagger_config, tagger_task
from lstmjax.regularizers import UnknownWords
from lstmjax.trees import split_model

TAGS = ("B-x", "I-x", "O")
B, T, W, V, C, K = 4, 5, 6, 11, 9, 3
LENGTHS = np.array([5, 2, 0, 3], np.int32)
INSIDE = np.arange(T) < LENGTHS[:, None]
RNG = np.random.default_rng(0)
WORDS = RNG.integers(1, V, (B, T)).astype(np.int32)
CHARACTERS = np.where(np.arange(W) < RNG.integers(0, W + 1, (B, T, 1)), RNG.integers(1, C, (B, T, W)), 0).astype(int)
CONFIG = TaggerConfig(
    vocab_size=V,
    num_characters=C,
    tags=TAGS,
    scheme="BIO",
    hidden_features=(4,),
    word_features=5,
    character_features=3,
    spelling_features=4,
)
CONFIGS = {
    "lstm": CONFIG,
    "crf": dataclasses.replace(CONFIG, output="crf", cell="gru", spelling="cnn"),
    "alone": dataclasses.replace(CONFIG, output="crf", cell="none", spelling="none", num_characters=None),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def build(config, seed=0):
    """A model whose CRF knows something."""
    model = tagger_config.build(config, nnx.Rngs(seed))
    if isinstance(model.tags, layers.CRF):
        for number, scores in enumerate((model.tags.between, model.tags.start, model.tags.end)):
            scores[...] = jax.random.normal(jax.random.key(number), scores.shape, jnp.float32)
    return model


@nnx.jit
def run(model, words, characters, lengths):
    emissions = model(words, characters, lengths=lengths)
    return emissions, model.tags.decode(emissions, lengths=lengths)


def with_garbage(values, fill):
    """Whatever stands after the ends of sentences."""
    return np.where(INSIDE.reshape(INSIDE.shape + (1,) * (values.ndim - 2)), values, fill)


@every_config
def test_a_sentence_is_tagged_the_same_in_any_batch(config):
    model = build(config)
    characters = None if config.spelling == "none" else CHARACTERS
    emissions, tags = run(model, WORDS, characters, LENGTHS)
    assert (emissions.shape, emissions.dtype) == ((B, T, K), jnp.float32)
    assert tags.dtype == jnp.int32
    np.testing.assert_array_equal(np.asarray(tags)[~INSIDE], 0)
    dirty = run(
        model, with_garbage(WORDS, V - 1), characters if characters is None else with_garbage(CHARACTERS, 7), LENGTHS
    )
    np.testing.assert_array_equal(tags, dirty[1])
    np.testing.assert_array_equal(np.asarray(emissions)[INSIDE], np.asarray(dirty[0])[INSIDE])
    more = ((0, 0), (0, 3))
    padded = run(
        model,
        np.pad(WORDS, more),
        None if characters is None else np.pad(characters, (*more, (0, 2))),
        LENGTHS,
    )
    np.testing.assert_array_equal(tags, padded[1][:, :T])
    np.testing.assert_allclose(np.asarray(emissions)[INSIDE], np.asarray(padded[0][:, :T])[INSIDE], atol=1e-6)
    if config.cell == "lstm":
        return
    alone = model(WORDS[3:, :3], None if characters is None else characters[3:, :3])  # not compiled as a whole
    np.testing.assert_allclose(emissions[3, :3], alone[0], atol=1e-5)
    assert model.tags.decode(alone).tolist() == tags[3:, :3].tolist()


def test_a_key_switches_noise_on_and_draws_it():
    model = build(dataclasses.replace(CONFIG, cell="none", spelling="cnn"))
    emissions = [model(WORDS, CHARACTERS, key=key) for key in (None, None, *jax.random.split(jax.random.key(0), 2))]
    np.testing.assert_array_equal(emissions[0], emissions[1])
    assert not np.allclose(emissions[0], emissions[2])
    assert not np.allclose(emissions[2], emissions[3])
    np.testing.assert_array_equal(emissions[3], model(WORDS, CHARACTERS, key=jax.random.split(jax.random.key(0), 2)[1]))
    quiet = build(dataclasses.replace(CONFIG, input_dropout=0.0, output_dropout=0.0, unknown_rate=0.0, cell="none"))
    given = WORDS[:1, :2], CHARACTERS[:1, :2]
    np.testing.assert_array_equal(quiet(*given), quiet(*given, key=jax.random.key(0)))


@pytest.mark.parametrize("name", ["lstm", "crf"])
def test_every_parameter_learns_and_padding_teaches_nothing(name):
    model = build(CONFIGS[name])
    graphdef, params, other = split_model(model)
    tags = RNG.integers(0, K, (B, T))

    @jax.jit
    def gradient(words, characters, tags):
        def loss(params):
            model = nnx.merge(graphdef, params, other)
            emissions = model(words, characters, lengths=LENGTHS)
            return model.tags.log_likelihood(emissions, tags, lengths=LENGTHS).sum()

        return jax.grad(loss)(params)

    found = gradient(WORDS, CHARACTERS, tags)
    for path, leaf in jax.tree.leaves_with_path(found):
        assert np.abs(leaf).sum() > 0, jax.tree_util.keystr(path)
    assert {"words", "spelling", "recurrent", "head"} | ({"tags"} if name == "crf" else set()) == set(found)
    dirty = gradient(with_garbage(WORDS, V - 1), with_garbage(CHARACTERS, 7), with_garbage(tags, 1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, dirty)
    words = np.asarray(found["words"]["embedding"][...])
    seen = set(WORDS[INSIDE].tolist())
    np.testing.assert_array_equal(np.flatnonzero(np.abs(words).sum(axis=1)), sorted(seen))
    embed = found["spelling"]["encoder"]["embed"] if "encoder" in found["spelling"] else found["spelling"]["embed"]
    while "embedding" not in embed:
        embed = embed["embed"]
    letters = set(CHARACTERS[INSIDE].ravel().tolist()) - {0}
    np.testing.assert_array_equal(np.flatnonzero(np.abs(embed["embedding"][...]).sum(axis=1)), sorted(letters))


def test_a_convolution_over_characters_is_what_numpy_says():
    spelling = CharacterCNN(C, 3, 4, rngs=nnx.Rngs(0))
    characters = np.array([[3, 4, 5, 0], [3, 4, 7, 8], [0, 0, 0, 0]])
    lengths = np.array([3, 2, 0])
    found = spelling(characters, lengths=lengths)
    kernel, bias = spelling.convolution.kernel[...], spelling.convolution.bias[...]
    for row, length in enumerate(lengths):
        embedded = np.asarray(spelling.embed.embedding[...])[characters[row, :length]]
        wide = np.pad(embedded, ((1, 1), (0, 0)))
        each = [np.einsum("wi,wio->o", wide[t : t + 3], kernel) + bias for t in range(length)]
        np.testing.assert_allclose(found[row], np.max(each, axis=0) if each else np.zeros(4), rtol=1e-5, atol=1e-6)
    wider = np.pad(characters, ((0, 0), (0, 3)), constant_values=6)
    np.testing.assert_allclose(found, spelling(wider, lengths=lengths), atol=1e-6)
    for wrong, sentence in ((lengths + 9, "lengths must lie in"), (lengths[:2], "lengths must have shape")):
        with pytest.raises(ValueError, match=sentence):
            spelling(characters, lengths=wrong)
    with pytest.raises(ValueError, match="width must be odd, got 2"):
        CharacterCNN(C, 3, 4, width=2, rngs=nnx.Rngs(0))


def test_rare_words_are_taken_for_unknown_ones_as_often_as_the_formula_says():
    words, counts = UnknownWords(5, rate=0.5), np.array([1.0, 0.0, 0.5, 1.5, 12.0])
    words.count[...] = jnp.asarray(counts, jnp.float32)
    tokens = np.tile(np.arange(2, 5, dtype=np.int32), (20_000, 1))
    lost = np.asarray(words(jnp.asarray(tokens), key=jax.random.key(0)))
    assert set(np.unique(lost[lost != tokens])) == {1}
    expected = 0.5 / (0.5 + counts[2:])
    np.testing.assert_allclose((lost == 1).mean(axis=0), expected, atol=4 * 0.5 / np.sqrt(20_000))
    np.testing.assert_array_equal(words(tokens, key=None), tokens)
    np.testing.assert_array_equal(UnknownWords(5, rate=0.0)(tokens, key=jax.random.key(0)), tokens)
    assert words(jnp.asarray([1], jnp.int32), key=jax.random.key(0)).tolist() == [1]
    assert split_model(words)[1] == {}  # nothing of it is trained
    for arguments, error, sentence in (
        ((0, 0.5), ValueError, "vocab_size must be at least 1, got 0"),
        ((5, -0.5), ValueError, "rate must be at least 0, got -0.5"),
        ((5, np.nan), ValueError, "rate must be finite"),
        ((5, "x"), TypeError, "rate must be a number"),
        ((5, 0.5, 5), ValueError, "unknown must be at most 4, got 5"),
    ):
        with pytest.raises(error, match=sentence):
            UnknownWords(*arguments)


EMISSIONS = RNG.standard_normal((B, T, K)).astype(np.float32)
POISONED = with_garbage(EMISSIONS, np.float32(np.nan))
TRUE = RNG.integers(0, K, (B, T)).astype(np.int32)


def test_independent_tags_are_a_softmax_at_each_token():
    tags = layers.IndependentTags(K)
    each = np.asarray(jax.nn.log_softmax(EMISSIONS))
    of_true = np.take_along_axis(each, TRUE[..., None], axis=2)[..., 0]
    said = tags.log_likelihood(POISONED, TRUE, lengths=LENGTHS)
    np.testing.assert_allclose(said, np.where(INSIDE, of_true, 0).sum(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(tags.decode(POISONED, lengths=LENGTHS), np.where(INSIDE, EMISSIONS.argmax(axis=2), 0))
    marginals = np.asarray(tags.marginals(POISONED, lengths=LENGTHS))
    np.testing.assert_allclose(marginals[INSIDE], np.exp(each)[INSIDE], rtol=1e-5)
    np.testing.assert_allclose(marginals.sum(axis=2), INSIDE, rtol=1e-5)
    np.testing.assert_allclose(tags.log_likelihood(EMISSIONS, TRUE), of_true.sum(axis=1), rtol=1e-5)
    gradient = jax.grad(lambda e: tags.log_likelihood(e, TRUE, lengths=LENGTHS).sum())(jnp.asarray(POISONED))
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~INSIDE], 0.0)


def test_a_crf_that_has_learnt_nothing_is_a_softmax_at_each_token():
    chain, each = layers.CRF(K), layers.IndependentTags(K)
    for of in (
        lambda tags: tags.log_likelihood(POISONED, TRUE, lengths=LENGTHS),
        lambda tags: tags.decode(POISONED, lengths=LENGTHS),
        lambda tags: tags.marginals(POISONED, lengths=LENGTHS),
    ):
        np.testing.assert_allclose(of(chain), of(each), rtol=1e-5, atol=1e-5)


def test_a_crf_layer_is_the_functions_with_its_rules_where_it_says():
    rules = crf.constraints(TAGS, "BIO")
    tags = layers.CRF(K, rules)
    learnt = crf.Transitions(*(jnp.asarray(RNG.standard_normal(x.shape), jnp.float32) for x in rules))
    tags.between[...], tags.start[...], tags.end[...] = learnt
    allowed = jax.tree.map(jnp.add, learnt, rules)
    given = {"lengths": LENGTHS}
    np.testing.assert_array_equal(
        tags.log_likelihood(EMISSIONS, TRUE, **given), crf.log_likelihood(EMISSIONS, TRUE, learnt, **given)
    )
    assert np.isfinite(tags.log_likelihood(EMISSIONS, np.ones((B, T), int), **given)).all()  # I-x alone, forbidden
    wants_inside = EMISSIONS + 9 * (np.arange(K) == 1).astype(np.float32)
    said = np.asarray(tags.decode(wants_inside, **given))
    np.testing.assert_array_equal(said, crf.viterbi(wants_inside, allowed, **given)[0])
    assert said[0].tolist() == [0, 1, 1, 1, 1]
    marginals = np.asarray(tags.marginals(wants_inside, **given))
    np.testing.assert_array_equal(marginals, crf.marginals(wants_inside, allowed, **given))
    np.testing.assert_array_equal(marginals[:, 0, 1], 0.0)
    assert set(split_model(tags)[1]) == {"between", "start", "end"}  # rules are not learnt
    with pytest.raises(ValueError, match=r"constraints must have shape \[3, 3\], got \[1, 1\]"):
        layers.CRF(K, crf.constraints(["O"], "BIO"))  # would be broadcast


@pytest.mark.parametrize("names", [("B", "I", "O"), ("O",), ("B-a", "B", "I", "I-a"), ("B-x", "O", "O-x")])
def test_every_set_of_tags_in_bio_has_rules(names):
    """What `spans.scheme_of` takes for BIO, a CRF can be built for."""
    config = dataclasses.replace(CONFIGS["alone"], tags=names, scheme="BIO")
    model = build(config)
    said = np.asarray(model.tag(WORDS, lengths=LENGTHS))
    sentences = [tuple(names[tag] for tag in row[:n]) for row, n in zip(said, LENGTHS, strict=True)]
    assert spans.scheme_of(sentences) in ("BIO", None)


def counted_by_hand(config, model, sentences, tags):
    """The figures of an evaluation, sentence by sentence."""
    loss, said = 0.0, []
    for words, true in zip(sentences, tags, strict=True):
        emissions, found = run(model, words[None, :, 0], words[None, :, 1:], np.array([len(words)], np.int32))
        loss -= float(model.tags.log_likelihood(emissions, true[None])[0])
        said.append(np.asarray(found[0]))
    ours, true = np.concatenate(said), np.concatenate(tags)
    is_unknown = np.concatenate([words[:, 0] for words in sentences]) == 1
    as_names = [[[TAGS[tag] for tag in row] for row in rows] for rows in (tags, said)]
    score = spans.span_scores(*as_names).overall
    return {
        "loss": loss / len(true),
        "accuracy": np.mean(ours == true),
        "unknown_accuracy": np.mean((ours == true)[is_unknown]),
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
    }


def test_figures_are_those_counted_by_hand():
    """Over batches of several lengths, the last of them filled up with rows of no weight."""
    config = dataclasses.replace(CONFIG, cell="none", spelling="cnn", output="crf")
    model = build(config)
    lengths = [2, 4, 2, 4, 4, 2, 2]
    sentences = [
        np.concatenate([RNG.integers(1, 4, (n, 1)), RNG.integers(1, C, (n, W))], axis=1).astype(np.int32)
        for n in lengths
    ]
    tags = [RNG.integers(0, K, n).astype(np.int32) for n in lengths]
    source = Bucketed(sentences, tags, batch_size=3, num_buckets=2, seed=None)
    assert any(source.batch(place).weights.min() == 0 for place in range(len(source)))
    graphdef, params, other = split_model(model)
    evaluate = training.make_evaluate(tagger_task.task(config), graphdef)
    found, expected = evaluate(params, other, source), counted_by_hand(config, model, sentences, tags)
    assert 0 < expected["precision"] < 1
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_a_training_loss_is_over_tokens_that_count():
    """A batch without lengths is full; a row of weight 0 counts for nothing; tags of no spans have no F1."""
    config = dataclasses.replace(CONFIGS["alone"], scheme=None, output="softmax", unknown_rate=0.0)
    config = dataclasses.replace(config, input_dropout=0.0, output_dropout=0.0)
    model, task = build(config), tagger_task.task(config)
    inputs = np.concatenate([np.maximum(WORDS, 2)[..., None], CHARACTERS], axis=2).astype(np.int32)
    batch = SequenceBatch(inputs, TRUE, None, None, np.array([1, 0, 1, 1], np.float32))
    each = model.tags.log_likelihood(model(inputs[..., 0]), TRUE)
    evaluated, _ = task.loss(model, batch, (), None)
    trained, _ = task.loss(model, batch, (), jax.random.key(0))
    assert set(trained) == {"loss"}
    for sums in (evaluated, trained):
        np.testing.assert_allclose(sums["loss"].value, -np.asarray(each)[[0, 2, 3]].sum() / (3 * T), rtol=1e-5)
    assert task.summary(evaluated).keys() == {"loss", "accuracy"}  # no word is unknown


COMBINATIONS = itertools.product(("softmax", "crf"), ("lstm", "gru", "elman", "none"), ("lstm", "cnn", "none"))


def test_every_combination_builds():
    for output, cell, spelling in COMBINATIONS:
        config = dataclasses.replace(CONFIG, output=output, cell=cell, spelling=spelling, hidden_features=(4, 2))
        model = nnx.eval_shape(lambda config=config: tagger_config.build(config, nnx.Rngs(0)))
        characters = None if spelling == "none" else CHARACTERS
        shape = nnx.eval_shape(lambda model, characters=characters: model(WORDS, characters), model)
        assert shape.shape == (B, T, K)
        assert TaggerConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config
    noisy = dataclasses.replace(
        CONFIG, hidden_features=(4, 2), hidden_dropout=0.2, recurrent_dropout=0.2, bidirectional=False
    )
    shape = nnx.eval_shape(lambda: tagger_config.build(noisy, nnx.Rngs(0))(WORDS, CHARACTERS, key=jax.random.key(0)))
    assert (shape.shape, shape.dtype) == ((B, T, K), jnp.float32)


def test_embeddings_left_as_they_are_are_no_parameters():
    for trains in (True, False):
        _, params, other = split_model(
            tagger_config.build(dataclasses.replace(CONFIG, train_embedding=trains), nnx.Rngs(0))
        )
        assert ("words" in params) == trains
        assert ("words" in other) == (not trains)


def test_a_saved_model_gives_the_same_tags(tmp_path):
    vocabulary = TokenVocabulary.of([("Ada", "slept"), ("Go", "!")], longest=W)
    sizes = {"vocab_size": vocabulary.num_words, "num_characters": vocabulary.num_characters}
    config = dataclasses.replace(CONFIGS["crf"], cell="none", train_embedding=False, **sizes)
    model = build(config)
    folder = training.RunFolder(tmp_path)
    save_tokens(vocabulary, folder.vocabulary)
    optimizer = training.make_optimizer(training.OptimizerConfig(), 1)
    with jax.numpy_dtype_promotion("standard"):
        state = training.initial_train_state(model, tagger_task.task(config), optimizer, 1, jax.random.key(0))
    folder.write_config({"family": "tagger", "model": dataclasses.asdict(config), "run": "x"})
    with training.Checkpoints(folder.checkpoints, 1, folder.run_to_resume()) as checkpoints:
        checkpoints.save(state, 0.0)
    again, companion = load_model(tmp_path)
    assert companion == vocabulary
    encoded = companion.encode(("Go", "Ada", "sleeping"))[None]
    given = encoded[..., 0], encoded[..., 1:]
    np.testing.assert_array_equal(again(*given), model(*given))
    np.testing.assert_array_equal(again.tag(*given), model.tag(*given))
    for changes, sentence in (
        ({"vocab_size": 9}, "its vocab_size is 9, and there are 6 words in its vocabulary"),
        ({"num_characters": 99}, "its num_characters is 99, and there are"),
    ):
        with pytest.raises(ValueError, match=sentence):
            tagger_task.with_meaning(dataclasses.replace(config, **changes), vocabulary)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"output": "hmm"}, "output must be one of 'softmax', 'crf', got 'hmm'"),
        ({"cell": "rnn"}, "cell must be one of 'lstm', 'gru', 'elman', 'none', got 'rnn'"),
        ({"spelling": "bytes"}, "spelling must be one of 'lstm', 'cnn', 'none', got 'bytes'"),
        ({"scheme": "BILOU"}, "scheme must be one of"),
        ({"hidden_features": ()}, "hidden_features must have a width for at least one recurrent layer, got none"),
        ({"hidden_features": (4, 0)}, "hidden_features must be at least 1, got 0"),
        ({"hidden_dropout": 0.5}, "hidden_dropout acts between recurrent layers, so it needs two widths"),
        ({"cell": "none", "recurrent_dropout": 0.5}, "recurrent_dropout acts on recurrent layers, so it needs a cell"),
        ({"input_dropout": 1.0}, r"input_dropout must be in \[0, 1\), got 1.0"),
        ({"output_dropout": -0.1}, r"output_dropout must be in \[0, 1\), got -0.1"),
        ({"unknown_rate": -1.0}, "unknown_rate must be at least 0, got -1.0"),
        ({"spelling_features": 5}, "spelling_features must be even, half for each direction, got 5"),
        ({"word_features": 0}, "word_features must be at least 1, got 0"),
        ({"num_characters": 0}, "num_characters must be at least 1, got 0"),
    ],
)
def test_configs_that_cannot_be(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(CONFIG, **changes)


def test_configs_of_the_wrong_kind_and_those_left_open():
    for changes, sentence in (
        ({"bidirectional": "no"}, "bidirectional must be True or False, got 'no'"),
        ({"train_embedding": 1}, "train_embedding must be True or False, got 1"),
        ({"hidden_features": 4}, "hidden_features must be a tuple of numbers, got 4"),
        ({"word_features": 4.0}, "word_features must be a whole number"),
    ):
        with pytest.raises(TypeError, match=sentence):
            dataclasses.replace(CONFIG, **changes)
    for changes, sentence in (
        ({"vocab_size": None}, "vocab_size and tags must be set"),
        ({"tags": None}, "vocab_size and tags must be set"),
        ({"num_characters": None}, "num_characters must be set where characters are read"),
    ):
        with pytest.raises(ValueError, match=sentence):
            tagger_config.build(dataclasses.replace(CONFIG, **changes), nnx.Rngs(0))
    with pytest.raises(ValueError, match="tags must be set"):
        tagger_task.task(dataclasses.replace(CONFIG, tags=None))


def test_parts_and_inputs_of_the_wrong_kind_are_named():
    model = build(dataclasses.replace(CONFIG, cell="none", spelling="cnn"))
    ones = np.ones((1, 2, W), int)
    for given, lengths, error, sentence in (
        (([[V, 1]], ones), None, ValueError, r"words must lie in \[0, 10\], got values from 1 to 11"),
        (([[-1, 1]], ones), None, ValueError, r"words must lie in \[0, 10\]"),
        (([1, 2], ones), None, ValueError, r"words must have shape \[B, T\], got \[2\]"),
        (([[0.5, 1.0]], ones), None, TypeError, "words must have dtype integer"),
        (([[1, 2]], ones[0]), None, ValueError, r"characters must have shape \[1, 2, W\], got \[2, 6\]"),
        (([[1, 2]], ones * C), None, ValueError, r"characters must lie in \[0, 8\], got values from 9 to 9"),
        (([[1, 2]], -ones), None, ValueError, "characters must lie in"),
        (([[1, 2]], ones * 1.0), None, TypeError, "characters must have dtype integer"),
        (([[1, 2]], None), None, ValueError, "characters must be given, for the model reads them"),
        (([[1, 2]], ones), np.array([3]), ValueError, "lengths must lie in"),
        (([[1, 2]], ones), np.array([1, 1]), ValueError, "lengths must have shape"),
    ):
        with pytest.raises(error, match=sentence):
            model(*given, lengths=lengths)
    with pytest.raises(ValueError, match="characters must be None, for the model reads words alone"):
        build(CONFIGS["alone"])(WORDS, CHARACTERS)
    for batch, steps in ((2, 0), (0, 2)):  # nothing is tagged with nothing
        given = np.ones((batch, steps), int), np.ones((batch, steps, W), int)
        assert model.tag(*given).shape == (batch, steps)
    words, unknown, tags = model.words, model.unknown, model.tags
    for parts, error, sentence in (
        ((5, unknown, None, None, 5, tags), TypeError, "words must be of the class Embed, got int"),
        ((words, 0.5, None, None, 5, tags), TypeError, "unknown must be of the class UnknownWords, got float"),
        ((words, unknown, None, None, 5, 3), TypeError, "tags must be of the class IndependentTags or CRF, got int"),
        ((words, unknown, None, 5, 5, tags), TypeError, "recurrent must be a layer"),
        ((words, unknown, None, None, 0, tags), ValueError, "features must be at least 1, got 0"),
    ):
        with pytest.raises(error, match=sentence):
            lx.models.Tagger(*parts, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="rngs must be"):
        lx.models.Tagger(words, unknown, None, None, 5, tags, rngs=0)


@pytest.mark.parametrize("make", [layers.IndependentTags, layers.CRF])
def test_emissions_and_tags_that_do_not_fit_are_named(make):
    tags = make(K)
    for call, error, sentence in (
        (lambda: make(0), ValueError, "num_tags must be at least 1, got 0"),
        (lambda: tags.decode(EMISSIONS[..., :2]), ValueError, r"must have shape \["),
        (lambda: tags.marginals(EMISSIONS[0]), ValueError, r"emissions must have shape \[B, T, "),
        (lambda: tags.log_likelihood(EMISSIONS, TRUE + 1), ValueError, r"tags must lie in \[0, 2\]"),
        (lambda: tags.log_likelihood(EMISSIONS, TRUE[:1]), ValueError, r"tags must have shape \[4, 5\], got \[1, 5\]"),
        (lambda: tags.log_likelihood(EMISSIONS, TRUE * 1.0), TypeError, "tags must have dtype integer"),
        (lambda: tags.decode(EMISSIONS, lengths=LENGTHS + 1), ValueError, "lengths must lie in"),
    ):
        with pytest.raises(error, match=sentence):
            call()
