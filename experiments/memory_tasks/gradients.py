"""How strongly the last output depends on what a network held many steps before."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstmjax.types import Array, Cell, PyTree


def gradient_norms(cell: Cell[Any, Any], params: PyTree, inputs: Array) -> dict[str, np.ndarray]:
    """Norms of gradients back through time, by one backward pass.

        norm_k = exp(mean_b log |d (v . h_T) / d s_{T-k}|)        k = 0 .. T - 1, every entry of v 1 / sqrt(H)

    for each part s of the state, h and where there is one c, the other parts held fixed. It is the gradient at a zero
    that is added to the state after each step.

    Args:
      cell: one whose state has h, so of one layer.
      params: its parameters.
      inputs: [B, T, I].

    Returns:
      for each part of the state its norms [T], the last step's first. They are found in the inputs' dtype: in float32,
      what is below 1e-38 is 0.
    """
    gradients = _gradients(cell, params, inputs)._asdict()
    return {part: _mean_norms(np.asarray(gradient, np.float64)) for part, gradient in gradients.items()}


@functools.partial(jax.jit, static_argnames="cell")
def _gradients(cell: Cell[Any, Any], params: PyTree, inputs: Array) -> Any:
    """A state whose parts are the gradients [T, B, H]."""
    batch, steps = inputs.shape[:2]
    z = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), cell.project(params, inputs))
    start = cell.initial_state((batch,))
    zeros = jax.tree.map(lambda leaf: jnp.zeros((steps, *leaf.shape), leaf.dtype), start)
    v = jnp.full((cell.hidden_features,), cell.hidden_features**-0.5, inputs.dtype)

    def last_output(nudges: PyTree) -> Array:
        def step(state: Any, now: tuple[Any, PyTree]) -> tuple[Any, None]:
            after, _ = cell.step(params, state, now[0])
            return jax.tree.map(jnp.add, after, now[1]), None

        end, _ = lax.scan(step, start, (z, nudges))
        return jnp.sum(end.h @ v)

    return jax.grad(last_output)(zeros)


def _mean_norms(gradient: np.ndarray) -> np.ndarray:
    """From [T, B, H] to the geometric mean over B of the norms, [T], from the last step back."""
    with np.errstate(divide="ignore"):  # log 0 is -inf, and comes back as 0
        logs = np.log(np.linalg.norm(gradient, axis=-1))
    means: np.ndarray = np.exp(logs.mean(axis=1))[::-1]
    return means
