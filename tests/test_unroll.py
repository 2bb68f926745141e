"""The laws of running over time: every enrolled cell, lengths, masks, resets, both directions."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

import lstmjax as lx
from tests.cases import HIDDEN, IN, every_cell, random_inputs, random_params, random_state, tolerance
from tests.reference import lstm

BATCH, STEPS = 3, 6
FLAGS = st.lists(st.booleans(), min_size=BATCH * STEPS, max_size=BATCH * STEPS)


def setup(make_cell, dtype=jnp.float32, steps=STEPS):
    cell = make_cell(dtype)
    params = random_params(cell, jax.random.key(0))
    xs = random_inputs(cell, (BATCH, steps), jax.random.key(1), dtype)
    return cell, params, xs, random_state(cell, (BATCH,), jax.random.key(2))


def assert_close(got, expected, dtype=jnp.float32):
    chex.assert_trees_all_close(got, expected, atol=tolerance(dtype), rtol=tolerance(dtype))


def flags(values):
    return jnp.array(values).reshape(BATCH, STEPS)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_numpy_reference(x64, dtype):
    cell, params, xs, _ = setup(lambda d: lx.cells.LSTM(IN, HIDDEN, param_dtype=d), dtype)
    lengths = np.array([STEPS, 0, 2])
    ys, state = lx.unroll(cell, params, xs, lengths=lengths)
    expected = lstm(*(np.asarray(leaf, np.float64) for leaf in (*params, xs)), lengths)
    assert_close((ys, state.h, state.c), expected, dtype)


@every_cell
@settings(max_examples=15)
@given(
    lengths=st.lists(st.integers(0, STEPS), min_size=BATCH, max_size=BATCH),
    mask=FLAGS,
    resets=FLAGS,
    reverse=st.booleans(),
)
def test_scan_is_the_loop(make_cell, lengths, mask, resets, reverse):
    cell, params, xs, state = setup(make_cell)
    lengths = np.array(lengths, np.int32)
    mask = flags(mask) & (np.arange(STEPS)[None, :] < lengths[:, None])
    arguments = {"lengths": lengths, "mask": mask, "resets": flags(resets), "reverse": reverse}
    assert_close(lx.unroll(cell, params, xs, state, **arguments), lx.unroll_loop(cell, params, xs, state, **arguments))


@every_cell
@settings(max_examples=4)
@given(mask=FLAGS, reverse=st.booleans())
def test_padding_is_as_good_as_absent(make_cell, mask, reverse):
    """Values, states, gradients are those of each row alone with its invalid steps cut out, even if they are NaN."""
    cell, params, xs, state = setup(make_cell)
    mask = np.array(flags(mask))
    poisoned = jnp.where(mask.reshape(BATCH, STEPS, *[1] * (xs.ndim - 2)), xs, jnp.nan)

    def loss(params, xs, state, mask):
        ys, state = lx.unroll(cell, params, xs, state, mask=mask, reverse=reverse)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((ys, state)))

    value, (d_params, d_xs, d_state) = jax.value_and_grad(loss, argnums=(0, 1, 2))(params, poisoned, state, mask)
    expected, expected_d_params = 0.0, jax.tree.map(jnp.zeros_like, params)
    for b in range(BATCH):
        row_state = jax.tree.map(lambda leaf, b=b: leaf[b : b + 1], state)
        packed = xs[b : b + 1, mask[b]]
        if packed.shape[1] == 0:
            expected += sum(float(jnp.sum(jnp.sin(leaf))) for leaf in jax.tree.leaves(row_state))
            continue
        row_value, (row_d_params, row_d_xs, row_d_state) = jax.value_and_grad(loss, argnums=(0, 1, 2))(
            params, packed, row_state, None
        )
        expected += float(row_value)
        expected_d_params = jax.tree.map(jnp.add, expected_d_params, row_d_params)
        assert_close(d_xs[b, mask[b]], row_d_xs[0])
        assert_close(jax.tree.map(lambda leaf, b=b: leaf[b : b + 1], d_state), row_d_state)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert_close(d_params, expected_d_params)
    np.testing.assert_array_equal(d_xs[~mask], 0.0)


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_are_a_mask(make_cell, reverse):
    cell, params, xs, state = setup(make_cell)
    lengths = jnp.array([0, 1, STEPS])
    mask = jnp.arange(STEPS)[None, :] < lengths[:, None]
    by_lengths = lx.unroll(cell, params, xs, state, lengths=lengths, reverse=reverse)
    by_mask = lx.unroll(cell, params, xs, state, mask=mask, reverse=reverse)
    chex.assert_trees_all_equal(by_lengths, by_mask)
    jax.tree.map(lambda end, begin: np.testing.assert_array_equal(end[0], begin[0]), by_lengths[1], state)


@every_cell
@pytest.mark.parametrize("cut", [1, 4])
def test_split_and_carry_is_the_whole(make_cell, cut):
    cell, params, xs, state = setup(make_cell)
    resets = jax.random.bernoulli(jax.random.key(3), 0.3, (BATCH, STEPS))
    mask = jax.random.bernoulli(jax.random.key(4), 0.7, (BATCH, STEPS))
    run = functools.partial(lx.unroll, cell, params)
    whole, end = run(xs, state, mask=mask, resets=resets)
    first, middle = run(xs[:, :cut], state, mask=mask[:, :cut], resets=resets[:, :cut])
    second, last = run(xs[:, cut:], middle, mask=mask[:, cut:], resets=resets[:, cut:])
    assert_close((jnp.concatenate([first, second], axis=1), last), (whole, end))


@every_cell
def test_a_reset_starts_a_new_sequence(make_cell):
    cell, params, xs, state = setup(make_cell)
    resets = jnp.zeros((BATCH, STEPS), bool).at[:, 2].set(True)
    ys, _ = lx.unroll(cell, params, xs, state, resets=resets)
    anew, _ = lx.unroll(cell, params, xs[:, 2:])
    assert_close(ys[:, 2:], anew)


@every_cell
def test_rows_do_not_see_each_other(make_cell):
    cell, params, xs, state = setup(make_cell)
    lengths = jnp.array([4, 6, 2])

    def row_sums(xs):
        return lx.unroll(cell, params, xs, state, lengths=lengths)[0].reshape(BATCH, -1).sum(axis=1)

    jacobian = np.abs(jax.jacobian(row_sums)(xs)).reshape(BATCH, BATCH, -1).sum(axis=2)
    assert (np.diag(jacobian) > 0).all()
    np.testing.assert_array_equal(jacobian[~np.eye(BATCH, dtype=bool)], 0.0)


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_an_output_sees_only_what_came_before(make_cell, reverse):
    cell, params, xs, _ = setup(make_cell)

    def step_sums(xs):
        return lx.unroll(cell, params, xs, reverse=reverse)[0].swapaxes(0, 1).reshape(STEPS, -1).sum(axis=1)

    seen = np.abs(jax.jacobian(step_sums)(xs)).swapaxes(1, 2).reshape(STEPS, STEPS, -1).sum(axis=2) > 0
    np.testing.assert_array_equal(seen, np.tri(STEPS, dtype=bool).T if reverse else np.tri(STEPS, dtype=bool))


@every_cell
def test_reverse_is_forward_on_the_reversed_sequence(make_cell):
    cell, params, xs, state = setup(make_cell)
    ys, end = lx.unroll(cell, params, xs, state, reverse=True)
    flipped, flipped_end = lx.unroll(cell, params, xs[:, ::-1], state)
    assert_close((ys, end), (flipped[:, ::-1], flipped_end))


@every_cell
def test_time_major_is_a_transposition(make_cell):
    cell, params, xs, state = setup(make_cell)
    mask = jax.random.bernoulli(jax.random.key(3), 0.7, (BATCH, STEPS))
    ys, end = lx.unroll(cell, params, xs, state, mask=mask, resets=mask)
    turned, turned_end = lx.unroll(cell, params, xs.swapaxes(0, 1), state, mask=mask.T, resets=mask.T, time_major=True)
    chex.assert_trees_all_equal((ys, end), (turned.swapaxes(0, 1), turned_end))


@every_cell
def test_jit_and_vmap_change_nothing(make_cell):
    cell, params, xs, state = setup(make_cell)
    lengths = jnp.array([4, 6, 2])
    run = functools.partial(lx.unroll, cell)
    plain = run(params, xs, state, lengths=lengths)
    assert_close(jax.jit(run)(params, xs, state, lengths=lengths), plain)
    pair = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    both = jax.vmap(lambda p: run(p, xs, state, lengths=lengths))(pair)
    assert_close(jax.tree.map(lambda leaf: leaf[0], both), plain)


@every_cell
def test_derivatives_are_exact_to_second_order(x64, make_cell):
    cell, params, xs, state = setup(make_cell, jnp.float64, steps=3)
    lengths = jnp.array([3, 0, 2])
    check_grads(lambda p, x, s: lx.unroll(cell, p, x, s, lengths=lengths), (params, xs, state), order=2)


def test_one_trace_serves_all_lengths():
    cell, params, xs, _ = setup(lambda d: lx.cells.LSTM(IN, HIDDEN, param_dtype=d))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(params, xs, lengths):
        return lx.unroll(cell, params, xs, lengths=lengths)

    for lengths in ([1, 2, 3], [6, 0, 4]):
        run(params, xs, jnp.array(lengths))


LSTM = lx.cells.LSTM(IN, HIDDEN)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"xs": jnp.ones((2, 6))}, ValueError, r"xs must have shape \[B, T, 3\], got \[2, 6\]"),
        ({"xs": jnp.ones((2, 6, 5))}, ValueError, r"xs must have shape \[B, T, 3\], got \[2, 6, 5\]"),
        ({"xs": jnp.ones((2, 0, 3))}, ValueError, "number of steps in xs must be at least 1, got 0"),
        ({"xs": jnp.ones((2, 6, 3), int)}, TypeError, "xs must have dtype floating, got int32"),
        ({"xs": jnp.ones((2, 6, 3), jnp.bfloat16)}, TypeError, "x must have dtype float32, got bfloat16"),
        ({"lengths": jnp.array([7, 1])}, ValueError, r"lengths must lie in \[0, 6\], got values from 1 to 7"),
        ({"lengths": jnp.array([3, -1])}, ValueError, r"lengths must lie in \[0, 6\], got values from -1 to 3"),
        ({"lengths": jnp.array([3])}, ValueError, r"lengths must have shape \[2\], got \[1\]"),
        ({"lengths": jnp.array([3.0, 1.0])}, TypeError, "lengths must have dtype integer, got float32"),
        ({"mask": jnp.ones((2, 6), int)}, TypeError, "mask must have dtype bool, got int32"),
        ({"mask": jnp.ones((2, 5), bool)}, ValueError, r"mask must have shape \[2, 6\], got \[2, 5\]"),
        ({"resets": jnp.ones((6, 2), bool)}, ValueError, r"resets must have shape \[2, 6\], got \[6, 2\]"),
        (
            {"mask": jnp.ones((2, 6), bool), "lengths": jnp.array([6, 4])},
            ValueError,
            "mask must be False past lengths, got 2 steps that are True there",
        ),
        ({"state": LSTM.initial_state((3,))}, ValueError, r"state\.h must have shape \[2, 4\], got \[3, 4\]"),
        ({"state": (jnp.ones((2, 4)),) * 2}, TypeError, "state must have the structure .*LSTMState.*, got .*"),
        (
            {"state": lx.LSTMState(jnp.ones((2, 4), jnp.bfloat16), jnp.ones((2, 4)))},
            TypeError,
            r"state\.h must have dtype float32, got bfloat16",
        ),
        (
            {"params": lx.cells.LSTM(IN, 5).init(jax.random.key(0))},
            ValueError,
            r"params\.w_x must have shape \[3, 16\]",
        ),
        ({"backend": "magic"}, ValueError, "backend must be one of 'auto', 'scan', got 'magic'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, sentence):
    good = {"params": LSTM.init(jax.random.key(0)), "xs": jnp.ones((2, 6, IN))}
    with pytest.raises(error, match=sentence):
        lx.unroll(LSTM, **good | arguments)
