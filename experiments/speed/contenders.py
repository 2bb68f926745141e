"""Who takes part: their names, what they need, and what each can do."""

import dataclasses
import importlib
from collections.abc import Callable
from functools import partial
from typing import get_args

from experiments.peers import flax_layers, haiku_layers, keras_layers
from experiments.peers.common import JaxLayers
from experiments.speed import machine, on_jax
from experiments.speed.problem import Request
from experiments.speed.rows import MODES, DType, Mode, Row
from experiments.speed.turns import Prepared
from lstmjax.errors import InputError
from lstmjax.interop.layouts import LAYOUTS, Layout


@dataclasses.dataclass(frozen=True)
class Contender:
    """A library, or one way of using it.

    Args:
      title: what a table calls it.
      prepare: what it does in its own process.
      modes: what it takes part in.
      layout: of its weights, and so of its gradients; None where they are as ours, or there are none.
      needs: distributions, as pip calls them.
      has_lengths: it has an argument for sequences of different lengths.
    """

    name: str
    title: str
    prepare: Callable[[Request], Prepared]
    modes: tuple[Mode, ...]
    layout: Layout | None = None
    needs: tuple[str, ...] = ()
    has_lengths: bool = True
    dtypes: tuple[DType, ...] = ("float32",)

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("lstmjax")

    def can(self, row: Row, mode: Mode, dtype: DType) -> bool:
        """Whether it takes part."""
        return mode in self.modes and dtype in self.dtypes and (self.has_lengths or not row.ragged)

    def check_installed(self) -> None:
        """Raises InputError, which says how to install it, where it is not."""
        if any(machine.version_of(name) is None for name in self.needs):
            pip = f'pip install -e ".[experiments]" {" ".join(self.needs)}'
            raise InputError(f"{self.name} needs {' and '.join(self.needs)}, which is not installed: {pip}")


def _all_but(mode: Mode) -> tuple[Mode, ...]:
    return tuple(one for one in MODES if one != mode)


def _prepare_in(module: str, request: Request) -> Prepared:
    """By a module that imports its library, which may not be installed."""
    prepared: Prepared = importlib.import_module(f"experiments.speed.{module}").prepare(request)
    return prepared


def _ours(name: str, backend: str) -> Contender:
    modes = MODES if backend == "auto" else _all_but("generate")  # one step has no backend
    return Contender(name, name, partial(on_jax.prepare_ours, backend=backend), modes, dtypes=get_args(DType))


def _on_jax(
    name: str,
    title: str,
    build: Callable[..., JaxLayers],
    library: str,
    kind: str = "LSTM",
    *,
    modes: tuple[Mode, ...] = _all_but("epoch"),
    needs: tuple[str, ...] = (),
    has_lengths: bool = True,
) -> Contender:
    prepare = partial(on_jax.prepare_peer, build=build, library=library, kind=kind)
    return Contender(name, title, prepare, modes, LAYOUTS[library][kind], needs, has_lengths)


def _torch() -> Contender:
    prepare, layout = partial(_prepare_in, "on_torch"), LAYOUTS["torch"]["LSTM"]
    return Contender("torch", "torch nn.LSTM", prepare, _all_but("compile"), layout, ("torch",), dtypes=get_args(DType))


def _onnxruntime() -> Contender:
    prepare, needs = partial(_prepare_in, "on_onnx"), ("onnxruntime", "onnx")
    return Contender("onnxruntime", "ONNX Runtime", prepare, ("forward", "generate"), needs=needs)


_CONTENDERS = (
    _ours("lstmjax", "auto"),
    *(_ours(f"lstmjax-{backend}", backend) for backend in ("fused", "scan", "cudnn")),
    _torch(),
    _onnxruntime(),
    _on_jax("flax", "Flax nnx LSTMCell", flax_layers.nnx_layers, "nnx", "LSTMCell"),
    _on_jax("flax-optimized", "Flax nnx OptimizedLSTMCell", flax_layers.nnx_layers, "nnx", "OptimizedLSTMCell"),
    _on_jax("keras", "Keras on JAX", keras_layers.layers, "keras", modes=MODES, needs=("keras",)),
    _on_jax("haiku", "Haiku", haiku_layers.layers, "haiku", needs=("dm-haiku",), has_lengths=False),
)
CONTENDERS = {one.name: one for one in _CONTENDERS}
DEFAULT = tuple(name for name in CONTENDERS if name != "lstmjax-cudnn")


def contender_named(name: str) -> Contender:
    """Raises InputError where there is none of that name."""
    if name not in CONTENDERS:
        raise InputError(f"contenders must be of {', '.join(CONTENDERS)}, got {name!r}")
    return CONTENDERS[name]
