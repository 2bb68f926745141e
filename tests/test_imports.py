"""What importing costs, and in which order: cells alone need nothing that is for training."""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

import lstmjax as lx

HEAVY = ("flax", "optax", "orbax")


def imported_by(code):
    """Which of the heavy libraries are there after `code`, in a fresh interpreter."""
    report = f"import sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_cells_alone_need_no_library_for_training():
    assert imported_by("import lstmjax as lx; lx.cells.LSTM(3, 4); lx.unroll; lx.kernels; dir(lx)") == []


def test_layers_and_interop_need_no_orbax():
    assert "orbax" not in imported_by("import lstmjax as lx; lx.LSTM; lx.interop.to_torch; lx.regularizers; lx.metrics")


def test_every_public_name_is_there():
    assert set(lx.__all__) <= set(dir(lx))
    assert [name for name in lx.__all__ if getattr(lx, name, None) is None] == []
    assert callable(lx.unroll)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'lstmjax' has no attribute 'LTSM'"):
        lx.LTSM  # noqa: B018


def rooms_imported(file):
    """The rooms, or files beside them, that a file of the package imports as it is itself imported."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module == "lstmjax":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("lstmjax."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lstmjax."))


def test_rooms_import_each_other_in_one_direction():
    """So that any of them may be the first to be imported."""
    package = pathlib.Path(lx.__file__).parent
    imports = {}
    for file in package.rglob("*.py"):
        room = file.relative_to(package).with_suffix("").parts[0]
        if room != "__init__":
            imports.setdefault(room, set()).update(rooms_imported(file))
    others = {room: needed - {room} for room, needed in imports.items()}
    order = list(graphlib.TopologicalSorter(others).static_order())
    assert order.index("types") < order.index("cells") < order.index("masking") < order.index("unroll")
