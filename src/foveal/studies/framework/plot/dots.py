"""Rows by name, each with a dot for its mean and a line for its interval; one or several panels of the same rows.

On a wide page panels stand side by side, on a narrow one below each other with each row's name above its dots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from foveal.studies.framework.number_format import format_number, value_format
from foveal.studies.framework.plot.canvas import (
    SMALL,
    Drawing,
    set_ticks,
    text_width,
    value_limits,
    with_interval,
    wrap,
)
from foveal.studies.framework.plot.theme import CARD, FAINT, SOFT, series_colour
from foveal.studies.framework.plot_data import Plot, Point

_WIDE = 560
#: Pixels: between panels, below the axis, around dots at the ends, for a row's dot, between lines of text.
_GAP, _BOTTOM, _EDGE, _ROW, _LINE_HEIGHT = 34.0, 26.0, 8.0, 34.0, 17.0
#: The value that means "no difference", by format.
_NO_DIFFERENCE = {"points": 0.0, "difference": 0.0, "times": 1.0}


@dataclass(frozen=True)
class _Dot:
    """A dot of a series, its centre `y` pixels below the figure's top."""

    series: int
    point: Point
    y: float


def draw(plot: Plot, width: int) -> Drawing:
    """See the module."""
    panels = plot.panels or (plot,)
    rows = list(dict.fromkeys(str(p.x) for panel in panels for s in panel.series for p in s.points))
    return _side_by_side(panels, rows, width) if width >= _WIDE else _stacked(panels, rows, width)


def _dots_of(panel: Plot) -> Mapping[str, list[tuple[int, Point]]]:
    """Row → its dots, each with the number of its series."""
    dots: dict[str, list[tuple[int, Point]]] = {}
    for number, series in enumerate(panel.series):
        for point in series.points:
            dots.setdefault(str(point.x), []).append((number, point))
    return dots


def _side_by_side(panels: Sequence[Plot], rows: Sequence[str], width: int) -> Drawing:
    column = min(max(map(text_width, rows)) + 12, 0.36 * width)
    names = [wrap(row, column - 12) for row in rows]
    dots = [_dots_of(panel) for panel in panels]
    most = [max(1, *(len(of_panel.get(row, [])) for of_panel in dots)) for row in rows]
    heights = [max(10 + _ROW * n, 18 + _LINE_HEIGHT * len(name)) for n, name in zip(most, names, strict=True)]
    each = (width - column - _GAP * len(panels)) / len(panels)
    head = max(_head_height(panel, each) for panel in panels)
    floor = head + sum(heights)
    drawing = Drawing(width, floor + _BOTTOM)
    tops = [head + sum(heights[:i]) for i in range(len(rows))]
    _separators(drawing, tops[1:], floor)
    for name, top, height in zip(names, tops, heights, strict=True):
        first = top + height / 2 + 4.5 - _LINE_HEIGHT * (len(name) - 1) / 2
        drawing.paragraph(0, first, name, _LINE_HEIGHT)
    for number, (panel, of_panel) in enumerate(zip(panels, dots, strict=True)):
        left = column + (each + _GAP) * number + _GAP - 8
        placed = [
            _Dot(series, point, top + (height - _ROW * len(of_panel[row])) / 2 + _ROW * k + 22)
            for row, top, height in zip(rows, tops, heights, strict=True)
            if row in of_panel
            for k, (series, point) in enumerate(of_panel[row])
        ]
        axes = _panel(drawing, panel, left, each, head, floor)
        for dot in placed:
            _draw_dot(drawing, axes, panel, dot)
            _value_above(drawing, axes, panel, dot, left, left + each)
    return drawing


def _stacked(panels: Sequence[Plot], rows: Sequence[str], width: int) -> Drawing:
    layout, top = [], 0.0
    for panel in panels:
        several = len(panel.series) > 1
        y = head = top + _head_height(panel, width)
        named: list[tuple[float, list[str], str]] = []
        placed: list[_Dot] = []
        of_panel = _dots_of(panel)
        for row in (row for row in rows if row in of_panel):
            name = wrap(row, (1.0 if several else 0.74) * width)
            value = "" if several else format_number(of_panel[row][0][1].mean, value_format(panel))
            named.append((y + 16, name, value))
            y += _LINE_HEIGHT * len(name) + 4
            for series, point in of_panel[row]:
                y += 32 if several else 12
                placed.append(_Dot(series, point, y))
            y += 18
        layout.append((panel, head, y, named, placed))
        top = y + 48
    drawing = Drawing(width, top - 48 + _BOTTOM)
    for panel, head, floor, named, placed in layout:
        axes = _panel(drawing, panel, 0, width, head, floor)
        for y, name, value in named:
            drawing.paragraph(0, y, name, _LINE_HEIGHT)
            drawing.text(width, y, value, ha="right")
        for dot in placed:
            _draw_dot(drawing, axes, panel, dot)
            if len(panel.series) > 1:
                _value_above(drawing, axes, panel, dot, 0, width)
    return drawing


