"""What JAX and XLA make of the native backend: how many calls, with what around them, in every transformation."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import lstmjax as lx
from lstmjax.kernels.native import library
from tests.cases import random_inputs, random_params
from tests.test_unroll import assert_close

pytestmark = pytest.mark.skipif(library.why_not() is not None, reason=f"no native library: {library.why_not()}")

MANY, ROWS, STEPS, IN, HIDDEN = 5, 4, 7, 3, 16
CELL = lx.cells.LSTM(IN, HIDDEN)
PARAMS = random_params(CELL, jax.random.key(0))
XS = random_inputs(CELL, (MANY, ROWS, STEPS), jax.random.key(1))
LENGTHS = np.arange(MANY * ROWS).reshape(MANY, ROWS) % (STEPS + 1)


class Call(NamedTuple):
    """A call of the library in a compiled program: its function, the shape of its first result, where it stands."""

    name: str
    shape: tuple[int, ...]
    computation: str


def calls(text):
    found, computation = [], ""
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            computation = line.split()[0]
        if called := re.search(r'custom_call_target="lstmjax_(\w+)"', line):
            shape = re.search(r"\[([\d,]+)\]", line)
            found.append(Call(called[1], tuple(map(int, shape[1].split(","))), computation))
    return found


def compiled(function, *arguments, options=None):
    return jax.jit(function).lower(*arguments).compile(options)


def run(params, xs, lengths=None, backend="native"):
    return lx.unroll(CELL, params, xs, lengths=lengths, backend=backend)


def stacked():
    return jax.tree.map(
        lambda *leaves: np.stack(leaves), *(random_params(CELL, jax.random.key(k)) for k in range(MANY))
    )


BATCHED = {
    "inputs": (0, None, (1, MANY * ROWS, STEPS, HIDDEN)),
    "lengths": (None, 0, (1, MANY * ROWS, STEPS, HIDDEN)),
    "parameters": (None, None, (MANY, ROWS, STEPS, HIDDEN)),
}


@pytest.mark.parametrize(("inputs", "lengths", "shape"), BATCHED.values(), ids=BATCHED.keys())
def test_vmap_is_one_call(inputs, lengths, shape):
    """Rows where one set of weights serves all, layers elsewhere; forward and backward."""
    on_weights = None if shape[0] == 1 else 0
    arguments = PARAMS if on_weights is None else stacked(), XS if inputs == 0 else XS[0]
    arguments = *arguments, LENGTHS if lengths == 0 else LENGTHS[0]

    def gradients(backend):
        def loss(params, xs, lengths):
            ys, end = run(params, xs, lengths, backend)
            return jnp.sum(jnp.sin(ys)) + jnp.sum(end.h)

        return jax.vmap(jax.value_and_grad(loss, argnums=(0, 1)), (on_weights, inputs, lengths))

    program = compiled(gradients("native"), *arguments)
    forward, backward = calls(program.as_text())
    assert forward[:2] == ("forward", shape)
    assert backward[:2] == ("backward", (MANY, ROWS, STEPS, IN))
    assert_close(program(*arguments), jax.jit(gradients("scan"))(*arguments))


@pytest.mark.parametrize("steps", [2, STEPS], ids=["packed before", "packed inside"])
@pytest.mark.parametrize("name", ["w_h", "b"])
def test_vmap_over_one_of_the_weights(name, steps):
    """Each row has its own of one weight, as with a mask of weights; the others are the same for all."""
    weight = getattr(PARAMS, name)
    scales = jnp.linspace(0.5, 1.5, MANY)

    def gradient(scale, xs, backend):
        def loss(scale):
            ys, _ = run(PARAMS._replace(**{name: weight * scale}), xs, backend=backend)
            return jnp.sum(ys * ys), ys

        return jax.grad(loss, has_aux=True)(scale)

    native, scan = (
        jax.jit(jax.vmap(lambda scale, xs, backend=backend: gradient(scale, xs, backend)))(scales, XS[:, :, :steps])
        for backend in ("native", "scan")
    )
    assert_close(native, scan)


def test_every_derivative_is_that_of_scan():
    xs, directions = XS[0], (jax.tree.map(jnp.sin, PARAMS), jnp.cos(XS[0]))

    def derivatives(params, xs, backend):
        def loss(params, xs):
            return jnp.sum(jnp.sin(run(params, xs, backend=backend)[0]))

        def slope(params):
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(jax.grad(loss)(params, xs)))

        def of_bias(b):
            return loss(params._replace(b=b), xs)

        return {
            "jvp": jax.jvp(loss, (params, xs), directions),
            "grad of grad": jax.grad(slope)(params),
            "hessian": jax.hessian(of_bias)(params.b),
            "checkpoint": jax.grad(jax.checkpoint(loss))(params, xs),
        }

    got, expected = (jax.jit(derivatives, static_argnums=2)(PARAMS, xs, name) for name in ("native", "scan"))
    assert_close(got, expected)


def test_a_donated_state():
    def advance(state, xs, backend):
        return lx.unroll(CELL, PARAMS, xs, state, backend=backend)[1]

    step = jax.jit(advance, donate_argnums=0, static_argnames="backend")
    state = expected = CELL.initial_state((ROWS,))
    for xs in XS[:3]:
        state, old = step(jax.tree.map(jnp.array, state), xs, backend="native"), state
        expected = advance(expected, xs, "scan")
        del old
    assert_close(state, expected)


def test_exporting():
    """Refused by JAX unless told to trust the calls, as the backend's docstring says."""

    def ys(backend):
        return jax.jit(lambda w_x, w_h, b, xs: run(lx.cells.LSTMParams(w_x, w_h, b), xs, backend=backend)[0])

    arguments = *PARAMS, XS[0]
    with pytest.raises(ValueError, match="lstmjax_forward"):
        jax.export.export(ys("auto"))(*arguments)
    trusted = [jax.export.DisabledSafetyCheck.custom_call(name) for name in library.TARGETS]
    exports = [
        jax.export.export(ys("auto"), disabled_checks=trusted)(*arguments),
        jax.export.export(ys("fused"))(*arguments),
    ]
    for exported in exports:
        assert_close(exported.call(*arguments), run(PARAMS, XS[0])[0])
    elsewhere = jax.export.export(ys("auto"), platforms=["cuda"])(*arguments)
    assert "lstmjax_" not in elsewhere.mlir_module()


