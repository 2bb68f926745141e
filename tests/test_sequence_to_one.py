"""One answer from a whole sequence: pooling, standardising, the models, their task and its figures."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

import lstmjax as lx
from lstmjax import layers
from lstmjax.data import SequenceBatch
from lstmjax.models import SequenceEncoder, SequenceToOneConfig, sequence_config, sequence_task
from lstmjax.tasks import add_means
from lstmjax.trees import split_model

B, T, IN, H = 4, 5, 3, 4
RNG = np.random.default_rng(0)
YS = RNG.standard_normal((B, T, H)).astype(np.float32)
LENGTHS = np.array([5, 2, 0, 1], np.int32)
INSIDE = np.arange(T) < LENGTHS[:, None]
POISONED = np.where(INSIDE[:, :, None], YS, np.float32(np.nan))


def attention():
    return layers.AttentionPooling(H, rngs=nnx.Rngs(0))


POOLINGS = {
    "last": lambda: layers.last_step,
    "both-ends": lambda: layers.both_ends,
    "mean": lambda: layers.mean_over_time,
    "max": lambda: layers.max_over_time,
    "attention": attention,
    "flatten": lambda: layers.Flatten(4),
}
every_pooling = pytest.mark.parametrize("make", POOLINGS.values(), ids=POOLINGS.keys())


@every_pooling
def test_pooling_sees_each_row_alone_and_no_padding(make):
    pool = jax.jit(make())
    together = pool(POISONED, lengths=LENGTHS)
    np.testing.assert_array_equal(together[2], 0.0)
    for row in (0, 1, 3):
        alone = pool(YS[row : row + 1, : LENGTHS[row]])
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(together, pool(POISONED, mask=INSIDE), rtol=1e-6)


@every_pooling
def test_pooling_has_a_gradient_at_valid_steps_alone(make):
    pool = make()
    gradient = jax.jit(jax.grad(lambda ys: jnp.sum(jnp.sin(pool(ys, lengths=LENGTHS)))))(POISONED)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~INSIDE], 0.0)
    assert np.abs(gradient[0]).sum() > 0


def test_poolings_are_what_numpy_says():
    valid = [YS[row, :n] for row, n in enumerate(LENGTHS)]
    rows = [0, 1, 3]
    expected_mean = [valid[row].mean(axis=0) for row in rows]
    np.testing.assert_allclose(layers.mean_over_time(POISONED, lengths=LENGTHS)[rows, :], expected_mean, rtol=1e-5)
    expected_max = [valid[row].max(axis=0) for row in rows]
    np.testing.assert_array_equal(layers.max_over_time(POISONED, lengths=LENGTHS)[rows, :], expected_max)
    holes = np.array([[False, True, False, True, False]] * B)
    np.testing.assert_array_equal(layers.last_step(YS, mask=holes), YS[:, 3])
    ends = np.concatenate([YS[:, 3, : H // 2], YS[:, 1, H // 2 :]], axis=1)
    np.testing.assert_array_equal(layers.both_ends(YS, mask=holes), ends)


def test_the_last_step_is_the_final_state_of_each_direction():
    xs = jnp.asarray(RNG.standard_normal((B, T, IN)), jnp.float32)
    ys, (state,) = lx.LSTM(IN, H, rngs=nnx.Rngs(0))(xs, lengths=LENGTHS)
    np.testing.assert_array_equal(layers.last_step(ys, lengths=LENGTHS), state.h)
    ys, (state,) = lx.LSTM(IN, H, bidirectional=True, rngs=nnx.Rngs(0))(xs, lengths=LENGTHS)
    both = np.concatenate([state.forward.h, state.backward.h], axis=1)
    np.testing.assert_array_equal(layers.both_ends(ys, lengths=LENGTHS), both)


def test_attention_weights_are_shares_of_the_valid_steps():
    pool = attention()
    weights = np.asarray(pool.weights(POISONED, lengths=LENGTHS))
    np.testing.assert_allclose(weights.sum(axis=1), LENGTHS > 0, rtol=1e-6)
    np.testing.assert_array_equal(weights[~INSIDE], 0.0)
    assert len(np.unique(weights[0])) == T
    np.testing.assert_allclose(pool(YS)[0], pool.weights(YS)[0] @ YS[0], rtol=1e-5)


def test_attention_has_exact_derivatives(x64):
    pool = layers.AttentionPooling(H, rngs=nnx.Rngs(0))
    graphdef, params, _ = split_model(pool)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    ys = jnp.asarray(YS, jnp.float64)
    check_grads(jax.jit(lambda p, ys: nnx.merge(graphdef, p)(ys, lengths=LENGTHS)), (params, ys), order=1)


def test_standardize_measures_what_it_is_shown():
    sequences = [RNG.normal(1000.0, 3.0, (7, 3)), RNG.normal(1000.0, 3.0, (2, 3))]
    for sequence in sequences:
        sequence[:, 2] = 0.1  # never changes
    standardize = layers.Standardize(3)
    standardize.adapt(sequences)
    steps = np.concatenate(sequences)
    np.testing.assert_allclose(standardize.mean[...], steps.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(standardize.scale[...], [*steps.std(axis=0)[:2], 1.0], rtol=1e-5)
    z = standardize(jnp.asarray(steps, jnp.float32))
    np.testing.assert_allclose(standardize.inverse(z), steps, rtol=1e-6)
    assert split_model(standardize)[1] == {}  # nothing of it is trained


NUMBERS = SequenceToOneConfig(hidden_features=(H,), answer="class", in_features=IN, num_outputs=3)
SYMBOLS = dataclasses.replace(NUMBERS, in_features=None, vocab_size=9, embed_features=6)
CONFIGS = {
    "plain": NUMBERS,
    "symbols": SYMBOLS,
    "two-ways": dataclasses.replace(SYMBOLS, bidirectional=True, hidden_features=(H, 2), hidden_dropout=0.1),
    "dense": dataclasses.replace(NUMBERS, cell="gru", dense_features=(5, 4), activation="tanh", pooling="max"),
    "attention": dataclasses.replace(NUMBERS, cell="elman", pooling="attention", activation="sigmoid"),
    "mean": dataclasses.replace(SYMBOLS, cell="none", hidden_features=(), pooling="mean"),
    "flatten": dataclasses.replace(NUMBERS, cell="none", hidden_features=(), pooling="flatten", window=4),
    "noise": dataclasses.replace(
        SYMBOLS, recurrent_dropout=0.2, weight_drop=0.2, zoneout=0.2, embedding_dropout=0.2, longest_memory=9
    ),
    "chrono-gru": dataclasses.replace(NUMBERS, cell="gru", longest_memory=9, input_dropout=0.2, output_dropout=0.2),
    "half": dataclasses.replace(NUMBERS, dtype="bfloat16"),
}


def inputs_for(config):
    if config.vocab_size is None:
        return RNG.standard_normal((B, T, IN)).astype(np.float32)
    return RNG.integers(0, config.vocab_size, (B, T)).astype(np.int32)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_sequence_is_answered_the_same_in_any_batch(config):
    model = sequence_config.build(config, nnx.Rngs(0))
    inputs = inputs_for(config)
    filler = np.nan if config.vocab_size is None else 8
    padded = np.where(INSIDE.reshape(INSIDE.shape + (1,) * (inputs.ndim - 2)), inputs, filler).astype(inputs.dtype)
    run = nnx.jit(lambda model, inputs, lengths=None, key=None: model(inputs, lengths=lengths, key=key))
    logits = run(model, padded, LENGTHS)
    assert logits.shape == (B, 3)
    assert logits.dtype == jnp.float32
    alone = run(model, inputs[1:2, : LENGTHS[1]])
    np.testing.assert_allclose(logits[1], alone[0], atol=2e-2 if config.dtype == "bfloat16" else 1e-5)
    trained, again = (run(model, inputs, key=jax.random.key(0)) for _ in range(2))
    np.testing.assert_array_equal(trained, again)
    noise = any(getattr(config, f.name) for f in dataclasses.fields(config) if "drop" in f.name or f.name == "zoneout")
    assert noise == (not np.allclose(trained, run(model, inputs)))


def test_no_steps_are_answered_from_the_biases():
    model = sequence_config.build(CONFIGS["dense"], nnx.Rngs(0))
    logits = model(np.zeros((1, 1, IN), np.float32), lengths=np.array([0]))
    hidden = jnp.tanh(model.encoder.dense[1](jnp.tanh(model.encoder.dense[0](jnp.zeros((1, H))))))
    np.testing.assert_allclose(logits, model.head(hidden), rtol=1e-6)


def test_an_embedding_left_as_it_is_is_no_parameter():
    for trains in (True, False):
        config = dataclasses.replace(SYMBOLS, train_embedding=trains)
        _, params, other = split_model(sequence_config.build(config, nnx.Rngs(0)))
        assert ("embed" in params["encoder"]) == trains
        assert ("embed" in other.get("encoder", {})) == (not trains)


def batch_of(config, targets, weights=(1, 1, 1, 0)):
    return SequenceBatch(inputs_for(config), np.asarray(targets), LENGTHS, None, np.array(weights, np.float32))


def figures_of(config, model, *batches):
    task = sequence_task.task(config)
    sums = [task.loss(model, batch, (), None)[0] for batch in batches]
    total = sums[0]
    for more in sums[1:]:
        total = add_means(total, more)
    return task.summary(total)


def test_figures_of_one_class_are_those_of_all_rows_that_count():
    config = dataclasses.replace(SYMBOLS, class_weights=(1.0, 2.0, 0.5))
    model = sequence_config.build(config, nnx.Rngs(0))
    batches = [batch_of(config, [0, 2, 1, 1]), batch_of(config, [1, 1, 2, 0])]
    found = figures_of(config, model, *batches)
    logits = np.concatenate([model(batch.inputs, lengths=LENGTHS)[:3] for batch in batches])
    targets = np.array([0, 2, 1, 1, 1, 2])
    losses = -np.asarray(jax.nn.log_softmax(logits))[np.arange(6), targets]
    weights = np.array(config.class_weights)[targets]
    np.testing.assert_allclose(found["loss"], (weights * losses).sum() / weights.sum(), rtol=1e-5)
    said = logits.argmax(axis=1)
    np.testing.assert_allclose(found["accuracy"], np.mean(said == targets))
    each = [
        2 * np.sum((said == c) & (targets == c)) / max(1, np.sum(said == c) + np.sum(targets == c)) for c in range(3)
    ]
    np.testing.assert_allclose(found["f1"], np.mean(each), rtol=1e-6)


def test_figures_of_several_classes_count_each_yes_and_no():
    config = dataclasses.replace(SYMBOLS, answer="classes")
    model = sequence_config.build(config, nnx.Rngs(0))
    targets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]], np.float32)
    batch = batch_of(config, targets)
    found = figures_of(config, model, batch)
    said = np.asarray(model(batch.inputs, lengths=LENGTHS)[:3]) > 0
    true = targets[:3] > 0
    np.testing.assert_allclose(found["accuracy"], np.mean(said == true))
    hit, wrong, missed = (np.sum(x, axis=0) for x in (said & true, said & ~true, ~said & true))
    np.testing.assert_allclose(found["f1"], np.mean(2 * hit / np.maximum(2 * hit + wrong + missed, 1)), rtol=1e-6)
    np.testing.assert_allclose(
        found["micro_f1"], 2 * hit.sum() / (2 * hit.sum() + wrong.sum() + missed.sum()), rtol=1e-6
    )


def test_a_rare_class_can_count_more_where_there_are_several():
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]], np.float32)
    batch = batch_of(SYMBOLS, targets)
    losses_of = []
    for weights in (None, (1.0, 1.0, 1.0), (4.0, 1.0, 1.0)):
        config = dataclasses.replace(SYMBOLS, answer="classes", class_weights=weights)
        losses_of.append(figures_of(config, sequence_config.build(config, nnx.Rngs(0)), batch)["loss"])
    assert losses_of[0] == losses_of[1] != losses_of[2]


def test_numbers_are_in_the_units_of_the_targets():
    config = dataclasses.replace(NUMBERS, answer="number", num_outputs=2)
    model = sequence_config.build(config, nnx.Rngs(0))
    targets = RNG.normal(500.0, 20.0, (B, 2))
    model.targets.adapt(targets)
    batch = batch_of(config, targets)
    found = figures_of(config, model, batch)
    errors = np.asarray(model(batch.inputs, lengths=LENGTHS))[:3] - targets[:3]
    np.testing.assert_allclose(found["mse"], np.mean(np.square(errors)), rtol=1e-4)
    np.testing.assert_allclose(found["mae"], np.mean(np.abs(errors)), rtol=1e-4)
    np.testing.assert_allclose(found["loss"], np.mean(np.square(errors / targets.std(axis=0))), rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cell": "rnn"}, "cell must be one of 'lstm', 'gru', 'elman', 'none', got 'rnn'"),
        ({"pooling": "sum"}, "pooling must be one of"),
        ({"hidden_features": ()}, "hidden_features must have a width for at least one recurrent layer"),
        ({"hidden_features": (4, 0)}, "hidden_features must be at least 1, got 0"),
        ({"hidden_dropout": 0.5}, "hidden_dropout acts between recurrent layers, so it needs two widths"),
        ({"zoneout": 1.0}, r"zoneout must be in \[0, 1\), got 1.0"),
        ({"cell": "none", "zoneout": 0.1}, "zoneout acts on recurrent layers, so it needs a cell"),
        ({"cell": "elman", "longest_memory": 9}, "longest_memory needs a cell with gates"),
        ({"num_outputs": 0}, "num_outputs must be at least 1, got 0"),
        ({"vocab_size": 9}, "in_features is for numbers and vocab_size for symbols"),
        ({"answer": "x"}, "answer must be one of 'class', 'classes', 'number', got 'x'"),
        ({"longest_memory": 2}, "longest_memory must be at least 3, got 2"),
        ({"window": 4}, "window is what pooling by flatten sees, got pooling 'last'"),
        ({"class_weights": (1.0, 2.0)}, "class_weights must be 3, one a class, got 2"),
        ({"class_weights": (1.0, -2.0, 1.0)}, "class_weights must be above 0 and finite, got -2.0"),
        ({"class_weights": (1.0,), "answer": "number"}, "class_weights are for classes"),
    ],
)
def test_configs_that_cannot_be(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(NUMBERS, **changes)


def test_a_config_without_what_the_data_decide_builds_nothing():
    for changes in ({"answer": None}, {"num_outputs": None}, {"in_features": None}):
        with pytest.raises(ValueError, match="must be set"):
            sequence_config.build(dataclasses.replace(NUMBERS, **changes), nnx.Rngs(0))
    with pytest.raises(ValueError, match="window must be set for pooling by flatten"):
        sequence_config.build(dataclasses.replace(NUMBERS, pooling="flatten"), nnx.Rngs(0))


def test_parts_and_inputs_of_the_wrong_kind_are_named():
    model = sequence_config.build(SYMBOLS, nnx.Rngs(0))
    for inputs, error, sentence in (
        ([[9]], ValueError, r"inputs must lie in \[0, 8\], got values from 9 to 9"),
        ([[-1]], ValueError, r"inputs must lie in \[0, 8\]"),
        ([1, 2], ValueError, r"inputs must have shape \[B, T\], got \[2\]"),
        ([[0.5]], TypeError, "inputs must have dtype integer"),
    ):
        with pytest.raises(error, match=sentence):
            model(inputs)
    with pytest.raises(TypeError, match="recurrent must be a layer"):
        SequenceEncoder(5, layers.last_step)
    with pytest.raises(TypeError, match="pool must be a function, got 5"):
        SequenceEncoder(None, 5)
    with pytest.raises(TypeError, match="encoder must be of the class SequenceEncoder, got NoneType"):
        lx.models.SequenceClassifier(None, 4, 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"ys must have shape \[B, T, 4\], got \[1, 2, 3\]"):
        attention()(np.ones((1, 2, 3), np.float32))
    for make in POOLINGS.values():
        with pytest.raises(ValueError, match="the number of steps in ys must be at least 1, got 0"):
            make()(np.ones((1, 0, H), np.float32))


def test_what_cannot_be_standardized_is_named():
    standardize = layers.Standardize(2)
    for sequences, sentence in (
        ([], "at least one step, got none"),
        ([np.array([[1.0, np.nan]])], r"finite numbers \[..., 2\], got nan"),
        ([np.ones((3, 3))], r"finite numbers \[..., 2\], got shape \[3, 3\]"),
    ):
        with pytest.raises(ValueError, match=sentence):
            standardize.adapt(sequences)
    with pytest.raises(ValueError, match=r"x must have shape \[..., 2\], got \[3\]"):
        standardize(jnp.ones(3))


def test_f1_is_over_classes_that_occur():
    """As scikit-learn has it: 0 and 1 are right always, nothing is said of 2."""
    assert sequence_task.macro_f1(np.diag([3.0, 2.0, 0.0])) == 1.0
    np.testing.assert_allclose(sequence_task.macro_f1(np.array([[1.0, 1, 0], [0, 1, 0], [0, 0, 0]])), 2 / 3)


def test_any_layer_and_any_cell_will_do():
    cell = lx.cells.ProjectedLSTM(IN, 6, proj_features=4)
    encoder = SequenceEncoder(lx.Recurrent(cell, rngs=nnx.Rngs(0)), layers.last_step)
    model = lx.models.SequenceClassifier(encoder, 4, num_classes=2, rngs=nnx.Rngs(1))
    assert model(np.ones((B, T, IN), np.float32), lengths=LENGTHS).shape == (B, 2)
