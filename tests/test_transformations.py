"""What JAX does with a run: remat, forward mode, second order, an ensemble under vmap, one trace for all lengths."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_jvp, check_vjp

import lstmjax as lx
from tests.cases import CELLS, HIDDEN, IN, each_kind, every_cell, random_like, random_params
from tests.test_unroll import BATCH, HOLES, STEPS, assert_close, flags, setup, with_gradients

MASK = flags(HOLES)


@functools.partial(jax.jit, static_argnames=("cell", "remat", "reverse"))
def gradient(cell, params, xs, state, mask, resets, *, remat, reverse):
    """One function for all tests: what they compare with is compiled once."""

    def loss(params):
        ys, end = lx.unroll(cell, params, xs, state, mask=mask, resets=resets, remat=remat, reverse=reverse)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((ys, end))), (ys, end)

    return jax.grad(loss, has_aux=True)(params)


def check_remat(make_cell, remat, reverse):
    mask = jax.random.bernoulli(jax.random.key(3), 0.7, (BATCH, STEPS))
    resets = jax.random.bernoulli(jax.random.key(4), 0.3, (BATCH, STEPS))
    found, expected = (gradient(*setup(make_cell), mask, resets, remat=by, reverse=reverse) for by in (remat, None))
    assert_close(found, expected)


@each_kind
def test_remat_changes_nothing(make_cell):
    check_remat(make_cell, remat=4, reverse=False)


@pytest.mark.parametrize(("remat", "reverse"), [(1, False), (2, True), (4, True), (STEPS, False), (STEPS + 1, True)])
def test_remat_by_any_number_of_steps(remat, reverse):
    check_remat(CELLS["lstm"].make, remat, reverse)


def test_remat_needs_a_fifth_of_the_memory_at_8000_steps(full_compilation):
    cell = lx.cells.LSTM(8, 32)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((4, 8000, 8), jnp.float32)

    def temporary_bytes(remat):
        grad = jax.jit(jax.grad(lambda p, xs: lx.unroll(cell, p, xs, remat=remat, backend="scan")[0].sum()))
        return grad.lower(params, xs).compile(full_compilation).memory_analysis().temp_size_in_bytes

    assert temporary_bytes(90) < temporary_bytes(None) / 5


@each_kind
def test_forward_mode_is_reverse_mode(make_cell):
    cell, params, xs, state = setup(make_cell)
    lengths = jnp.array([4, 6, 2])

    def loss(params):
        return jnp.sum(jnp.sin(lx.unroll(cell, params, xs, state, lengths=lengths)[0]))

    direction = random_params(cell, jax.random.key(5))
    _, forward = jax.jit(lambda p, d: jax.jvp(loss, (p,), (d,)))(params, direction)
    products = jax.tree.map(lambda g, d: jnp.sum(g * d), jax.jit(jax.grad(loss))(params), direction)
    assert_close(forward, sum(jax.tree.leaves(products)))


@every_cell
def test_an_ensemble_in_one_call(make_cell):
    """vmap over stacked parameters, gradients too, is each member on its own."""
    cell, params, xs, state = setup(make_cell)
    members = [params, random_params(cell, jax.random.key(7))]
    ensemble = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
    together = jax.device_get(jax.vmap(lambda p: with_gradients(cell, p, xs, state, MASK, False))(ensemble))
    for number, member in enumerate(members):
        alone = with_gradients(cell, member, xs, state, MASK, False)
        assert_close(jax.tree.map(lambda leaf, n=number: leaf[n], together), alone)


def test_one_trace_serves_all_lengths():
    cell, params, xs, _ = setup(lambda d: lx.cells.LSTM(IN, HIDDEN, param_dtype=d))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(params, xs, lengths):
        return lx.unroll(cell, params, xs, lengths=lengths)

    for lengths in ([1, 2, 3], [6, 0, 4]):
        run(params, xs, jnp.array(lengths))


FAST = ("fused", "native")  # native where the library is, else fused again
ALL_RULES = ("lstm", "gru", "conv-lstm", "integrator")  # with backends or gradients of their own, or unlike all others
EXACT = [
    *((name, "scan", name != "gru") for name in ALL_RULES),
    # Each two of cell, backend and resets meet: past the first gradient, a fast backend's derivatives are by scan.
    *(("lstm", "fused", True), ("lstm", "native", False), ("gru", "fused", False), ("gru", "native", True)),
]


def exact_problem(name, backend, has_resets):
    """A loss of all arguments, where to look at it, and a direction."""
    cell, params, xs, state = setup(CELLS[name].make, jnp.float64, steps=3)
    resets = jnp.array([[0, 1, 0], [1, 0, 1], [0, 0, 0]], bool) if has_resets else None
    point = (params, xs, random_like(state, jax.random.key(6)), state if has_resets else None)

    def loss(point):
        params, xs, initial, state = point
        flags = {"lengths": jnp.array([3, 1, 2]), "resets": resets}
        results = lx.unroll(cell, params, xs, state, initial_state=initial, backend=backend, **flags)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(results))

    return loss, point, random_like(point, jax.random.key(3))


@pytest.mark.parametrize(("name", "backend", "has_resets"), EXACT)
def test_derivatives_are_exact_to_second_order_in_every_mode(x64, name, backend, has_resets):
    """Forward and reverse, over value, gradient and slope, against finite differences, in all arguments."""
    loss, point, direction = exact_problem(name, backend, has_resets)

    @jax.jit
    def value_gradient_and_slope(point):
        return *jax.value_and_grad(loss)(point), jax.jvp(loss, (point,), (direction,))[1]

    @jax.jit
    def forward(point, tangent):
        return jax.jvp(value_gradient_and_slope, (point,), (tangent,))

    @jax.jit
    def reverse(point, cotangent):
        values, pull = jax.vjp(value_gradient_and_slope, point)
        return values, pull(cotangent)

    def values(point):  # without a program of its own
        return forward(point, direction)[0]

    def pulled(point):
        return values(point), lambda cotangent: reverse(point, cotangent)[1]

    check_jvp(values, lambda points, tangents: forward(*points, *tangents), (point,))
    check_vjp(values, pulled, (point,))


@pytest.mark.parametrize("name", [name for name in CELLS if name not in ALL_RULES])
def test_derivatives_of_every_cell_are_exact_to_second_order(x64, name):
    """A step of JAX's operations alone: `unroll` goes forward and in reverse at once over it, as over those above."""
    loss, point, _ = exact_problem(name, "scan", has_resets=True)

    @jax.jit
    def forward(point, tangent):
        return jax.jvp(jax.value_and_grad(loss), (point,), (tangent,))

    check_jvp(lambda point: forward(point, point)[0], lambda points, tangents: forward(*points, *tangents), (point,))


@pytest.mark.parametrize("backend", ["scan", *FAST])
def test_a_state_that_no_valid_step_reads_reaches_no_gradient(backend):
    """Of a sequence without steps, and of one that is reset before its first."""
    cell, params, xs, state = setup(CELLS["lstm"].make)
    flags = {"lengths": jnp.array([0, 4, 6]), "mask": jnp.ones((BATCH, STEPS), bool).at[1, :2].set(False)}
    flags["resets"] = jnp.zeros((BATCH, STEPS), bool).at[1, 2].set(True)

    def loss(params, xs, state):
        ys, end = lx.unroll(cell, params, xs, state, backend=backend, **flags)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.sin(end.h[1:]))

    grad = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    unread = jax.tree.map(lambda leaf: leaf.at[:2].set(jnp.nan), state)
    chex.assert_trees_all_equal(grad(params, xs, unread), grad(params, xs, state))