def _separators(drawing: Drawing, places: Sequence[float], floor: float) -> None:
    """Thin lines between rows, across all panels."""
    axes = drawing.axes(0, 0, drawing.width, floor)
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(floor, 0))
    axes.hlines(places, 0, 1, color=FAINT, linewidth=1)


def _head_height(panel: Plot, width: float) -> float:
    """Room for a panel's heading and the labels of its marks."""
    heading = len(wrap(panel.x, width)) if panel.x else 0
    return 18.0 * heading + 15.0 * len(panel.marks) + 12


def _panel(drawing: Drawing, panel: Plot, left: float, width: float, head: float, floor: float) -> Axes:
    """A panel's axes, heading, marks and grid; y counts pixels from the figure's top."""
    form, stem = value_format(panel), _has_stem(panel)
    axes = drawing.axes(left, head - 6, width, floor - head + 6)
    axes.set_ylim(floor, head - 6)
    axes.set_xscale("log" if panel.log_value else "linear")
    values = [v for s in panel.series for p in s.points for v in (p.mean, p.low, p.high)]
    values += [value for value, _ in panel.marks]
    low, high = value_limits(values, form, log=panel.log_value, zero=stem)
    share = _EDGE / width
    axes.set_xlim(low if stem or panel.log_value else low - share * (high - low), high)
    set_ticks(axes, "x", form, spacing=58, pixels=width)
    axes.set_yticks([])
    axes.grid(axis="x", color=FAINT)
    axes.set_axisbelow(True)
    marks_height = 15.0 * len(panel.marks)
    heading = wrap(panel.x, width) if panel.x else []
    drawing.paragraph(left, head - 12 - marks_height - 18 * (len(heading) - 1), heading, 18, weight="bold")
    _draw_marks(drawing, axes, panel, left, left + width, head)
    return axes


def _draw_marks(drawing: Drawing, axes: Axes, panel: Plot, left: float, right: float, head: float) -> None:
    """Vertical lines at reference values, each with its label above in a line of its own."""
    for k, (value, label) in enumerate(panel.marks):
        style = {"linewidth": 1.2} if k == 0 else {"linewidth": 1.0, "linestyle": (0, (3, 3))}
        drawing.tag(axes.axvline(value, color=SOFT, **style), "mark")
        x, _ = axes.transData.transform((value, 0))
        at_right = x + 4 + text_width(label, SMALL) <= right
        drawing.text(
            x + 4 if at_right else max(x - 4, left + text_width(label, SMALL)),
            head - 12 - 15 * k,
            label,
            size=SMALL,
            color=SOFT,
            ha="left" if at_right else "right",
        )


def _has_stem(panel: Plot) -> bool:
    """Whether dots are joined with zero, as amounts are."""
    return panel.unit in ("bytes", "s", "count") and not panel.log_value and not panel.marks


def _draw_dot(drawing: Drawing, axes: Axes, panel: Plot, dot: _Dot) -> None:
    """A dot and its interval. It is hollow when the interval contains "no difference"."""
    form, point, colour = value_format(panel), dot.point, series_colour(dot.series)
    if _has_stem(panel):
        axes.hlines(dot.y, 0, point.mean, color=colour, alpha=0.3, linewidth=2)
    unclear = False
    if point.low is not None and point.high is not None:
        left, right = axes.get_xlim()
        (interval,) = axes.plot(
            [max(point.low, left), min(point.high, right)], [dot.y, dot.y], color=colour, alpha=0.55, linewidth=3,
            solid_capstyle="round", clip_on=False,
        )  # fmt: skip
        drawing.tag(interval, "interval")
        unclear = form in _NO_DIFFERENCE and point.low <= _NO_DIFFERENCE[form] <= point.high
    (marker,) = axes.plot(
        [point.mean], [dot.y], "o", markersize=10.8, color=CARD if unclear else colour,
        markeredgecolor=colour if unclear else CARD, markeredgewidth=2.2 if unclear else 1.2, clip_on=False,
    )  # fmt: skip
    value = with_interval(point.mean, point.low, point.high, form)
    drawing.tag(marker, "dot hollow" if unclear else "dot", f"{panel.series[dot.series].name} {value}".strip())


def _value_above(drawing: Drawing, axes: Axes, panel: Plot, dot: _Dot, left: float, right: float) -> None:
    """The value above a dot, with the name of its series where there are several."""
    name = panel.series[dot.series].name
    words = format_number(dot.point.mean, value_format(panel))
    if len(panel.series) > 1:
        words = f"{name} {words}".strip()
    x, _ = axes.transData.transform((dot.point.mean, dot.y))
    half = text_width(words, 12) / 2
    centre = min(max(float(x), left + half), right - half)
    drawing.text(centre, dot.y - 11, words, size=12, color=series_colour(dot.series), ha="center")
