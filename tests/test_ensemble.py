"""Ensembles: the mean of probabilities, in every loop, each member with its own state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from lstmjax.decoding import beam_search, decode, ensemble, mean_log_probabilities, start
from lstmjax.decoding.search import search
from lstmjax.sampling import GREEDY


def by_count(table, symbols, count):
    return table[(symbols + count) % table.shape[0]], count + 1


def by_last(table, symbols, state):
    """Scores from the last two symbols."""
    return table[symbols] + table[state["last"]], {"last": symbols}


def members(seed=0):
    """Two step functions of other kinds, their first states and their first scores, for two sources of five symbols."""
    tables = 2.0 * jax.random.normal(jax.random.key(seed), (2, 5, 5))
    states = (jnp.array([0, 3], jnp.int32), {"last": jnp.array([1, 4], jnp.int32)})
    return [Partial(by_count, tables[0]), Partial(by_last, tables[1])], states, [tables[0][:2], tables[1][2:4]]


def probabilities(scores):
    return np.asarray(jax.nn.softmax(jnp.asarray(scores, jnp.float32), axis=-1))


def mean(scores):
    return np.mean([probabilities(one) for one in scores], axis=0)


def test_probabilities_are_the_mean():
    steps, states, scores = members()
    np.testing.assert_allclose(np.exp(mean_log_probabilities(scores)), mean(scores), rtol=1e-5)
    symbols = jnp.array([3, 1], jnp.int32)
    found, after = ensemble(steps)(symbols, states)
    alone = [step(symbols, state) for step, state in zip(steps, states, strict=True)]
    np.testing.assert_allclose(np.exp(found), mean([one for one, _ in alone]), rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, after, tuple(state for _, state in alone))


def test_of_impossible_symbols_and_half_precision():
    scores = [jnp.array([[0.0, -jnp.inf, 0.0]], jnp.bfloat16), jnp.array([[-jnp.inf, -jnp.inf, 5.0]], jnp.float32)]
    found = mean_log_probabilities(scores)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(np.exp(found), [[0.25, 0.0, 0.75]], rtol=1e-6)


def test_in_decode_and_beam_search():
    """A beam of one is greedy, both by hand; a wide one finds the best of all strings; nothing is compiled in."""
    before = search._cache_size()
    for seed in range(3):
        steps, states, scores = members(seed)
        first = mean_log_probabilities(scores)
        symbols, _ = decode(ensemble(steps), start(states, first, jax.random.key(0), [4]), 4, GREEDY, [4])
        best = beam_search(ensemble(steps), states, first, beam=1, steps=4, end=4)
        for i in range(2):
            by_hand = greedy(
                steps, [jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], leaves) for leaves in states], first[i]
            )
            assert symbols[i].tolist()[: len(by_hand)] == by_hand
            assert best.symbols[i, 0].tolist()[: best.lengths[i, 0]] == by_hand
    assert search._cache_size() == before + 1


def greedy(steps, states, scores, end=4, most=4):
    symbols = []
    while len(symbols) < most and int(np.argmax(scores)) != end:
        symbols.append(int(np.argmax(scores)))
        taken = [step(jnp.array(symbols[-1:], jnp.int32), state) for step, state in zip(steps, states, strict=True)]
        scores, states = mean([one for one, _ in taken])[0], [state for _, state in taken]
    return symbols


def test_a_model_and_itself_are_the_model():
    (step, _), (state, _), (scores, _) = members()
    how = {"beam": 3, "steps": 5, "end": 4, "n_best": 3}
    twice = beam_search(ensemble([step, step]), (state, state), mean_log_probabilities([scores, scores]), **how)
    alone = beam_search(step, state, scores, **how)
    np.testing.assert_array_equal(twice.symbols, alone.symbols)
    np.testing.assert_allclose(twice.scores, alone.scores, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: ensemble([]), ValueError, r"steps must be a list of at least one function, got \[\]"),
        (lambda: ensemble([by_last, 3]), TypeError, r"steps\[1\] must be a function, got 3"),
        (lambda: mean_log_probabilities([]), ValueError, "scores must be a list of at least one array"),
        (
            lambda: mean_log_probabilities([jnp.zeros((2, 3)), jnp.zeros((2, 4))]),
            ValueError,
            r"scores\[1\] must have shape \[2, 3\], got \[2, 4\]",
        ),
        (lambda: mean_log_probabilities([jnp.zeros((2, 3), int)]), TypeError, r"scores\[0\] must have dtype floating"),
        (
            lambda: ensemble([by_last])(jnp.zeros(2, jnp.int32), ()),
            ValueError,
            "the state of an ensemble must be a tuple of its 1 members' states",
        ),
    ],
)
def test_ensembles_that_cannot_be(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()
