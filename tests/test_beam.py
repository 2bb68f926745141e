"""Beam search: against every string there is, against a plain one that never stops early, and against greedy."""

import dataclasses
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

import lstmjax as lx
from lstmjax.decoding import GNMTLength, PlainLength, beam_search
from lstmjax.decoding.search import highest, search
from lstmjax.sampling import GREEDY

END = 2
ALL = 40  # strings of at most 3 symbols out of 3


class Deep(NamedTuple):
    total: Any
    count: Any


def history(table, symbols, state):
    """Scores that depend on every symbol so far, through a key, a matrix and a count deep in the state."""
    keys = jax.vmap(jax.random.fold_in)(state["key"], symbols)
    total = 0.5 * state["deep"][0].total + table[symbols][:, None, :]
    count = state["deep"][0].count + symbols
    noise = jax.vmap(lambda key: jax.random.normal(key, table.shape[:1], table.dtype))(keys)
    scores = table[symbols] + noise + 0.3 * total[:, 0] - 0.1 * (count % 3)[:, None].astype(table.dtype)
    return scores, {"key": keys, "deep": (Deep(total, count),)}


def beginning(sources, symbols, seed):
    """A step function, its first state and its first scores, of numbers from the seed alone."""
    first, second, third = jax.random.split(jax.random.key(seed), 3)
    table = 1.5 * jax.random.normal(first, (symbols, symbols))
    deep = Deep(jnp.zeros((sources, 1, symbols)), jnp.arange(sources, dtype=jnp.int32))
    state = {"key": jax.random.split(second, sources), "deep": (deep,)}
    return Partial(history, table), state, jax.random.normal(third, (sources, symbols))


def raw_history(table, symbols, state):
    """The same with keys as plain numbers, for `decode`."""
    scores, state = history(table, symbols, state | {"key": jax.random.wrap_key_data(state["key"])})
    return scores, state | {"key": jax.random.key_data(state["key"])}


def often_two(weight, state):
    """An addition at most 0."""
    return weight * (state["deep"][0].count % 4).astype(jnp.float32)


@jax.jit
def one_step(step, symbol, state):
    return step(symbol, state)


def log_softmax(scores):
    scores = np.asarray(scores, np.float64)
    return scores - np.logaddexp.reduce(scores)


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    symbols: tuple
    log_probability: float
    state: Any
    scores: Any

    def longer(self, step, symbol):
        scores, state = one_step(step, jnp.array([symbol], jnp.int32), self.state)
        log_probability = self.log_probability + log_softmax(self.scores)[symbol]
        return Hypothesis((*self.symbols, symbol), log_probability, state, np.asarray(scores[0]))

    def repeats(self, symbol, n):
        after = (*self.symbols, symbol)
        grams = [after[i : i + n] for i in range(len(after) - n + 1)]
        return n > 0 and len(set(grams)) < len(grams)


@dataclasses.dataclass(frozen=True)
class Plainly:
    """What a search is told, and what one hypothesis is worth by it."""

    step: Any
    steps: int
    end: int = END
    min_steps: int = 0
    length_penalty: Any = np.ones_like
    block_ngrams: int = 0
    extra: Any = None

    def empties(self, state, scores):
        rows = [jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], state) for i in range(len(scores))]
        return [Hypothesis((), 0.0, row, np.asarray(one)) for row, one in zip(rows, scores, strict=True)]

    def finished(self, hypothesis):
        """Score, log probability and symbols."""
        log_probability = hypothesis.log_probability + log_softmax(hypothesis.scores)[self.end]
        extra = 0.0 if self.extra is None else float(self.extra(hypothesis.state)[0])
        penalty = self.length_penalty(np.array([len(hypothesis.symbols) + 1.0]))[0]
        return log_probability / penalty + extra, log_probability, hypothesis.symbols

    def continuations(self, hypothesis):
        """Each symbol that may come, with the log probability of the whole."""
        log_probabilities = hypothesis.log_probability + log_softmax(hypothesis.scores)
        for symbol in range(len(log_probabilities)):
            too_soon = symbol == self.end and len(hypothesis.symbols) < self.min_steps
            if not too_soon and not hypothesis.repeats(symbol, self.block_ngrams):
                yield log_probabilities[symbol], symbol, hypothesis

    def search(self, empty, beam):
        """All that finished, best first; nothing stops but K finished hypotheses."""
        living, finished = [empty], []
        for _ in range(self.steps):
            best = sorted(itertools.chain(*map(self.continuations, living)), key=lambda one: -one[0])
            finished += [self.finished(parent) for _, symbol, parent in best[:beam] if symbol == self.end]
            on = [(symbol, parent) for _, symbol, parent in best if symbol != self.end][:beam]
            living = [parent.longer(self.step, symbol) for symbol, parent in on] if len(finished) < beam else []
        return sorted(finished + list(map(self.finished, living)), key=lambda one: -one[0])

    def everything(self, hypothesis):
        """Every string there is."""
        if len(hypothesis.symbols) == self.steps:
            return [self.finished(hypothesis)]
        found = []
        for _, symbol, parent in self.continuations(hypothesis):
            found += (
                [self.finished(parent)] if symbol == self.end else self.everything(parent.longer(self.step, symbol))
            )
        return found


