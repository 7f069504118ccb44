"""A matplotlib figure measured in CSS pixels, and its export as SVG for use inside a page."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import re
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import LogLocator, MaxNLocator

from foveal.studies.framework.number_format import format_number, tick_labels, value_format
from foveal.studies.framework.plot.theme import INK, LINE, SOFT, as_variables
from foveal.studies.framework.plot_data import Plot

#: Points per inch, so that one matplotlib point is one CSS pixel.
_DPI = 72
#: Comes with matplotlib: text has the same measured width on every machine. Wider than most system fonts.
_FONT = "DejaVu Sans"
#: Font sizes of ordinary text and of tick labels, pixels.
TEXT, SMALL = 13.0, 11.5
_SVG, _HREF = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
#: Up to this many distinct values, an axis is marked at the values themselves.
_FEW_VALUES = 8


@contextmanager
def matplotlib_defaults() -> Iterator[None]:
    """Matplotlib's own settings, whatever the user's `matplotlibrc` says, with text kept as text."""
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    with matplotlib.rc_context(
        {**defaults, "svg.fonttype": "none", "svg.hashsalt": "foveal", "font.family": _FONT}
    ):
        yield


def text_width(text: str, size: float = TEXT) -> float:
    """Width of a line of text, pixels."""
    font = FontProperties(family=_FONT, size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def wrap(text: str, width: float, size: float = TEXT) -> list[str]:
    """The text in lines of about `width` pixels, broken between words."""
    if text_width(text, size) <= width:
        return [text]
    average = text_width(text, size) / len(text)
    return textwrap.wrap(text, max(1, int(width / average)), break_long_words=False)


class Drawing:
    """A figure of a fixed size, whose artists can have CSS classes and tooltips.

    Args:
        width, height: CSS pixels.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        self.figure.patch.set_visible(False)
        self._tags: dict[str, tuple[str, str]] = {}

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes without a frame; the place is in pixels from the figure's top left corner."""
        place = (
            left / self.width,
            1 - (top + height) / self.height,
            width / self.width,
            height / self.height,
        )
        axes = self.figure.add_axes(place)
        axes.patch.set_visible(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=SMALL, labelcolor=SOFT, color=LINE)
        return axes

    def text(self, x: float, y: float, words: str, *, size: float = TEXT, color: str = INK, **style: Any) -> None:  # noqa: ANN401
        """A line of text, its baseline at `(x, y)` in pixels from the figure's top left corner."""
        self.figure.text(x / self.width, 1 - y / self.height, words, size=size, color=color, **style)

    def paragraph(self, x: float, y: float, lines: Sequence[str], spacing: float, **style: Any) -> None:  # noqa: ANN401
        """Lines of text below each other, the first one's baseline at `(x, y)`."""
        for number, line in enumerate(lines):
            self.text(x, y + spacing * number, line, **style)

    def tag(self, artist: Artist, classes: str, tooltip: str = "") -> None:
        """Give an artist CSS classes and a text that appears under the pointer."""
        name = f"tag-{len(self._tags)}"
        artist.set_gid(name)
        self._tags[name] = classes, tooltip

    def to_svg(self, plot: Plot) -> str:
        """The figure as an `<svg>` element.

        Its title and description are those of the plot. Ids are unique among the figures of a page, colours are
        CSS variables, and the font is the page's.
        """
        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", metadata={"Date": None})
        root = ET.fromstring(buffer.getvalue())
        # Nothing is drawn outside its axes. The style element would apply to the whole page.
        _remove(root, "metadata", "style", "clipPath")
        for element in root.iter():
            element.attrib.pop("clip-path", None)
            classes, tooltip = self._tags.get(element.get("id", ""), ("", ""))
            if classes:
                element.set("class", classes)
            if tooltip:
                element.insert(0, _element("title", tooltip))
            if style := element.get("style"):
                element.set("style", as_variables(re.sub(r"font-family: [^;]*;? ?", "", style)))
        _rename_ids(root, hashlib.sha256(f"{self.width} {plot}".encode()).hexdigest()[:8])
        for name in ("version", "width", "height"):
            root.attrib.pop(name)
        root.attrib |= {"class": "plot", "role": "img", "aria-label": plot.title, "width": f"{self.width:.0f}"}
        root.insert(0, _element("title", plot.title))
        root.insert(1, _element("desc", describe(plot)))
        ET.register_namespace("", _SVG)
        ET.indent(root, space="")
        return ET.tostring(root, encoding="unicode")


def describe(plot: Plot) -> str:
    """All values of a plot in words, for people who cannot see it."""
    sentences = []
    for part in plot.panels or (plot,):
        form, heading = value_format(part), part.y or part.x
        for series in part.series:
            values = "; ".join(
                f"{p.label or (p.x if isinstance(p.x, str) else format_number(p.x, 'number'))}: "
                f"{with_interval(p.mean, p.low, p.high, form)}"
                for p in series.points
            )
            name = ", ".join(word for word in (heading, series.name) if word)
            sentences.append(f"{name}: {values}.")
    return " ".join(sentences)


