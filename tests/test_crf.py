"""CRFs: every function against brute force over all paths, and against itself under padding, batching, jit and vmap."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lstmjax import crf
from lstmjax.crf import Transitions

T, K = 5, 3
LENGTHS = np.array([5, 0, 1, 4, 2, 5, 3, 1, 5, 4, 3, 2])
B = len(LENGTHS)
FORBIDDEN = [0.0, 0.3, 0.6, 1.0]
"""The share of transitions, starts, ends and emissions that are -inf; of emissions a third of it."""

SEQUENTIAL_AND_PARALLEL = [crf.log_partition, crf.log_partition_parallel]


def drawn(share, seed=0, scale=2.0, dtype=np.float64):
    """Emissions with junk after the end, and transitions."""
    rng = np.random.default_rng(seed)

    def scores(*shape, share=share):
        return np.where(rng.random(shape) < share, -np.inf, scale * rng.normal(size=shape)).astype(dtype)

    emissions = scores(B, T, K, share=share / 3)
    junk = rng.choice([np.nan, np.inf, -np.inf], (B, T, K))
    behind = np.arange(T)[None, :, None] >= LENGTHS[:, None, None]
    return np.where(behind, junk, emissions).astype(dtype), Transitions(scores(K, K), scores(K), scores(K))


def all_paths(length):
    return list(itertools.product(range(K), repeat=length))


def by_hand(emissions, transitions, path):
    """The score of one path, as it is defined."""
    if not path:
        return 0.0
    score = transitions.start[path[0]] + transitions.end[path[-1]]
    score += sum(emissions[t, tag] for t, tag in enumerate(path))
    return score + sum(transitions.between[before, after] for before, after in itertools.pairwise(path))


def brute(emissions, transitions, length):
    """All paths and their scores and probabilities, and the log-partition; probabilities 0 where no path is allowed."""
    paths = all_paths(length)
    scores = np.array([by_hand(emissions.astype(float), transitions, path) for path in paths])
    total = np.logaddexp.reduce(scores)
    return paths, scores, np.exp(scores - total) if total > -np.inf else np.zeros(len(paths)), total


def batch(emissions, transitions):
    return [brute(emissions[b], transitions, LENGTHS[b]) for b in range(B)]


def padded(path):
    return [*path, *[0] * (T - len(path))]


@pytest.mark.parametrize("share", FORBIDDEN)
def test_partition_marginals_and_entropy_are_those_of_all_paths(share, x64):
    emissions, transitions = drawn(share)
    found = crf.marginals(emissions, transitions, lengths=LENGTHS)
    entropies = crf.entropy(emissions, transitions, lengths=LENGTHS)
    totals = [log_partition(emissions, transitions, lengths=LENGTHS) for log_partition in SEQUENTIAL_AND_PARALLEL]
    for b, (paths, _, p, total) in enumerate(batch(emissions, transitions)):
        expected = np.zeros((T, K))
        for path, share_of_path in zip(paths, p, strict=True):
            expected[np.arange(len(path)), list(path)] += share_of_path
        np.testing.assert_allclose([each[b] for each in totals], total, rtol=1e-12)
        np.testing.assert_allclose(found[b], expected, atol=1e-12)
        np.testing.assert_allclose(entropies[b], -np.sum(p[p > 0] * np.log(p[p > 0])), atol=1e-12)


@pytest.mark.parametrize("share", FORBIDDEN)
def test_likelihoods_are_those_of_all_paths_and_sum_to_1(share, x64):
    emissions, transitions = drawn(share)
    paths = np.array(all_paths(T))
    likelihood, score = jax.jit(crf.log_likelihood), jax.jit(crf.path_score)
    for b, (own, scores, p, total) in enumerate(batch(emissions, transitions)):
        alike = np.broadcast_to(emissions[b], (len(paths), T, K))
        lengths = np.full(len(paths), LENGTHS[b])
        each = jnp.exp(likelihood(alike, paths, transitions, lengths=lengths))
        first = [tuple(path[: LENGTHS[b]]) for path in paths]
        at = [first.index(path) for path in own]
        np.testing.assert_allclose(each[np.array(at)], p, atol=1e-12)
        np.testing.assert_allclose(score(alike, paths, transitions, lengths=lengths)[np.array(at)], scores)
        np.testing.assert_allclose(each[np.array(at)].sum(), float(total > -np.inf))


@pytest.mark.parametrize("share", FORBIDDEN)
def test_n_best_are_the_best_of_all_paths_in_order(share, x64):
    """Whole numbers, so that many paths score alike: then the lower last tag comes first, then the last but one."""
    emissions, transitions = drawn(share)
    emissions, transitions = np.round(emissions), Transitions(*map(np.round, transitions))
    n = K**T + 2
    tags, scores = crf.n_best(emissions, transitions, n, lengths=LENGTHS)
    assert tags.dtype == jnp.int32
    for b, (paths, own_scores, _, _) in enumerate(batch(emissions, transitions)):
        ranked = sorted((-score, path[::-1]) for score, path in zip(own_scores, paths, strict=True) if score > -np.inf)
        expected = [padded(path[::-1]) for _, path in ranked]
        assert tags[b, : len(ranked)].tolist() == expected
        assert scores[b].tolist() == [-score for score, _ in ranked] + [-np.inf] * (n - len(ranked))
        assert not np.any(tags[b, len(ranked) :])
    few = crf.n_best(emissions, transitions, 4, lengths=LENGTHS)
    best = crf.viterbi(emissions, transitions, lengths=LENGTHS)
    one = crf.n_best(emissions, transitions, 1, lengths=LENGTHS)
    for several, same in ((few, (tags[:, :4], scores[:, :4])), (one, (tags[:, :1], scores[:, :1]))):
        jax.tree.map(np.testing.assert_array_equal, several, same)
    jax.tree.map(np.testing.assert_array_equal, best, (tags[:, 0], scores[:, 0]))


def test_gradients(x64):
    """Also with scores so far apart that a matrix product would underflow."""
    emissions, transitions = drawn(0.0, seed=1)
    emissions = jnp.where(np.isfinite(emissions), emissions, 0.0)[2:5]
    forbidden = Transitions(jnp.array([[0, 0, -jnp.inf], [0, -jnp.inf, 0], [0, 0, 0]]), jnp.zeros(3), jnp.zeros(3))

    @jax.jit
    def totals(emissions, transitions):
        return crf.log_partition(emissions, jax.tree.map(jnp.add, transitions, forbidden), lengths=LENGTHS[2:5])

    for gap, order in ((1.0, 2), (1000.0, 1)):
        check_grads(totals, (gap * emissions, transitions), order=order, rtol=1e-4, atol=1e-4, eps=1e-5)


@pytest.mark.parametrize("log_partition", SEQUENTIAL_AND_PARALLEL)
def test_gradients_are_exact_where_some_have_no_path(log_partition, x64):
    """Those of a row are its marginals, 0 where no path is allowed: the others don't see it."""
    emissions, transitions = drawn(0.15)
    emissions[0, 2] = -np.inf

    def total(emissions, transitions):
        each = log_partition(emissions, transitions, lengths=LENGTHS)
        return jnp.where(each == -jnp.inf, 0.0, each).sum(), each

    by_emission, (by_move, by_start, by_end) = jax.grad(total, (0, 1), has_aux=True)(emissions, transitions)[0]
    expected = np.array(crf.marginals(emissions, transitions, lengths=LENGTHS))
    assert not expected[0].any()
    assert expected.any(axis=(1, 2)).sum() > 6
    np.testing.assert_allclose(by_emission, expected, atol=1e-12)
    last = [expected[b, n - 1] for b, n in enumerate(LENGTHS) if n]
    np.testing.assert_allclose(by_start, expected[:, 0].sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(by_end, np.sum(last, axis=0), atol=1e-12)
    np.testing.assert_allclose(by_move.sum(axis=0), expected[:, 1:].sum(axis=(0, 1)), atol=1e-12)


def test_a_forbidden_path_has_no_likelihood_and_no_gradient(x64):
    emissions, transitions = drawn(0.0)
    transitions = transitions._replace(between=transitions.between + np.array([[0, -np.inf, 0], [0, 0, 0], [0, 0, 0]]))
    tags = np.zeros((B, T), int)
    tags[0, 3] = 1

    def total(emissions):
        each = crf.log_likelihood(emissions, tags, transitions, lengths=LENGTHS)
        return jnp.where(each == -jnp.inf, 0.0, each).sum(), each

    slopes, each = jax.grad(total, has_aux=True)(emissions)
    assert each[0] == -np.inf
    assert not slopes[0].any()
    assert np.isfinite(each[1:]).all()
    assert np.isfinite(slopes).all()
    assert slopes[3].any()


@pytest.mark.parametrize("log_partition", SEQUENTIAL_AND_PARALLEL)
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_float32_where_scores_differ_by_hundreds(log_partition, share):
    """Most products underflow; values and gradients are right to the digits of the numbers."""

    @jax.jit
    def gradient(emissions, transitions):
        each, pull = jax.vjp(lambda x: log_partition(x, transitions, lengths=LENGTHS), emissions)
        return pull(jnp.ones(B))[0], each

    for seed in range(3):
        emissions, transitions = drawn(share, seed, scale=200.0, dtype=np.float32)
        slopes, each = gradient(emissions, transitions)
        expected = batch(emissions, transitions)
        np.testing.assert_allclose(each, [total for *_, total in expected], rtol=1e-6)
        for b, (paths, _, p, _) in enumerate(expected):
            likely = np.array([[sum(p[np.array(paths)[:, t] == k]) for k in range(K)] for t in range(LENGTHS[b])])
            np.testing.assert_allclose(slopes[b, : LENGTHS[b]], likely.reshape(-1, K), atol=2e-3)
            assert not slopes[b, LENGTHS[b] :].any()


def test_entropy_keeps_its_digits_in_float32(x64):
    """The scores are a thousand times as large; its gradient goes through forbidden transitions."""
    emissions, transitions = drawn(0.3, scale=50.0)
    single = crf.entropy(emissions.astype(np.float32), jax.tree.map(np.float32, transitions), lengths=LENGTHS)
    double = crf.entropy(emissions, transitions, lengths=LENGTHS)
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-6)
    inside = jnp.where(np.isfinite(emissions), emissions / 50.0, 0.0)
    check_grads(lambda x: crf.entropy(x, transitions, lengths=LENGTHS), (inside,), order=1, modes=["rev"], rtol=1e-4)


