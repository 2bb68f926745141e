"""The laws of backends: each is the scan, values and all derivatives, and says when it is not at hand."""

import dataclasses
import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.experimental import rnn

import lstmjax as lx
from lstmjax.cells.masked import MaskedWeight, mask_weight
from lstmjax.kernels import cudnn, fused, scan
from lstmjax.kernels.fused import Plan, equations
from lstmjax.kernels.native import library
from lstmjax.masking import Steps
from tests.cases import HIDDEN, IN, random_like, random_params, random_state
from tests.test_unroll import BATCH, assert_close

STEPS = 7
HAS_LIBRARY = library.why_not() is None
FASTEST = "native" if HAS_LIBRARY else "fused"
CALLS = [jax.export.DisabledSafetyCheck.custom_call(name) for name in library.TARGETS]
CELLS = {
    "lstm": functools.partial(lx.cells.LSTM, IN, HIDDEN),
    "lstm-no-bias": functools.partial(lx.cells.LSTM, IN, HIDDEN, use_bias=False),
    "gru": functools.partial(lx.cells.GRU, IN, HIDDEN),
    "gru-no-bias": functools.partial(lx.cells.GRU, IN, HIDDEN, use_bias=False),
}
FORMS = ("whole", "reverse", "flags", "flags-reverse", "padded-reverse", "thinned")
PLANS = {"kept": (3, True), "again": (3, False), "at-once": (STEPS, True), "even": (7, False)}


def problem(cell, form, dtype):
    keys = iter(jax.random.split(jax.random.key(0), 8))
    params = random_params(cell, next(keys))
    state, initial = (random_state(cell, (BATCH,), next(keys)) for _ in range(2))
    xs = jax.random.normal(next(keys), (STEPS, BATCH, IN), dtype)
    valid = resets = None
    if form == "thinned":
        mask = 2.0 * jax.random.bernoulli(next(keys), 0.5, state.h.shape).astype(dtype)
        params = params._replace(w_h=mask_weight(mask_weight(params.w_h, mask), mask + 1))
    if form.startswith("flags"):
        valid = jax.random.bernoulli(next(keys), 0.7, (STEPS, BATCH))
        resets = jax.random.bernoulli(next(keys), 0.4, (STEPS, BATCH))
        xs = jnp.where(valid[..., None], xs, jnp.nan)
    if form.startswith("padded"):
        valid = jnp.arange(STEPS)[:, None] < jnp.array([3, 7, 0])[None, :]
    return params, Steps(xs, valid, resets), state, initial


