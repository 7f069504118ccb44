"""Two or three numbers for one thing, as bars from zero: planned and measured memory, with a bound."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from foveal.studies.framework.number_format import format_number, value_format
from foveal.studies.framework.plot.canvas import Drawing, set_ticks, text_width, value_limits, wrap
from foveal.studies.framework.plot.theme import FAINT, INK, SOFT, series_colour
from foveal.studies.framework.plot_data import Plot, Point

#: From this width on, names stand to the left of the bars; below it, above them.
_WIDE = 560
#: Pixels: a bar, between rows, above and below the bars, between lines of text, the x label's height.
_BAR, _GAP, _TOP, _BOTTOM, _LINE_HEIGHT, _LABEL = 15.0, 18.0, 30.0, 28.0, 17.0, 22.0


def draw(plot: Plot, width: int) -> Drawing:
    """See the module."""
    form, wide = value_format(plot), width >= _WIDE
    rows = list(dict.fromkeys(str(p.x) for s in plot.series for p in s.points))
    column = min(max(map(text_width, rows)) + 14, 0.3 * width) if wide else 0.0
    names = [wrap(row, column - 14 if wide else width) for row in rows]
    groups = [_bars_of(plot, row) for row in rows]
    above = [0.0 if wide else _LINE_HEIGHT * len(name) for name in names]
    heights = [
        max(offset + _BAR * len(group), _LINE_HEIGHT * len(name) if wide else 0.0)
        for name, group, offset in zip(names, groups, above, strict=True)
    ]
    floor = _TOP + sum(heights) + _GAP * (len(rows) - 1) + 8
    values = [v for group in groups for _, p in group for v in (p.mean, p.high) if v is not None]
    longest = max(text_width(f"{format_number(v, form)} {s.name}", 12) for v in values for s in plot.series)
    drawing = Drawing(width, floor + _BOTTOM)
    plot_width = width - column - longest - 14
    axes = drawing.axes(column, _LABEL, plot_width, floor - _LABEL)
    axes.set_xlim(value_limits(values, form, zero=True))
    axes.set_ylim(floor, _LABEL)  # y counts pixels from the top of the figure
    set_ticks(axes, "x", form, spacing=70, pixels=plot_width)
    axes.set_yticks([])
    axes.grid(axis="x", color=FAINT)
    axes.set_axisbelow(True)
    axes.axvline(0, color=SOFT, linewidth=1.2)
    drawing.text(column, 12, plot.x, size=12, color=SOFT)
    y = _TOP
    for row, (name, group, offset, height) in enumerate(zip(names, groups, above, heights, strict=True)):
        first = y + 12 + ((height - _LINE_HEIGHT * len(name)) / 2 if wide else 0.0)
        drawing.paragraph(0, first, name, _LINE_HEIGHT)
        top = y + offset + (height - offset - _BAR * len(group)) / 2
        _draw_group(drawing, axes, plot, group, top, with_names=row == 0)
        y += height + _GAP
    return drawing


def _bars_of(plot: Plot, row: str) -> list[tuple[int, Point]]:
    """A row's bars, each with the number of its series."""
    return [(number, p) for number, series in enumerate(plot.series) for p in series.points if str(p.x) == row]


def _draw_group(
    drawing: Drawing, axes: Axes, plot: Plot, group: Sequence[tuple[int, Point]], top: float, *, with_names: bool
) -> None:
    """A row's bars with their values, and its bound; the names of the series stand in the first row only."""
    bound = next((p.high for _, p in group if p.high is not None), None)
    for k, (number, point) in enumerate(group):
        centre, colour = top + _BAR * (k + 0.5), series_colour(number)
        value = format_number(point.mean, value_format(plot))
        with_series = f"{value} {plot.series[number].name}".strip()
        (bar,) = axes.barh(centre, point.mean, _BAR - 2, color=colour, alpha=0.75 if number == 1 else 1.0)
        drawing.tag(bar, "bar", f"{point.x}: {with_series}")
        axes.annotate(
            with_series if with_names else value, (max(point.mean, bound or 0.0), centre), xytext=(6, -4),
            textcoords="offset points", size=12, color=colour,
        )  # fmt: skip
    if bound is not None:
        bottom = top + _BAR * len(group)
        drawing.tag(axes.vlines(bound, top - 1, bottom + 1, color=INK, linestyles=(0, (2, 2))), "bound")
