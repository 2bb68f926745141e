"""cuDNN's LSTM on an NVIDIA GPU, through `jax.experimental.rnn`, with our weights, our padding and our directions.

The tests of this project put JAX's reference in its place: they have no GPU. JAX has no rule to batch cuDNN's
operations: vmap raises NotImplementedError. Forward mode and second derivatives are those of `scan`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import rnn
from jaxlib import gpu_rnn

from lstmjax.cells.lstm import LSTM, LSTMParams, LSTMState
from lstmjax.cells.masked import MaskedWeight
from lstmjax.derivative import with_backward
from lstmjax.kernels import fused, scan
from lstmjax.kernels.backend import Backend, Request
from lstmjax.masking import Steps, where_rows, zero_invalid
from lstmjax.types import Array, Float, Int


def run(
    cell: LSTM, params: LSTMParams, steps: Steps, state: LSTMState, initial: LSTMState, reverse: bool
) -> tuple[LSTMState, Float[Array, "T B H"]]:
    """As `scan.run`, for sequences padded on the right, without resets."""

    def forward(params: LSTMParams, steps: Steps, state: LSTMState) -> tuple[LSTMState, Array]:
        return _one_layer(cell, params, steps, state, reverse)

    def saving(*arguments: Any) -> tuple[Any, Any]:
        return jax.vjp(forward, *arguments)

    def backward(pull: Any, cotangents: Any) -> Any:
        return pull(cotangents)

    def reference(params: LSTMParams, steps: Steps, state: LSTMState) -> tuple[LSTMState, Array]:
        return scan.run(cell, params, steps, state, initial, reverse)

    result: tuple[LSTMState, Array] = with_backward(forward, saving, backward, reference)(params, steps, state)
    return result


def refuses(request: Request) -> str | None:
    """Why this backend cannot serve a request."""
    cell = request.cell
    if not can_be_traced():
        return "it needs JAX's CUDA plugin, which is not installed"
    if type(cell) is not LSTM:
        return f"it knows cells.LSTM, got {type(cell).__name__}"
    if not cell.param_dtype == cell.compute_dtype == jnp.float32:
        return f"it knows float32, got {cell.param_dtype} parameters computed in {cell.compute_dtype}"
    if isinstance(request.params.w_h, MaskedWeight):
        return "it has no recurrent dropout"
    if not request.right_padded:
        return "it knows lengths, got a mask"
    return "it has no resets" if request.has_resets else fused.refuses(request)


def can_be_traced() -> bool:
    """Whether JAX can ask cuDNN for the sizes of its buffers, which it does while tracing, for whatever platform."""
    return hasattr(gpu_rnn, "compute_rnn_workspace_reserve_space_sizes")


def declines(request: Request) -> str | None:
    """Why "auto" passes it over."""
    return "it has not been measured against fused yet; ask for it by name"


BACKEND = Backend("cudnn", refuses, declines, run, platform="cuda")


def pack(layers: Sequence[LSTMParams]) -> Float[Array, "N"]:
    """cuDNN's one vector of weights, from our parameters: a layer's forward ones, then its backward ones, bottom first.

    All matrices come before all biases, each turned, with its gates in our order i, f, g, o. Our one bias is the
    first of cuDNN's two.
    """
    matrices = [w.T.ravel() for layer in layers for w in (layer.w_x, layer.w_h)]
    biases = []
    for layer in layers:
        none = jnp.zeros(layer.w_h.shape[1], layer.w_h.dtype)
        biases += [none if layer.b is None else layer.b, none]
    return jnp.concatenate([*matrices, *biases])


def _one_layer(
    cell: LSTM, params: LSTMParams, steps: Steps, state: LSTMState, reverse: bool
) -> tuple[LSTMState, Float[Array, "T B H"]]:
    xs, valid = steps.xs, steps.valid
    time, batch = xs.shape[:2]
    if valid is None:
        lengths, start = jnp.full(batch, time, jnp.int32), state
    else:
        lengths = jnp.sum(valid, axis=0, dtype=jnp.int32)
        xs, start = zero_invalid(valid, xs), zero_invalid(lengths > 0, state)
    xs = _reverse(xs, lengths) if reverse else xs
    ys, h, c = rnn.lstm(
        xs.swapaxes(0, 1),
        start.h[None],
        start.c[None],
        pack([params]),
        jnp.maximum(lengths, 1),  # a sequence without steps is put right below
        input_size=cell.in_features,
        hidden_size=cell.hidden_features,
        num_layers=1,
        dropout=0.0,
        bidirectional=False,
        precision=lax.Precision.HIGHEST,
    )
    ys = ys.swapaxes(0, 1)
    end = LSTMState(h[0], c[0])
    if valid is not None:
        ys, end = zero_invalid(valid, ys), where_rows(lengths > 0, end, state)
    return end, _reverse(ys, lengths) if reverse else ys


def _reverse(values: Float[Array, "T B N"], lengths: Int[Array, "B"]) -> Float[Array, "T B N"]:
    """Each sequence's own steps from last to first; the padding stays where it is."""
    times = jnp.arange(len(values), dtype=jnp.int32)[:, None]
    from_last = jnp.where(times < lengths[None, :], lengths[None, :] - 1 - times, times)
    return jnp.take_along_axis(values, from_last[..., None], axis=0)