def gradients(run, cell, form, params, steps, state, initial):
    """Results, and the gradients of a loss that has them all in it."""

    def loss(params, xs, state, initial):
        end, ys = run(cell, params, dataclasses.replace(steps, xs=xs), state, initial, form.endswith("reverse"))
        return sum(jnp.sum(jnp.sin(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves((end, ys))), (end, ys)

    d_params, *others = jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True)(params, steps.xs, state, initial)[0]
    out = loss(params, steps.xs, state, initial)[1]
    weight = d_params.w_h
    if isinstance(weight, MaskedWeight):  # a mask's gradient goes nowhere: it comes from a key
        weight = weight.w
    return out, d_params._replace(w_h=weight), others


def check_fused(monkeypatch, make_cell, form, plans, dtype):
    """Under each plan, (size, keeps_gates), against one and the same scan."""
    cell = make_cell(param_dtype=dtype)
    arguments = problem(cell, form, dtype)
    expected = jax.jit(functools.partial(gradients, scan.run, cell, form))(*arguments)
    for plan in plans:
        monkeypatch.setattr(fused, "plan", lambda cell, steps, reverse, plan=plan: Plan(*plan, reverse))
        got = jax.jit(functools.partial(gradients, fused.run, cell, form))(*arguments)
        chex.assert_tree_all_finite(got)
        assert_close(got, expected, dtype)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_fused_is_the_scan(monkeypatch, name, form):
    """Each two of cell, form and plan meet; the law of the last digits has all plans."""
    plan = "kept" if (FORMS.index(form) % 2 == 0) == (name == "lstm") else "again"
    check_fused(monkeypatch, CELLS[name], form, [PLANS[plan]], jnp.float32)


@pytest.mark.parametrize("name", ["lstm-no-bias", "gru-no-bias"])
def test_fused_without_biases(monkeypatch, name):
    check_fused(monkeypatch, CELLS[name], "flags", [PLANS["kept"]], jnp.float32)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_fused_is_the_scan_to_the_last_digits(x64, monkeypatch, name):
    check_fused(monkeypatch, CELLS[name], "flags", PLANS.values(), jnp.float64)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_fused_in_half_precision(monkeypatch, name, dtype):
    """Against the scan in the same dtype: both round parameters, inputs and h to it, and sum in float32."""
    monkeypatch.setattr(fused, "plan", lambda cell, steps, reverse: Plan(3, True, reverse))
    cell = CELLS[name](dtype=dtype)
    arguments = problem(cell, "whole", jnp.float32)
    got = jax.jit(functools.partial(gradients, fused.run, cell, "whole"))(*arguments)
    expected = jax.jit(functools.partial(gradients, scan.run, cell, "whole"))(*arguments)
    chex.assert_trees_all_equal_dtypes(got, expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        bar = 2 * float(jnp.finfo(dtype).eps) * np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=bar)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_many_chunks_as_planned(name):
    """Hundreds of steps through `unroll` with nothing replaced."""
    cell = CELLS[name]()
    params = random_params(cell, jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (16, 300, IN))
    lengths = jnp.array([300, 0, 1, 299, 128, 17, 200, 40, 60, 90, 3, 120, 5, 70, 260, 33])
    steps = Steps(xs.swapaxes(0, 1), jnp.ones((300, 16), bool), None)
    planned = fused.plan(cell, steps, False)
    assert planned.size < 150

    def loss(params, xs, backend):
        ys, end = lx.unroll(cell, params, xs, lengths=lengths, backend=backend)
        return jnp.mean(jnp.sin(ys)) + jnp.mean(jnp.sin(end.h)), (ys, end)

    grad = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True), static_argnums=2)
    assert_close(grad(params, xs, "fused"), grad(params, xs, "scan"))


@hypothesis.given(
    time=st.integers(1, 10_000), batch=st.integers(1, 3000), hidden=st.integers(1, 3000), masked=st.booleans()
)
def test_every_plan_keeps_to_its_limits(time, batch, hidden, masked):
    for cell in (lx.cells.LSTM(1, hidden), lx.cells.GRU(1, hidden)):
        xs = jax.ShapeDtypeStruct((time, batch, 1), jnp.float32)
        valid = jax.ShapeDtypeStruct((time, batch), jnp.bool_) if masked else None
        planned = fused.plan(cell, Steps(xs, valid, None), False)
        assert 1 <= planned.size <= min(time, fused.MOST_STEPS)
        gate_bytes = time * batch * cell.num_gates * hidden * 4
        assert not planned.keeps_gates or gate_bytes <= fused.MOST_KEPT_BYTES


def test_a_mixture_of_derivatives():
    """Reverse over forward, with respect to the point and to the direction."""
    cell = lx.cells.LSTM(IN, HIDDEN)
    params, xs = random_params(cell, jax.random.key(0)), jax.random.normal(jax.random.key(1), (BATCH, STEPS, IN))
    direction = random_like(params, jax.random.key(2))

    def slope(params, direction, backend):
        def loss(params):
            return jnp.sum(jnp.sin(lx.unroll(cell, params, xs, backend=backend)[0]))

        return jax.jvp(loss, (params,), (direction,))[1]

    both = jax.jit(jax.grad(slope, argnums=(0, 1)), static_argnums=2)
    assert_close(both(params, direction, "fused"), both(params, direction, "scan"))


