"""Training: one step, the schedule, evaluation of a whole text, and the loop."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lstmjax as lx
from lstmjax import training
from lstmjax.data import Examples, IteratorSource, Ordered, Shuffled
from lstmjax.data.text import EvaluationPlan, Reading, Streams
from lstmjax.metrics import bits_per_symbol, perplexity
from lstmjax.models import FAMILIES, LanguageModel, LanguageModelConfig
from lstmjax.tasks import Task
from lstmjax.training.loop import Cadence, DivergedError, fit

pytestmark = pytest.mark.usefixtures("lenient_promotion")

VOCAB, BATCH, STEPS = 5, 2, 4
IDS = np.random.default_rng(0).integers(0, VOCAB, 43).astype(np.int32)


class Setup:
    """A tiny model with everything needed to train it."""

    def __init__(self, steps=12, dropout=0.2, hidden=6, mesh=None, **optimizer):
        config = LanguageModelConfig(4, hidden, hidden_dropout=dropout, output_dropout=dropout)
        self.model = LanguageModel(VOCAB, config, rngs=nnx.Rngs(0))
        self.task = FAMILIES["language-model"].task(self.model.config)
        self.graphdef, self.params, self.other = training.split_model(self.model)
        optimizer = {"learning_rate": 0.01, "warmup_steps": 2} | optimizer
        self.optimizer = training.make_optimizer(training.OptimizerConfig(**optimizer), steps)
        self.train_step = training.make_train_step(self.task, self.graphdef, self.optimizer, mesh)
        self.batches = Streams(IDS, BATCH, STEPS)
        evaluate = training.make_evaluate(self.task, self.graphdef, mesh)
        self.evaluate = lambda params, other: evaluate(params, other, Reading(IDS, EvaluationPlan(2, 8, 8)))

    def state(self):
        return training.initial_train_state(self.model, self.task, self.optimizer, BATCH, jax.random.key(3))


class Recorder:
    """An observer that remembers what it was told."""

    def __init__(self):
        self.steps, self.evaluations = {}, {}

    def on_step(self, step, metrics):
        self.steps[step] = metrics

    def on_evaluation(self, step, metrics):
        self.evaluations[step] = metrics


def same_bits(a, b):
    chex.assert_trees_all_equal(*(s._replace(key=jax.random.key_data(s.key)) for s in (a, b)))


def test_a_step_is_gradient_and_adam_by_hand():
    setup = Setup(dropout=0.0, learning_rate=0.1, warmup_steps=0, clip_norm=0.01, beta2=0.9)
    batch = setup.batches.batch(0)

    @jax.jit
    def loss_of(params):
        logits, carry = nnx.merge(setup.graphdef, params)(batch.inputs)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.asarray(batch.targets)[..., None], axis=-1)
        return -picked.mean(), carry

    (loss, carry), grads = jax.value_and_grad(loss_of, has_aux=True)(setup.params)
    params, grads = jax.tree.map(np.asarray, (setup.params, grads))
    norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
    clipped = jax.tree.map(lambda g: g * (0.01 / norm), grads)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g / (np.abs(g) + 1e-8), params, clipped)  # Adam's first step
    state, metrics = setup.train_step(setup.state(), batch)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-6)
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state.params, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.carry, carry)
    assert int(state.step) == 1


def test_the_carry_goes_on_until_the_streams_start_again():
    setup = Setup(dropout=0.0, learning_rate=1e-9)
    inner, first = setup.batches.batch(1), setup.batches.batch(0)
    carried = setup.train_step(setup.state(), first)[0].carry
    model = setup.model
    for batch, start in ((inner, carried), (first, None)):
        state = setup.state()._replace(carry=jax.tree.map(jnp.copy, carried))
        expected = optax.softmax_cross_entropy_with_integer_labels(model(batch.inputs, start)[0], batch.targets).mean()
        np.testing.assert_allclose(setup.train_step(state, batch)[1]["loss"], expected, rtol=1e-5)


def test_the_model_and_the_key_stay_usable():
    setup, key = Setup(), jax.random.key(7)
    state = training.initial_train_state(setup.model, setup.task, setup.optimizer, BATCH, key)
    setup.train_step(state, setup.batches.batch(0))
    jax.random.split(key)
    setup.model(setup.batches.batch(0).inputs)


def test_a_short_text_is_learnt_by_heart():
    setup = Setup(steps=600, dropout=0.0, hidden=32, learning_rate=0.03, warmup_steps=10)
    state = setup.state()
    for position in range(600):
        state, metrics = setup.train_step(state, setup.batches.batch(position))
    assert float(metrics["loss"]) < 0.05


def whole_text_loss(model, ids):
    """The definition: one pass over everything, all predictions averaged."""
    logits = model(jnp.asarray(ids[None, :-1]))[0][0]
    return -np.mean([jax.nn.log_softmax(row)[target] for row, target in zip(logits, ids[1:], strict=True)])


def evaluated(setup, plan):
    evaluate = training.make_evaluate(setup.task, setup.graphdef)
    return evaluate(setup.params, setup.other, Reading(IDS, plan))["loss"]


@pytest.mark.parametrize("chunk_length", [1, 5, 64])
def test_exact_evaluation_is_the_mean_over_the_whole_text(chunk_length):
    setup = Setup()
    loss = evaluated(setup, EvaluationPlan(1, 0, chunk_length))
    np.testing.assert_allclose(loss, whole_text_loss(setup.model, IDS), rtol=1e-6)


def test_rows_warmed_up_from_the_start_are_exact_too():
    setup = Setup()
    loss = evaluated(setup, EvaluationPlan(4, len(IDS), 16))
    np.testing.assert_allclose(loss, whole_text_loss(setup.model, IDS), rtol=1e-6)


def test_ways_to_say_a_loss():
    np.testing.assert_allclose([bits_per_symbol(np.log(8.0)), perplexity(np.log(8.0))], [3.0, 8.0])


def run(setup, folder, state, cadence, should_stop=lambda: False):
    recorder, checkpoints = Recorder(), training.Checkpoints(folder, keep_last=2)
    restored = checkpoints.restore(state)
    state = fit(
        state if restored is None else restored,
        setup.batches,
        setup.train_step,
        setup.evaluate,
        checkpoints,
        cadence,
        [recorder],
        should_stop,
    )
    checkpoints.close()
    return state, recorder


def test_stopped_and_resumed_is_uninterrupted_bit_for_bit(tmp_path):
    setup, cadence = Setup(steps=12), Cadence(steps=12, log_every=2, eval_every=5)
    whole, seen = run(setup, tmp_path / "whole", setup.state(), cadence)
    asked = []
    _, before = run(setup, tmp_path / "parts", setup.state(), cadence, lambda: asked.append(None) or len(asked) == 7)
    parts, after = run(setup, tmp_path / "parts", setup.state(), cadence)
    same_bits(parts, whole)
    assert before.steps | after.steps == seen.steps
    assert before.evaluations | after.evaluations == seen.evaluations
    assert list(seen.steps) == [2, 4, 5, 6, 8, 10, 12]
    assert list(seen.evaluations) == [5, 10, 12]
    assert (list(before.steps), list(after.steps)) == ([2, 4, 5, 6], [8, 10, 12])


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    setup = Setup(steps=12)
    good = setup.train_step
    calls = []

    def breaks_at_eight(state, batch):
        calls.append(None)
        state, metrics = good(state, batch)
        if len(calls) >= 8:
            metrics["grad_norm"] = jnp.array(jnp.nan)
        return state, metrics

    setup.train_step = breaks_at_eight
    with pytest.raises(DivergedError, match=r"not finite at step 8; .* the checkpoint of step 5 is kept"):
        run(setup, tmp_path, setup.state(), Cadence(steps=12, log_every=4, eval_every=5))
    assert training.Checkpoints(tmp_path, read_only=True).steps() == [5]


def test_divergence_before_any_checkpoint_says_so(tmp_path):
    setup = Setup(steps=12, learning_rate=1e38, warmup_steps=0)
    with pytest.raises(DivergedError, match=r"no checkpoint had been saved yet"):
        run(setup, tmp_path, setup.state(), Cadence(steps=12, log_every=1, eval_every=12))


class Line(nnx.Module):
    """Two scores that are linear in one number."""

    def __init__(self):
        self.slope = nnx.Param(jnp.array([0.1, -0.1]))


def classification(model, batch, carry, key):
    logits = jnp.asarray(batch.inputs)[:, None] * model.slope[...][None]
    loss = lx.losses.sparse_categorical_cross_entropy(logits, jnp.asarray(batch.targets), weights=batch.weights)
    counts = lx.metrics.confusion_matrix(logits.argmax(axis=-1), jnp.asarray(batch.targets), 2, weights=batch.weights)
    return {"loss": loss, "confusion": counts}, carry


def figures(means):
    return {"loss": float(means["loss"].value), "f1": float(lx.metrics.f1(means["confusion"]))}


def fit_line(folder, *, scores=None, patience=None, optimizer=None, fit_with=None, source=None, epochs=6):
    """A task whose figures are more than means, with an observer; `scores` stand in for those of its evaluations."""
    x = np.linspace(-1, 1, 10, dtype=np.float32)
    examples = Examples(x, (x > 0).astype(np.int32))
    train = Shuffled(examples, batch_size=4, seed=0) if source is None else source(examples)
    model, task = Line(), Task(classification, summary=figures)
    graphdef = training.split_model(model)[0]
    optimizer = optimizer or training.make_optimizer(training.OptimizerConfig(warmup_steps=0), 18)
    evaluate = training.make_evaluate(task, graphdef)
    recorder, given = Recorder(), iter(scores or ())
    state = training.initial_train_state(model, task, optimizer, 4, jax.random.key(0))
    with training.Checkpoints(folder) as checkpoints:
        state = fit(
            checkpoints.restore(state) or state,
            train,
            training.make_train_step(task, graphdef, optimizer),
            lambda params, other: evaluate(params, other, Ordered(examples, 4)),
            checkpoints,
            Cadence(epochs * 3, 1, 3, patience),
            [recorder],
            score=lambda found: next(given) if scores else -found["f1"],
            optimizer=fit_with,
        )
    return state, recorder


def test_figures_that_are_more_than_means(tmp_path):
    _, recorder = fit_line(tmp_path, epochs=1)
    assert sorted(recorder.evaluations[3]) == ["f1", "loss"]
    assert sorted(recorder.steps[1]) == ["grad_norm", "loss"]


def test_patience_ends_training_and_outlasts_a_restart(tmp_path):
    scores = [3.0, 1.0, 2.0, 2.0, 0.0]
    state, recorder = fit_line(tmp_path / "whole", scores=scores, patience=2)
    assert (int(state.step), list(recorder.evaluations)) == (12, [3, 6, 9, 12])
    fit_line(tmp_path / "parts", scores=scores[:3], patience=2, epochs=3)
    state, recorder = fit_line(tmp_path / "parts", scores=scores[3:], patience=2)
    assert (int(state.step), list(recorder.evaluations)) == (12, [12])
    state, recorder = fit_line(tmp_path / "parts", scores=scores[4:], patience=2)
    assert (int(state.step), recorder.steps) == (12, {})


def test_a_score_that_is_not_a_number_ends_training(tmp_path):
    with pytest.raises(DivergedError, match="not finite at step 3"):
        fit_line(tmp_path, scores=[float("nan"), 1.0])


def test_an_optimiser_that_wants_to_hear_of_evaluations_must_be_given(tmp_path):
    config = training.OptimizerConfig(warmup_steps=0, average="ema")
    with pytest.raises(ValueError, match="optimizer must be given"):
        fit_line(tmp_path, optimizer=training.make_optimizer(config, 18))


def test_averaged_weights_are_what_is_loaded(tmp_path):
    optimizer = training.make_optimizer(training.OptimizerConfig(warmup_steps=0, average="ema"), 18)
    state, _ = fit_line(tmp_path, optimizer=optimizer, fit_with=optimizer, epochs=2)
    with training.Checkpoints(tmp_path, read_only=True) as checkpoints:
        params, _ = checkpoints.restore_params(state.params, state.other, "latest")
        same_bits(checkpoints.restore(state), state)
    np.testing.assert_array_equal(params["slope"], state.opt_state.average["slope"])
    assert (np.asarray(params["slope"]) != np.asarray(state.params["slope"])).any()


class Countdown:
    """An outside iterator with a position of its own."""

    def __init__(self, examples):
        self.source, self.at = Shuffled(examples, batch_size=4, seed=1), 0

    def __next__(self):
        self.at += 1
        return self.source.batch(self.at - 1)

    def get_state(self):
        return {"at": self.at}

    def set_state(self, state):
        self.at = state["at"]


def test_an_outside_iterator_goes_on_where_the_checkpoint_was(tmp_path):
    def source(examples):
        return IteratorSource(Countdown(examples), batches=3)

    whole, _ = fit_line(tmp_path / "whole", source=source)
    fit_line(tmp_path / "parts", source=source, epochs=2)
    parts, _ = fit_line(tmp_path / "parts", source=source)
    np.testing.assert_array_equal(parts.params["slope"], whole.params["slope"])
