"""The laws of running over time: every enrolled cell, lengths, masks, resets, both directions."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lstmjax as lx
from tests.cases import (
    CELLS,
    HIDDEN,
    IN,
    cells,
    each_kind,
    every_cell,
    random_inputs,
    random_params,
    random_state,
    tolerance,
)
from tests.reference import lstm

BATCH, STEPS = 3, 6
FLAGS = st.lists(st.booleans(), min_size=BATCH * STEPS, max_size=BATCH * STEPS)
HOLES = [True, True, False, True, False, True] * BATCH
AT_HOLES = [False, False, True, False, False, True] * BATCH  # a reset at an invalid step, and one at a valid step


def setup(make_cell, dtype=jnp.float32, steps=STEPS):
    cell = make_cell(dtype)
    params = random_params(cell, jax.random.key(0))
    xs = random_inputs(cell, (BATCH, steps), jax.random.key(1), dtype)
    return cell, params, xs, random_state(cell, (BATCH,), jax.random.key(2))


def assert_close(got, expected, dtype=jnp.float32):
    chex.assert_trees_all_close(got, expected, atol=tolerance(dtype), rtol=tolerance(dtype))


def flags(values):
    return np.array(values).reshape(BATCH, STEPS)


@functools.partial(jax.jit, static_argnames=("cell", "reverse"))
def with_gradients(cell, params, xs, state, mask, reverse):
    """Outputs, final state, and the gradients of a loss that has them all in it."""

    def loss(params, xs, state):
        ys, end = lx.unroll(cell, params, xs, state, mask=mask, reverse=reverse)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((ys, end))), (ys, end)

    return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(params, xs, state)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_numpy_reference(x64, dtype):
    cell, params, xs, _ = setup(lambda d: lx.cells.LSTM(IN, HIDDEN, param_dtype=d), dtype)
    lengths = np.array([STEPS, 0, 2])
    ys, state = lx.unroll(cell, params, xs, lengths=lengths)
    expected = lstm(*(np.asarray(leaf, np.float64) for leaf in (*params, xs)), lengths)
    assert_close((ys, state.h, state.c), expected, dtype)


@every_cell
@settings(max_examples=4)
@given(
    lengths=st.lists(st.integers(0, STEPS), min_size=BATCH, max_size=BATCH),
    mask=FLAGS,
    resets=FLAGS,
    reverse=st.booleans(),
)
@example(lengths=[0, 2, STEPS], mask=HOLES, resets=AT_HOLES, reverse=False)
@example(lengths=[0, 2, STEPS], mask=HOLES, resets=AT_HOLES, reverse=True)
def test_scan_is_the_loop(make_cell, lengths, mask, resets, reverse):
    cell, params, xs, state = setup(make_cell)
    lengths = np.array(lengths, np.int32)
    mask = flags(mask) & (np.arange(STEPS)[None, :] < lengths[:, None])
    arguments = {"lengths": lengths, "mask": mask, "resets": flags(resets), "reverse": reverse}
    assert_close(lx.unroll(cell, params, xs, state, **arguments), lx.unroll_loop(cell, params, xs, state, **arguments))


def broadcast(mask, xs):
    return mask.reshape(mask.shape + (1,) * (xs.ndim - 2))


LEFT_PADDING = [False, False, True, True, True, True] * BATCH


@every_cell
@settings(max_examples=6)
@given(mask=FLAGS)
@example(mask=LEFT_PADDING)
def test_where_the_padding_stands_changes_nothing(make_cell, mask):
    check_padding(make_cell, mask, reverse=False)


@cells("lstm", "gru", "gru-original", "conv-lstm", "integrator")  # others share the way of running of the last two
@settings(max_examples=6)
@given(mask=FLAGS)
@example(mask=LEFT_PADDING)
def test_where_the_padding_stands_changes_nothing_going_back(make_cell, mask):
    check_padding(make_cell, mask, reverse=True)


def check_padding(make_cell, mask, reverse):
    """Values, states and gradients are those of the valid steps pushed together, even if the rest are NaN."""
    cell, params, xs, state = setup(make_cell)
    mask = flags(mask)
    valid_first = np.argsort(~mask, axis=1, kind="stable")
    packed_mask = np.take_along_axis(mask, valid_first, axis=1)
    packed = np.asarray(xs)[np.arange(BATCH)[:, None], valid_first]
    poisoned = np.where(broadcast(mask, xs), xs, np.float32(np.nan))
    got = jax.device_get(with_gradients(cell, params, poisoned, state, mask, reverse))
    expected = jax.device_get(with_gradients(cell, params, packed, state, packed_mask, reverse))
    assert_close(pick(got, mask), pick(expected, packed_mask))
    (_, d_xs, _), (ys, _) = got
    np.testing.assert_array_equal(d_xs[~mask], 0.0)
    np.testing.assert_array_equal(ys[~mask], 0.0)


def pick(results, mask):
    (d_params, d_xs, d_state), (ys, end) = results
    return (d_params, d_xs[mask], d_state), (ys[mask], end)


@each_kind
def test_padding_is_as_good_as_absent(make_cell):
    """Values, states and gradients are those of each row alone, cut to its length."""
    cell, params, xs, state = setup(make_cell)
    lengths = np.array([0, 1, STEPS])
    mask = np.arange(STEPS) < lengths[:, None]
    poisoned = jnp.where(broadcast(mask, xs), xs, jnp.nan)
    (d_params, d_xs, d_state), (ys, end) = with_gradients(cell, params, poisoned, state, mask, False)
    total = jax.tree.map(jnp.zeros_like, params)
    for b in (1, 2):
        row, n = slice(b, b + 1), lengths[b]
        row_state = jax.tree.map(lambda leaf, row=row: leaf[row], state)
        alone = with_gradients(cell, params, xs[row, :n], row_state, None, False)
        (d_row_params, *d_row), outputs = alone
        total = jax.tree.map(jnp.add, total, d_row_params)
        here = jax.tree.map(lambda leaf, row=row: leaf[row], (d_state, end))
        assert_close(([d_xs[row, :n], here[0]], (ys[row, :n], here[1])), (d_row, outputs))
    assert_close(d_params, total)
    chex.assert_trees_all_equal(*(jax.tree.map(lambda leaf: leaf[0], tree) for tree in (end, state)))


@each_kind
@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_are_a_mask(make_cell, reverse):
    cell, params, xs, state = setup(make_cell)
    lengths = jnp.array([0, 1, STEPS])
    mask = jnp.arange(STEPS)[None, :] < lengths[:, None]
    by_lengths = lx.unroll(cell, params, xs, state, lengths=lengths, reverse=reverse)
    by_mask = lx.unroll(cell, params, xs, state, mask=mask, reverse=reverse)
    chex.assert_trees_all_equal(by_lengths, by_mask)
    jax.tree.map(lambda end, begin: np.testing.assert_array_equal(end[0], begin[0]), by_lengths[1], state)


@each_kind
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


@functools.partial(jax.jit, static_argnames=("cell", "reverse"))
def jacobian(cell, params, xs, state, lengths, reverse):
    def outputs(xs):
        ys = lx.unroll(cell, params, xs, state, lengths=lengths, reverse=reverse)[0]
        return ys.reshape(BATCH, STEPS, -1).sum(axis=2)

    return jax.jacobian(outputs)(xs)


def seen(make_cell, lengths, reverse):
    """[B, T, B, T]: which inputs reach an output."""
    found = jacobian(*setup(make_cell), np.array(lengths), reverse)
    return np.abs(found).reshape(BATCH, STEPS, BATCH, STEPS, -1).sum(axis=4) > 0


@every_cell
def test_rows_do_not_see_each_other(make_cell):
    rows = seen(make_cell, [4, 6, 2], reverse=False).any(axis=(1, 3))
    np.testing.assert_array_equal(rows, np.eye(BATCH, dtype=bool))


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_an_output_sees_only_what_came_before(make_cell, reverse):
    steps = seen(make_cell, [STEPS] * BATCH, reverse).any(axis=(0, 2))
    np.testing.assert_array_equal(steps, np.tri(STEPS, dtype=bool).T if reverse else np.tri(STEPS, dtype=bool))


@every_cell
def test_reverse_is_forward_on_the_reversed_sequence(make_cell):
    cell, params, xs, state = setup(make_cell)
    ys, end = lx.unroll(cell, params, xs, state, reverse=True)
    flipped, flipped_end = lx.unroll(cell, params, xs[:, ::-1], state)
    assert_close((ys, end), (flipped[:, ::-1], flipped_end))


@each_kind
def test_time_major_is_a_transposition(make_cell):
    cell, params, xs, state = setup(make_cell)
    mask = jax.random.bernoulli(jax.random.key(3), 0.7, (BATCH, STEPS))
    ys, end = lx.unroll(cell, params, xs, state, mask=mask, resets=mask)
    turned, turned_end = lx.unroll(cell, params, xs.swapaxes(0, 1), state, mask=mask.T, resets=mask.T, time_major=True)
    chex.assert_trees_all_equal((ys, end), (turned.swapaxes(0, 1), turned_end))


def test_jit_with_another_around_it_changes_nothing():
    cell, params, xs, state = setup(CELLS["lstm"].make)
    lengths = jnp.array([4, 6, 2])
    run = functools.partial(lx.unroll, cell)
    plain = run(params, xs, state, lengths=lengths)
    assert_close(jax.jit(run)(params, xs, state, lengths=lengths), plain)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_programs_as_users_compile_them(full_compilation, name):
    """Elsewhere tests compile less well: here every backend's outputs and gradients, optimised in full."""
    cell, params, xs, state = setup(CELLS[name].make, steps=STEPS + 3)
    mask = jax.random.bernoulli(jax.random.key(3), 0.7, (BATCH, STEPS + 3))
    expected = lx.unroll_loop(cell, params, xs, state, mask=np.array(mask))

    def loss(params, xs, state, backend):
        ys, end = lx.unroll(cell, params, xs, state, mask=mask, backend=backend)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((ys, end))), (ys, end)

    grad = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True), static_argnums=3, compiler_options=full_compilation)
    fused, scan = (grad(params, xs, state, backend) for backend in ("fused", "scan"))
    assert_close(fused, scan)
    assert_close(fused[1], expected)


