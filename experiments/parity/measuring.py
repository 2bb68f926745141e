"""What is compared, and how: one problem, one loss, one result of the same form from our layer and from theirs.

Loss: the sum of sin over the outputs at valid steps and over all final states.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import lstmjax as lx
from experiments.peers.common import JaxLayers, States, Weights, foreign, gradients_in
from lstmjax.interop.layouts import Layout
from lstmjax.interop.writing import directions_of, layers_of
from lstmjax.trees import split_model
from lstmjax.types import PyTree

IN, HIDDEN, BATCH, STEPS = 3, 4, 3, 6


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

    @property
    def options(self) -> dict[str, Any]:
        """How our layers are told."""
        return {
            "lengths": None if self.lengths is None else jnp.array(self.lengths),
            "mask": None if self.mask is None else jnp.array(self.valid),
        }


class Problem(NamedTuple):
    """Their weights, inputs [B, T, I] and initial states."""

    weights: Weights
    xs: np.ndarray
    states: States


class Result(NamedTuple):
    """Outputs [B, T, H] (0 at invalid steps), final states, and the loss's gradients."""

    outputs: Any
    states: States
    d_weights: Weights
    d_inputs: Any
    d_states: States


class Difference(NamedTuple):
    """Largest absolute differences."""

    outputs: float
    states: float
    gradients: float


def draw_weights(layout: Layout, form: Form, dtype: Any, out_features: int = HIDDEN) -> Weights:
    """Random weights in a library's layout, uniform in +-1/sqrt(H) as PyTorch starts: a relu network stays finite."""
    reach = 1 / math.sqrt(HIDDEN)

    def entries(depth: int, way: int) -> dict[str, Any]:
        rng = np.random.default_rng([depth, way])
        shapes = layout.shapes(IN if depth == 0 else form.ways * out_features, HIDDEN, out_features)
        return {name: rng.uniform(-reach, reach, shape).astype(dtype) for name, shape in shapes.items()}

    return [[entries(depth, way) for way in range(form.ways)] for depth in range(form.layers)]


def draw_problem(layer: lx.Stacked, weights: Weights, dtype: Any) -> Problem:
    rng = np.random.default_rng(1)
    states = jax.tree.map(lambda leaf: _random(rng, leaf.shape, dtype), normal_form(layer.initial_state(BATCH)))
    return Problem(weights, rng.normal(size=(BATCH, STEPS, IN)).astype(dtype), states)


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return rng.normal(scale=0.5, size=shape).astype(dtype)


def run_ours(layer: lx.Stacked, layout: Layout, form: Form, problem: Problem) -> Result:
    """The result of our layer, with gradients in their layout."""
    graphdef, params, _ = split_model(layer)
    result: Result = _differentiate_ours(graphdef, params, problem.xs, problem.states, **form.options)
    slopes = nnx.merge(graphdef, result.d_weights)
    cells = [directions_of(below) for below in layers_of(slopes)]
    return result._replace(d_weights=[[gradients_in(layout, one.params._asdict()) for one in both] for both in cells])


@functools.partial(jax.jit, static_argnums=0)
def _differentiate_ours(graphdef: Any, params: PyTree, xs: Any, states: States, lengths: Any, mask: Any) -> Result:
    def apply(params: PyTree, xs: Any, states: States) -> tuple[Any, States]:
        layer = nnx.merge(graphdef, params)
        state = jax.tree.unflatten(jax.tree.structure(layer.initial_state(BATCH)), jax.tree.leaves(states))
        ys, state = layer(xs, state=state, lengths=lengths, mask=mask)
        return ys, normal_form(state)

    return _differentiate(apply, np.ones((BATCH, STEPS), bool), params, xs, states)


def run_jax(layers: JaxLayers, form: Form, problem: Problem) -> Result:
    """The result of another library that runs on JAX."""

    def in_order(array: Any) -> Any:
        return jnp.swapaxes(array, 0, 1) if layers.time_major else array

    def apply(weights: Weights, xs: Any, states: States) -> tuple[Any, States]:
        valid = next((given for given in form.options.values() if given is not None), None)
        ys, ends = layers.apply(weights, in_order(xs), states, valid)
        return in_order(ys), ends

    with foreign():
        result: Result = jax.jit(functools.partial(_differentiate, apply, form.valid))(*problem)
    return result


def _differentiate(apply: Callable[..., Any], valid: np.ndarray, *arguments: Any) -> Result:
    def loss(*arguments: Any) -> Any:
        ys, ends = apply(*arguments)
        ys = jnp.where(jnp.broadcast_to(valid[..., None], ys.shape), ys, jnp.zeros_like(ys))
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((ys, ends))), (ys, ends)

    (_, (ys, ends)), slopes = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(*arguments)
    return Result(ys, ends, *slopes)


def run_torch(module: Any, form: Form, problem: Problem) -> Result:
    """The result of a module of PyTorch."""
    import torch

    from experiments.peers import torch_layers

    xs = torch.tensor(problem.xs.swapaxes(0, 1), requires_grad=True)
    states = jax.tree.map(lambda one: one.requires_grad_(), torch_layers.stacked(problem.states))
    ys, ends = torch_layers.run(module, xs, states, form.lengths)
    loss: Any = sum(torch.sin(leaf).sum() for leaf in jax.tree.leaves((ys, ends)))
    inputs = [list(module.parameters()), xs, states]
    leaves, tree = jax.tree.flatten(inputs)
    slopes = map(torch_layers.to_numpy, torch.autograd.grad(loss, leaves))
    d_weights, d_xs, d_states = jax.tree.unflatten(tree, slopes)
    return Result(
        torch_layers.to_numpy(ys).swapaxes(0, 1),
        torch_layers.apart(module, jax.tree.map(torch_layers.to_numpy, ends)),
        torch_layers.by_layer(module, d_weights),
        d_xs.swapaxes(0, 1),
        torch_layers.apart(module, d_states),
    )


def normal_form(state: Any) -> States:
    """Our states of a stack as plain lists and tuples."""
    return [
        [tuple(one) for one in layer] if isinstance(layer, lx.BidirectionalState) else [tuple(layer)] for layer in state
    ]


def compare(ours: Result, theirs: Result) -> Difference:
    return Difference(
        largest(ours.outputs, theirs.outputs), largest(ours.states, theirs.states), largest(ours[2:], theirs[2:])
    )


def largest(ours: PyTree, theirs: PyTree) -> float:
    """The largest absolute difference between two trees of arrays of the same dtype."""

    def difference(mine: Any, other: Any) -> float:
        mine, other = np.asarray(mine), np.asarray(other)
        if (mine.dtype, mine.shape) != (other.dtype, other.shape):
            raise AssertionError(f"ours is {mine.dtype} {mine.shape}, theirs {other.dtype} {other.shape}")
        return float(np.max(np.abs(mine - other)))

    return float(max(jax.tree.leaves(jax.tree.map(difference, ours, theirs))))