def test_many_models_at_once_with_noise():
    cell = lx.regularizers.RecurrentDropout(lx.cells.GRU(IN, HIDDEN), 0.5)
    xs = jax.random.normal(jax.random.key(1), (BATCH, STEPS, IN))

    models = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *[random_params(cell, jax.random.key(k)) for k in range(3)]
    )
    keys = jax.random.split(jax.random.key(2), 3)

    def gradients_by(backend):
        def loss(params, key):
            return jnp.sum(lx.unroll(cell, params, xs, backend=backend, key=key)[0] ** 2)

        return jax.jit(jax.vmap(jax.grad(loss)))(models, keys)

    assert_close(gradients_by("fused"), gradients_by("scan"))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_one_tanh_for_all_gates(x64, dtype):
    a = np.linspace(-30, 30, 4 * 601, dtype=dtype).reshape(4, 601).T.reshape(1, -1)

    @jax.jit
    def gates_and_slopes(a):
        i, f, g, o = jnp.split(a, 4, axis=-1)
        gates = jnp.concatenate([jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)], axis=-1)
        slopes = jax.vmap(jax.grad(lambda x: equations.gates_at_once(x[None], "s", 1)[0]))(a[0])
        ours = equations.gates_at_once(a, "ssts", 601), equations.slopes_of_gates(jax.nn.sigmoid(a), "s", a.size)[0]
        return ours, (gates, slopes)

    chex.assert_trees_all_close(*gates_and_slopes(a), rtol=0, atol=4 * float(jnp.finfo(dtype).eps))


def temporary_bytes(backend, steps):
    cell = lx.cells.LSTM(16, 32)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((8, steps, 16), jnp.float32)
    grad = jax.jit(jax.grad(lambda p, xs: lx.unroll(cell, p, xs, backend=backend)[0].sum()))
    return grad.lower(params, xs).compile().memory_analysis().temp_size_in_bytes


def test_fused_needs_a_fourth_of_the_memory_of_scan():
    assert temporary_bytes("fused", 4000) < temporary_bytes("scan", 4000) / 4


LSTM, GRU = lx.cells.LSTM(IN, HIDDEN), lx.cells.GRU(IN, HIDDEN)
ELSEWHERE = {
    "peephole": (lx.cells.PeepholeLSTM(IN, HIDDEN), {}, "it knows cells.LSTM and cells.GRU, got PeepholeLSTM"),
    "functions": (lx.cells.LSTM(IN, HIDDEN, gate_fn=jax.nn.hard_sigmoid), {}, "got another gate_fn or activation_fn"),
    "reset-before": (lx.cells.GRU(IN, HIDDEN, reset_after=False), {}, "it knows the GRU with reset_after=True"),
    "recording": (lx.Recording(LSTM), {}, "got Recording"),
    "zoneout": (lx.regularizers.Zoneout(LSTM, 0.5), {"key": jax.random.key(0)}, "got _ZoneoutStep"),
}


