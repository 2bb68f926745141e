"""The base of all cells: sizes, dtypes, how fused weights start, and the two products, `x W_x + b` and `h W_h`."""

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lstmjax import checks, initializers
from lstmjax.cells.full_cell import FullCell
from lstmjax.cells.masked import recurrent_factors
from lstmjax.cells.precision import matmul
from lstmjax.types import Array, DTypeLike, Float, Initializer, Key


class HiddenState(NamedTuple):
    """The state of a cell whose only state is its output, `h [*batch, H]`."""

    h: Float[Array, "*batch H"]


@dataclasses.dataclass(frozen=True)
class BaseCell(FullCell):
    """Fields of cells whose gates' weights stand side by side, explained in `LSTM`; not a cell itself.

    A subclass names its gates in `gate_order`, a letter for each block of `w_x`, `w_h` and `b`, and writes `init` and
    `step_with_gates`.

    Raises:
      ValueError: a size below 1.
      TypeError: a size that is no whole number, a dtype that is not floating or that JAX would not keep, float16 beside
        bfloat16, an initializer that is no function.
    """

    in_features: int
    hidden_features: int
    _: dataclasses.KW_ONLY
    use_bias: bool = True
    kernel_init: Initializer = initializers.glorot_uniform
    recurrent_init: Initializer = initializers.orthogonal
    bias_init: Initializer = initializers.zeros
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    gate_order: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not self.gate_order:
            raise TypeError(f"{type(self).__name__} must have a gate_order, a letter for each of its gates")
        for name in ("in_features", "hidden_features"):
            object.__setattr__(self, name, checks.positive_int(name, getattr(self, name)))
        checks.floating_dtype("dtype", self.compute_dtype)
        checks.floating_dtype("param_dtype", self.param_dtype)
        checks.boolean("use_bias", self.use_bias)
        for field in dataclasses.fields(self):
            if field.name.endswith(("_init", "_fn")):
                checks.function(field.name, getattr(self, field.name))
        if getattr(self.bias_init, "gates", self.gate_order) != self.gate_order:
            raise ValueError(f"bias_init must be for gates {self.gate_order!r}, got {self.bias_init}")
        for name in ("dtype", "param_dtype"):  # jnp.float32 and np.dtype("float32") are equal with unequal hashes
            if getattr(self, name) is not None:
                object.__setattr__(self, name, jnp.dtype(getattr(self, name)))
        checks.one_half_precision("dtype", self.compute_dtype, "param_dtype", self.param_dtype)

    @property
    def num_gates(self) -> int:
        return len(self.gate_order)

    @property
    def compute_dtype(self) -> DTypeLike:
        return self.param_dtype if self.dtype is None else self.dtype

    @abc.abstractmethod
    def init(self, key: Key[Array, ""]) -> Any:
        """Fresh parameters."""

    def initial_state(self, batch_shape: tuple[int, ...]) -> Any:
        """Zeros, `h` in the compute dtype."""
        return HiddenState(jnp.zeros((*batch_shape, self.hidden_features), self.compute_dtype))

    def project(self, params: Any, x: Float[Array, "*batch I"]) -> Float[Array, "*batch G*H"]:
        """`x W_x + b`, the gates side by side.

        Raises:
          TypeError: `x` is in neither the compute dtype nor the parameters' dtype.
          ValueError: `x` does not end in `in_features`.
        """
        self._check_input(x, (self.in_features,))
        return add_bias(matmul(x, params.w_x, self.compute_dtype), params.b)

    def recur(self, params: Any, h: Float[Array, "*batch H"]) -> Float[Array, "*batch G*H"]:
        """`h W_h`, the gates side by side.

        A cell that multiplies something else, such as r * h, or one gate's block of `w_h` alone, takes both arrays from
        `recurrent_factors(h, params.w_h)`, where recurrent dropout has been applied, and calls `matmul`.
        """
        h, w_h = recurrent_factors(h, params.w_h)
        return matmul(h, w_h, self.compute_dtype)

    def _init_weights(
        self, key: Key[Array, ""], fan_in: tuple[int, ...], fan_h: tuple[int, ...]
    ) -> tuple[Array, Array, Array | None]:
        """Fresh `w_x [*fan_in, G*H]`, `w_h [*fan_h, G*H]` and `b [G*H]`."""
        key_x, key_h, key_b = (jax.random.fold_in(key, number) for number in range(3))
        width = self.num_gates * self.hidden_features
        w_x = initializers.per_gate(self.kernel_init, self.num_gates)(key_x, (*fan_in, width), self.param_dtype)
        w_h = initializers.per_gate(self.recurrent_init, self.num_gates)(key_h, (*fan_h, width), self.param_dtype)
        return w_x, w_h, self.bias_init(key_b, (width,), self.param_dtype) if self.use_bias else None

    def _check_input(self, x: Array, trailing: tuple[int, ...]) -> None:
        allowed = dict.fromkeys(jnp.dtype(dtype).name for dtype in (self.param_dtype, self.compute_dtype))
        if x.dtype.name not in allowed:
            raise TypeError(
                f"xs must have dtype {' or '.join(allowed)}, got {x.dtype.name}; dtype= and param_dtype= of the cell "
                "say what it computes in and holds"
            )
        if x.shape[-len(trailing) :] != trailing:
            expected = f"in_features={self.in_features}" if len(trailing) == 1 else ", ".join(map(str, trailing))
            raise ValueError(f"x must have shape [..., {expected}], got {list(x.shape)}")


def add_bias(z: Float[Array, "*batch N"], b: Float[Array, "N"] | None) -> Float[Array, "*batch N"]:
    """`z + b` in the dtype of `z`; a cell without biases has None."""
    return z if b is None else z + jnp.broadcast_to(b.astype(z.dtype), z.shape)
