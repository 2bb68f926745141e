"""Convolutions with gradients of their own: every derivative is JAX's, in every place and way of running."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmjax as lx
from lstmjax.cells.convolution import convolve
from tests.cases import random_inputs, random_params

CASES = {
    "1d": ((7,), (3,), (1,), (1,), "SAME"),
    "even kernel": ((5, 4), (2, 4), (1, 1), (1, 1), "SAME"),
    "strides that leave a rest": ((8, 7), (2, 3), (3, 2), (1, 1), "VALID"),
    "strides and dilation": ((9, 8), (3, 2), (2, 3), (2, 1), "SAME"),
    "kernel wider than the grid": ((2, 3), (5, 7), (1, 1), (1, 1), "SAME"),
    "strides wider than the kernel": ((7, 6), (1, 2), (3, 3), (1, 2), "SAME"),
    "3d": ((4, 3, 5), (3, 2, 1), (1, 2, 1), (1, 1, 1), "SAME"),
    "3d strides and dilation": ((8, 4, 5), (3, 2, 2), (3, 1, 2), (2, 1, 1), "VALID"),
    "3d kernel wider than the grid": ((2, 1, 3), (5, 3, 2), (2, 1, 1), (1, 2, 1), "SAME"),
}


def drawn(case, batch, dtype):
    grid, kernel, *_ = case
    keys = jax.random.split(jax.random.key(0))
    return (
        jax.random.normal(keys[0], (*batch, *grid, 2), dtype),
        jax.random.normal(keys[1], (*kernel, 2, 3), dtype),
    )


def plain(x, w, strides, dilation, padding):
    """As JAX has it, in one batch."""
    dims = len(strides)
    grid = "XYZ"[:dims]
    z = jax.lax.conv_general_dilated(
        x.reshape(-1, *x.shape[-dims - 1 :]),
        w,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{grid}C", f"{grid}IO", f"N{grid}C"),
    )
    return z.reshape(*x.shape[: -dims - 1], *z.shape[1:])


def own(x, w, strides, dilation, padding):
    return convolve(x, w, x.dtype, strides, dilation, padding)


def loss(convolution, case, x, w):
    z = convolution(x, w, *case[2:])
    weights = jnp.cos(jnp.arange(z.size, dtype=z.dtype)).reshape(z.shape)
    return jnp.sum(weights * jnp.tanh(z))


@pytest.mark.parametrize("name", [name for name in CASES if name != "strides and dilation"])  # it is below
def test_gradients_are_those_of_the_plain_convolution(x64, name):
    case = CASES[name]
    x, w = drawn(case, (3, 2), jnp.float64)
    found, expected = (
        jax.jit(jax.value_and_grad(functools.partial(loss, convolution, case), (0, 1)))(x, w)
        for convolution in (own, plain)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), found, expected)


def test_the_backward_pass_is_its_own(x64, monkeypatch):
    """Or all other laws here would hold of nothing."""
    seen = []
    monkeypatch.setattr(
        "lstmjax.cells.convolution.Product._dw", lambda self, x, w, dz: seen.append(1) or jnp.full_like(w, 7.0)
    )
    x, w = drawn(CASES["1d"], (2,), jnp.float64)
    found = jax.jit(jax.grad(functools.partial(loss, own, CASES["1d"]), argnums=1))(x, w)
    assert seen
    np.testing.assert_array_equal(found, 7.0)


def test_forward_mode_gradients_and_second_derivatives(x64):
    case = CASES["strides and dilation"]
    x, w = drawn(case, (2,), jnp.float64)
    towards = jax.tree.map(lambda leaf: jnp.sin(3 * leaf), (x, w))

    def derivatives(convolution):
        gradient = jax.value_and_grad(functools.partial(loss, convolution, case), (0, 1))
        return jax.jit(lambda *at: jax.jvp(gradient, at, towards))(x, w)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), derivatives(own), derivatives(plain))


def test_no_sequences_and_no_batch(x64):
    case = CASES["1d"]
    gradient = jax.jit(jax.grad(functools.partial(loss, own, case), (0, 1)))
    x, w = drawn(case, (1,), jnp.float64)
    one, alone, none = gradient(x, w), gradient(x[0], w), gradient(x[:0], w)
    np.testing.assert_allclose(alone[0], one[0][0], atol=1e-12)
    np.testing.assert_allclose(alone[1], one[1], atol=1e-12)
    assert none[0].shape == (0, 7, 2)
    np.testing.assert_array_equal(none[1], 0)


def test_a_cell_over_time_has_the_gradients_of_its_definition(x64):
    """Ragged, with a vmap over two sets of weights, recomputed in chunks: as by a loop in Python."""
    cell = lx.cells.ConvLSTM(2, 3, spatial_shape=(3, 4), kernel_size=(3, 2), param_dtype=jnp.float64)
    sets = [random_params(cell, key) for key in jax.random.split(jax.random.key(0))]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *sets)
    xs, lengths = jax.random.normal(jax.random.key(1), (2, 3, 3, 4, 2), jnp.float64), np.array([3, 1])

    def run(params, xs):
        ys, state = lx.unroll(cell, params, xs, lengths=lengths, remat=2)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(state.c)

    def by_steps(params, xs):
        total = jnp.zeros((), jnp.float64)
        for b, length in enumerate(lengths):
            state = cell.initial_state(())
            for t in range(length):
                z = plain(xs[b, t], params.w_x, (1, 1), (1, 1), "SAME") + params.b[None, None]
                a = z + plain(state.h, params.w_h, (1, 1), (1, 1), "SAME")
                i, f, g, o = jnp.split(a, 4, axis=-1)
                c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
                state = lx.LSTMState(jax.nn.sigmoid(o) * jnp.tanh(c), c)
                total += jnp.sum(jnp.sin(state.h))
            total += jnp.sum(state.c)
        return total

    found = jax.jit(jax.vmap(jax.grad(run, (0, 1)), in_axes=(0, None)))(params, xs)
    expected = jax.jit(jax.vmap(jax.grad(by_steps, (0, 1)), in_axes=(0, None)))(params, xs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), found, expected)


def test_half_precision_multiplies_rounded_factors_and_sums_in_float32():
    case = CASES["even kernel"]
    x, w = drawn(case, (2, 2), jnp.bfloat16)
    wide = x.astype(jnp.float32), w.astype(jnp.float32)
    z = convolve(x, w, jnp.bfloat16, *case[2:])
    assert z.dtype == jnp.float32
    np.testing.assert_allclose(z, plain(*wide, *case[2:]), atol=1e-5)
    found = jax.jit(jax.grad(functools.partial(loss, own, case), (0, 1)))(x, w)
    expected = jax.jit(jax.grad(functools.partial(loss, plain, case), (0, 1)))(*wide)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("grid", [(6, 5), (4, 3, 5)])
def test_gradients_are_compiled_to_the_fast_convolution(full_compilation, grid):
    """In the loop of a training step all convolutions have their axes in the one order that is fast."""
    cell = lx.cells.ConvLSTM(2, 3, spatial_shape=grid, kernel_size=(3,) * len(grid))
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((2, 4, *grid, 2), jnp.float32)
    gradient = jax.jit(jax.grad(lambda params, xs: jnp.sum(lx.unroll(cell, params, xs)[0] ** 2)))
    text = gradient.lower(params, xs).compile(compiler_options=full_compilation).as_text()
    orders = {line.split("dim_labels=")[1].split(",")[0] for line in text.splitlines() if "dim_labels=" in line}
    assert orders == {"b01f_01io->b01f"}


def test_gradients_in_shards(x64):
    """On four devices: as on one, and no device needs another's sequences."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    cell = lx.cells.ConvLSTM(2, 3, spatial_shape=(3,), kernel_size=(3,), param_dtype=jnp.float64)
    params, xs = random_params(cell, jax.random.key(0)), random_inputs(cell, (8, 3), jax.random.key(1), jnp.float64)

    def gradient(params, xs):
        return jax.grad(lambda params: jnp.sum(lx.unroll(cell, params, xs)[0] ** 2))(params)

    along, whole = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    in_shards = jax.jit(jax.shard_map(gradient, mesh=mesh, in_specs=(whole, along), out_specs=whole))
    compiled = in_shards.lower(params, xs).compile()
    assert "all-gather" not in compiled.as_text()
    placed = (jax.device_put(array, jax.NamedSharding(mesh, spec)) for array, spec in ((params, whole), (xs, along)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), compiled(*placed), jax.jit(gradient)(params, xs)
    )
