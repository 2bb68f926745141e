"""The library's three functions as functions of JAX arrays: weights packed, a layer forward, a layer backward.

Every array has a leading axis of layers, which run side by side; an array of shape [0] says that there is none.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lstmjax.cells.base import BaseCell
from lstmjax.cells.gru import GRU
from lstmjax.cells.lstm import LSTM
from lstmjax.cells.precision import accumulation_dtype
from lstmjax.kernels.native import library
from lstmjax.kernels.native.batching import batched
from lstmjax.sharding import vary_alike
from lstmjax.types import Array, DTypeLike, Float


class Plan(NamedTuple):
    """How a call goes through time.

    Args:
      cell: an LSTM or a GRU.
      batch_major: whether sequences are [layers, B, T, ...] or [layers, T, B, ...].
      reverse: the direction.
      chunk: steps that the backward pass takes at a time.
      keeps_gates: whether the backward pass gets them from the forward pass or computes them again.
    """

    cell: BaseCell
    batch_major: bool
    reverse: bool
    chunk: int
    keeps_gates: bool

    @property
    def sums(self) -> jnp.dtype:
        return accumulation_dtype(self.cell.compute_dtype)

    def attributes(self) -> dict[str, Any]:
        return {
            "cell": _number(self.cell),
            "batch_major": self.batch_major,
            "reverse": self.reverse,
            "chunk": np.int64(self.chunk),
        }


class Operands(NamedTuple):
    """What both passes take.

    Weights [1 or N, ., G*H] in the compute dtype and biases [1 or N, G*H] in that of sums; sequences [N, B, T, I] or
    [N, T, B, I]; states and the mask of recurrent dropout [N, B, H]; flags of steps [N, T, B]. `b_h` is added to
    `h W_h`, `memory` is the LSTM's c, `*_initial` is what a reset goes back to.
    """

    w_x: Array
    w_h: Array
    b: Array
    b_h: Array
    xs: Array
    h: Array
    memory: Array
    h_initial: Array
    memory_initial: Array
    h_mask: Array
    valid: Array
    resets: Array


WEIGHTS = 4
"""How many of the operands are weights."""


class Outputs(NamedTuple):
    """What the forward pass gives; the last two are for the backward pass."""

    ys: Array
    h: Array
    memory: Array
    chunk_memory: Array
    gates: Array


class Cotangents(NamedTuple):
    """What the backward pass takes beside `Operands`."""

    ys: Array
    chunk_memory: Array
    gates: Array
    d_ys: Array
    d_h: Array
    d_memory: Array


class Gradients(NamedTuple):
    """What the backward pass gives; those of weights and states are in the dtype of sums, of biases for every gate."""

    xs: Array
    w_x: Array
    w_h: Array
    b: Array
    b_h: Array
    h: Array
    memory: Array
    h_initial: Array
    memory_initial: Array


def nothing(dtype: Any) -> Array:
    """What stands for an array that is not there."""
    return jnp.zeros((0,), dtype)


def pack(plan: Plan, operands: Operands) -> Float[Array, "N size"]:
    """The weights in the order in which products read them.

    `forward` can do it itself; XLA takes this out of a loop whose steps are calls with the same weights.
    """
    size = _panels(plan).packed_size(operands.w_x.shape[1])

    def call(*arrays: Array) -> list[Array]:
        weights = _in_as_many_layers(arrays)
        result = [_shape((weights[0].shape[0], size), plan.sums)]
        return _call("lstmjax_pack", result, weights, {"cell": _number(plan.cell)})

    return batched(call, [None] * WEIGHTS)(*vary_alike(operands[:WEIGHTS]))[0]


def forward(plan: Plan, operands: Operands, packed: Array, saving: bool) -> Outputs:
    """A layer over its sequences.

    Args:
      packed: what `pack` gives, or nothing: then the weights are packed here.
      saving: whether to give what the backward pass needs.
    """

    def call(packed: Array, *arrays: Array) -> list[Array]:
        results = _output_shapes(plan, Operands(*arrays), saving)
        in_order = (*_in_as_many_layers(arrays[:WEIGHTS]), packed, *arrays[WEIGHTS:])
        return _call("lstmjax_forward", results, in_order, plan.attributes())

    rows = 1 if plan.batch_major else 2
    axes = (None, None, None, None, None, rows, 1, 1, 1, 1, 1, 2, 2)
    return Outputs(*batched(call, axes, (rows, 1, 1, 2, 2))(*vary_alike((packed, *operands))))


def backward(plan: Plan, operands: Operands, cotangents: Cotangents) -> Gradients:
    """The gradients of a layer's inputs, weights and states."""

    def call(*arrays: Array) -> list[Array]:
        given = Operands(*arrays[: len(Operands._fields)])
        results = _gradient_shapes(plan, given, _layers(arrays))
        in_order = (*_in_as_many_layers(arrays[:WEIGHTS]), *arrays[WEIGHTS:])
        return _call("lstmjax_backward", results, in_order, plan.attributes())

    arrays = (*operands, *cotangents)
    return Gradients(*batched(call, [None] * len(arrays))(*vary_alike(arrays)))


