"""Matplotlib, for files alone."""

import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

__all__ = ["plt", "save"]


def save(figure: Figure, image: Path, dpi: int = 120, *, tight: bool = False) -> None:
    """Write a figure, and let go of it; what its font lacks is drawn as a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(image, dpi=dpi, bbox_inches="tight" if tight else None)
    plt.close(figure)
