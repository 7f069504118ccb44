"""Arms × measures: a dot with its interval for each arm, one panel a measure; a panel may hold paired differences.

The spec (see `spec.py`): `rows` (`label`), `panels` (`label`, `format`, `log`, `marks` of value and words, names
of `series`; `stem` joins each dot with zero), each panel with `values`: for each row its dots (`value`, `low` and
`high` of its interval, `series`). Wide, panels stand side by side; narrow, one under the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from foveal.studies.plot.canvas import circle, figure, line, scale_for, svg, text, text_width, wrapped

#: From this width on, panels stand side by side.
_WIDE = 560
_GAP, _BOTTOM, _EDGE = 34.0, 26.0, 6.0
_ROW, _LINE, _SMALL = 34.0, 17.0, 11.5

Dots = Sequence[Mapping[str, Any]]


def draw_dots(spec: Mapping[str, Any], width: float) -> str:
    """The drawing, see the module."""
    parts, height = _beside(spec, width) if width >= _WIDE else _stacked(spec, width)
    return svg(width, height, parts, str(spec.get("title", "")))


def _beside(spec: Mapping[str, Any], width: float) -> tuple[list[str], float]:
    """Names at the left, panels to the right of them, all with the same rows."""
    rows, panels = spec["rows"], spec["panels"]
    column = min(max(text_width(r["label"]) for r in rows) + 12, 0.36 * width)
    names = [wrapped(r["label"], column - 12) for r in rows]
    most = [max(max(1, len(p["values"][i])) for p in panels) for i in range(len(rows))]
    heights = [max(10 + _ROW * n, 18 + _LINE * len(m)) for n, m in zip(most, names, strict=True)]
    each = (width - column - _GAP * len(panels)) / len(panels)
    heads = [_Head(p, column + (each + _GAP) * k + _GAP - 8, each) for k, p in enumerate(panels)]
    first = max(h.height for h in heads) + 4
    tops = [first + sum(heights[:i]) for i in range(len(rows))]
    floor = first + sum(heights)
    parts = []
    for i, (top, high) in enumerate(zip(tops, heights, strict=True)):
        y = top + high / 2 + 4.5 - _LINE * (len(names[i]) - 1) / 2
        parts += [text(0, y + _LINE * k, words, kind="name") for k, words in enumerate(names[i])]
        parts += [line(0, top, width, top, "rule")] if i else []
    for head in heads:
        parts += head.draw(first - 6, floor)
        for top, high, dots in zip(tops, heights, head.panel["values"], strict=True):
            y = top + (high - _ROW * len(dots)) / 2
            for k, dot in enumerate(dots):
                parts += _mark(head, dot, y + _ROW * k + 22)
                parts.append(_over(head, dot, y + _ROW * k + 11))
            if not dots:
                parts.append(text(head.left, top + high / 2 + 5, "–", kind="soft"))
    return parts, floor + _BOTTOM


def _stacked(spec: Mapping[str, Any], width: float) -> tuple[list[str], float]:
    """One panel under the other; each row's name and figure stand over its dot."""
    parts: list[str] = []
    top = 0.0
    for panel in spec["panels"]:
        head = _Head(panel, 0, width)
        several = len(panel["series"]) > 1
        rows = [
            (wrapped(r["label"], (1.0 if several else 0.74) * width), dots)
            for r, dots in zip(spec["rows"], panel["values"], strict=True)
            if dots
        ]
        y = top + head.height + 4
        marks: list[str] = []
        for name, dots in rows:
            marks += [text(0, y + 12 + _LINE * k, words, kind="name") for k, words in enumerate(name)]
            if not several:
                said = figure(dots[0]["value"], panel["format"])
                marks.append(text(width, y + 12, said, anchor="end", kind="value"))
            y += _LINE * len(name)
            for dot in dots:
                y += 32 if several else 12
                marks += _mark(head, dot, y)
                marks += [_over(head, dot, y - 10)] if several else []
            y += 20
        floor = y - 2
        parts += [*head.draw(top + head.height - 2, floor, top), *marks]
        top = floor + 46
    return parts, top - 20


