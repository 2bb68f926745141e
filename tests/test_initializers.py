"""How weights start: scales, gates, biases, and the same from the same key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmjax as lx
from lstmjax import initializers
from tests.cases import HIDDEN, IN, every_cell


@every_cell
def test_the_same_key_gives_the_same_parameters(make_cell):
    cell = make_cell(jnp.float32)
    first, again, other = (jax.tree.leaves(cell.init(jax.random.key(k))) for k in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("make", [lx.cells.LSTM, lx.cells.PeepholeLSTM, lx.cells.LayerNormLSTM, lx.cells.GRU])
def test_each_gate_starts_orthogonal(make):
    params = make(IN, HIDDEN).init(jax.random.key(0))
    for gate in jnp.split(params.w_h, params.w_h.shape[1] // HIDDEN, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(HIDDEN), atol=1e-6)


def test_the_forget_gate_starts_open():
    b = lx.cells.LSTM(IN, HIDDEN, forget_bias=2.0).init(jax.random.key(0)).b
    np.testing.assert_array_equal(b, np.repeat([0.0, 2.0, 0.0, 0.0], HIDDEN))
    b = lx.cells.CoupledLSTM(IN, HIDDEN).init(jax.random.key(0)).b
    np.testing.assert_array_equal(b, np.repeat([1.0, 0.0, 0.0], HIDDEN))


def test_each_gate_starts_with_glorot_scale():
    w_x = lx.cells.LSTM(100, 60).init(jax.random.key(0)).w_x
    for gate in jnp.split(w_x, 4, axis=1):
        limit = np.sqrt(6 / (100 + 60))
        assert 0.98 * limit < float(jnp.abs(gate).max()) <= limit


def test_torch_uniform_fills_its_range():
    init = initializers.torch_uniform(25)
    cell = lx.cells.LSTM(30, 25, kernel_init=init, recurrent_init=init, bias_init=init, forget_bias=0.0)
    for leaf in cell.init(jax.random.key(0)):
        assert 0.18 < float(jnp.abs(leaf).max()) <= 0.2
        assert abs(float(leaf.mean())) < 0.03


def test_identity_keeps_what_it_is_given():
    cell = lx.cells.ElmanRNN(IN, HIDDEN, activation_fn=jax.nn.relu, recurrent_init=initializers.identity())
    params = cell.init(jax.random.key(0))
    state = lx.HiddenState(jnp.arange(1.0, HIDDEN + 1, dtype=jnp.float32)[None])
    _, end = lx.unroll(cell, params, jnp.zeros((1, 50, IN), jnp.float32), state)
    np.testing.assert_array_equal(end.h, state.h)


def test_chrono_units_remember_for_one_to_max_steps():
    b = initializers.Chrono(1000)(jax.random.key(0), (20000,), jnp.float32)
    i, f, g, o = np.split(np.asarray(b), 4)
    np.testing.assert_array_equal(i, -f)
    np.testing.assert_array_equal(np.concatenate([g, o]), 0.0)
    span = 1 / (1 - 1 / (1 + np.exp(-f))) - 1  # a gate of sigmoid(f) forgets half-lives of exp(f) steps
    assert 1 <= span.min() < 3
    assert 990 < span.max() <= 999.5
    assert abs(np.mean(span) - 500) < 15
    chrono = initializers.Chrono(1000, gates="rzn")
    r, z, n = np.split(np.asarray(lx.cells.GRU(IN, 100, bias_init=chrono).init(jax.random.key(0)).b), 3)
    assert np.abs(r).sum() == np.abs(n).sum() == 0.0
    assert z.min() >= 0
    assert z.max() <= np.log(999)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@every_cell
def test_weights_can_be_stored_in_half_precision(make_cell, dtype):
    params = make_cell(dtype).init(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_cells_with_the_same_initialisers_are_equal():
    def make():
        return lx.cells.LSTM(IN, HIDDEN, bias_init=initializers.Chrono(10), kernel_init=initializers.torch_uniform(4))

    assert make() == make()
    assert hash(make()) == hash(make())


@pytest.mark.parametrize(
    ("build", "error", "sentence"),
    [
        (lambda: initializers.per_gate(initializers.orthogonal, 4)(KEY, (3, 10), F32), ValueError, r"multiple of 4"),
        (lambda: initializers.identity()(KEY, (3, 4), F32), ValueError, r"shape must be square, got \[3, 4\]"),
        (lambda: initializers.Chrono(2), ValueError, "max_steps must be at least 3, got 2"),
        (
            lambda: initializers.Chrono(9, gates="zrn"),
            ValueError,
            "gates must be one of 'ifgo', 'fgo', 'rzn', got 'zrn'",
        ),
        (
            lambda: lx.cells.CoupledLSTM(3, 4, bias_init=initializers.Chrono(9, gates="rzn")),
            ValueError,
            r"bias_init must be for gates 'fgo', got Chrono\(max_steps=9, gates='rzn'\)",
        ),
        (lambda: lx.cells.LSTM(3, 4, kernel_init="glorot"), TypeError, "kernel_init must be a function, got 'glorot'"),
        (lambda: lx.cells.LSTM(3, 4, gate_fn=None), TypeError, "gate_fn must be a function, got None"),
        (lambda: initializers.torch_uniform(0), ValueError, "hidden_features must be at least 1, got 0"),
    ],
)
def test_initialisers_that_cannot_be(build, error, sentence):
    with pytest.raises(error, match=sentence):
        build()


KEY, F32 = jax.random.key(0), jnp.float32
