"""Who takes part: their names, what they need, and what each can do.

- `case.py`: what a contender is asked for, and what it answers with
- `jax_case.py`: what all contenders on JAX share
- `lstmjax_own.py`: ours
- `torch_peer.py`: PyTorch
- `onnxruntime_peer.py`: ONNX Runtime
- `keras_peer.py`: Keras on JAX
- `flax_peer.py`: Flax
- `haiku_peer.py`: Haiku
"""

import dataclasses
import importlib
import importlib.util
from typing import Any

from experiments.speed.spec import Row
from lstmjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Contender:
    """A library, or one way of using it.

    Args:
      title: what a table calls it.
      module: which has `prepare(Request) -> Case`.
      package, distribution: what is imported, and what pip calls it.
      also: other packages that it needs, which pip calls as they are imported.
      option: handed on to `prepare`.
      on_jax: it is compiled by JAX, so there is a compile time and a memory analysis.
      has_lengths: it has an argument for sequences of different lengths.
      has_jobs: it is asked for whole jobs.
      has_bfloat16: it is asked for bfloat16.
      has_gradients: it can train; else it takes part forward only.
    """

    name: str
    title: str
    module: str
    package: str
    distribution: str
    option: str = ""
    also: tuple[str, ...] = ()
    on_jax: bool = True
    has_lengths: bool = True
    has_jobs: bool = False
    has_bfloat16: bool = False
    has_gradients: bool = True

    @property
    def is_ours(self) -> bool:
        return self.package == "lstmjax"

    def can(self, row: Row, dtype: str) -> bool:
        """Whether it takes part in a row."""
        return (
            (self.has_lengths or not row.ragged)
            and (self.has_jobs or row.kind != "job")
            and (self.has_bfloat16 or dtype == "float32")
            and (self.on_jax or row.runs)
            and (row.kind != "generation" or not self.is_ours or self.option == "auto")  # one step has no backend
        )

    def does(self, mode: str) -> bool:
        """Whether it takes part in a mode."""
        return self.has_gradients or mode in ("forward", "generate")

    def check_installed(self) -> None:
        """Raises InputError, which says how to install it, where it is not."""
        if any(importlib.util.find_spec(package) is None for package in (self.package, *self.also)):
            raise InputError(f"{self.name} needs {self.distribution}, which is not installed: {self.pip_command}")

    @property
    def pip_command(self) -> str:
        return " ".join(['pip install -e ".[experiments]"', self.distribution, *self.also])

    def load(self) -> Any:
        return importlib.import_module(f"experiments.speed.contenders.{self.module}")


def _ours(backend: str) -> Contender:
    name = "lstmjax" if backend == "auto" else f"lstmjax-{backend}"
    return Contender(name, name, "lstmjax_own", "lstmjax", "lstmjax", backend, has_jobs=True, has_bfloat16=True)


_CONTENDERS = (
    *map(_ours, ("auto", "scan", "fused", "cudnn")),
    Contender("torch", "torch nn.LSTM", "torch_peer", "torch", "torch", on_jax=False, has_jobs=True, has_bfloat16=True),
    Contender(
        "onnxruntime",
        "ONNX Runtime",
        "onnxruntime_peer",
        "onnxruntime",
        "onnxruntime",
        also=("onnx",),
        on_jax=False,
        has_gradients=False,
    ),
    Contender("flax", "Flax nnx LSTMCell", "flax_peer", "flax", "flax", "LSTMCell"),
    Contender("flax-optimized", "Flax nnx OptimizedLSTMCell", "flax_peer", "flax", "flax", "OptimizedLSTMCell"),
    Contender("keras", "Keras on JAX", "keras_peer", "keras", "keras", has_jobs=True),
    Contender("haiku", "Haiku", "haiku_peer", "haiku", "dm-haiku", has_lengths=False),
)
CONTENDERS = {one.name: one for one in _CONTENDERS}
REFERENCE = Contender("reference", "lstmjax in float64", "lstmjax_own", "lstmjax", "lstmjax", "scan", has_jobs=True)
DEFAULT = (
    *("lstmjax", "lstmjax-fused", "lstmjax-scan"),
    *("torch", "onnxruntime", "flax", "flax-optimized", "keras", "haiku"),
)
SWEEPERS = ("lstmjax", "torch", "flax-optimized", "keras")


def contender_named(name: str) -> Contender:
    """Raises InputError where there is none of that name."""
    everyone = CONTENDERS | {REFERENCE.name: REFERENCE}
    if name not in everyone:
        raise InputError(f"contenders must be of {', '.join(CONTENDERS)}, got {name!r}")
    return everyone[name]