def check(beams, expected):
    """The beams of one source are the first of `expected`, and nothing is there where nothing is expected."""
    there = min(len(expected), len(beams.scores))
    for n, (score, log_probability, symbols) in enumerate(expected[:there]):
        np.testing.assert_allclose(beams.scores[n], score, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(beams.log_probabilities[n], log_probability, rtol=2e-5, atol=2e-5)
        assert beams.symbols[n, : beams.lengths[n]].tolist() == list(symbols)
        assert not beams.symbols[n, beams.lengths[n] :].any()
    assert (beams.scores[there:] == -np.inf).all()
    assert (beams.log_probabilities[there:] == -np.inf).all()
    assert not beams.symbols[there:].any()


def check_all(beams, expected):
    for i, one in enumerate(expected):
        check(jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), beams), one)


penalties = st.sampled_from([PlainLength(0.0), PlainLength(1.0), GNMTLength(0.6), GNMTLength(2.0), PlainLength(-0.5)])


@pytest.mark.parametrize(("block_ngrams", "weight"), [(0, None), (1, -0.5), (2, -2.0)])
@settings(max_examples=3, phases=(Phase.generate,))
@given(length_penalty=penalties, min_steps=st.integers(0, 3), seed=st.integers(0, 99))
def test_a_wide_beam_finds_the_best_of_all_strings(block_ngrams, weight, length_penalty, min_steps, seed):
    step, state, scores = beginning(2, 4, seed)
    how = {"steps": 3, "end": END, "min_steps": min_steps, "block_ngrams": block_ngrams}
    how |= {"length_penalty": length_penalty, "extra": weight and Partial(often_two, jnp.float32(weight))}
    plainly = Plainly(step, **how)
    every = [sorted(plainly.everything(one), key=lambda one: -one[0]) for one in plainly.empties(state, scores)]
    check_all(beam_search(step, state, scores, beam=ALL, n_best=ALL, **how), every)


@pytest.mark.parametrize(("block_ngrams", "weight"), [(0, -0.3), (2, None)])
@settings(max_examples=3, phases=(Phase.generate,))
@given(length_penalty=penalties, min_steps=st.integers(0, 8), seed=st.integers(0, 99))
def test_a_narrow_beam_is_the_plain_one_that_never_stops_early(block_ngrams, weight, length_penalty, min_steps, seed):
    step, state, scores = beginning(2, 7, seed)
    how = {"steps": 8, "end": END, "min_steps": min_steps, "block_ngrams": block_ngrams}
    how |= {"length_penalty": length_penalty, "extra": weight and Partial(often_two, jnp.float32(weight))}
    plainly = Plainly(step, **how)
    expected = [plainly.search(one, 3) for one in plainly.empties(state, scores)]
    check_all(beam_search(step, state, scores, beam=3, n_best=2, **how), expected)


