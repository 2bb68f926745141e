"""What importing costs: cells alone need nothing that is for training."""

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