@pytest.mark.parametrize(("cell", "arguments", "reason"), ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_what_fused_cannot_serve_goes_to_scan(cell, arguments, reason):
    params, xs = cell.init(jax.random.key(0)), jnp.ones((BATCH, STEPS, IN))
    chosen = lx.kernels.explain(cell, params, xs, backend="fused", **arguments)
    assert chosen.backend == "scan"
    assert reason in chosen.reasons["fused"]
    fused_or_not = [lx.unroll(cell, params, xs, backend=name, **arguments) for name in ("fused", "scan")]
    chex.assert_trees_all_equal(*fused_or_not)


@pytest.mark.parametrize(("missing", "serving"), [(None, ("native", "scan")), ("there is no library", ("scan",))])
def test_native_knows_a_cell_that_fused_does_not(monkeypatch, missing, serving):
    monkeypatch.setattr(lx.kernels.native.library, "why_not", lambda: missing)
    cell = lx.cells.GRU(IN, HIDDEN, reset_after=False)
    chosen = lx.kernels.explain(cell, cell.init(jax.random.key(0)), jnp.ones((BATCH, STEPS, IN)))
    assert (chosen.backend, *chosen.elsewhere) == serving
    assert chosen.reasons["fused"] == "it knows the GRU with reset_after=True"
    assert chosen.reasons.get("native") == missing
    assert missing or chosen.reasons["scan"].endswith("on platforms that native is not made for, scan serves")


@pytest.mark.parametrize("regularize", [lx.regularizers.RecurrentDropout, lx.regularizers.WeightDrop])
def test_recurrent_noise_stays_with_the_fastest(regularize):
    cell = regularize(LSTM, 0.5)
    chosen = lx.kernels.explain(cell, cell.init(jax.random.key(0)), jnp.ones((2, STEPS, IN)), key=jax.random.key(0))
    assert chosen.backend == FASTEST


def test_auto_leaves_single_steps_to_scan_where_native_is_missing():
    params = LSTM.init(jax.random.key(0))
    assert lx.kernels.explain(LSTM, params, jnp.ones((2, 1, IN))).backend == ("native" if HAS_LIBRARY else "scan")
    assert lx.kernels.explain(LSTM, params, jnp.ones((2, 1, IN)), backend="fused").backend == "fused"


def test_an_explanation_names_every_other_backend():
    text = str(lx.kernels.explain(LSTM, LSTM.init(jax.random.key(0)), jnp.ones((2, STEPS, IN))))
    assert text.splitlines()[0] == f"{FASTEST} serves this call"
    assert "not cudnn: it " in text
    assert f"not scan: {FASTEST} is faster" in text
    assert ("not scan: native is faster; on platforms that native is not made for, scan" in text) == HAS_LIBRARY


@pytest.mark.skipif(not HAS_LIBRARY, reason="the native library is not there")
def test_where_there_is_another_platform_fused_serves_it(monkeypatch):
    monkeypatch.setattr(lx.kernels.backend, "platforms", lambda: {"cpu", "cuda"})
    chosen = lx.kernels.explain(LSTM, LSTM.init(jax.random.key(0)), jnp.ones((2, STEPS, IN)))
    assert chosen.backends == ("native", "fused")
    assert chosen.reasons["fused"] == "native is faster; on platforms that native is not made for, fused serves"


def test_an_empty_batch_goes_to_scan():
    params, xs = LSTM.init(jax.random.key(0)), jnp.ones((0, STEPS, IN))
    gradient = jax.grad(lambda p: lx.unroll(LSTM, p, xs)[0].sum())(params)
    chex.assert_trees_all_equal(gradient, jax.tree.map(jnp.zeros_like, params))
    assert "empty batch" in lx.kernels.explain(LSTM, params, xs).reasons["fused"]


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"reverse": "no"}, TypeError, "reverse must be"),
        ({"remat": 0}, ValueError, "remat must be at least 1"),
        ({"key": 5}, TypeError, "key must be"),
    ],
)
def test_explain_checks_as_unroll_does(arguments, error, sentence):
    for function in (lx.unroll, lx.kernels.explain):
        with pytest.raises(error, match=sentence):
            function(LSTM, LSTM.init(jax.random.key(0)), jnp.ones((2, STEPS, IN)), **arguments)


ELMAN = lx.cells.ElmanRNN(IN, HIDDEN)
IN_SHARDS = {  # a cell, how it runs, and whether there are flags: each two meet, as far as a backend has a cell
    "scan": (LSTM, {"backend": "scan"}, False),
    "scan-flags": (LSTM, {"backend": "scan"}, True),
    "fused": (GRU, {"backend": "fused"}, False),
    "fused-flags": (LSTM, {"backend": "fused"}, True),
    "fused-remat-flags": (GRU, {"backend": "fused", "remat": 3}, True),
    "native": (LSTM, {"backend": "native"}, False),
    "native-flags": (GRU, {"backend": "native"}, True),
    "native-remat": (GRU, {"backend": "native", "remat": 3}, False),
    "native-remat-flags": (LSTM, {"backend": "native", "remat": 3}, True),
    "elman": (ELMAN, {}, False),
    "elman-remat-flags": (ELMAN, {"remat": 3}, True),
}


