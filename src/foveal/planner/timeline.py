"""Memory over a step, drawn: blocks of text for a terminal, and SVG. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from foveal.planner.sheet import size_text
from foveal.plans import PassPlan

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def terminal_timeline(pass_plan: PassPlan, *, width: int = 72, height: int = 8) -> str:
    """A bar chart of the pass: each column shows the highest level of its stretch."""
    columns = _columns(pass_plan.timeline, width)
    top = max(columns, default=1) or 1
    lines = []
    for row in range(height, 0, -1):
        cells = (_EIGHTHS[max(0, min(8, round(8 * (height * c / top - row + 1))))] for c in columns)
        label = size_text(top) if row == height else ""
        lines.append(f"{label:>11} │{''.join(cells).rstrip()}")
    return "\n".join(
        (*lines, f"{'0':>11} └{'─' * len(columns)}", f"{'':>11}  {_phase_line(pass_plan, len(columns))}")
    )


def svg_timeline(pass_plan: PassPlan, title: str, *, width: int = 720, height: int = 240) -> str:
    """The same as an image of its own, with the peak marked."""
    left, bottom, top = 80, 28, 30
    last = max((x for x, _ in pass_plan.timeline), default=1) or 1
    highest = max(max((y for _, y in pass_plan.timeline), default=1), pass_plan.peak_bytes) or 1

    def place(event: float, level: float) -> tuple[float, float]:
        across = left + (width - left - 10) * event / last
        return across, height - bottom - (height - bottom - top) * level / highest

    points = [place(x, y) for x, y in pass_plan.timeline]
    steps = [f"{points[0][0]:.1f},{height - bottom}"] if points else []
    for (x, y), following in zip(points, [*points[1:], points[-1]] if points else [], strict=True):
        steps += [f"{x:.1f},{y:.1f}", f"{following[0]:.1f},{y:.1f}"]
    if points:
        steps.append(f"{points[-1][0]:.1f},{height - bottom}")
    peak = max(pass_plan.timeline, key=lambda p: p[1], default=(0, 0))
    x, y = place(*peak)
    where = escape(f"{size_text(pass_plan.peak_bytes)} at {pass_plan.peak_layer or pass_plan.peak_operator}")
    side = "end" if x > width / 2 else "start"
    marks = "".join(
        f'<text x="{place(event, 0)[0]:.1f}" y="{height - 8}" font-size="12">{escape(name)}</text>'
        for name, event in pass_plan.phases.items()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" role="img">'
        f'<title>{escape(title)}</title><text x="{left}" y="16" font-size="13">{escape(title)}</text>'
        f'<polygon points="{" ".join(steps)}" fill="#4477aa" fill-opacity="0.7"/>'
        f'<path d="M{left} {height - bottom}H{width - 10}" stroke="currentColor"/>'
        f'<text x="{left - 6}" y="{top + 5}" font-size="12" text-anchor="end">{size_text(highest)}</text>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#cc3311"/>'
        f'<text x="{x:.1f}" y="{y - 6:.1f}" font-size="12" text-anchor="{side}">{where}</text>{marks}</svg>\n'
    )


def _columns(points: Sequence[tuple[int, int]], width: int) -> list[int]:
    if not points:
        return []
    last = max(points[-1][0], 1)
    highest = [0] * min(width, len(points))
    for event, level in points:
        at = min(len(highest) - 1, event * len(highest) // (last + 1))
        highest[at] = max(highest[at], level)
    for at in range(1, len(highest)):
        highest[at] = highest[at] or highest[at - 1]
    return highest


def _phase_line(pass_plan: PassPlan, width: int) -> str:
    last = max((x for x, _ in pass_plan.timeline), default=1) or 1
    line = [" "] * width
    for name, event in pass_plan.phases.items():
        at = min(width - 1, event * width // (last + 1))
        for i, letter in enumerate(name[: width - at]):
            line[at + i] = letter
    return "".join(line).rstrip()
