"""What is compared, and how: one problem, one loss, one result of the same form from our layer and from theirs.

Loss: the sum of sin over the outputs at valid steps and over all final states.
"""

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import lstmjax as lx
from lstmjax.interop.layouts import Arrays, Layout, arrange
from lstmjax.interop.writing import directions_of, layers_of
from lstmjax.trees import split_model
from lstmjax.types import PyTree

IN, HIDDEN, BATCH, STEPS = 3, 4, 3, 6

States = list[list[tuple[Any, ...]]]
"""For each layer and each direction, (h, c) or (h,)."""


@dataclasses.dataclass(frozen=True)
class Form:
    """How layers are put together and which steps are valid."""

    name: str
    layers: int = 1
    bidirectional: bool = False
    lengths: tuple[int, ...] | None = None
    mask: tuple[tuple[int, ...], ...] | None = None

    @property
    def ways(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def valid(self) -> np.ndarray:
        """[B, T]."""
        if self.mask is not None:
            return np.array(self.mask, bool)
        return np.arange(STEPS) < np.array(self.lengths or [STEPS] * BATCH)[:, None]

    def in_features(self, layer: int) -> int:
        return IN if layer == 0 else self.ways * HIDDEN


class Problem(NamedTuple):
    """Inputs [B, T, I] and initial states."""

    xs: np.ndarray
    states: States


class Result(NamedTuple):
    """Outputs [B, T, H] (0 at invalid steps), final states, and the loss's gradients."""

    outputs: Any
    states: States
    d_weights: list[list[dict[str, Any]]]
    d_inputs: Any
    d_states: States


class Peer(NamedTuple):
    """Their layers with random weights, ours with the same, and how to run theirs."""

    layer: lx.Stacked
    layout: Layout
    run: Callable[[Problem], Result]


class Difference(NamedTuple):
    """Largest absolute differences."""

    outputs: float
    states: float
    gradients: float


def compare(peer: Peer, form: Form, dtype: Any) -> Difference:
    """Run both on the same random problem."""
    problem = draw(peer.layer, dtype)
    ours, theirs = run_ours(peer.layer, peer.layout, form, problem), peer.run(problem)
    return Difference(
        largest(ours.outputs, theirs.outputs), largest(ours.states, theirs.states), largest(ours[2:], theirs[2:])
    )


def draw(layer: lx.Stacked, dtype: Any) -> Problem:
    rng = np.random.default_rng(0)
    states = random_like(normal_form(layer.initial_state(BATCH)), rng, dtype)
    return Problem(rng.normal(size=(BATCH, STEPS, IN)).astype(dtype), states)


def random_like(tree: PyTree, rng: np.random.Generator, dtype: Any) -> PyTree:
    return jax.tree.map(lambda leaf: rng.normal(scale=0.5, size=np.shape(leaf)).astype(dtype), tree)


def run_ours(layer: lx.Stacked, layout: Layout, form: Form, problem: Problem) -> Result:
    graphdef, params, _ = split_model(layer)
    valid: dict[str, Any] = {"lengths": None, "mask": None}
    if form.lengths is not None:
        valid["lengths"] = jnp.array(form.lengths)
    elif form.mask is not None:
        valid["mask"] = jnp.array(form.valid)
    (_, (ys, ends)), (d_params, *d_inputs) = _differentiate_ours(graphdef, params, *problem, **valid)
    slopes = nnx.merge(graphdef, d_params)
    d_weights = [[_slopes(layout, one) for one in directions_of(below)] for below in layers_of(slopes)]
    return Result(ys, ends, d_weights, *d_inputs)


@functools.partial(jax.jit, static_argnums=0)
def _differentiate_ours(graphdef: Any, params: PyTree, xs: Any, states: States, lengths: Any, mask: Any) -> Any:
    def apply(params: PyTree, xs: Any, states: States) -> tuple[Any, States]:
        layer = nnx.merge(graphdef, params)
        state = [_own_form(like, leaves) for like, leaves in zip(layer.initial_state(BATCH), states, strict=True)]
        ys, state = layer(xs, state=state, lengths=lengths, mask=mask)
        return ys, normal_form(state)

    return jax.value_and_grad(loss_of(apply, np.ones((BATCH, STEPS), bool)), (0, 1, 2), has_aux=True)(
        params, xs, states
    )


def run_jax(apply: Callable[..., Any], weights: list[list[Any]], form: Form, problem: Problem) -> Result:
    """The result of another library that runs on JAX; `apply(weights, xs, states)` gives outputs and states."""
    with foreign():
        slopes = jax.jit(jax.value_and_grad(loss_of(apply, form.valid), (0, 1, 2), has_aux=True))
        (_, (ys, ends)), d_all = slopes(weights, *problem)
    return Result(ys, ends, *d_all)


def loss_of(apply: Callable[..., Any], valid: np.ndarray) -> Callable[..., Any]:
    def loss(*arguments: Any) -> Any:
        ys, ends = apply(*arguments)
        ys = jnp.where(jnp.broadcast_to(valid[..., None], ys.shape), ys, jnp.zeros_like(ys))
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((ys, ends))), (ys, ends)

    return loss


def normal_form(state: Any) -> States:
    """Our states of a stack as plain lists and tuples."""
    return [
        [tuple(one) for one in layer] if isinstance(layer, lx.BidirectionalState) else [tuple(layer)] for layer in state
    ]


def _own_form(like: Any, leaves: list[tuple[Any, ...]]) -> Any:
    if isinstance(like, lx.BidirectionalState):
        return lx.BidirectionalState(*(type(one)(*arrays) for one, arrays in zip(like, leaves, strict=True)))
    return type(like)(*leaves[0])


def _slopes(layout: Layout, layer: lx.Recurrent) -> Arrays:
    """Our gradients in their layout: two biases that are added up each get the gradient of the sum."""
    parts = {name: np.asarray(value) for name, value in layer.params._asdict().items() if value is not None}
    b_h = parts.pop("b_h", None)
    if b_h is not None:
        parts |= {"b_2": np.concatenate([parts["b"][: -b_h.size], b_h]), "b_n": b_h}
    else:
        parts["b_2"] = parts["b"]
    return arrange(layout, {part: array for part, array in parts.items() if part in layout.parts})


def largest(ours: PyTree, theirs: PyTree) -> float:
    """The largest absolute difference between two trees of arrays of the same dtype."""

    def difference(mine: Any, other: Any) -> float:
        mine, other = np.asarray(mine), np.asarray(other)
        if (mine.dtype, mine.shape) != (other.dtype, other.shape):
            raise AssertionError(f"ours is {mine.dtype} {mine.shape}, theirs {other.dtype} {other.shape}")
        return float(np.max(np.abs(mine - other)))

    return float(max(jax.tree.leaves(jax.tree.map(difference, ours, theirs))))


@contextlib.contextmanager
def foreign() -> Iterator[None]:
    """Others' code may promote, broadcast and warn as it likes."""
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        warnings.catch_warnings(action="ignore"),
    ):
        yield