class Panels(NamedTuple):
    """How much room weights take: hidden units come a vector at a time, in panels with all their gates.

    The last panel is as narrow as what is left allows: a half or, where a step has one product, a quarter of a vector.
    `source/panels.h` has the same.
    """

    hidden: int
    gates: int
    lanes: int
    products: int = 1

    @property
    def last(self) -> int:
        left, width = self.hidden % self.lanes, self.lanes
        while width > max(2, self.products * self.lanes // 4) and left <= width // 2:
            width //= 2
        return width if left else 0

    @property
    def padded(self) -> int:
        """Hidden units with what fills the last panel."""
        return self.hidden // self.lanes * self.lanes + self.last

    @property
    def total(self) -> int:
        """Numbers of one row in all panels."""
        vectors = self.gates * (self.hidden // self.lanes) + -(-self.gates * self.last // self.lanes)
        return vectors * self.lanes

    def packed_size(self, inputs: int) -> int:
        return (inputs + self.hidden + 2) * self.total


def _call(
    target: str, results: list[jax.ShapeDtypeStruct], arrays: Sequence[Array], attributes: dict[str, Any]
) -> list[Array]:
    return list(jax.ffi.ffi_call(target, [_varying_as(arrays[0], each) for each in results])(*arrays, **attributes))


def _varying_as(array: Array, result: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """`result`, said to differ between the shards of a `jax.shard_map` if `array` does: newer JAX must be told."""
    mesh, varies = jax.sharding.get_abstract_mesh(), getattr(jax.typeof(array), "mat", None)
    if mesh.empty or varies is None:
        return result
    whole = NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]
    more: Any = {"sharding": whole, "manual_axis_type": varies}
    return jax.ShapeDtypeStruct(result.shape, result.dtype, **more)  # type: ignore[no-untyped-call]


def _shape(shape: tuple[int, ...], dtype: DTypeLike) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


def _panels(plan: Plan) -> Panels:
    products = 2 if _resets_before(plan.cell) else 1
    return Panels(plan.cell.hidden_features, plan.cell.num_gates, library.lanes(plan.sums), products)


def _resets_before(cell: BaseCell) -> bool:
    """Whether r * h enters a product, the second one of a step."""
    return isinstance(cell, GRU) and not cell.reset_after


def _number(cell: BaseCell) -> np.int32:
    """As `CellKind` in `source/layer.h`."""
    return np.int32(0 if isinstance(cell, LSTM) else 2 if _resets_before(cell) else 1)


def _layers(arrays: Sequence[Array]) -> int:
    """How many there are; an array with one may serve all."""
    return max(array.shape[0] for array in arrays if array.ndim > 1)


def _in_as_many_layers(weights: Sequence[Array]) -> list[Array]:
    """Each weight once for each layer if any is: the library packs them together."""
    layers = _layers(weights)
    return [jnp.broadcast_to(w, (layers, *w.shape[1:])) if w.ndim > 1 else w for w in weights]


def _output_shapes(plan: Plan, given: Operands, saving: bool) -> list[jax.ShapeDtypeStruct]:
    layers, hidden = _layers(given), plan.cell.hidden_features
    outer, inner = given.xs.shape[1:3]
    rows, steps = (outer, inner) if plan.batch_major else (inner, outer)
    padded = _panels(plan).padded
    element = given.xs.dtype
    has_memory = isinstance(plan.cell, LSTM)
    chunks = -(-steps // plan.chunk)
    return [
        _shape((layers, outer, inner, hidden), element),
        _shape((layers, rows, hidden), element),
        _shape((layers, rows, hidden) if has_memory else (0,), plan.sums),
        _shape((layers, chunks, rows, padded) if saving and has_memory else (0,), plan.sums),
        _shape((layers, steps, rows, 4 * padded) if saving and plan.keeps_gates else (0,), plan.sums),
    ]


def _gradient_shapes(plan: Plan, given: Operands, layers: int) -> list[jax.ShapeDtypeStruct]:
    rows, hidden = given.h.shape[1:]
    width = plan.cell.num_gates * hidden

    def sums(*shape: int) -> jax.ShapeDtypeStruct:
        return _shape(shape, plan.sums)

    def like(states: Array) -> jax.ShapeDtypeStruct:
        return sums(layers, rows, hidden) if states.ndim == 3 else sums(0)

    return [
        _shape((layers, *given.xs.shape[1:]), given.xs.dtype),
        sums(layers, given.xs.shape[3], width),
        sums(layers, hidden, width),
        sums(layers, width),
        sums(layers, width),
        like(given.h),
        like(given.memory),
        like(given.h_initial),
        like(given.memory_initial),
    ]