def gradient_of_unroll(cell, options, params, xs, flags):
    def loss(params, xs):
        ys, end = lx.unroll(cell, params, xs, **flags, **options)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.sin(end.h))

    return jax.grad(loss, argnums=(0, 1))(params, xs)


@functools.partial(jax.jit, static_argnums=0)
def gradient_of_scan(cell, params, xs, flags):
    return gradient_of_unroll(cell, {"backend": "scan"}, params, xs, flags)


@pytest.mark.parametrize(("cell", "options", "has_flags"), IN_SHARDS.values(), ids=IN_SHARDS.keys())
def test_in_shards(cell, options, has_flags):
    """On four devices, from a state that is made inside: the scan on one; no device needs another's sequences."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    params, keys = random_params(cell, jax.random.key(0)), jax.random.split(jax.random.key(1), 2)
    xs = jax.random.normal(keys[0], (8, STEPS, IN))
    resets = jax.random.bernoulli(keys[1], 0.4, (8, STEPS))
    flags = {"lengths": jnp.arange(8), "resets": resets} if has_flags else {}
    along, whole = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    gradient = functools.partial(gradient_of_unroll, cell, options)
    in_shards = jax.jit(jax.shard_map(gradient, mesh=mesh, in_specs=(whole, along, along), out_specs=(whole, along)))
    compiled = in_shards.lower(params, xs, flags).compile()
    assert "all-gather" not in compiled.as_text()
    split = jax.device_put((xs, flags), jax.NamedSharding(mesh, along))
    got = compiled(jax.device_put(params, jax.NamedSharding(mesh, whole)), *split)
    assert_close(got, gradient_of_scan(cell, params, xs, flags))


def test_explicit_sharding_goes_to_scan():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params = random_params(LSTM, jax.random.key(0))
        chosen = lx.kernels.explain(LSTM, params, np.ones((2, STEPS, IN), np.float32))
    assert chosen.backend == "scan"
    assert "explicit sharding" in chosen.reasons["fused"]


@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_lowered_for_another_platform_than_this_one(name, platform):
    """Gradients and all, from whatever machine; the library is called on CPUs only."""
    cell = CELLS[name]()
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs, lengths = jax.ShapeDtypeStruct((32, 300, IN), jnp.float32), jax.ShapeDtypeStruct((32,), jnp.int32)

    def loss(params, xs, lengths):
        return jnp.sum(lx.unroll(cell, params, xs, lengths=lengths)[0])

    for function in (loss, jax.grad(loss)):
        exported = jax.export.export(jax.jit(function), platforms=[platform], disabled_checks=CALLS)
        module = exported(params, xs, lengths).mlir_module()
        assert ("lstmjax_forward" in module) == (HAS_LIBRARY and platform == "cpu")


def test_no_such_backend():
    with pytest.raises(
        ValueError, match="backend must be one of 'auto', 'scan', 'fused', 'native', 'cudnn', got 'mps'"
    ):
        lx.unroll(LSTM, LSTM.init(jax.random.key(0)), jnp.ones((2, STEPS, IN)), backend="mps")


ON_A_GPU = {
    "plain": (LSTM, {}, None),
    "lengths": (LSTM, {"lengths": jnp.array([7, 2])}, None),
    "gru": (GRU, {}, "it knows cells.LSTM, got GRU"),
    "half": (
        lx.cells.LSTM(IN, HIDDEN, dtype=jnp.bfloat16),
        {},
        "it knows float32, got float32 parameters computed in bf",
    ),
    "mask": (LSTM, {"mask": jnp.ones((2, STEPS), bool)}, "it knows lengths, got a mask"),
    "resets": (LSTM, {"resets": jnp.ones((2, STEPS), bool)}, "it has no resets"),
    "functions": (lx.cells.LSTM(IN, HIDDEN, activation_fn=jax.nn.relu), {}, "got another gate_fn or activation_fn"),
    "dropout": (
        lx.regularizers.RecurrentDropout(LSTM, 0.5),
        {"key": jax.random.key(0)},
        "it has no recurrent dropout",
    ),
}


@pytest.mark.parametrize(("cell", "arguments", "reason"), ON_A_GPU.values(), ids=ON_A_GPU.keys())
def test_what_cudnn_serves(monkeypatch, cell, arguments, reason):
    monkeypatch.setattr(cudnn, "can_be_traced", lambda: True)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((2, STEPS, IN))
    chosen = lx.kernels.explain(cell, params, xs, backend="cudnn", **arguments)
    assert (chosen.backend == "cudnn") == (reason is None)
    assert (reason or "on platforms that cudnn is not made for, ") in str(chosen)
    assert lx.kernels.explain(cell, params, xs, **arguments).backend != "cudnn"


def test_cudnns_vector_of_weights():
    """JAX's own way out of it, and JAX's own reference for a bidirectional stack, see our layers in it."""
    sizes = (IN, IN, 2 * HIDDEN, 2 * HIDDEN)
    cells = [lx.cells.LSTM(size, HIDDEN) for size in sizes]
    params = [random_params(cell, jax.random.key(k)) for k, cell in enumerate(cells)]
    shape = {"input_size": IN, "hidden_size": HIDDEN, "num_layers": 2, "bidirectional": True}
    unpacked = rnn.unpack_lstm_weights(cudnn.pack(params), **shape)
    xs = jax.random.normal(jax.random.key(8), (BATCH, STEPS, IN))
    lengths, zeros = jnp.full(BATCH, STEPS, jnp.int32), jnp.zeros((4, BATCH, HIDDEN))
    with jax.numpy_rank_promotion("allow"):
        expected, _, _ = rnn.lstm_ref(xs, zeros, zeros, *unpacked, lengths, dropout=0.0, **shape)
    ys = xs
    for depth in (0, 2):
        ways = [lx.unroll(cells[k], params[k], ys, reverse=k % 2 == 1)[0] for k in (depth, depth + 1)]
        ys = jnp.concatenate(ways, axis=-1)
    assert_close(ys, expected)


def reference_of_cudnn(x, h, c, weights, lengths, **shape):
    """JAX's reference in the place of cuDNN: its weights, its padding, its one direction."""
    del shape["precision"]
    sizes = {name: shape[name] for name in ("input_size", "hidden_size", "num_layers", "bidirectional")}
    with jax.numpy_rank_promotion("allow"):
        return rnn.lstm_ref(x, h, c, *rnn.unpack_lstm_weights(weights, **sizes), lengths, **shape)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_round_cudnn_all_is_as_in_scan(monkeypatch, reverse, ragged):
    monkeypatch.setattr(rnn, "lstm", reference_of_cudnn)
    keys = jax.random.split(jax.random.key(0), 3)
    params, state = random_params(LSTM, keys[0]), random_state(LSTM, (BATCH,), keys[1])
    xs = jax.random.normal(keys[2], (STEPS, BATCH, IN))
    valid = jnp.arange(STEPS)[:, None] < jnp.array([4, 0, 7])[None, :] if ragged else None
    arguments = params, Steps(xs, valid, None), state, state
    form = "reverse" if reverse else "whole"
    got, expected = (
        jax.jit(functools.partial(gradients, run, LSTM, form))(*arguments) for run in (cudnn.run, scan.run)
    )
    assert_close(got, expected)
