"""Optimisers by config: optax's numbers, one rule of decay, averages and plateaus that survive a restart."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstmjax.training import OptimizerConfig, make_optimizer
from lstmjax.training.optimizers import Optimizer, learning_rate_schedule, reduce_on_plateau

pytestmark = pytest.mark.usefixtures("lenient_promotion")

PARAMS = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([1.0, 2.0])}
PLAIN = {"schedule": "constant", "warmup_steps": 0, "clip_norm": None, "learning_rate": 0.1}


def gradients(step):
    return jax.tree.map(lambda leaf: jnp.sin(leaf + step), PARAMS)


def run(optimizer, steps=4, params=PARAMS):
    state, seen = optimizer.init(params), []
    for step in range(steps):
        updates, state = optimizer.update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen, state


def assert_equal(got, expected):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


IS_KERNEL = {"kernel": True, "bias": False}
SAME = {
    "adam": ({}, optax.adam(0.1, b2=0.99)),
    "adamw": (
        {"optimizer": "adamw", "weight_decay": 0.1},
        optax.adamw(0.1, b2=0.99, weight_decay=0.1, mask=IS_KERNEL),
    ),
    "sgd": ({"optimizer": "sgd"}, optax.sgd(0.1)),
    "momentum": ({"optimizer": "sgd", "momentum": 0.9}, optax.sgd(0.1, momentum=0.9)),
    "rmsprop": ({"optimizer": "rmsprop"}, optax.rmsprop(0.1, decay=0.99)),
    "by-value": ({"clip_value": 0.2}, optax.chain(optax.clip(0.2), optax.adam(0.1, b2=0.99))),
    "by-norm": ({"clip_norm": 0.3}, optax.chain(optax.clip_by_global_norm(0.3), optax.adam(0.1, b2=0.99))),
}


@pytest.mark.parametrize(("fields", "expected"), SAME.values(), ids=SAME.keys())
def test_a_config_is_the_optimiser_of_optax(fields, expected):
    got = make_optimizer(OptimizerConfig(**PLAIN | fields), steps=10)
    assert_equal(run(got)[0], run(expected)[0])


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_decay_touches_kernels_alone_whatever_the_optimiser(optimizer):
    decayed, plain = (
        run(make_optimizer(OptimizerConfig(**PLAIN | {"optimizer": optimizer, "weight_decay": rate}), 10), 1)[0][0]
        for rate in (0.5, 0.0)
    )
    assert_equal(decayed["bias"], plain["bias"])
    assert_equal(decayed["kernel"], plain["kernel"] - 0.1 * 0.5 * PARAMS["kernel"])


def rates(steps, at, **fields):
    schedule = learning_rate_schedule(OptimizerConfig(learning_rate=1.0, **fields), steps)
    return [round(float(schedule(step)), 6) for step in at]


def test_schedules():
    assert rates(100, (0, 5, 10, 99), schedule="constant", warmup_steps=10) == [0.0, 0.5, 1.0, 1.0]
    steps = {"schedule": "step", "warmup_steps": 0, "decay_steps": 10, "decay_factor": 0.1}
    assert rates(100, (0, 9, 10, 25), **steps) == [1.0, 1.0, 0.1, 0.01]
    assert rates(100, (0, 10, 100), schedule="cosine", warmup_steps=10, final_fraction=0.5) == [0.0, 1.0, 0.5]


def test_gradients_of_several_batches_make_one_update():
    several = make_optimizer(OptimizerConfig(**PLAIN | {"optimizer": "sgd", "accumulate": 2}), steps=4)
    seen, _ = run(several)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, gradients(0), gradients(1))
    assert_equal(seen[0], PARAMS)
    assert_equal(seen[1], jax.tree.map(lambda p, g: p - 0.1 * g, PARAMS, mean))


def test_a_plateau_lowers_the_learning_rate_and_starts_to_wait_anew():
    optimizer = reduce_on_plateau(Optimizer(*optax.sgd(1.0)), factor=0.5, patience=2)
    state, scales = optimizer.init(PARAMS), []
    for score in (3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0, 1.0, 1.0):
        state = optimizer.after_evaluation(state, score)
        scales.append(float(state.scale))
    assert scales == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    updates, _ = optimizer.update(gradients(0), state, PARAMS)
    assert_equal(updates, jax.tree.map(lambda g: -0.125 * g, gradients(0)))


def test_a_moving_average_by_hand():
    optimizer = make_optimizer(OptimizerConfig(**PLAIN | {"average": "ema", "average_decay": 0.6}), steps=4)
    seen, state = run(optimizer)
    expected = seen[0]
    for kept, params in zip((0.5, 0.6, 0.6), seen[1:], strict=True):
        expected = jax.tree.map(lambda a, p, kept=kept: kept * a + (1 - kept) * p, expected, params)
    assert_equal(optimizer.average(state), expected)


def test_nt_asgd_averages_from_the_trigger_on():
    optimizer = make_optimizer(OptimizerConfig(**PLAIN | {"average": "asgd", "average_patience": 2}), steps=8)
    seen, state = run(optimizer)
    assert_equal(optimizer.average(state), seen[-1])
    for score in (1.0, 2.0, 2.0):
        state = optimizer.after_evaluation(state, score)
    params, later = seen[-1], []
    for step in range(3):
        updates, state = optimizer.update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
        later.append(params)
    assert_equal(optimizer.average(state), jax.tree.map(lambda *three: sum(three) / 3, *later))


def test_wrapped_optimisers_hear_of_evaluations():
    config = OptimizerConfig(**PLAIN | {"schedule": "plateau", "decay_patience": 1, "accumulate": 2, "average": "ema"})
    optimizer = make_optimizer(config, steps=8)
    state = optimizer.init(PARAMS)
    for score in (1.0, 1.0):
        state = optimizer.after_evaluation(state, score)
    assert float(state.inner.inner_opt_state.scale) == 0.5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and finite, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0 and finite, got nan"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"final_fraction": 2.0}, r"final_fraction must be in \[0, 1\], got 2.0"),
        ({"decay_factor": 1.0}, r"decay_factor must be in \(0, 1\), got 1.0"),
        ({"beta2": 1.0}, r"beta2 must be in \[0, 1\), got 1.0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, got -1.0"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0 and finite, got 0.0"),
        ({"optimizer": "adamw"}, "adamw needs weight_decay above 0"),
        ({"momentum": 0.9}, "momentum needs optimizer sgd or rmsprop, got adam"),
        ({"optimizer": "lion"}, "optimizer must be one of 'adam', 'adamw', 'sgd', 'rmsprop', got 'lion'"),
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"decay_patience": 2**32}, "decay_patience must be at most 2147483647, got 4294967296"),
        ({"weight_decay": float("inf")}, "weight_decay must be finite, got inf"),
    ],
)
def test_optimizers_that_cannot_be(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        OptimizerConfig(**arguments)


def test_averages_need_more_than_half_precision():
    """A share of 0.001 would round to nothing."""
    optimizer = make_optimizer(OptimizerConfig(**PLAIN | {"average": "ema"}), steps=8)
    with pytest.raises(TypeError, match="averaged weights need parameters in float32 or float64, got bfloat16"):
        optimizer.init({"w": jnp.zeros(2, jnp.bfloat16)})
