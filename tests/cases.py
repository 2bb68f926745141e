"""The enrolment tables: what stands here goes through every law. And how tests run command lines."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmjax as lx
from experiments import cli
from tests import reference

IN, HIDDEN = 3, 4


@dataclasses.dataclass(frozen=True)
class Integrator:
    """A cell as unlike the LSTM as can be, to hold `unroll` to its word that any cell will do.

    Its state is a dict, its parameters one array, its projection a pair:  s' = s / 2 + x W,  y = s' * gate(x).
    """

    param_dtype: Any
    in_features: int = IN
    hidden_features: int = HIDDEN

    def init(self, key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (self.in_features, self.hidden_features), self.param_dtype)

    def initial_state(self, batch_shape: tuple[int, ...]) -> dict[str, jax.Array]:
        return {"sum": jnp.ones((*batch_shape, self.hidden_features), self.param_dtype)}

    def project(self, params: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x @ params, jax.nn.sigmoid(x[..., :1])

    def step(self, params: jax.Array, state: dict[str, jax.Array], z: Any) -> tuple[dict[str, jax.Array], jax.Array]:
        total = state["sum"] / 2 + z[0]
        return {"sum": total}, total * z[1]


class Enrolled(NamedTuple):
    """A cell of a given dtype, and one step of it in NumPy."""

    make: Callable[[Any], Any]
    reference: Callable[[dict, dict, np.ndarray], dict]


CELLS = {
    "lstm": Enrolled(lambda dtype: lx.cells.LSTM(IN, HIDDEN, param_dtype=dtype), reference.lstm_step),
    "lstm-hard": Enrolled(
        lambda dtype: lx.cells.LSTM(
            IN, HIDDEN, gate_fn=jax.nn.hard_sigmoid, activation_fn=jax.nn.soft_sign, use_bias=False, param_dtype=dtype
        ),
        reference.hard_lstm_step,
    ),
    "peephole": Enrolled(lambda dtype: lx.cells.PeepholeLSTM(IN, HIDDEN, param_dtype=dtype), reference.peephole_step),
    "coupled": Enrolled(lambda dtype: lx.cells.CoupledLSTM(IN, HIDDEN, param_dtype=dtype), reference.coupled_step),
    "projected": Enrolled(
        lambda dtype: lx.cells.ProjectedLSTM(IN, HIDDEN, proj_features=2, param_dtype=dtype), reference.projected_step
    ),
    "layer-norm-lstm": Enrolled(
        lambda dtype: lx.cells.LayerNormLSTM(IN, HIDDEN, param_dtype=dtype), reference.layer_norm_lstm_step
    ),
    "conv-lstm": Enrolled(
        lambda dtype: lx.cells.ConvLSTM(
            IN, HIDDEN, spatial_shape=(3, 2), kernel_size=(2, 3), strides=(2, 1), param_dtype=dtype
        ),
        reference.conv_lstm_step,
    ),
    "gru": Enrolled(lambda dtype: lx.cells.GRU(IN, HIDDEN, param_dtype=dtype), reference.gru_step),
    "gru-original": Enrolled(
        lambda dtype: lx.cells.GRU(IN, HIDDEN, reset_after=False, param_dtype=dtype), reference.gru_original_step
    ),
    "layer-norm-gru": Enrolled(
        lambda dtype: lx.cells.LayerNormGRU(IN, HIDDEN, param_dtype=dtype), reference.layer_norm_gru_step
    ),
    "elman": Enrolled(lambda dtype: lx.cells.ElmanRNN(IN, HIDDEN, param_dtype=dtype), reference.elman_step),
    "indrnn": Enrolled(
        lambda dtype: lx.cells.IndRNN(IN, HIDDEN, activation_fn=jnp.tanh, param_dtype=dtype), reference.indrnn_step
    ),
    "stacked": Enrolled(
        lambda dtype: lx.cells.StackedCells(
            (lx.cells.LSTM(IN, 2, param_dtype=dtype), lx.cells.GRU(2, HIDDEN, param_dtype=dtype))
        ),
        reference.stacked_step,
    ),
    "integrator": Enrolled(Integrator, reference.integrator_step),
}


def cells(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make_cell", [CELLS[name].make for name in names], ids=names)


every_cell = cells(*CELLS)
each_kind = cells("lstm", "conv-lstm", "integrator")  # fused, on a grid, with trees of its own: all that `unroll` sees
every_reference = pytest.mark.parametrize(("make_cell", "reference"), CELLS.values(), ids=CELLS.keys())


def random_params(cell: Any, key: jax.Array) -> Any:
    """Parameters of which none is zero, one, or equal to its neighbour."""
    return jax.tree.map(lambda leaf: leaf / 2, random_like(jax.eval_shape(cell.init, key), key))


def random_state(cell: Any, batch_shape: tuple[int, ...], key: jax.Array) -> Any:
    return random_like(jax.eval_shape(lambda: cell.initial_state(batch_shape)), key)


def random_inputs(cell: Any, leading: tuple[int, ...], key: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
    return random_like(jax.ShapeDtypeStruct((*leading, *lx.cells.input_shape(cell)), dtype), key)


def random_like(tree: Any, key: jax.Array) -> Any:
    """Normal numbers in the tree's shapes and dtypes, drawn by NumPy, which compiles nothing."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape).astype(leaf.dtype)), tree)


def tolerance(dtype: Any, roundings: int = 300) -> float:
    """For numbers near one: by default for gradients over several steps; one step takes far fewer roundings."""
    return roundings * float(jnp.finfo(dtype).eps)


def call(
    main: Callable[[], Any], arguments: Sequence[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> tuple[Any, str, str]:
    """Run a command line in this process; its exit code and what it wrote to stdout and, in one line, to stderr."""
    monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    out, err = capsys.readouterr()
    return stop.value.code, out, " ".join(err.replace("│", " ").split())


def run_quietly(main: Callable[[], Any], arguments: Sequence[Any]) -> Any:
    """The same for a fixture of a module, which has no fixtures of a test; the exit code."""
    with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion("standard"):
        patch.setattr(sys, "argv", ["program", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.run(main)
    return stop.value.code