@every_cell
def test_a_look_inside_changes_nothing(make_cell):
    """All states and gates: the outputs and the last state are the plain cell's, and state[t] leads to state[t + 1]."""
    cell, params, xs, state = setup(make_cell)
    if not hasattr(cell, "gates"):
        pytest.skip("not one of ours: has no gates to look at")
    lengths = jnp.array([4, 6, 2])
    record, end = jax.device_get(lx.unroll(lx.cells.Recording(cell), params, xs, state, lengths=lengths))
    assert_close((record.output, end), lx.unroll(cell, params, xs, state, lengths=lengths))
    assert_close(jax.tree.map(lambda leaf: leaf[1, 5], record.state), jax.tree.map(lambda leaf: leaf[1], end))
    before = jax.tree.map(lambda leaf: leaf[:, 2], record.state)

    @jax.jit
    def one_step(params, state, x):
        z = cell.project(params, x)
        return cell.step(params, state, z)[0], cell.gates(params, state, z)

    valid = np.array([True, True, False])
    assert_close(
        jax.tree.map(lambda leaf: leaf[valid, 3], (record.state, record.gates)),
        jax.tree.map(lambda leaf: leaf[valid], jax.device_get(one_step(params, before, xs[:, 3]))),
    )
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf[0, 4:], 0.0), record)


