"""Two or three figures for one thing, as bars from zero: predicted and measured.

The spec (see `spec.py`): `x` (`label`, `format`), `series` (names, in order), `rows` (`label`, `values`, one a
series or nothing, and `upper`, a bound that the figures should stay under).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from foveal.studies.plot.canvas import Scale, figure, line, rect, scale_for, svg, text, text_width, wrapped

_WIDE = 560
_BAR, _GAP, _TOP, _BOTTOM = 15.0, 18.0, 30.0, 28.0


def draw_bars(spec: Mapping[str, Any], width: float) -> str:
    """The drawing, see the module."""
    rows, names = spec["rows"], spec["series"]
    form = spec["x"].get("format", "number")
    wide = width >= _WIDE
    column = min(max(text_width(r["label"]) for r in rows) + 14, 0.3 * width) if wide else 0.0
    labels = [wrapped(r["label"], column - 14 if wide else width) for r in rows]
    shown = [v for r in rows for v in (*r["values"], r.get("upper")) if v is not None]
    longest = max(text_width(_said(v, names[-1], form, True), 12) for v in shown)
    scale = scale_for(shown, spec["x"], (column, width - longest - 14), zero=True)
    parts, y = [], _TOP
    for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
        over = 0.0 if wide else 17.0 * len(label)
        count = sum(v is not None for v in row["values"])
        deep = max(over + _BAR * count, 16.0 * len(label) if wide else 0.0)
        first = y + (deep - 16 * len(label)) / 2 + 12 if wide else y + 12
        parts += [text(0, first + 16 * k, words, kind="name") for k, words in enumerate(label)]
        parts += _bars(row, names, scale, form, y + over + (deep - over - _BAR * count) / 2, named=i == 0)
        y += deep + _GAP
    floor = y - _GAP + 8
    grid = [*_axis(scale, spec["x"].get("label", ""), floor, column)]
    return svg(width, floor + _BOTTOM, [*grid, *parts], str(spec.get("title", "")))


def _axis(scale: Scale, label: str, floor: float, left: float) -> Iterator[str]:
    yield text(left, 12, label, kind="soft", size=12)
    ticks = scale.ticks(70)
    for tick, words in zip(ticks, scale.labels(ticks), strict=True):
        yield line(scale.at(tick), 22, scale.at(tick), floor, "zero" if tick == 0 else "grid")
        yield text(scale.at(tick), floor + 17, words, anchor="middle" if tick else "start", kind="tick", size=11.5)


def _bars(
    row: Mapping[str, Any], names: Sequence[str], scale: Scale, form: str, y: float, *, named: bool
) -> Iterator[str]:
    bound = scale.at(row["upper"]) if row.get("upper") is not None else None
    there = [(k, name, v) for k, (name, v) in enumerate(zip(names, row["values"], strict=True)) if v is not None]
    for at, (k, name, value) in enumerate(there):
        end, top = scale.at(value), y + _BAR * at
        yield rect(scale.start, top + 1, max(1.0, end - scale.start), _BAR - 2, f"bar s{k}", 1.5)
        said = _said(value, name, form, named)
        yield text(max(end, bound or 0.0) + 6, top + 11.5, said, kind=f"word s{k}", size=12)
    if bound is not None:
        yield line(bound, y - 1, bound, y + _BAR * len(there) + 1, "bound")


def _said(value: float, name: str, form: str, named: bool) -> str:
    return f"{figure(value, form)} {name}" if named else figure(value, form)
