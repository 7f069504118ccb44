"""A value along a numeric axis: a line for each series, a band for its intervals, its name at its end."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from foveal.studies.framework.number_format import value_format
from foveal.studies.framework.plot.canvas import (
    SMALL,
    TEXT,
    Drawing,
    set_ticks,
    spread_out,
    text_width,
    value_limits,
    with_interval,
    wrap,
)
from foveal.studies.framework.plot.theme import CARD, FAINT, LINE, SOFT, series_colour
from foveal.studies.framework.plot_data import Plot, Point, Series

_TOP, _BOTTOM, _LINE_HEIGHT = 34.0, 46.0, 16.0
#: Where the room right of a line's end exceeds its name by this, the name stands there instead of at the edge.
_ROOM = 24.0


def draw(plot: Plot, width: int) -> Drawing:
    """See the module."""
    height = min(380.0, max(270.0, 0.62 * width))
    drawing = Drawing(width, height)
    names = [wrap(s.name, max(84.0, 0.26 * width)) for s in plot.series]
    right = max(text_width(line) for name in names for line in name) + 16
    left = _left_margin(plot)
    plot_width, plot_height = width - left - right, height - _TOP - _BOTTOM
    axes = drawing.axes(left, _TOP, plot_width, plot_height)
    _scale(axes, plot)
    set_ticks(axes, "y", value_format(plot), spacing=46, pixels=plot_height)
    along = sorted({float(p.x) for s in plot.series for p in s.points})
    set_ticks(axes, "x", "number", spacing=62, pixels=plot_width, values=along)
    axes.grid(axis="y", color=FAINT)
    axes.spines.bottom.set(visible=True, color=LINE)
    axes.tick_params(axis="x", length=4, pad=5)
    axes.tick_params(axis="y", pad=8)
    drawing.text(0, _TOP - 16, plot.y, size=12, color=SOFT)
    drawing.text(left + plot_width / 2, height - 8, plot.x, size=12, color=SOFT, ha="center")
    for value, label in plot.marks:
        drawing.tag(axes.axhline(value, color=SOFT, linewidth=1.2), "mark")
        axes.annotate(
            label, (1, value), xycoords=("axes fraction", "data"), xytext=(0, 5), textcoords="offset points",
            ha="right", size=SMALL, color=SOFT,
        )  # fmt: skip
    for number, series in enumerate(plot.series):
        _draw_series(drawing, axes, series, number, value_format(plot))
    _name_lines(drawing, axes, plot.series, names, right_edge=left + plot_width)
    return drawing


def _left_margin(plot: Plot) -> float:
    """Room for the widest tick label of the y axis."""
    samples = Drawing(100, 100).axes(0, 0, 100, 100)
    _scale(samples, plot)
    set_ticks(samples, "y", value_format(plot), spacing=46, pixels=250)
    return max(text_width(label.get_text(), SMALL) for label in samples.get_yticklabels()) + 10


def _scale(axes: Axes, plot: Plot) -> None:
    """Limits and scales of both axes."""
    points = [p for s in plot.series for p in s.points]
    values = [v for p in points for v in (p.mean, p.low, p.high)] + [value for value, _ in plot.marks]
    axes.set_yscale("log" if plot.log_value else "linear")
    axes.set_xscale("log" if plot.log_x else "linear")
    axes.set_ylim(value_limits(values, value_format(plot), log=plot.log_value))
    axes.set_xlim(value_limits([float(p.x) for p in points], "number", log=plot.log_x))


def _ordered(series: Series) -> list[Point]:
    return sorted(series.points, key=lambda p: float(p.x))


def _draw_series(drawing: Drawing, axes: Axes, series: Series, number: int, form: str) -> None:
    colour, points = series_colour(number), _ordered(series)
    bottom, top = axes.get_ylim()
    with_bounds = [
        (float(p.x), max(p.low, bottom), min(p.high, top))
        for p in points
        if p.low is not None and p.high is not None
    ]
    if len(with_bounds) > 1:
        x, low, high = zip(*with_bounds, strict=True)
        band = axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0, clip_on=False)
        drawing.tag(band, "band")
    elif with_bounds:
        ((place, start, end),) = with_bounds
        drawing.tag(axes.vlines(place, start, end, color=colour, alpha=0.6, clip_on=False), "interval")
    (line,) = axes.plot(
        [float(p.x) for p in points], [p.mean for p in points], color=colour, linewidth=2, clip_on=False
    )
    drawing.tag(line, "line")
    for point in points:
        (marker,) = axes.plot(
            [float(point.x)], [point.mean], "o", color=colour, markersize=7.2, markeredgecolor=CARD,
            markeredgewidth=1.2, clip_on=False,
        )  # fmt: skip
        value = with_interval(point.mean, point.low, point.high, form)
        drawing.tag(marker, "point", f"{series.name}: {value} at {point.x:g}")
        if point.label:
            axes.annotate(
                point.label, (float(point.x), point.mean), xytext=(0, 9), textcoords="offset points", ha="center",
                size=11, color=colour,
            )  # fmt: skip


def _name_lines(
    drawing: Drawing, axes: Axes, all_series: Sequence[Series], names: Sequence[Sequence[str]], right_edge: float
) -> None:
    """Each line's name at its end; names that would overlap are moved apart and joined to their line."""
    ends = []
    for series in all_series:
        last = _ordered(series)[-1]
        x, y = axes.transData.transform((float(last.x), last.mean))
        ends.append((float(x), drawing.height - float(y)))
    at_edge = []
    for number, (x, y) in enumerate(ends):
        if right_edge - x > max(map(text_width, names[number])) + _ROOM:
            _write(drawing, names[number], x + 10, y + 4.5, number)
        else:
            at_edge.append(number)
    at_edge.sort(key=lambda number: ends[number][1])
    sizes = [_LINE_HEIGHT * len(names[number]) + 2 for number in at_edge]
    bottom = drawing.height - _BOTTOM
    centres = spread_out([ends[number][1] for number in at_edge], sizes, _TOP - 10, bottom + 10)
    for number, centre in zip(at_edge, centres, strict=True):
        x, y = ends[number]
        if abs(centre - y) > 5:
            start, end = drawing.figure.transFigure.inverted().transform(
                [(x + 5, drawing.height - y), (right_edge + 9, drawing.height - centre)]
            )
            arrow = {"arrowstyle": "-", "color": series_colour(number), "alpha": 0.6, "shrinkA": 0, "shrinkB": 0}
            leader = axes.annotate(
                "", end, start, xycoords="figure fraction", textcoords="figure fraction", annotation_clip=False,
                arrowprops=arrow,
            )  # fmt: skip
            drawing.tag(leader, "leader")
        first = centre + 4.5 - _LINE_HEIGHT * (len(names[number]) - 1) / 2
        _write(drawing, names[number], right_edge + 12, first, number)


def _write(drawing: Drawing, lines: Sequence[str], x: float, y: float, number: int) -> None:
    drawing.paragraph(x, y, lines, _LINE_HEIGHT, size=TEXT - 0.5, color=series_colour(number))