def test_a_path_that_lags_far_behind_is_not_lost():
    """After the first token tag 1 is 500 behind; then all paths but its own are forbidden."""
    emissions = jnp.array([[[0.0, -500.0], [0.0, -300.0], [0.0, 0.0]]])
    transitions = Transitions(jnp.array([[0.0, -jnp.inf], [-jnp.inf, 0.0]]), jnp.zeros(2), jnp.array([-jnp.inf, 0.0]))
    two = jnp.stack([emissions, emissions / 1000.0])
    for log_partition in SEQUENTIAL_AND_PARALLEL:
        gradient = jax.value_and_grad(lambda x, f=log_partition: f(x, transitions)[0])
        value, slopes = gradient(emissions)
        assert float(value) == -800.0
        assert slopes.tolist() == [[[0.0, 1.0]] * 3]
        values, slopes = jax.vmap(gradient)(two)
        np.testing.assert_allclose(values, [-800.0, -0.8], rtol=1e-6)
        np.testing.assert_allclose(slopes, [[[[0.0, 1.0]] * 3]] * 2, atol=1e-6)


def functions():
    """Everything of emissions [B, T, K], transitions and lengths."""
    tags = np.random.default_rng(3).integers(0, K, (B, T))
    return {
        "path_score": lambda xs, by, n: crf.path_score(xs, tags[: len(xs)], by, lengths=n),
        "log_likelihood": lambda xs, by, n: crf.log_likelihood(xs, tags[: len(xs)], by, lengths=n),
        "log_partition": lambda xs, by, n: crf.log_partition(xs, by, lengths=n),
        "log_partition_parallel": lambda xs, by, n: crf.log_partition_parallel(xs, by, lengths=n),
        "viterbi": lambda xs, by, n: crf.viterbi(xs, by, lengths=n),
        "n_best": lambda xs, by, n: crf.n_best(xs, by, 3, lengths=n),
        "marginals": lambda xs, by, n: crf.marginals(xs, by, lengths=n),
        "entropy": lambda xs, by, n: crf.entropy(xs, by, lengths=n),
    }


def assert_close(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), ours, theirs)


@pytest.mark.parametrize("name", functions())
def test_padding_batching_jit_and_vmap_change_nothing(name):
    function = functions()[name]
    emissions, transitions = drawn(0.15, dtype=np.float32)
    whole = jax.jit(function)(emissions, transitions, LENGTHS)
    assert_close(function(emissions, transitions, LENGTHS), whole)
    alone = function(emissions[:1, : LENGTHS[0]], transitions, None)
    assert_close(alone, jax.tree.map(lambda x: x[:1], whole))
    two = jax.tree.map(lambda x: np.stack([x, x]), (emissions, transitions, LENGTHS))
    assert_close(jax.vmap(function)(*two), jax.tree.map(lambda x: np.stack([x, x]), whole))
    half = emissions.astype(jnp.bfloat16)
    rounded = function(half, transitions, LENGTHS)
    jax.tree.map(np.testing.assert_array_equal, rounded, function(half.astype(np.float32), transitions, LENGTHS))
    assert all(x.dtype in (jnp.float32, jnp.int32) for x in jax.tree.leaves(rounded))


@pytest.mark.parametrize("name", functions())
def test_sentences_without_tokens(name):
    free = Transitions(jnp.zeros((K, K)), jnp.zeros(K), jnp.zeros(K))
    empty = {
        "path_score": lambda xs: crf.path_score(xs, np.zeros((2, 0), int), free),
        "log_likelihood": lambda xs: crf.log_likelihood(xs, np.zeros((2, 0), int), free),
    }
    function = empty.get(name, lambda xs: functions()[name](xs, free, None))
    for x in jax.tree.leaves(function(jnp.zeros((2, 0, K)))):
        assert x.shape[0] == 2
        assert not np.isfinite(x).any() or not x[np.isfinite(x)].any()
    assert crf.n_best(jnp.zeros((2, 0, K)), free, 2)[1].tolist() == [[0.0, -np.inf]] * 2


def test_as_pytorch_crf():
    """Log-likelihood, its gradients and the best paths; theirs needs a token in each sentence."""
    torch = pytest.importorskip("torch")
    torchcrf = pytest.importorskip("torchcrf")
    rng = np.random.default_rng(0)
    emissions, tags = rng.normal(size=(4, 7, 5)).astype(np.float32), rng.integers(0, 5, (4, 7))
    lengths = np.array([7, 1, 4, 6])
    theirs = torchcrf.CRF(5, batch_first=True)
    mask = torch.tensor(np.arange(7) < lengths[:, None])
    xs = torch.tensor(emissions, requires_grad=True)
    llh = theirs(xs, torch.tensor(tags), mask=mask, reduction="none")
    llh.sum().backward()
    parameters = [theirs.transitions, theirs.start_transitions, theirs.end_transitions]
    transitions = Transitions(*(jnp.asarray(p.detach().numpy()) for p in parameters))

    def total(emissions, transitions):
        each = crf.log_likelihood(emissions, tags, transitions, lengths=lengths)
        return each.sum(), each

    slopes, each = jax.grad(total, (0, 1), has_aux=True)(emissions, transitions)
    np.testing.assert_allclose(each, llh.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(slopes[0], xs.grad.numpy(), atol=1e-5)
    for ours, parameter in zip(slopes[1], parameters, strict=True):
        np.testing.assert_allclose(ours, parameter.grad.numpy(), atol=1e-5)
    paths, _ = crf.viterbi(emissions, transitions, lengths=lengths)
    assert [row[:n].tolist() for row, n in zip(paths, lengths, strict=True)] == theirs.decode(xs, mask=mask)


def valid_sequences(scheme, types, length):
    """All there are, made span by span."""
    if length == 0:
        yield ()
        return
    for rest in valid_sequences(scheme, types, length - 1):
        yield ("O", *rest)
    for kind, size in itertools.product(types, range(1, length + 1)):
        single, last = ("B", "I") if scheme == "BIO" else ("S", "E")
        letters = single if size == 1 else "B" + "I" * (size - 2) + last
        for rest in valid_sequences(scheme, types, length - size):
            yield (*(f"{letter}-{kind}" for letter in letters), *rest)


@pytest.mark.parametrize(("scheme", "letters"), [("BIO", "IB"), ("IOBES", "SEIB")])
def test_constraints_allow_what_spans_make_and_nothing_else(scheme, letters):
    types = ("PER", "X-Y")
    tags = [f"{letter}-{kind}" for letter in letters for kind in types] + ["O"]
    transitions = crf.constraints(tags, scheme)
    paths = np.array(list(itertools.product(range(len(tags)), repeat=4)))
    nothing = np.zeros((len(paths), 4, len(tags)), np.float32)
    for length in range(5):
        scores = crf.path_score(nothing, paths, transitions, lengths=np.full(len(paths), length))
        assert set(np.unique(scores)) <= {0.0, -np.inf}
        allowed = {tuple(tags[tag] for tag in path[:length]) for path in paths[np.asarray(scores) == 0.0]}
        assert allowed == set(valid_sequences(scheme, types, length))


@pytest.mark.parametrize(
    ("tags", "scheme", "sentence"),
    [
        (["O", "S-PER"], "BIO", "'S-PER'"),
        (["O", "S"], "BIO", "'S'"),
        (["O", "X-PER"], "IOBES", "'X-PER'"),
        (["o"], "IOBES", "'o'"),
        ([""], "IOBES", "''"),
        (["O", "B-A", "O"], "BIO", "differ"),
        ([], "BIO", "empty"),
        (["O"], "BILOU", "'BILOU'"),
    ],
)
def test_no_tags_of_the_scheme(tags, scheme, sentence):
    with pytest.raises(ValueError, match=sentence):
        crf.constraints(tags, scheme)


def test_arguments_that_do_not_fit():
    free = Transitions(jnp.zeros((K, K)), jnp.zeros(K), jnp.zeros(K))
    xs, tags = jnp.zeros((2, T, K)), np.zeros((2, T), int)
    with pytest.raises(ValueError, match=r"emissions must have shape \[B, T, K\]"):
        crf.log_partition(xs[0], free)
    with pytest.raises(TypeError, match="emissions must have dtype floating"):
        crf.log_partition(xs.astype(int), free)
    with pytest.raises(ValueError, match=r"transitions\.end must have shape \[3\], got \[2\]"):
        crf.viterbi(xs, free._replace(end=jnp.zeros(2)))
    with pytest.raises(TypeError, match=r"transitions\.start must have dtype floating"):
        crf.entropy(xs, free._replace(start=jnp.zeros(K, int)))
    with pytest.raises(ValueError, match=r"tags must lie in \[0, 2\]"):
        crf.log_likelihood(xs, tags + K, free)
    with pytest.raises(ValueError, match=r"tags must have shape \[2, 5\]"):
        crf.path_score(xs, tags[:1], free)
    with pytest.raises(ValueError, match="lengths"):
        crf.marginals(xs, free, lengths=np.array([T + 1, 0]))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        crf.n_best(xs, free, 0)
    with pytest.raises(ValueError, match="number of tags"):
        crf.log_partition(xs[..., :0], Transitions(jnp.zeros((0, 0)), jnp.zeros(0), jnp.zeros(0)))
