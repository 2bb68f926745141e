"""Layers exported with the batch and the number of steps left open: what comes out is what the layer gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx

IN, HIDDEN = 3, 4
LAYERS = {
    "lstm": lambda rngs: lx.LSTM(IN, HIDDEN, num_layers=2, rngs=rngs),
    "both directions": lambda rngs: lx.GRU(IN, HIDDEN, bidirectional=True, rngs=rngs),
    "learned start": lambda rngs: lx.LSTM(IN, HIDDEN, initial_state="learned", rngs=rngs),
    "no backend of its own": lambda rngs: lx.Recurrent(lx.cells.PeepholeLSTM(IN, HIDDEN), rngs=rngs),
}


def exported(layer, backend="auto", batch="b", steps="t", with_resets=False, **options):
    """The layer of any sequences, as its weights are."""
    b, t = jax.export.symbolic_shape(f"{batch}, {steps}")

    def run(xs, lengths, resets):
        return layer(xs, lengths=lengths, resets=resets if with_resets else None, backend=backend)

    shapes = [
        jax.ShapeDtypeStruct((b, t, IN), jnp.float32),
        jax.ShapeDtypeStruct((b,), jnp.int32),
        jax.ShapeDtypeStruct((b, t), jnp.bool_),
    ]
    return run, jax.export.export(jax.jit(run), **options)(*shapes)


def sequences(b, t):
    rng = np.random.default_rng(b * t)
    lengths = jnp.asarray(rng.integers(0, t + 1, b), jnp.int32)
    return jnp.asarray(rng.standard_normal((b, t, IN)), jnp.float32), lengths, jnp.asarray(rng.random((b, t)) < 0.3)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("with_resets", [False, True], ids=["", "resets"])
def test_batch_and_steps_left_open(kind, with_resets):
    layer = LAYERS[kind](nnx.Rngs(0))
    run, program = exported(layer, with_resets=with_resets)
    for sizes in ((1, 1), (3, 7)):
        arguments = sequences(*sizes)
        for got, want in zip(jax.tree.leaves(program.call(*arguments)), jax.tree.leaves(run(*arguments)), strict=True):
            np.testing.assert_allclose(got, want, atol=2e-6)


@pytest.mark.parametrize("sizes", [("b", "7"), ("3", "t")])
def test_one_of_them_left_open(sizes):
    run, program = exported(LAYERS["lstm"](nnx.Rngs(0)), batch=sizes[0], steps=sizes[1])
    arguments = sequences(3, 7)
    np.testing.assert_allclose(program.call(*arguments)[0], run(*arguments)[0], atol=2e-6)


def test_a_saved_program_runs_where_there_is_neither_lstmjax_nor_flax(tmp_path):
    _, program = exported(LAYERS["both directions"](nnx.Rngs(0)), platforms=["cpu", "cuda"])
    arguments = sequences(3, 7)
    np.savez(tmp_path / "arguments.npz", *arguments)
    (tmp_path / "program").write_bytes(program.serialize())
    code = (
        "import sys; sys.modules['lstmjax'] = sys.modules['flax'] = None\n"
        "import jax.export, numpy as np\n"
        "program = jax.export.deserialize(bytearray(open('program', 'rb').read()))\n"
        "np.save('ys.npy', program.call(*np.load('arguments.npz').values())[0])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "ys.npy"), program.call(*arguments)[0], atol=1e-6)


def test_what_serves_where_sizes_are_open():
    cell, reasons = lx.cells.LSTM(IN, HIDDEN), {}
    params = cell.init(jax.random.key(0))

    def run(xs):
        reasons.update(lx.kernels.explain(cell, params, xs).reasons)
        return xs

    b = jax.export.symbolic_shape("b")[0]
    jax.export.export(jax.jit(run))(jax.ShapeDtypeStruct((b, 7, IN), jnp.float32))
    assert reasons["fused"] == (
        "the sizes of its chunks follow from the batch and the steps, which jax.export leaves open here"
    )
