"""Closed loop: what a model gives is what it takes next."""

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp
from jax import lax

from lstmjax import checks
from lstmjax.types import Array, Float

State = TypeVar("State")


def unroll_feedback(
    step: Callable[[Array, State], tuple[Array, State]], x: Float[Array, "B *in"], state: State, num_steps: int
) -> tuple[Float[Array, "B T *in"], State]:
    """Run a step on its own outputs: forecasts, frames, waves.

        y[0], state = step(x, state),    y[t], state = step(y[t-1], state)

    Args:
      step: `(x [B, ...], state) -> (y [B, ...], state)`, y with the shape and dtype of x, such as a layer's `step` and
        a head on its output.
      x: the first input [B, ...], such as the last value that is known.
      state: the state before it.
      num_steps: T, at least 1.

    Returns:
      outputs [B, T, ...] and the last state.

    Raises:
      TypeError, ValueError: a step that does not return the kind of input and state it takes, or no number of steps.

    >>> layer, head = lx.LSTM(1, 8, rngs=nnx.Rngs(0)), nnx.Linear(8, 1, rngs=nnx.Rngs(1))
    >>> def step(x, state):
    ...     y, state = layer.step(x, state)
    ...     return head(y), state
    >>> history = jnp.ones((2, 30, 1))
    >>> _, state = layer(history[:, :-1])
    >>> lx.unroll_feedback(step, history[:, -1], state, num_steps=12)[0].shape
    (2, 12, 1)
    """
    checks.function("step", step)
    checks.positive_int("num_steps", num_steps)
    x = jnp.asarray(x)

    def one(carry: tuple[Array, State], _: None) -> tuple[tuple[Array, State], Array]:
        x, state = carry
        match step(x, state):
            case (y, after):
                checks.like("step's output", y, x)
                checks.like("step's state", after, state)
                return (y, after), y
            case other:
                raise TypeError(f"step must return an output and a state, got {type(other).__name__}")

    (_, state), ys = lax.scan(one, (x, state), length=num_steps)
    return jnp.moveaxis(ys, 0, 1), state
