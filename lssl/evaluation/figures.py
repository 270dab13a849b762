"""Plots for the reports, in colours of medium lightness, since they must be readable on light and dark pages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_figure(matrix: NDArray[np.integer], classes: Sequence[str]) -> "Figure":
    """A confusion matrix (row: true, column: predicted), shown and coloured as the percentage of each row."""
    from matplotlib.colors import LinearSegmentedColormap

    count = len(classes)
    totals = matrix.sum(1, keepdims=True)
    share = matrix / np.maximum(totals, 1)
    side = max(2.6, 0.62 * count + 1.2)
    figure = new_figure(side + 0.6, side)
    axes = figure.add_subplot()
    blues = LinearSegmentedColormap.from_list("share", ["#e8eef6", "#0b4f9e"])
    axes.pcolormesh(share, cmap=blues, vmin=0, vmax=1, edgecolors="face", linewidth=0.4)
    for row in range(count):
        for column in range(count):
            if totals[row, 0]:
                colour = "#ffffff" if share[row, column] > 0.5 else "#101820"
                text = f"{100 * share[row, column]:.0f}"
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=colour, fontsize=10)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    centres = [k + 0.5 for k in range(count)]
    axes.set_xticks(centres, classes, rotation=0 if max(map(len, classes)) * count < 28 else 40, ha="center")
    axes.set_yticks(centres, classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches, without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
