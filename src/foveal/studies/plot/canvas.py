"""What all plots share: the width of text, scales with their ticks, formats of figures, and SVG elements."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

FONT = 13.0
#: Share of the font's size by character, roughly those of Helvetica; all others count as `_USUAL`.
_NARROW = {
    **dict.fromkeys("iljI.,:;'|! ", 0.28),
    **dict.fromkeys("ftr()[]/-", 0.36),
    **dict.fromkeys("mwMW%—", 0.86),
}
_USUAL = 0.56


def text_width(text: str, size: float = FONT) -> float:
    """About how wide a text is, pixels. An SVG has no way to ask; better too wide than too narrow."""
    return size * 1.04 * sum(_NARROW.get(c, 0.68 if c.isupper() else _USUAL) for c in text)


def wrapped(text: str, width: float, size: float = FONT) -> list[str]:
    """A text in lines that are no wider, cut between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def figure(value: float, form: str, digits: int | None = None) -> str:
    """A figure as people read it.

    Args:
        value: shares (0 to 1) for `percent` and `points`, bytes, seconds, or plain numbers.
        form: `percent`, `points` (a difference of shares, signed), `bytes`, `seconds`, `count`, `times`, `number`.
        digits: behind the point; by default what suits the form.
    """
    if math.isnan(value):
        return "–"
    if form == "percent":
        return f"{100 * value:.{1 if digits is None else digits}f} %"
    if form == "points":
        return _signed(100 * value, 1 if digits is None else digits)
    if form == "difference":
        return _signed(value, 2 if digits is None else digits)
    if form == "bytes":
        return _bytes(value, exact=digits is None)
    if form == "seconds":
        return _seconds(value, exact=digits is None)
    if form == "count":
        return f"{round(value):,}"
    return _plain(value, digits) + (" ×" if form == "times" else "")


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def _plain(value: float, digits: int | None) -> str:
    text = (
        f"{value:,.{digits}f}" if digits is not None else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    )
    return text.replace("-", "−")


def _bytes(value: float, *, exact: bool) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= size:
            return f"{_three(value / size, exact)} {unit}"
    return f"{value:.0f} B"


def _seconds(value: float, *, exact: bool) -> str:
    if value >= 120:
        return f"{_three(value / 60, exact)} min"
    return f"{_three(value, exact)} s" if value >= 1 or value == 0 else f"{_three(1000 * value, exact)} ms"


def _three(value: float, exact: bool) -> str:
    """Three digits that count, with their zeros or, on an axis, without."""
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if exact and value else f"{value:.3g}"


@dataclass(frozen=True)
class Scale:
    """Values along a stretch of pixels.

    Attributes:
        low, high: values at its ends.
        start, end: pixels of those.
        log: whether equal ratios are equally long.
        form: of `figure`.
        given: ticks that somebody chose; empty: round ones.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    form: str = "number"
    given: tuple[float, ...] = ()

    def at(self, value: float) -> float:
        """The pixel of a value; values beyond an end stand at that end."""
        low, high, here = self.low, self.high, value
        if self.log:
            low, high, here = math.log(low), math.log(high), math.log(max(value, 1e-300))
        share = (here - low) / (high - low) if high > low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, room: float = 70.0) -> list[float]:
        """Round values inside, about `room` pixels apart; nearer where there would be fewer than three."""
        found: list[float] = []
        for part in (1.0, 0.8, 0.65):
            found = self._ticks(room * part)
            if len(found) >= 3:
                break
        return found

    def _ticks(self, room: float) -> list[float]:
        inside = [t for t in self.given if self.low <= t <= self.high]
        if inside:
            return self._apart(inside, room)
        count = max(2, int(abs(self.end - self.start) / room))
        return self._apart(
            _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high, count), room
        )

    def labels(self, ticks: Sequence[float]) -> list[str]:
        """The ticks as text, all with as many digits as their distance needs."""
        if self.form not in ("percent", "points", "difference") or len(ticks) < 2:
            plain = self.form in ("percent", "points", "bytes", "seconds")
            return [figure(t, self.form, 0 if plain else None) for t in ticks]
        step = min(abs(b - a) for a, b in itertools.pairwise(ticks))
        step *= 1 if self.form == "difference" else 100
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return [figure(t, self.form, digits) for t in ticks]

    def _apart(self, ticks: list[float], room: float) -> list[float]:
        kept: list[float] = []
        need = room if not self.log else max(26.0, room * 0.62)
        for tick in ticks:
            if not kept or abs(self.at(tick) - self.at(kept[-1])) >= min(need, room) * 0.98:
                kept.append(tick)
        return kept


def _ticks(low: float, high: float, count: int) -> list[float]:
    rough = (high - low) / count
    if rough <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]


#: A tick may be so much of itself outside: what rounding does to a power of ten.
_CLOSE = 1e-9


def _log_ticks(low: float, high: float) -> list[float]:
    low, high = low * (1 - _CLOSE), high * (1 + _CLOSE)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for times in ((1,), (1, 3), (1, 2, 5)):
        found = [m * 10.0**p for p in powers for m in times if low <= m * 10.0**p <= high]
        if len(found) >= 3:
            return found
    return found or [low, high]


def scale_for(
    values: Iterable[float], about: Mapping[str, Any], ends: tuple[float, float], *, zero: bool = False
) -> Scale:
    """A scale that shows all values with a little air, never beyond what the form allows.

    Args:
        values: to be shown; not-a-number is passed over.
        about: `format`, and optionally `log`, `low`, `high`, `ticks`.
        ends: pixels.
        zero: whether it has to begin at zero, as lengths of bars do.
    """
    known = [v for v in values if v is not None and math.isfinite(v)]
    form, log = str(about.get("format", "number")), bool(about.get("log"))
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if log:
        low, high = low / 1.15, high * 1.15
    else:
        air = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
        floor, ceiling = (0.0, 1.0) if form == "percent" else (-math.inf, math.inf)
        low = 0.0 if zero else low - air if low - air > 0 or low < 0 or form == "points" else max(0.0, low - air)
        low, high = max(floor, low), min(ceiling, high + air)
    low, high = float(about.get("low", low)), float(about.get("high", high))
    return Scale(low, high, *ends, log=log, form=form, given=tuple(about.get("ticks", ())))


def text(
    x: float, y: float, words: str, *, anchor: str = "start", kind: str = "", size: float | None = None
) -> str:
    """A text element; `kind` is a class of the page's style."""
    extra = (f' class="{kind}"' if kind else "") + (f' font-size="{size:g}"' if size else "")
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{place}{extra}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def rect(x: float, y: float, width: float, height: float, kind: str, radius: float = 0) -> str:
    """A rectangle."""
    size = f'width="{max(0.0, width):.1f}" height="{height:.1f}" rx="{radius:g}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} class="{kind}"/>'


def circle(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A disc, with a text that appears under the pointer."""
    if not title:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}"/>'
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}"><title>{escape(title)}</title></circle>'
    )


def svg(width: float, height: float, parts: Iterable[str], label: str) -> str:
    """The drawing around its parts."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" class="plot" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" font-size="{FONT:g}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )
