"""Attention: every kind against its formula in NumPy, and against itself under padding, batching, jit and vmap."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

from lstmjax import attention
from lstmjax.attention import AdditiveAttention, DotAttention, GeneralAttention, Memory, PredictedCentre, Window

B, S, Q, M, A = 4, 5, 3, 4, 6
LENGTHS = np.array([5, 0, 1, 3])
IS_THERE = np.arange(S) < LENGTHS[:, None]


def additive(coverage, dtype):
    return AdditiveAttention(3, M, A, coverage=coverage, param_dtype=dtype, rngs=nnx.Rngs(0))


KINDS = {
    "dot": lambda dtype: DotAttention(),
    "scaled": lambda dtype: DotAttention(scaled=True),
    "general": lambda dtype: GeneralAttention(3, M, param_dtype=dtype, rngs=nnx.Rngs(0)),
    "additive": lambda dtype: additive(False, dtype),
    "coverage": lambda dtype: additive(True, dtype),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def score(kind, p, q, m, c):
    """Of one query, one encoded step and how far it is covered: the papers' formulas."""
    if kind in ("dot", "scaled"):
        return q @ m / (math.sqrt(M) if kind == "scaled" else 1)
    if kind == "general":
        return q @ (m @ p["to_keys"]["kernel"])
    inner = q @ p["to_query"]["kernel"] + m @ p["to_keys"]["kernel"] + p["to_keys"]["bias"]
    inner += c * p["of_coverage"] if kind == "coverage" else 0.0
    return np.tanh(inner) @ p["score"]["kernel"][:, 0]


def by_hand(kind, p, query, encoded, is_there, coverage, window):
    """One query, one step at a time."""
    weights = np.zeros((len(query), query.shape[1], S))
    for b, q in np.ndindex(weights.shape[:2]):
        seen = [s for s in range(S) if is_there[b, s]]
        if window is not None:
            seen = [s for s in seen if abs(s - window.centre[b, q]) <= window.half_width]
        exps = {s: math.exp(score(kind, p, query[b, q], encoded[b, s], coverage[b, q, s])) for s in seen}
        for s in seen:
            weights[b, q, s] = exps[s] / sum(exps.values())
            if window is not None and window.gaussian:
                weights[b, q, s] *= math.exp(-((s - window.centre[b, q]) ** 2) / (2 * (window.half_width / 2) ** 2))
    return np.einsum("bqs,bsm->bqm", weights, np.where(is_there[..., None], encoded, 0.0)), weights


def randomised(model, dtype, seed=0):
    """The model with no parameter 0 or 1, as a function of its parameters."""
    rng = np.random.default_rng(seed)
    graph, params = nnx.split(model)
    return graph, jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape).astype(dtype)), params)


def drawn(kind, dtype=np.float64, seed=0):
    """Queries, encoded steps with junk where none is, and coverage."""
    rng = np.random.default_rng(seed)
    query = rng.normal(size=(B, Q, M if kind in ("dot", "scaled") else 3))
    encoded = rng.normal(size=(B, S, M))
    junk = rng.choice([np.nan, np.inf, -np.inf], (B, S, M))
    encoded = np.where(IS_THERE[..., None], encoded, junk)
    coverage = rng.random((B, Q, S))
    return query.astype(dtype), encoded.astype(dtype), coverage.astype(dtype)


def answers(kind, graph):
    """Contexts and weights as a function of arrays."""

    def answer(params, query, encoded, coverage, window=None, lengths=LENGTHS, mask=None):
        model = nnx.merge(graph, params)
        memory = model.memory(encoded, lengths=lengths, mask=mask)
        return model(query, memory, coverage=coverage if kind == "coverage" else None, window=window)

    return answer


def windows(dtype=np.float64):
    """None; narrow, with a centre behind its source; and Gaussian."""
    centre = np.random.default_rng(5).uniform(-0.5, 3.5, (B, Q))
    centre[2, 0] = 2.5
    return [None, Window(centre.astype(dtype), 1), Window(centre.astype(dtype), 2, gaussian=True)]


@every_kind
def test_formula(kind, x64):
    """With lengths and with a mask that has holes, in every window."""
    graph, params = randomised(KINDS[kind](np.float64), np.float64)
    query, encoded, coverage = drawn(kind)
    holes = IS_THERE & (np.arange(S) != 1)
    answer = jax.jit(answers(kind, graph))
    pure = jax.tree.map(np.asarray, nnx.to_pure_dict(params))
    for window in windows():
        for is_there, given in ((IS_THERE, {}), (holes, {"mask": holes})):
            context, weights = answer(params, query, encoded, coverage, window, **given)
            expected = by_hand(kind, pure, query, encoded, is_there, coverage, window)
            np.testing.assert_allclose(context, expected[0], rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(weights, expected[1], rtol=1e-12, atol=1e-14)
            assert not np.asarray(weights)[expected[1] == 0].any()
            if window is None:
                np.testing.assert_allclose(weights.sum(axis=2), is_there.any(axis=1)[:, None] * np.ones(Q))


def gradients(kind, graph):
    """Contexts and weights, and what a random sum of them is sensitive to."""
    answer = answers(kind, graph)

    def value(params, query, encoded, coverage, centre, lengths, pull):
        found = answer(params, query, encoded, coverage, Window(centre, 2, gaussian=True), lengths)
        return sum(jnp.sum(x * by) for x, by in zip(found, pull, strict=True)), found

    return jax.jit(jax.grad(value, (0, 1, 2, 3, 4), has_aux=True))


@every_kind
def test_padding_and_batching_change_nothing(kind, x64):
    """NaN and infinity where nothing is reach no gradient, one source alone gives the same; an empty source gives 0."""
    graph, params = randomised(KINDS[kind](np.float64), np.float64)
    query, encoded, coverage = drawn(kind)
    centre = windows()[2].centre
    rng = np.random.default_rng(1)
    pull = rng.normal(size=(B, Q, M)), rng.normal(size=(B, Q, S))
    gradient = gradients(kind, graph)
    slopes, found = gradient(params, query, encoded, coverage, centre, LENGTHS, pull)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((slopes, found)))
    assert not any(x[1].any() for x in (*found, *slopes[1:]))
    assert not slopes[2][~IS_THERE].any()
    assert slopes[2][0].any(axis=1).all()
    of_params = []
    for b in (0, 3):
        n, row = LENGTHS[b], slice(b, b + 1)
        alone = (
            query[row],
            encoded[row, :n],
            coverage[row, :, :n],
            centre[row],
            None,
            (pull[0][row], pull[1][row, :, :n]),
        )
        own, (context, weights) = gradient(params, *alone)
        np.testing.assert_allclose(context, found[0][row], rtol=1e-12)
        np.testing.assert_allclose(weights, found[1][row, :, :n], rtol=1e-12)
        by_query, by_encoded, by_coverage, by_centre = slopes[1:]
        expected = by_query[row], by_encoded[row, :n], by_coverage[row, :, :n], by_centre[row]
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12), own[1:], expected)
        of_params.append(own[0])
    two = gradient(params, *(x[::3] for x in (query, encoded, coverage, centre, LENGTHS)), [x[::3] for x in pull])[0][0]
    total = jax.tree.map(jnp.add, *of_params)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12), two, total)


@every_kind
def test_gradients(kind, x64):
    """Of parameters, queries, encoded steps, coverage and centre."""
    graph, params = randomised(KINDS[kind](np.float64), np.float64)
    query, encoded, coverage = drawn(kind)
    encoded = np.where(IS_THERE[..., None], encoded, 1.0)
    answer = answers(kind, graph)

    @jax.jit
    def function(params, query, encoded, coverage, centre):
        return answer(params, query, encoded, coverage, Window(centre, 2, gaussian=True))

    given = (params, query, encoded, coverage, windows()[2].centre)
    check_grads(function, given, order=1, modes=["rev"], rtol=1e-6, atol=1e-6, eps=1e-6)


@every_kind
def test_queries_at_once_in_a_scan_and_under_vmap(kind):
    """Are as one at a time; three sources under vmap are as each alone."""
    graph, params = randomised(KINDS[kind](np.float32), np.float32)
    query, encoded, coverage = drawn(kind, np.float32)
    window = windows(np.float32)[2]
    answer = answers(kind, graph)
    whole = jax.jit(answer)(params, query, encoded, coverage, window)

    @jax.jit
    def one_at_a_time(params, query, encoded, coverage, centre):
        model = nnx.merge(graph, params)
        memory = model.memory(encoded, lengths=LENGTHS)

        def step(carry, x):
            q, c, p = x
            given = c[:, None] if kind == "coverage" else None
            return carry, model(q[:, None], memory, coverage=given, window=Window(p[:, None], 2, gaussian=True))

        queries_first = (jnp.swapaxes(x, 0, 1) for x in (query, coverage, centre))
        found = jax.lax.scan(step, 0, tuple(queries_first))[1]
        return jax.tree.map(lambda x: jnp.swapaxes(x[:, :, 0], 0, 1), found)

    close = {"rtol": 1e-5, "atol": 1e-6}
    found = one_at_a_time(params, query, encoded, coverage, window.centre)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **close), found, whole)
    split = jax.tree.map(lambda x: x[:, None], (query, encoded, coverage, window, LENGTHS))
    mapped = jax.vmap(answer, in_axes=(None, 0, 0, 0, 0, 0))(params, *split)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[:, 0], y, **close), mapped, whole)


@every_kind
def test_half_precision(kind):
    """Weights are float32, contexts as the values; near what float32 gives for the same numbers."""
    graph, params = randomised(KINDS[kind](jnp.bfloat16), jnp.bfloat16)
    given = (params, *drawn(kind, jnp.bfloat16))
    answer = answers(kind, graph)

    def total(*given):
        found = answer(*given)
        return sum(jnp.sum(jnp.square(x.astype(jnp.float32))) for x in found), found

    slopes, found = jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(*given)
    assert [x.dtype for x in found] == [jnp.bfloat16, jnp.float32]
    assert all(x.dtype == jnp.bfloat16 and np.isfinite(x.astype(np.float32)).all() for x in jax.tree.leaves(slopes))
    single = jax.jit(answer)(*jax.tree.map(lambda x: x.astype(jnp.float32), given))
    for ours, theirs in zip(found, single, strict=True):
        np.testing.assert_allclose(ours.astype(np.float32), theirs, atol=0.05)


def test_a_query_in_another_precision_is_taken_in_the_memorys():
    model = additive(False, np.float32)
    query, encoded, _ = drawn("additive", np.float32)
    memory = model.memory(encoded, lengths=LENGTHS)
    half = query.astype(jnp.bfloat16)
    for ours, theirs in zip(model(half, memory), model(half.astype(np.float32), memory), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_scores_as_large_as_they_come():
    """No overflow: the largest takes all, whether it is large or small."""
    values, is_there = jnp.array([[[1.0], [2.0], [0.0]]]), jnp.array([[True, True, False]])
    memory = Memory(jnp.zeros((1, 3, 1)), values, is_there)
    for scores in ([1e38, -1e38, 3e38], [-3e38, 3e38, jnp.nan], [-3e38, -2e38, jnp.inf]):
        context, weights = attention.attend(jnp.array([[scores]]), memory)
        best = int(scores[1] > scores[0])
        assert weights[0, 0].tolist() == [1.0 - best, float(best), 0.0]
        assert context.item() == 1.0 + best


def test_nothing_to_see_makes_no_nan_on_the_way():
    nothing = Memory(jnp.zeros((1, 2, 1)), jnp.ones((1, 2, 1)), jnp.zeros((1, 2), bool))
    with jax.debug_nans(True):
        context, weights = attention.attend(jnp.ones((1, 1, 2), jnp.bfloat16), nothing)
    assert context.tolist() == [[[0.0]]]
    assert weights.tolist() == [[[0.0, 0.0]]]
    assert weights.dtype == jnp.float32


def test_predicted_centre(x64):
    """`length * sigmoid(v . tanh(W q))`; a source's length is where its last step is; a window there is never empty."""
    graph, params = randomised(PredictedCentre(3, 2, param_dtype=np.float64, rngs=nnx.Rngs(0)), np.float64)
    p = nnx.to_pure_dict(params)
    query, encoded, _ = drawn("general")
    general = GeneralAttention(3, M, param_dtype=np.float64, rngs=nnx.Rngs(0))
    memory = general.memory(encoded, mask=IS_THERE & (np.arange(S) != 1))
    predict = jax.jit(lambda params, query: nnx.merge(graph, params)(query, memory))
    found = predict(params, query)
    share = 1 / (1 + np.exp(-np.tanh(query @ p["hidden"]["kernel"]) @ p["score"]["kernel"][:, 0]))
    np.testing.assert_allclose(found, LENGTHS[:, None] * share, rtol=1e-12)
    check_grads(predict, (params, query), order=1, modes=["rev"])
    memory = general.memory(encoded, lengths=LENGTHS)
    extreme = predict(jax.tree.map(lambda leaf: leaf * 1e3, params), query)
    assert {0.0, 1.0} <= {float(p) / n for row, n in zip(extreme, LENGTHS, strict=True) if n for p in row}
    _, weights = general(query, memory, window=Window(extreme, 1))
    np.testing.assert_allclose(weights.sum(axis=2), (LENGTHS > 0)[:, None] * np.ones(Q))


def test_coverage_lets_a_decoder_look_elsewhere(x64):
    """A step that is covered loses weight where u and v say so; uncovered sources are as without coverage."""
    plain, covering = (additive(coverage, np.float64) for coverage in (False, True))
    query, encoded, coverage = drawn("coverage")
    ours = covering(query, covering.memory(encoded, lengths=LENGTHS), coverage=coverage)
    theirs = plain(query, plain.memory(encoded, lengths=LENGTHS))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12), ours, theirs)
    covering.of_coverage[...] = -100.0 * jnp.sign(covering.score.kernel[...][:, 0])
    first = np.zeros((B, Q, S))
    first[0, :, 2] = 1.0
    _, after = covering(query, covering.memory(encoded, lengths=LENGTHS), coverage=first)
    assert (after[0, :, 2] < theirs[1][0, :, 2]).all()
    np.testing.assert_allclose(after[1:], theirs[1][1:])


def test_coverage_loss(x64):
    """See's formula over steps that count; junk after a target's end reaches neither value nor gradient."""
    T = 4
    amounts = np.random.default_rng(0).dirichlet(np.ones(S), (B, T))
    lengths, each = np.array([4, 0, 1, 3]), np.array([1.0, 1.0, 0.5, 0.0])
    total = 0.0
    for b in range(B):
        for t in range(lengths[b]):
            total += each[b] * np.minimum(amounts[b, t], amounts[b, :t].sum(axis=0)).sum()
    amounts[np.arange(T) >= lengths[:, None]] = np.nan
    found = jax.jit(attention.coverage_loss)(amounts, lengths=lengths, weights=each)
    np.testing.assert_allclose(found.total, total, rtol=1e-12)
    assert found.weight == 4.5
    slopes = jax.grad(lambda x: attention.coverage_loss(x, lengths=lengths, weights=each).value)(amounts)
    assert np.isfinite(slopes).all()
    assert not slopes[3].any()
    assert slopes[0].any()


def test_coverage_loss_where_a_target_step_does_not_count():
    """It covers nothing."""
    amounts = jnp.array([[[1.0, 0.0], [jnp.nan, 0.0], [0.75, 0.25]]])
    found = attention.coverage_loss(amounts, mask=jnp.array([[True, False, True]]))
    assert found == (0.75, 2.0)


def test_as_pytorch_scaled_dot_product_attention():
    torch = pytest.importorskip("torch")
    query, encoded, _ = drawn("scaled", np.float32)
    present = LENGTHS > 0  # theirs is no number where nothing is there
    query, encoded, is_there = query[present], np.where(IS_THERE[..., None], encoded, 0)[present], IS_THERE[present]
    q, m = (torch.tensor(x, requires_grad=True) for x in (query, encoded))
    theirs = torch.nn.functional.scaled_dot_product_attention(q, m, m, attn_mask=torch.tensor(is_there)[:, None])
    theirs.square().sum().backward()
    model = DotAttention(scaled=True)

    def total(query, encoded):
        context, _ = model(query, model.memory(encoded, mask=is_there))
        return jnp.sum(jnp.square(context)), context

    slopes, context = jax.grad(total, (0, 1), has_aux=True)(query, encoded)
    np.testing.assert_allclose(context, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
    for ours, tensor in zip(slopes, (q, m), strict=True):
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_sources_that_do_not_fit():
    model = GeneralAttention(3, M, rngs=nnx.Rngs(0))
    encoded = jnp.zeros((2, S, M))
    with pytest.raises(ValueError, match=r"encoded must have shape \[B, S, 4\], got \[2, 5, 3\]"):
        model.memory(encoded[..., :3])
    with pytest.raises(TypeError, match="encoded must have dtype floating"):
        model.memory(encoded.astype(int))
    with pytest.raises(ValueError, match="the number of steps in encoded must be at least 1"):
        model.memory(encoded[:, :0])
    with pytest.raises(ValueError, match=r"lengths must lie in \[0, 5\]"):
        model.memory(encoded, lengths=np.array([6, 1]))
    with pytest.raises(ValueError, match=r"mask must have shape \[2, 5\]"):
        model.memory(encoded, mask=np.ones((2, 4), bool))


def test_queries_that_do_not_fit():
    model, covering = GeneralAttention(3, M, rngs=nnx.Rngs(0)), additive(True, jnp.float32)
    memory, query = model.memory(jnp.zeros((2, S, M))), jnp.zeros((2, Q, 3))
    with pytest.raises(ValueError, match=r"query must have shape \[2, Q, 3\], got \[2, 3\]"):
        model(query[:, 0], memory)
    with pytest.raises(ValueError, match=r"query must have shape \[2, Q, 3\], got \[1, 3, 3\]"):
        model(query[:1], memory)
    with pytest.raises(ValueError, match=r"query must have shape \[2, Q, 4\]"):
        DotAttention()(query, DotAttention().memory(jnp.zeros((2, S, M))))
    with pytest.raises(TypeError, match="query must have dtype floating"):
        model(query.astype(int), memory)
    with pytest.raises(TypeError, match="memory must be what an attention's `memory` gives, got Array"):
        model(query, memory.values)
    with pytest.raises(ValueError, match=r"coverage must be None; only AdditiveAttention"):
        model(query, memory, coverage=jnp.zeros((2, Q, S)))
    memory = covering.memory(jnp.zeros((2, S, M)))
    with pytest.raises(ValueError, match="coverage must be given"):
        covering(query, memory)
    with pytest.raises(ValueError, match=r"coverage must have shape \[2, 3, 5\], got \[2, 1, 5\]"):
        covering(query, memory, coverage=jnp.zeros((2, 1, S)))


def test_windows_scores_and_sizes_that_do_not_fit():
    model = DotAttention()
    memory, query = model.memory(jnp.zeros((2, S, M))), jnp.zeros((2, Q, M))
    with pytest.raises(ValueError, match=r"window\.centre must have shape \[2, 3\], got \[2, 1\]"):
        model(query, memory, window=Window(jnp.zeros((2, 1)), 1))
    with pytest.raises(TypeError, match=r"window\.centre must have dtype floating"):
        model(query, memory, window=Window(jnp.zeros((2, Q), int), 1))
    with pytest.raises(ValueError, match="half_width must be at least 1, got 0"):
        Window(jnp.zeros((2, Q)), 0)
    with pytest.raises(TypeError, match="gaussian must be True or False"):
        Window(jnp.zeros((2, Q)), 1, gaussian=1)
    with pytest.raises(ValueError, match=r"scores must have shape \[2, Q, 5\]"):
        attention.attend(jnp.zeros((2, Q, S + 1)), memory)
    with pytest.raises(ValueError, match="features must be at least 1, got 0"):
        AdditiveAttention(3, M, 0, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"rngs must be an nnx\.Rngs"):
        GeneralAttention(3, M, rngs=0)
    with pytest.raises(TypeError, match="param_dtype must be a floating dtype"):
        PredictedCentre(3, 2, param_dtype=int, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"attention_weights must have shape \[B, T, S\]"):
        attention.coverage_loss(jnp.zeros((2, S)))