class _Head:
    """A panel's place: its heading, the words of its marks, its scale."""

    def __init__(self, panel: Mapping[str, Any], left: float, width: float) -> None:
        self.panel, self.left, self.right = panel, left, left + width
        self.lines = wrapped(panel["label"], width) if panel["label"] else []
        known = [v for row in panel["values"] for dot in row for v in (dot["value"], dot["low"], dot["high"])]
        known += [value for value, _ in panel["marks"]] + ([0.0] if panel["stem"] else [])
        self.scale = scale_for(known, panel, (left + _EDGE, left + width - _EDGE), zero=panel["stem"])
        self.words = self._placed(panel["marks"])
        self.height = 18.0 * len(self.lines) + 15.0 * len({row for *_, row in self.words}) + 8

    def _placed(self, marks: Sequence[tuple[float, str]]) -> list[tuple[float, str, str, int]]:
        """Each mark's words beside its line: pixel, anchor, words, row; in another row where they'd overlap."""
        placed: list[tuple[float, str, str, int]] = []
        ends: list[float] = []
        for value, words in sorted(marks):
            x, wide = self.scale.at(value), text_width(words, _SMALL)
            start, anchor = (x + 4, "start") if x + 4 + wide <= self.right else (x - 4 - wide, "end")
            if start < self.left:
                start, anchor, x = self.right - wide, "end", self.right + 4
            row = next((r for r, end in enumerate(ends) if end + 10 < start), len(ends))
            ends[row:] = [start + wide, *ends[row + 1 :]]
            placed.append((x + 4 if anchor == "start" else x - 4, anchor, words, row))
        return placed

    def draw(self, top: float, floor: float, over: float = 0.0) -> Iterator[str]:
        """Heading, marks, grid and axis; the grid stands between `top` and `floor`, the heading under `over`."""
        lowest = top - 15 * len({row for *_, row in self.words}) - 4
        for i, words in enumerate(reversed(self.lines)):
            yield text(self.left, lowest - 2 - 18 * i, words, kind="head")
        ticks = self.scale.ticks(58)
        for tick, words in zip(ticks, self.scale.labels(ticks), strict=True):
            x, half = self.scale.at(tick), text_width(words, _SMALL) / 2
            yield line(x, top, x, floor, "grid")
            middle = min(max(x, self.left + half), self.right - half)
            yield text(middle, floor + 17, words, anchor="middle", kind="tick", size=_SMALL)
        for (value, _), kind in zip(self.panel["marks"], ("zero", "mark", "mark", "mark"), strict=False):
            yield line(self.scale.at(value), top - 2, self.scale.at(value), floor, kind)
        for x, anchor, words, row in self.words:
            yield text(x, top - 6 - 15 * row, words, anchor=anchor, kind="soft", size=_SMALL)


def _mark(head: _Head, dot: Mapping[str, Any], y: float) -> Iterator[str]:
    """One arm's dot and interval. A difference whose interval holds none is hollow."""
    scale, form, low, high = head.scale, head.panel["format"], dot["low"], dot["high"]
    kind = f"s{dot['series'] % 7}"
    x, said = scale.at(dot["value"]), figure(dot["value"], form)
    if head.panel["stem"]:
        yield line(scale.at(0), y, x, y, f"stem {kind}")
    if low is not None and high is not None:
        yield line(scale.at(low), y, scale.at(high), y, f"interval {kind}")
        said += f" ({figure(low, form)} to {figure(high, form)})"
    none = {"points": 0.0, "difference": 0.0, "times": 1.0}.get(form)
    unsure = none is not None and low is not None and high is not None and low <= none <= high
    yield circle(x, y, 5.4, f"dot {'hollow ' if unsure else ''}{kind}", said)


def _over(head: _Head, dot: Mapping[str, Any], y: float) -> str:
    """The figure over a dot, with the series' name where there are several."""
    said = figure(dot["value"], head.panel["format"])
    name = head.panel["series"][dot["series"]]
    said = f"{name} {said}" if name and len(head.panel["series"]) > 1 else said
    half = text_width(said, 12) / 2
    middle = min(max(head.scale.at(dot["value"]), head.left + half), head.right - half)
    return text(middle, y, said, anchor="middle", kind=f"word s{dot['series'] % 7}", size=12)
