"""A confusion matrix as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

#: Over this many classes, numbers and names no longer fit into the cells.
_LEGIBLE = 40


def confusion_svg(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Rows are the truth, columns the answers; colour is the share of the row."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    counts = np.asarray(matrix)
    k = len(classes)
    side = min(14.0, 2.2 + 0.48 * k)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    if k <= _LEGIBLE:
        # A dollar sign in a name is no mathematics.
        names = [str(c).replace("$", r"\$")[:24] for c in classes]
        axes.set_xticks(range(k), names, rotation=45, ha="right")
        axes.set_yticks(range(k), names)
        for i, j in zip(*np.nonzero(counts), strict=True):
            colour = "white" if share[i, j] > 0.5 else "#333"
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=9)
    axes.spines[:].set_visible(False)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
