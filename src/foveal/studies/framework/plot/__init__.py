"""Figures of studies: matplotlib draws a `Plot` as SVG that can stand inside a page.

Everything is labelled directly; there is no legend to look up. Colours are variables of the page's style sheet
(see `theme`), so that a figure follows the light and the dark scheme.
"""

from __future__ import annotations

from importlib import import_module

from foveal.errors import UnknownName
from foveal.studies.framework.plot_data import Plot

#: Kinds of plot, each a module of this package with a function `draw`.
KINDS = ("lines", "dots", "bars")


def render_svg(plot: Plot, width: int) -> str:
    """An `<svg>` element, the same for the same arguments.

    Matplotlib takes a second or more to import, so it is imported here rather than with this package.

    Args:
        plot: what to draw.
        width: in CSS pixels; the height follows from the content.

    Raises:
        UnknownName: for a kind that is not in `KINDS`.
    """
    if plot.kind not in KINDS:
        raise UnknownName("kind of plot", plot.kind, KINDS)
    from foveal.studies.framework.plot.canvas import matplotlib_defaults

    with matplotlib_defaults():
        drawing = import_module(f"{__name__}.{plot.kind}").draw(plot, width)
        svg: str = drawing.to_svg(plot)
    return svg
