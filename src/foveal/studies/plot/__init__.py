"""Plots of studies: a picture as `study.json` holds it becomes an SVG drawing for a given width. No dependency.

Three kinds: `dots` (arms × measures, each with its interval, and paired differences), `lines` (a measure along an
axis, with bands) and `bars` (two or three figures for one thing, side by side). Everything is labelled where it
stands, no legend has to be looked up. Colours are classes of the page's style, which knows light and dark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from foveal.errors import UnknownName
from foveal.studies.plot.bars import draw_bars
from foveal.studies.plot.dots import draw_dots
from foveal.studies.plot.lines import draw_lines
from foveal.studies.plot.spec import spec_of

KINDS: Mapping[str, Callable[[Mapping[str, Any], float], str]] = {
    "dots": draw_dots,
    "lines": draw_lines,
    "bars": draw_bars,
}


def draw(plot: Mapping[str, Any], width: float) -> str:
    """An SVG drawing.

    Args:
        plot: the fields of a `frame.Plot`.
        width: pixels; the height follows.

    Raises:
        UnknownName: for a kind that is none of `KINDS`.
    """
    if plot["kind"] not in KINDS:
        raise UnknownName("kind of plot", str(plot["kind"]), KINDS)
    return KINDS[plot["kind"]](spec_of(plot), width)