def lstm_step(graphdef, params, symbols, state):
    """A stack of LSTMs whose weights come by `Partial`."""
    embed, layers, head = nnx.merge(graphdef.value, params)
    hidden, state = layers(embed(symbols)[:, None, :], state=state)
    return head(hidden[:, 0]), state


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Static:
    value: Any


def lstm(sources, symbols=9):
    rngs = nnx.Rngs(3)
    layers = lx.LSTM(6, 8, num_layers=2, rngs=rngs)
    modules = nnx.List([nnx.Embed(symbols, 6, rngs=rngs), layers, nnx.Linear(8, symbols, rngs=rngs)])
    modules[2].kernel[...] = 12.0 * modules[2].kernel[...]
    graphdef, params = nnx.split(modules)
    xs = jax.random.normal(jax.random.key(5), (sources, 4, 6), jnp.float32)
    ys, state = layers(xs)
    return Partial(lstm_step, Static(graphdef), params), state, modules[2](ys[:, -1])


def test_over_a_stack_of_lstms():
    """Against the plain search, alone or in a batch, under `jit` or not, and against a forced pass."""
    step, state, scores = lstm(3)
    how = {"steps": 10, "end": END, "length_penalty": GNMTLength(0.8)}
    plainly = Plainly(step, **how)
    empties = plainly.empties(state, scores)
    beams = beam_search(step, state, scores, beam=4, n_best=4, **how)
    check_all(beams, [plainly.search(one, 4) for one in empties])
    assert len(set(beams.lengths.ravel().tolist())) > 1
    under_jit = jax.jit(lambda *now: beam_search(*now, beam=4, n_best=4, **how))(step, state, scores)
    jax.tree.map(np.testing.assert_array_equal, under_jit._replace(scores=0), beams._replace(scores=0))
    for i in range(3):
        row = jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], (state, scores))
        alone = beam_search(step, *row, beam=4, n_best=4, **how)
        assert alone.symbols[0].tolist() == beams.symbols[i].tolist()
        np.testing.assert_allclose(alone.scores[0], beams.scores[i], rtol=1e-5)
        for n in range(4):
            forced = empties[i]
            for symbol in beams.symbols[i, n, : beams.lengths[i, n]].tolist():
                forced = forced.longer(step, symbol)
            np.testing.assert_allclose(plainly.finished(forced)[1], beams.log_probabilities[i, n], rtol=1e-5)


@settings(max_examples=3, phases=(Phase.generate,))
@given(length_penalty=penalties, seed=st.integers(0, 99))
def test_a_beam_of_one_is_greedy(length_penalty, seed):
    step, state, scores = beginning(3, 5, seed)
    step, state = Partial(raw_history, *step.args), state | {"key": jax.random.key_data(state["key"])}
    beams = beam_search(step, state, scores, beam=1, steps=6, end=END, length_penalty=length_penalty)
    begin = lx.decoding.start(state, scores, jax.random.key(0), [END])
    symbols, after = lx.decoding.decode(step, begin, 6, GREEDY, [END])
    assert beams.lengths[:, 0].tolist() == after.lengths.tolist()
    for row, found, n in zip(symbols.tolist(), beams.symbols[:, 0].tolist(), after.lengths.tolist(), strict=True):
        assert found == row[:n] + [0] * (6 - n)


def test_it_stops_once_nothing_better_can_come():
    """The first source ends at once, the second after three symbols: four steps are taken, not fifty."""
    taken = []

    def step(symbols, left):
        jax.debug.callback(lambda: taken.append(1))
        left = left - 1
        return jnp.where(left[:, None] > 0, jnp.array([[1.0, 0.5, -9.0]]), jnp.array([[0.0, -1.0, 9.0]])), left

    scores = jnp.array([[0.0, -1.0, 9.0], [1.0, 0.5, -9.0]])
    beams = beam_search(step, jnp.array([0, 3]), scores, beam=2, steps=50, end=END)
    jax.effects_barrier()
    assert beams.lengths.tolist() == [[0], [3]]
    assert len(taken) == 4


def peak(lengths):
    return np.where(lengths == 31, 30.0, 1.0)


