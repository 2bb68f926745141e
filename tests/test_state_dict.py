"""A state dict holds all that makes a model give what it gives, trained or not."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

import lstmjax as lx
from lstmjax import interop


class Normalised(nnx.Module):
    def __init__(self, seed):
        rngs = nnx.Rngs(seed)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.recurrent = lx.GRU(3, 4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.calls = nnx.Variable(jnp.array(seed, jnp.int32))


def test_what_is_not_trained_comes_along():
    model, other = Normalised(1), Normalised(2)
    model.norm.mean[...] = jnp.arange(3.0)
    arrays = interop.state_dict(model)
    assert {"norm.mean", "norm.var", "norm.scale", "calls", "recurrent.layers.0.weights.w_x"} < arrays.keys()
    assert not any(name.startswith("drop") for name in arrays)
    interop.load_state_dict(other, arrays)
    np.testing.assert_array_equal(other.norm.mean[...], np.arange(3.0))
    assert int(other.calls[...]) == 1