@each_kind
def test_a_sequence_starts_and_starts_again_from_the_initial_state(make_cell):
    cell, params, xs, initial = setup(make_cell)
    resets = jnp.zeros((BATCH, STEPS), bool).at[:, 2].set(True)
    ys, end = lx.unroll(cell, params, xs, resets=resets, initial_state=initial)
    first, _ = lx.unroll(cell, params, xs[:, :2], initial)
    second, last = lx.unroll(cell, params, xs[:, 2:], initial)
    assert_close((ys, end), (jnp.concatenate([first, second], axis=1), last))
    looped = lx.unroll_loop(cell, params, xs, resets=np.array(resets), initial_state=initial)
    assert_close((ys, end), looped)


LSTM = lx.cells.LSTM(IN, HIDDEN)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"xs": jnp.ones((2, 6))}, ValueError, r"xs must have shape \[B, T, 3\], got \[2, 6\]"),
        ({"xs": jnp.ones((2, 6, 5))}, ValueError, r"xs must have shape \[B, T, 3\], got \[2, 6, 5\]"),
        ({"xs": jnp.ones((2, 0, 3))}, ValueError, "number of steps in xs must be at least 1, got 0"),
        ({"xs": jnp.ones((2, 6, 3), int)}, TypeError, "xs must have dtype floating, got int32"),
        ({"xs": jnp.ones((2, 6, 3), jnp.bfloat16)}, TypeError, "xs must have dtype float32, got bfloat16"),
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
        ({"lengths": np.array([2**32 + 1, 4])}, ValueError, r"lengths must lie in \[0, 6\], got values from 4 to"),
        ({"reverse": "no"}, TypeError, "reverse must be True or False, got 'no'"),
        ({"time_major": None}, TypeError, "time_major must be True or False, got None"),
        ({"key": 5}, TypeError, "key must be a key of jax.random, .*, got int"),
        ({"key": jax.random.split(jax.random.key(0))}, ValueError, r"key must be one key, got keys of shape \[2\]"),
        ({"remat": 0}, ValueError, "remat must be at least 1, got 0"),
        ({"initial_state": LSTM.initial_state((3,))}, ValueError, r"initial_state\.h must have shape \[2, 4\]"),
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
        (
            {"backend": "magic"},
            ValueError,
            "backend must be one of 'auto', 'scan', 'fused', 'native', 'cudnn', got 'magic'",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, error, sentence):
    good = {"params": LSTM.init(jax.random.key(0)), "xs": jnp.ones((2, 6, IN))}
    with pytest.raises(error, match=sentence):
        lx.unroll(LSTM, **good | arguments)
