"""Regularised cells: with a key, `unroll` draws their noise before it runs; without one they are the cell they hold."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lstmjax import checks
from lstmjax.cells.full_cell import draw_noise, step_with_gates
from lstmjax.cells.masked import mask_weight
from lstmjax.cells.shapes import output_shape
from lstmjax.cells.wrappers import Wrapper
from lstmjax.types import Array, Float, Key, PyTree


class NoisyWrapper(Wrapper):
    """A wrapper with a `draw_noise` of its own."""

    @property
    def has_noise(self) -> bool:
        return True


@dataclasses.dataclass(frozen=True)
class RecurrentDropout(NoisyWrapper):
    """Dropout on the hidden state where it enters the recurrent product, one mask for all steps of a sequence.

        h W_h  becomes  (h * m) W_h         m = 0 with probability `rate`, else 1 / (1 - rate)

    The memory of an LSTM and the old state a GRU keeps are not touched.

    Args:
      cell: any cell with a state `h` and parameters `w_h`.
      rate: in [0, 1).

    Raises:
      ValueError: `rate` outside [0, 1).
      TypeError: a cell without `h` and `w_h`.

    Source: Gal and Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks".

    >>> cell = RecurrentDropout(lx.cells.LSTM(3, 5), 0.25)
    >>> params, xs = cell.init(jax.random.key(0)), jnp.ones((2, 4, 3))
    >>> evaluated, trained = lx.unroll(cell, params, xs), lx.unroll(cell, params, xs, key=jax.random.key(1))
    >>> bool(jnp.allclose(evaluated[0], trained[0]))
    False
    """

    rate: float

    def __post_init__(self) -> None:
        checks.rate("rate", self.rate)
        _check_has_h(self)
        _check_has_w_h(self)

    def draw_noise(self, params: Any, xs: Float[Array, "T B *in"], key: Key[Array, ""]) -> tuple[Any, Any, PyTree]:
        key_mask, key_inner = jax.random.split(key)
        h = self.initial_state(xs.shape[1:2]).h
        mask = _dropout(jnp.ones_like(h), self.rate, key_mask)
        cell, params, xs = draw_noise(self.cell, params, xs, key_inner)
        return cell, params._replace(w_h=mask_weight(params.w_h, mask)), xs


@dataclasses.dataclass(frozen=True)
class WeightDrop(NoisyWrapper):
    """Dropout on the recurrent weights themselves, drawn once a call: the same for all sequences and steps.

    Args:
      cell: any cell with parameters `w_h`.
      rate: in [0, 1).

    Raises:
      ValueError: `rate` outside [0, 1).
      TypeError: a cell without `w_h`.

    Source: Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models" (AWD-LSTM).

    >>> cell = WeightDrop(lx.cells.GRU(3, 5), 0.5)
    >>> lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((2, 4, 3)), key=jax.random.key(1))[0].shape
    (2, 4, 5)
    """

    rate: float

    def __post_init__(self) -> None:
        checks.rate("rate", self.rate)
        _check_has_w_h(self)

    def draw_noise(self, params: Any, xs: Float[Array, "T B *in"], key: Key[Array, ""]) -> tuple[Any, Any, PyTree]:
        key_weights, key_inner = jax.random.split(key)
        return draw_noise(self.cell, params._replace(w_h=_dropout(params.w_h, self.rate, key_weights)), xs, key_inner)


@dataclasses.dataclass(frozen=True)
class Zoneout(NoisyWrapper):
    """Some units keep their old state for a step, drawn anew at each step for each sequence.

        s' = d * s + (1 - d) * step(s)          d = 1 with probability `rate`, else 0

    Args:
      cell: any cell with a state `h`.
      hidden_rate: for `h`, in [0, 1).
      memory_rate: for what else is in the state, `c` of an LSTM, in [0, 1).
      evaluation: what a call without a key does: "off" runs `cell` alone, "expected" puts d = `rate`, as in the paper.

    Raises:
      ValueError: a rate outside [0, 1), or a `memory_rate` for a state that is nothing but `h`.
      TypeError: a cell without a state `h`, or whose output is another thing.

    Source: Krueger et al. 2017, "Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations".

    >>> cell = Zoneout(lx.cells.LSTM(3, 5), hidden_rate=0.05, memory_rate=0.5)
    >>> lx.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((2, 4, 3)), key=jax.random.key(1))[0].shape
    (2, 4, 5)
    """

    hidden_rate: float
    memory_rate: float = 0.0
    evaluation: Literal["off", "expected"] = "off"

    def __post_init__(self) -> None:
        checks.rate("hidden_rate", self.hidden_rate)
        checks.rate("memory_rate", self.memory_rate)
        checks.one_of("evaluation", self.evaluation, ("off", "expected"))
        _check_has_h(self)
        if self.memory_rate > 0.0 and self.initial_state(())._fields == ("h",):
            raise ValueError(
                f"memory_rate needs a cell with more than h in its state, got memory_rate {self.memory_rate}"
            )

    def step_with_gates(self, params: Any, state: Any, projected: PyTree) -> tuple[Any, Any, Any]:
        after, y, gates = step_with_gates(self.cell, params, state, projected)
        if self.evaluation == "off":
            return after, y, gates
        rates = self._rates(state)
        mixed = jax.tree.map(lambda rate, old, new: rate * old + (1 - rate) * new, rates, state, after)
        return mixed, mixed.h, gates

    def draw_noise(self, params: Any, xs: Float[Array, "T B *in"], key: Key[Array, ""]) -> tuple[Any, Any, PyTree]:
        key_inner, key_h, key_rest = jax.random.split(key, 3)
        state = self.initial_state(xs.shape[:2])
        rates = self._rates(state)
        leaves, structure = jax.tree.flatten(state)
        leaf_keys = jax.tree.unflatten(structure, list(jax.random.split(key_rest, len(leaves))))._replace(h=key_h)
        keep = jax.tree.map(lambda k, p, leaf: jax.random.bernoulli(k, p, leaf.shape), leaf_keys, rates, state)
        cell, params, inner_xs = draw_noise(self.cell, params, xs, key_inner)
        return _ZoneoutStep(cell), params, (inner_xs, keep)

    def _rates(self, state: Any) -> Any:
        """The rate of each leaf, in the tree of `state`."""
        return jax.tree.map(lambda _: self.memory_rate, state)._replace(h=self.hidden_rate)


@dataclasses.dataclass(frozen=True)
class _ZoneoutStep(Wrapper):
    """Zoneout whose noise is drawn: each input comes with the units that keep their old state at that step."""

    def project(self, params: Any, x: PyTree) -> PyTree:
        x_inner, keep = x
        return self.cell.project(params, x_inner), keep

    def step_with_gates(self, params: Any, state: Any, projected: PyTree) -> tuple[Any, Any, Any]:
        inner, keep = projected
        after, _, gates = step_with_gates(self.cell, params, state, inner)
        after = jax.tree.map(jnp.where, keep, state, after)
        return after, after.h, gates


def _dropout(values: Array, rate: float, key: Key[Array, ""]) -> Array:
    keep = jax.random.bernoulli(key, 1.0 - rate, values.shape)
    return jnp.where(keep, values / (1.0 - rate), jnp.zeros_like(values))


def _check_has_h(wrapper: Wrapper) -> None:
    output_shape(wrapper.cell)  # raises where an output is no array, let alone the hidden state
    if not hasattr(jax.eval_shape(lambda: wrapper.initial_state(())), "h"):
        raise TypeError(f"cell must have a state with h, for {type(wrapper).__name__}, got {wrapper.cell}")


def _check_has_w_h(wrapper: Wrapper) -> None:
    if not hasattr(jax.eval_shape(wrapper.init, jax.random.key(0)), "w_h"):
        raise TypeError(f"cell must have parameters with w_h, for {type(wrapper).__name__}, got {wrapper.cell}")
