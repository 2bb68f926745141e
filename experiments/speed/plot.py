"""How many times as long as lstmjax the others take, a line for each row, a mark for each library."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

from experiments.speed.contenders import CONTENDERS
from experiments.speed.results import Results
from experiments.speed.summary import ratios
from lstmjax.errors import InputError

MODES = ("forward", "forward+backward")
# Told apart by colour-blind eyes (Okabe and Ito 2008) and, by their markers, without colour.
STYLES = {
    "torch": ("#0072B2", "s"),
    "onnxruntime": ("#D55E00", "o"),
    "flax-optimized": ("#009E73", "^"),
    "keras": ("#7F7F7F", "D"),
}


def draw(found: Results, path: Path) -> None:
    """Write the picture: a panel forward and one forward+backward, in float32.

    Raises:
      InputError: there is neither among the results.
    """
    rows = [row for row in found.rows if any(found.of(row, mode) for mode in MODES)]
    if not rows:
        raise InputError(f"results must hold times of {' or '.join(MODES)} in float32 to be plotted, got none")
    places = range(len(rows))
    figure, panels = plt.subplots(
        1, len(MODES), figsize=(11, 1.2 + 0.32 * len(rows)), sharey=True, layout="constrained"
    )
    for mode, panel in zip(MODES, panels, strict=True):
        each = [ratios(found.of(row, mode)) for row in rows]
        for name, (colour, marker) in STYLES.items():
            known = [(one[name], place) for one, place in zip(each, places, strict=True) if name in one]
            if known:
                title = CONTENDERS[name].title
                panel.plot(*zip(*known, strict=True), marker, color=colour, label=title, alpha=0.8)
        panel.axvline(1, color="black", linewidth=1)
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(f"{mode}: time over lstmjax's")
        panel.grid(True, alpha=0.3)
    panels[0].set_yticks(places, [row.title for row in rows])
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(STYLES), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
