"""An architecture as a drawing: a slab for each step, as tall as its map, as thick as its channels. No torch."""

from __future__ import annotations

import math
from html import escape

from foveal.models.zoo.cards import Card, Step

#: Kind of step → colour.
COLOURS = {
    "input": "#d0d7de",
    "convolution": "#4c8bf5",
    "separable": "#00a3a3",
    "inception": "#2da44e",
    "residual": "#8250df",
    "pooling": "#e8912d",
    "normalisation": "#a0a8b0",
    "dense": "#cf3f4d",
}
_GAP, _MARGIN, _BASE, _LABELS = 15.0, 24.0, 300.0, 150.0


def draw(card: Card) -> str:
    """The drawing as SVG text. Heights and thicknesses are logarithmic; shapes are written below as C × H × W."""
    channels, height, width = card.input_shape
    steps = [Step("input", "input", (channels, height, width)), *card.steps]
    parts, x = [], _MARGIN
    for step in steps:
        slab, x = _slab(step, x)
        parts.append(slab)
    kinds = list(dict.fromkeys(step.kind for step in steps))
    total = max(x + _MARGIN, _MARGIN * 2 + 118 * len(kinds))
    label_map = "".join(_entry(kind, _MARGIN + 118 * i) for i, kind in enumerate(kinds))
    bottom = _BASE + _LABELS + 36
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total:.0f} {bottom:.0f}" width="{total:.0f}" '
        f'height="{bottom:.0f}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f'<text x="{_MARGIN}" y="28" font-size="18" font-weight="bold">{escape(card.title)}, {card.year}</text>\n'
        f'<text x="{_MARGIN}" y="48" fill="#57606a">{card.parameters:,} parameters, {card.macs:,} MACs</text>\n'
        + "\n".join(parts)
        + f"\n{label_map}\n</svg>\n"
    )


def _slab(step: Step, x: float) -> tuple[str, float]:
    """One slab in oblique projection, with its label; and where the next one begins."""
    channels, *places = step.shape
    side = max(places) if places else 1
    high = 14 + 24 * math.log2(side) if places else 14 + 12 * math.log2(max(2, channels))
    thick = 5 + 3.2 * math.log2(max(2, channels)) if places else 12.0
    deep = 0.22 * high if places else 4.0
    top, right, colour = _BASE - high, x + thick, COLOURS[step.kind]
    face = f"M{x:.1f} {top:.1f}h{thick:.1f}v{high:.1f}h{-thick:.1f}z"
    lid = f"M{x:.1f} {top:.1f}l{deep:.1f} {-deep:.1f}h{thick:.1f}l{-deep:.1f} {deep:.1f}z"
    flank = f"M{right:.1f} {top:.1f}l{deep:.1f} {-deep:.1f}v{high:.1f}l{-deep:.1f} {deep:.1f}z"
    shape = "×".join(map(str, step.shape))
    label = f"{escape(step.name)} <tspan fill='#57606a'>{shape}</tspan>"
    middle = x + thick / 2 + 4
    drawn = (
        f'<g stroke="#24292f" stroke-width="0.6" fill="{colour}"><title>{escape(step.name)}: {shape}</title>'
        f'<path d="{flank}" fill-opacity="0.55"/><path d="{lid}" fill-opacity="0.75"/><path d="{face}"/></g>'
        f'<text transform="translate({middle:.1f} {_BASE + 10:.1f}) rotate(90)">{label}</text>'
    )
    return drawn, right + max(_GAP, 0.35 * deep + 6)


def _entry(kind: str, x: float) -> str:
    y = _BASE + _LABELS + 12
    return (
        f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[kind]}" stroke="#24292f"/>'
        f'<text x="{x + 18}" y="{y + 11}">{kind}</text>'
    )
