"""A measure along an axis, a line an arm, with bands of intervals; or several such panels beside each other.

The spec (see `spec.py`): `panels` of `x` and `y` (`label`, `format`, `log`, `ticks`), `series` (`label`, `points`
of `x`, `y`, `low`, `high` and `label`) and `guides` (`y`, `label`), each with a `title`. Lines are named at their
ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from foveal.studies.plot.canvas import Scale, circle, figure, line, scale_for, svg, text, text_width, wrapped

_TOP, _BOTTOM, _SIZE = 34.0, 46.0, 12.5
#: Where a line ends so early that there is room for its name and this, it stands beside its end.
_EARLY = 24.0


def draw_lines(spec: Mapping[str, Any], width: float) -> str:
    """The drawing, see the module."""
    panels = spec["panels"]
    columns = max(1, min(len(panels), int(width // 340)))
    gap = 26.0
    each = (width - gap * (columns - 1)) / columns
    height = min(380.0, max(270.0, 0.62 * each)) + (24 if len(panels) > 1 else 0)
    parts: list[str] = []
    for i, panel in enumerate(panels):
        x, y = (i % columns) * (each + gap), (i // columns) * (height + 22)
        parts += [f'<g transform="translate({x:.1f} {y:.1f})">', *_panel(panel, each, height), "</g>"]
    rows = -(-len(panels) // columns)
    return svg(width, rows * height + (rows - 1) * 22, parts, str(spec.get("title", "")))


def _panel(panel: Mapping[str, Any], width: float, height: float) -> Iterator[str]:
    top = _TOP + (24 if panel["title"] else 0)
    series = panel["series"]
    names = [wrapped(s["label"], max(84.0, 0.26 * width), _SIZE) for s in series]
    right = max(max(text_width(part, _SIZE) for part in name) for name in names) + 16
    points = [p for s in series for p in s["points"]]
    guides = panel["guides"]
    values = [v for p in points for v in (p["y"], p.get("low"), p.get("high")) if v is not None]
    y = scale_for([*values, *(g["y"] for g in guides)], panel["y"], (height - _BOTTOM, top))
    ticks = y.ticks(46)
    left = max(text_width(words, 11.5) for words in y.labels(ticks)) + 10
    x = scale_for([p["x"] for p in points], panel["x"], (left + 6, width - right))
    if top > _TOP:
        yield text(0, 14, panel["title"], kind="head")
    yield text(0, top - 16, panel["y"]["label"], kind="soft", size=12)
    yield from _grid(x, y, ticks, left, panel)
    for guide in guides:
        yield line(left, y.at(guide["y"]), x.end, y.at(guide["y"]), "zero")
        yield text(x.end, y.at(guide["y"]) - 5, guide["label"], anchor="end", kind="soft", size=11.5)
    for i, one in enumerate(series):
        yield from _series(one, f"s{i % 7}", x, y)
    yield from _names(series, names, x, y)


def _grid(x: Scale, y: Scale, ticks: Sequence[float], left: float, panel: Mapping[str, Any]) -> Iterator[str]:
    for tick, words in zip(ticks, y.labels(ticks), strict=True):
        yield line(left, y.at(tick), x.end, y.at(tick), "grid")
        yield text(left - 8, y.at(tick) + 4, words, anchor="end", kind="tick", size=11.5)
    along = x.ticks(62)
    for tick, words in zip(along, x.labels(along), strict=True):
        yield line(x.at(tick), y.start, x.at(tick), y.start + 4, "axis")
        yield text(x.at(tick), y.start + 17, words, anchor="middle", kind="tick", size=11.5)
    yield line(left, y.start, x.end, y.start, "axis")
    label = panel["x"]["label"]
    middle = max((x.start + x.end) / 2, text_width(label, 12) / 2)
    yield text(middle, y.start + 36, label, anchor="middle", kind="soft", size=12)


def _series(one: Mapping[str, Any], kind: str, x: Scale, y: Scale) -> Iterator[str]:
    points = sorted(one["points"], key=lambda p: float(p["x"]))
    banded = [p for p in points if p.get("low") is not None and p.get("high") is not None]
    if len(banded) > 1:
        edge = [(x.at(p["x"]), y.at(p["high"])) for p in banded]
        edge += [(x.at(p["x"]), y.at(p["low"])) for p in reversed(banded)]
        yield f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in edge)}" class="band {kind}"/>'
    elif banded:
        place, low, high = x.at(banded[0]["x"]), y.at(banded[0]["low"]), y.at(banded[0]["high"])
        yield line(place, low, place, high, f"whisker {kind}")
    way = " ".join(f"{x.at(p['x']):.1f},{y.at(p['y']):.1f}" for p in points)
    yield f'<polyline points="{way}" class="line {kind}"/>'
    for p in points:
        said = f"{one['label']}: {figure(p['y'], y.form)} at {figure(p['x'], x.form)}"
        if p.get("low") is not None:
            said += f" ({figure(p['low'], y.form)} to {figure(p['high'], y.form)})"
        yield circle(x.at(p["x"]), y.at(p["y"]), 3.6, f"point {kind}", said)
        if p.get("label"):
            yield text(x.at(p["x"]), y.at(p["y"]) - 9, p["label"], anchor="middle", kind=f"word {kind}", size=11)


def _names(series: Sequence[Mapping[str, Any]], names: list[list[str]], x: Scale, y: Scale) -> Iterator[str]:
    """Each line's name at its end, moved apart where two would overlap; beside it where it ends early."""
    ends = [max(one["points"], key=lambda p: float(p["x"])) for one in series]
    wide = [max(text_width(words, _SIZE) for words in name) for name in names]
    early = [i for i, p in enumerate(ends) if x.end - x.at(p["x"]) > wide[i] + _EARLY]
    for i in early:
        tip_x, tip_y = x.at(ends[i]["x"]), y.at(ends[i]["y"])
        for k, words in enumerate(names[i]):
            yield text(tip_x + 10, tip_y + 4.5 + 15 * k, words, kind=f"word s{i % 7}", size=_SIZE)
    order = sorted(set(range(len(series))) - set(early), key=lambda i: y.at(ends[i]["y"]))
    places = spread([y.at(ends[i]["y"]) for i in order], [15.0 * len(names[i]) + 3 for i in order], y.end, y.start)
    for i, middle in zip(order, places, strict=True):
        tip_x, tip_y = x.at(ends[i]["x"]), y.at(ends[i]["y"])
        kind = f"s{i % 7}"
        if abs(middle - tip_y) > 5:
            yield line(tip_x + 5, tip_y, x.end + 9, middle, f"leader {kind}")
        first = middle + 4.5 - 15 * (len(names[i]) - 1) / 2
        for k, words in enumerate(names[i]):
            yield text(x.end + 12, first + 15 * k, words, kind=f"word {kind}", size=_SIZE)


def spread(wanted: Sequence[float], sizes: Sequence[float], top: float, floor: float) -> list[float]:
    """Middles as near as possible to those wanted (ascending), of things that must not overlap.

    Things that touch move as one block around the mean of what they want; all stay between `top` and `floor`
    where there is room.
    """
    blocks: list[tuple[list[int], float]] = []
    for i in range(len(wanted)):
        members = [i]
        while True:
            start = _start(members, wanted, sizes)
            start = max(top, min(start, floor - sum(sizes[m] for m in members)))
            if not blocks or blocks[-1][1] + sum(sizes[m] for m in blocks[-1][0]) <= start + 1e-9:
                break
            members = [*blocks.pop()[0], *members]
        blocks.append((members, start))
    middles = []
    for members, start in blocks:
        for m in members:
            middles.append(start + sizes[m] / 2)
            start += sizes[m]
    return middles


def _start(members: Sequence[int], wanted: Sequence[float], sizes: Sequence[float]) -> float:
    """Where a block of touching things begins, so that the mean distance from what they want is none."""
    offset, total = 0.0, 0.0
    for m in members:
        total += wanted[m] - (offset + sizes[m] / 2)
        offset += sizes[m]
    return total / len(members)