@pytest.mark.parametrize("loop", ["scan", "while"])
def test_weights_are_packed_once_before_a_loop_over_steps(full_compilation, loop):
    def by_scan(params, xs):
        def step(state, x):
            y, state = lx.unroll(CELL, params, x[:, None], state)
            return state, y

        return lax.scan(step, CELL.initial_state((ROWS,)), jnp.swapaxes(xs, 0, 1))[0]

    def by_while(params, xs):
        def step(carry):
            number, state = carry
            return number + 1, lx.unroll(CELL, params, xs[:, :1], state)[1]

        begin = jnp.zeros((), jnp.int32), CELL.initial_state((ROWS,))
        return lax.while_loop(lambda carry: carry[0] < jnp.sum(xs > 0), step, begin)[1]

    function = by_scan if loop == "scan" else by_while
    found = calls(compiled(function, PARAMS, XS[0], options=full_compilation).as_text())
    assert sorted((call.name, call.computation == "ENTRY") for call in found) == [("forward", False), ("pack", True)]


@pytest.mark.parametrize("has_lengths", [False, True])
@pytest.mark.parametrize("time_major", [False, True])
def test_sequences_are_neither_copied_nor_turned(full_compilation, time_major, has_lengths):
    """Of 53 steps: what else has an axis of that size is flags."""
    steps = 53
    xs = jnp.ones((steps, ROWS, IN) if time_major else (ROWS, steps, IN))
    lengths = jnp.arange(ROWS) if has_lengths else None
    ends = jnp.ones((*xs.shape[:2], HIDDEN))

    def ys(params, xs, lengths):
        return lx.unroll(CELL, params, xs, lengths=lengths, time_major=time_major)[0]

    def gradients(params, xs, lengths, d_ys):
        return jax.vjp(lambda params, xs: ys(params, xs, lengths), params, xs)[1](d_ys)

    for function, arguments in ((ys, ()), (gradients, (ends,))):
        text = compiled(function, PARAMS, xs, lengths, *arguments, options=full_compilation).as_text()
        moved = re.findall(rf"= \w+\[[\d,]*\b{steps}\b[\d,]*\]\S* (?:copy|transpose|fusion)\(.*", text)
        assert [line for line in moved if "pred[" not in line and "s32[" not in line] == []
        assert len(calls(text)) == 1 + len(arguments)


def test_a_gradient_needs_no_more_memory_than_that_of_fused():
    cell = lx.cells.LSTM(64, 256)
    params, xs = jax.eval_shape(cell.init, jax.random.key(0)), jax.ShapeDtypeStruct((32, 16_000, 64), jnp.float32)

    def temporary_bytes(backend):
        grad = jax.grad(lambda params, xs: lx.unroll(cell, params, xs, backend=backend)[0].sum())
        return compiled(grad, params, xs).memory_analysis().temp_size_in_bytes

    assert temporary_bytes("native") <= temporary_bytes("fused")
