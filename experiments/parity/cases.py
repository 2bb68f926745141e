"""The table: every library, cell and form that is measured, and the bars."""

import dataclasses
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import jax

from experiments.parity import equinox_peer, flax_peer, haiku_peer, keras_peer, torch_peer
from experiments.parity.measuring import Difference, Form, Peer, compare

BARS = {"float32": 1e-5, "float64": 1e-10}

UNIDIRECTIONAL = Form("unidirectional")
BIDIRECTIONAL = Form("bidirectional", bidirectional=True)
STACKED = Form("stacked", layers=2)
RAGGED = Form("ragged", bidirectional=True, lengths=(6, 1, 3))
RAGGED_STACK = Form("ragged stack", layers=2, bidirectional=True, lengths=(6, 1, 3))
MASKED = Form("masked", bidirectional=True, mask=((0, 0, 1, 1, 1, 1), (1, 0, 1, 1, 0, 0), (0, 1, 0, 1, 1, 1)))


@dataclasses.dataclass(frozen=True)
class Library:
    """A library, its distribution on PyPI, and what of it is compared."""

    title: str
    distribution: str
    module: str
    cells: Sequence[str]
    forms: Sequence[Form]
    make: Callable[[str, Form, Any], Peer]

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        return importlib.metadata.version(self.distribution)


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
        with jax.enable_x64(self.dtype == "float64"):
            peer = LIBRARIES[self.library].make(self.cell, self.form, self.dtype)
            return compare(peer, self.form, self.dtype)


_WHOLE = (UNIDIRECTIONAL, BIDIRECTIONAL, STACKED, RAGGED)

LIBRARIES = {
    "torch": Library("PyTorch", "torch", "torch", tuple(torch_peer.CELLS), (*_WHOLE, RAGGED_STACK), torch_peer.make),
    "keras": Library("Keras", "keras", "keras", tuple(keras_peer.CELLS), (*_WHOLE, MASKED), keras_peer.make),
    "nnx": Library("Flax nnx", "flax", "flax", flax_peer.CELLS, _WHOLE, flax_peer.make_nnx),
    "linen": Library("Flax linen", "flax", "flax", flax_peer.CELLS, _WHOLE, flax_peer.make_linen),
    "equinox": Library("Equinox", "equinox", "equinox", equinox_peer.CELLS, (UNIDIRECTIONAL,), equinox_peer.make),
    "haiku": Library("Haiku", "dm-haiku", "haiku", haiku_peer.CELLS, (UNIDIRECTIONAL, STACKED), haiku_peer.make),
}

CASES = [
    Case(name, cell, form, dtype)
    for name, library in LIBRARIES.items()
    for cell in library.cells
    for form in library.forms
    for dtype in BARS
]