def countdown(symbols, left):
    """The end is impossible until nothing is left, then certain."""
    left = left - 1
    return 20.0 * jnp.where(left[:, None] > 0, jnp.array([[-1.0, 1.0, -1.0]]), jnp.array([[1.0, -1.0, -1.0]])), left


@pytest.mark.parametrize(("length_penalty", "length"), [(np.ones_like, 0), (PlainLength(1.0), 30), (peak, 30)])
def test_it_goes_on_while_something_better_may_come(length_penalty, length):
    """Ending at once has 0.9, but the other string the greater penalty, however far away and with less after it."""
    scores = jnp.log(jnp.array([[0.9, 0.1, 1e-9]]))
    beams = beam_search(countdown, jnp.array([30]), scores, beam=2, steps=40, end=0, length_penalty=length_penalty)
    assert beams.lengths.tolist() == [[length]]


def test_compiled_once_whatever_the_numbers():
    before = search._cache_size()
    for seed, length_penalty, end, min_steps in (
        (1, PlainLength(0.3), 0, 1),
        (2, GNMTLength(1.0), 1, 4),
        (3, np.sqrt, 2, 0),
    ):
        step, state, scores = beginning(2, 6, seed)
        extra = Partial(often_two, jnp.float32(-seed))
        how = {"end": end, "min_steps": min_steps, "length_penalty": length_penalty, "extra": extra}
        beam_search(step, state, scores, beam=2, steps=5, **how)
    assert search._cache_size() == before + 1


def no_state(symbols, state):
    return jnp.zeros((symbols.shape[0], 2)), state


