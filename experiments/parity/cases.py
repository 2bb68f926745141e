"""The table: every library, cell and form that is measured, and the bars."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

import lstmjax as lx
from experiments.parity.measuring import (
    HIDDEN,
    Difference,
    Form,
    Problem,
    Result,
    compare,
    draw_problem,
    draw_weights,
    run_jax,
    run_ours,
    run_torch,
)
from experiments.peers import equinox_layers, flax_layers, haiku_layers, keras_layers
from experiments.peers.common import JaxLayers, foreign
from experiments.speed.machine import version_of
from lstmjax import interop
from lstmjax.interop.layouts import LAYOUTS, Layout
from lstmjax.interop.reading import stacked
from lstmjax.interop.writing import only_cell

Run = Callable[[Form, Problem], Result]

BARS = {"float32": 1e-5, "float64": 1e-10}

UNIDIRECTIONAL = Form("unidirectional")
BIDIRECTIONAL = Form("bidirectional", bidirectional=True)
STACKED = Form("stacked", layers=2)
RAGGED = Form("ragged", bidirectional=True, lengths=(6, 1, 3))
RAGGED_STACK = Form("ragged stack", layers=2, bidirectional=True, lengths=(6, 1, 3))
MASKED = Form("masked", bidirectional=True, mask=((0, 0, 1, 1, 1, 1), (1, 0, 1, 1, 0, 0), (0, 1, 0, 1, 1, 1)))


class Cell(NamedTuple):
    """A cell of another library: the name of its class, how its weights are laid out, and its options."""

    kind: str
    layout: Layout
    options: Mapping[str, Any] = {}


def cells_of(library: str) -> dict[str, Cell]:
    return {kind: Cell(kind, layout) for kind, layout in LAYOUTS[library].items()}


def torch_peer(*cell: Any, **options: Any) -> tuple[Any, Run]:
    from experiments.peers import torch_layers

    module = torch_layers.layers(*cell, **options)
    return module, functools.partial(run_torch, module)


def on_jax(build: Callable[..., JaxLayers]) -> Callable[..., tuple[Any, Run]]:
    def peer(*cell: Any, **options: Any) -> tuple[Any, Run]:
        layers = build(*cell, **options)
        return layers.source, functools.partial(run_jax, layers)

    return peer


def from_flax(cells: list[list[Any]]) -> lx.Stacked:
    return stacked([[only_cell(interop.from_flax(one)) for one in both] for both in cells])


@dataclasses.dataclass(frozen=True)
class Library:
    """A library, and what of it is compared.

    Args:
      distribution: on PyPI.
      build: from a cell, its size, weights and options to layers of theirs, and to how these are run.
      read: from these to ours.
    """

    title: str
    distribution: str
    build: Callable[..., tuple[Any, Run]]
    read: Callable[[Any], lx.Stacked]
    cells: Mapping[str, Cell]
    forms: Sequence[Form]

    @property
    def version(self) -> str | None:
        return version_of(self.distribution)


_TORCH, _KERAS = LAYOUTS["torch"], LAYOUTS["keras"]
_TORCH_CELLS = {
    "LSTM": Cell("LSTM", _TORCH["LSTM"]),
    "LSTM, proj_size=2": Cell("LSTM", _TORCH["LSTM with proj_size"], {"proj_size": 2}),
    "GRU": Cell("GRU", _TORCH["GRU"]),
    "RNN, tanh": Cell("RNN", _TORCH["RNN"], {"nonlinearity": "tanh"}),
    "RNN, relu": Cell("RNN", _TORCH["RNN"], {"nonlinearity": "relu"}),
}
_KERAS_CELLS = {
    "LSTM": Cell("LSTM", _KERAS["LSTM"]),
    "GRU": Cell("GRU", _KERAS["GRU"]),
    "GRU, reset_after=False": Cell("GRU", _KERAS["GRU(reset_after=False)"], {"reset_after": False}),
    "SimpleRNN": Cell("SimpleRNN", _KERAS["SimpleRNN"]),
}
_WHOLE = (UNIDIRECTIONAL, BIDIRECTIONAL, STACKED, RAGGED)

_NNX, _LINEN, _EQUINOX, _HAIKU = map(cells_of, ("nnx", "linen", "equinox", "haiku"))

LIBRARIES = {
    "torch": Library("PyTorch", "torch", torch_peer, interop.from_torch, _TORCH_CELLS, (*_WHOLE, RAGGED_STACK)),
    "keras": Library(
        "Keras", "keras", on_jax(keras_layers.layers), interop.from_keras, _KERAS_CELLS, (*_WHOLE, MASKED)
    ),
    "nnx": Library("Flax nnx", "flax", on_jax(flax_layers.nnx_layers), from_flax, _NNX, _WHOLE),
    "linen": Library("Flax linen", "flax", on_jax(flax_layers.linen_layers), from_flax, _LINEN, _WHOLE),
    "equinox": Library(
        "Equinox", "equinox", on_jax(equinox_layers.layers), interop.from_equinox, _EQUINOX, (UNIDIRECTIONAL,)
    ),
    "haiku": Library(
        "Haiku", "dm-haiku", on_jax(haiku_layers.layers), interop.from_haiku, _HAIKU, (UNIDIRECTIONAL, STACKED)
    ),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One comparison."""

    library: str
    cell: str
    form: Form
    dtype: str

    def __str__(self) -> str:
        return f"{self.library} {self.cell}: {self.form.name}, {self.dtype}"

    def measure(self) -> Difference:
        """Run both on the same random problem."""
        library = LIBRARIES[self.library]
        cell = library.cells[self.cell]
        with jax.enable_x64(self.dtype == "float64"):
            weights = draw_weights(cell.layout, self.form, self.dtype, cell.options.get("proj_size", HIDDEN))
            with foreign():
                source, run = library.build(cell.kind, HIDDEN, weights, **cell.options)
            ours = library.read(source)
            problem = draw_problem(ours, weights, self.dtype)
            return compare(run_ours(ours, cell.layout, self.form, problem), run(self.form, problem))


CASES = [
    Case(name, cell, form, dtype)
    for name, library in LIBRARIES.items()
    for cell in library.cells
    for form in library.forms
    for dtype in BARS
]
