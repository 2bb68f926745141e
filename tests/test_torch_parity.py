"""The LSTM layer beside torch's, weights copied: outputs, final states and all gradients, ragged lengths included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx

torch = pytest.importorskip("torch", reason="torch is not installed")

IN, HIDDEN, LAYERS, BATCH, STEPS = 3, 4, 2, 3, 6
CASES = [(np.float32, 1e-5), (np.float64, 1e-10)]


def build(dtype):
    """A layer and a torch LSTM with the same weights; torch has a second bias, which gets zeros."""
    layer = lx.LSTM(IN, HIDDEN, num_layers=LAYERS, param_dtype=dtype, rngs=nnx.Rngs(0))
    theirs = torch.nn.LSTM(IN, HIDDEN, LAYERS, batch_first=True, dtype=getattr(torch, np.dtype(dtype).name))
    with torch.no_grad():
        for depth, ours in enumerate(layer.layers):
            for name, value in zip(("weight_ih", "weight_hh", "bias_ih"), ours.params, strict=True):
                getattr(theirs, f"{name}_l{depth}").copy_(torch.tensor(np.asarray(value).T))
            getattr(theirs, f"bias_hh_l{depth}").zero_()
    return layer, theirs


def draw(dtype):
    rng = np.random.default_rng(0)
    shapes = [(BATCH, STEPS, IN), (LAYERS, BATCH, HIDDEN), (LAYERS, BATCH, HIDDEN)]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def run_ours(layer, xs, h, c, lengths):
    graphdef, params = lx.training.split_model(layer)

    def loss(params, xs, h, c):
        ys, states = nnx.merge(graphdef, params)(
            xs, [lx.LSTMState(*pair) for pair in zip(h, c, strict=True)], lengths=lengths
        )
        ends = (jnp.stack([s.h for s in states]), jnp.stack([s.c for s in states]))
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in (ys, *ends)), (ys, *ends)

    arguments = params, jnp.asarray(xs), jnp.asarray(h), jnp.asarray(c)
    (_, outputs), (d_params, *d_inputs) = jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True)(*arguments)
    d_weights = [d_params["layers"][depth]["weights"] for depth in range(LAYERS)]
    return [*outputs, *d_inputs, *(d[name].T for d in d_weights for name in ("w_x", "w_h", "b"))]


def run_theirs(module, xs, h, c, lengths):
    inputs = [torch.tensor(value, requires_grad=True) for value in (xs, h, c)]
    sequence = inputs[0]
    if lengths is not None:
        sequence = torch.nn.utils.rnn.pack_padded_sequence(sequence, lengths, batch_first=True, enforce_sorted=False)
    ys, ends = module(sequence, (inputs[1], inputs[2]))
    if lengths is not None:
        ys, _ = torch.nn.utils.rnn.pad_packed_sequence(ys, batch_first=True, total_length=STEPS)
    sum(torch.sin(leaf).sum() for leaf in (ys, *ends)).backward()
    names = [f"{name}_l{depth}" for depth in range(LAYERS) for name in ("weight_ih", "weight_hh", "bias_ih")]
    values = [ys, *ends, *(leaf.grad for leaf in inputs), *(getattr(module, name).grad for name in names)]
    return [value.detach().numpy() for value in values]


@pytest.mark.parametrize(("dtype", "tolerance"), CASES, ids=["float32", "float64"])
@pytest.mark.parametrize("lengths", [None, [6, 1, 3]], ids=["full", "ragged"])
def test_outputs_states_and_gradients_are_torchs(x64, dtype, tolerance, lengths):
    layer, theirs = build(dtype)
    inputs = draw(dtype)
    ours = run_ours(layer, *inputs, None if lengths is None else jnp.array(lengths))
    for mine, other in zip(ours, run_theirs(theirs, *inputs, lengths), strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance)