def with_interval(value: float, low: float | None, high: float | None, form: str) -> str:
    """A value and, in brackets, its interval."""
    text = format_number(value, form)
    if low is None or high is None:
        return text
    return f"{text} ({format_number(low, form)} to {format_number(high, form)})"


def value_limits(
    values: Iterable[float | None], form: str, *, log: bool = False, zero: bool = False
) -> tuple[float, float]:
    """Ends of an axis that shows all values with a margin, never beyond what the format allows.

    Args:
        values: to be shown; None and not-a-number are ignored.
        form: see `format_number`; per cent stay within 0 and 100.
        log: whether the axis is logarithmic.
        zero: whether it starts at zero, as lengths of bars do.
    """
    known = [v for v in values if v is not None and math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if log:
        return low / 1.15, high * 1.15
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    bottom = low - margin
    if zero:
        bottom = 0.0
    elif low >= 0 and form != "points":
        bottom = max(0.0, bottom)
    top = high + margin
    return (max(0.0, bottom), min(1.0, top)) if form == "percent" else (bottom, top)


def set_ticks(
    axes: Axes, which: str, form: str, *, spacing: float, pixels: float, values: Sequence[float] = ()
) -> None:
    """Round ticks, or ticks at `values` where these are few, `spacing` pixels apart or more.

    Args:
        axes: with its limits and scale set.
        which: `x` or `y`.
        form: of the labels, see `format_number`.
        spacing: least distance, pixels.
        pixels: length of the axis.
        values: all values along the axis.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    log = axis.get_scale() == "log"
    if 0 < len(values) <= _FEW_VALUES:
        ticks = list(values)
    elif log:
        ticks = _log_ticks(low, high)
    else:
        count = max(3, int(pixels / spacing))
        ticks = list(MaxNLocator(count, steps=[1, 2, 5, 10]).tick_values(low, high))
    slack = 1e-9 * (high - low)
    ticks = [float(t) for t in ticks if low - slack <= t <= high + slack]

    def place(value: float) -> float:
        if log:
            return pixels * math.log(value / low) / math.log(high / low)
        return pixels * (value - low) / (high - low)

    kept: list[float] = []
    for tick in ticks:
        if not kept or place(tick) - place(kept[-1]) >= 0.6 * spacing:
            kept.append(tick)
    axis.set_ticks(kept, labels=tick_labels(kept, form))
    axis.set_ticks([], minor=True)


def _log_ticks(low: float, high: float) -> list[float]:
    """The fewest of 1, 1–3 and 1–2–5 times powers of ten that give three ticks."""
    inside: list[float] = []
    for multiples in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        ticks = LogLocator(subs=multiples, numticks=99).tick_values(low, high)
        inside = [float(t) for t in ticks if low <= t <= high]
        if len(inside) >= 3:
            break
    return inside or [low, high]


def spread_out(wanted: Sequence[float], sizes: Sequence[float], top: float, bottom: float) -> list[float]:
    """Centres as near as possible to those wanted, of labels that must not overlap.

    With each label's offset in a packed column subtracted, "no overlap" means "in ascending order": the least
    squares solution is an isotonic regression.

    Args:
        wanted: centres, ascending.
        sizes: heights of the labels.
        top, bottom: all labels stay between these, where there is room.
    """
    from scipy.optimize import isotonic_regression

    if not wanted:
        return []
    offsets = [start + size / 2 for start, size in zip(itertools.accumulate([0.0, *sizes]), sizes, strict=False)]
    starts = isotonic_regression([w - o for w, o in zip(wanted, offsets, strict=True)]).x
    latest = max(top, bottom - sum(sizes))
    return [min(max(float(s), top), latest) + o for s, o in zip(starts, offsets, strict=True)]


def _element(name: str, text: str) -> ET.Element:
    element = ET.Element(f"{{{_SVG}}}{name}")
    element.text = text
    return element


def _remove(root: ET.Element, *names: str) -> None:
    tags = {f"{{{_SVG}}}{name}" for name in names}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in tags:
                parent.remove(child)


def _rename_ids(root: ET.Element, prefix: str) -> None:
    """Keep only the ids that are referenced, with a prefix of their own: a page holds several figures."""
    for element in root.iter():
        if target := element.attrib.pop(_HREF, None):
            element.set("href", f"#{prefix}-{target[1:]}")
    used = {element.get("href") for element in root.iter()}
    for element in root.iter():
        if identifier := element.attrib.pop("id", None):
            name = f"{prefix}-{identifier}"
            if f"#{name}" in used:
                element.set("id", name)