def test_fewer_strings_than_beams_and_symbols_than_beams():
    """Out of one symbol there are four strings of at most three, each but the longest half as likely as the last."""
    beams = beam_search(no_state, (), jnp.zeros((1, 2)), beam=6, steps=3, end=0, n_best=6)
    assert beams.lengths.tolist() == [[0, 1, 2, 3, 0, 0]]
    assert beams.symbols[0].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(np.exp(beams.scores[0]), [1 / 2, 1 / 4, 1 / 8, 1 / 16, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(beams.scores, beams.log_probabilities)


def test_an_empty_batch():
    beams = beam_search(no_state, (), jnp.zeros((0, 2)), beam=3, steps=4, end=0, n_best=2)
    assert jax.tree.map(jnp.shape, beams) == ((0, 2, 4), (0, 2), (0, 2), (0, 2))


def test_half_precision_scores_are_summed_in_float32():
    def step(symbols, state):
        return jnp.full((symbols.shape[0], 3), 0.1, jnp.bfloat16), state

    beams = beam_search(step, (), jnp.full((1, 3), 0.1, jnp.bfloat16), beam=2, steps=9, min_steps=9, end=0)
    assert (beams.scores.dtype, beams.log_probabilities.dtype) == (jnp.float32, jnp.float32)
    np.testing.assert_allclose(beams.scores, [[-10 * np.log(3)]], rtol=1e-6)


def test_in_float64(x64):
    table = jnp.asarray(np.random.default_rng(0).normal(size=(5, 5)))
    step = Partial(lambda table, symbols, state: (table[symbols], state), table)
    how = {"steps": 4, "end": END, "block_ngrams": 2, "length_penalty": PlainLength(0.7)}
    beams = beam_search(step, (), table[:1], beam=3, n_best=3, **how)
    plainly = Plainly(step, **how)
    check_all(beams, [plainly.search(one, 3) for one in plainly.empties((), table[:1])])
    assert beams.scores.dtype == jnp.float64


@pytest.mark.parametrize("symbols", [5, 100, 112, 117])
def test_the_highest_are_those_of_top_k_and_of_equals_the_first(symbols):
    ties = jax.random.randint(jax.random.key(symbols), (300, symbols), 0, 9).astype(jnp.float32)
    np.testing.assert_array_equal(highest(ties, 4), jax.lax.top_k(ties, 4))


def test_lengths_divide_by_their_formulas():
    lengths = np.array([1.0, 3.0, 13.0])
    np.testing.assert_allclose(GNMTLength(0.6)(lengths), [1.0, (8 / 6) ** 0.6, 3**0.6])
    np.testing.assert_allclose(PlainLength(2)(lengths), [1.0, 9.0, 169.0])
    np.testing.assert_array_equal([GNMTLength(0)(lengths), PlainLength(0)(lengths)], 1.0)


def test_coverage_is_its_formula():
    generator = np.random.default_rng(0)
    coverage = generator.uniform(0, 2, (6, 4)).astype(np.float32)
    coverage[0, 0] = 0.0
    is_there = np.arange(4) < np.array([[4], [2], [3]])
    expected = [
        0.2 * sum(np.log(min(max(coverage[row, s], 1e-6), 1)) for s in range(4) if is_there[row // 2, s])
        for row in range(6)
    ]
    found = lx.decoding.coverage_penalty(jnp.asarray(coverage), jnp.asarray(is_there), 0.2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"step": 3}, TypeError, "step must be a function, got 3"),
        ({"scores": jnp.zeros((2, 3), int)}, TypeError, "scores must have dtype floating, got int"),
        ({"scores": jnp.zeros(3)}, ValueError, r"scores must have shape \[B, V\], got \[3\]"),
        ({"scores": jnp.zeros((2, 1))}, ValueError, "number of symbols in scores must be at least 2, got 1"),
        ({"state": {"h": 1.0}}, TypeError, r"state\['h'\] must be an array, got float"),
        ({"state": {"h": jnp.zeros((3, 2))}}, ValueError, r"state\['h'\] must have a row for each of the 2 sources"),
        ({"beam": 0}, ValueError, "beam must be at least 1, got 0"),
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"end": 3}, ValueError, "end must be at most 2, got 3"),
        ({"min_steps": 5}, ValueError, "min_steps must be at most 4, got 5"),
        ({"n_best": 3}, ValueError, "n_best must be at most 2, got 3"),
        ({"block_ngrams": -1}, ValueError, "block_ngrams must be at least 0, got -1"),
        ({"length_penalty": 0.6}, TypeError, "length_penalty must be a function, got 0.6"),
        ({"length_penalty": lambda n: n - 1}, ValueError, "length_penalty must give finite numbers above 0, got 0.0"),
        ({"length_penalty": lambda n: n[1:]}, ValueError, r"what length_penalty returns must have shape \[5\]"),
        ({"extra": 1.0}, TypeError, "extra must be a function, got 1.0"),
        ({"extra": lambda state: jnp.zeros(2)}, ValueError, r"what extra returns must have shape \[4\], got \[2\]"),
        ({"step": lambda symbols, state: jnp.zeros((4, 3))}, TypeError, "step must return scores and state, got"),
        ({"step": lambda s, h: (jnp.zeros((4, 2)), h)}, ValueError, r"that step returns must have shape \[4, 3\]"),
        ({"step": lambda s, h: (jnp.zeros((4, 3)), s)}, TypeError, "the state that step returns must have the struct"),
    ],
)
def test_searches_that_cannot_be(arguments, error, sentence):
    good = {"step": lambda symbols, state: (jnp.zeros((4, 3)), state), "state": (), "scores": jnp.zeros((2, 3))}
    with pytest.raises(error, match=sentence):
        beam_search(**good | {"beam": 2, "steps": 4, "end": 0} | arguments)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: GNMTLength("1"), TypeError, "alpha must be a number, got '1'"),
        (lambda: PlainLength(float("nan")), ValueError, "alpha must be finite, got nan"),
        (lambda: covered(jnp.zeros((4, 3), int)), TypeError, "coverage must have dtype floating"),
        (lambda: covered(jnp.zeros((4, 2))), ValueError, r"is_there must have shape \[B, 2\], got \[2, 3\]"),
        (lambda: covered(jnp.zeros((5, 3))), ValueError, "as many rows for each of the 2 sources, got 5 rows"),
        (lambda: covered(jnp.zeros((4, 3)), beta=-1.0), ValueError, "beta must be at least 0, got -1.0"),
    ],
)
def test_penalties_that_cannot_be(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


def covered(coverage, beta=0.2):
    return lx.decoding.coverage_penalty(coverage, jnp.ones((2, 3), bool), beta)
