"""Numbers as people read them: shares as per cent, differences with a sign, bytes and seconds with a unit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from foveal.studies.framework.plot_data import Plot

#: Unit of a measure → format of its values.
FORMATS = {"share": "percent", "s": "seconds", "bytes": "bytes", "count": "count"}


def format_number(value: float, form: str, digits: int | None = None) -> str:
    """A number with its unit.

    Args:
        value: shares (0 to 1) for `percent` and `points`; bytes, seconds or plain numbers otherwise.
        form: `percent`, `points` (a signed difference of shares), `difference` (a signed number), `bytes`,
            `seconds`, `count`, `times` (a ratio) or `number`.
        digits: decimals; by default three significant digits, or what suits the form.
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


def value_format(plot: Plot) -> str:
    """The format of a plot's values: differences have a sign, ratios a cross."""
    marked = {float(value) for value, _ in plot.marks}
    if plot.log_value and 1.0 in marked:
        return "times"
    if 0.0 in marked and plot.unit == "share":
        return "points"
    return FORMATS.get(plot.unit, "difference" if 0.0 in marked else "number")


def tick_labels(ticks: Sequence[float], form: str) -> list[str]:
    """Labels of an axis, all with as many decimals as the distance between ticks needs."""
    if form not in ("percent", "points", "difference") or len(ticks) < 2:
        rounded = form in ("percent", "points", "bytes", "seconds")
        return [format_number(t, form, 0 if rounded else None) for t in ticks]
    step = min(abs(b - a) for a, b in itertools.pairwise(ticks))
    step *= 1 if form == "difference" else 100
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [format_number(t, form, decimals) for t in ticks]


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def _plain(value: float, digits: int | None) -> str:
    places = digits if digits is not None or abs(value) < 1000 else 0
    text = f"{value:,.3g}" if places is None else f"{value:,.{places}f}"
    return text.replace("-", "−")


def _bytes(value: float, *, exact: bool) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= size:
            return f"{_three_digits(value / size, exact)} {unit}"
    return f"{value:.0f} B"


def _seconds(value: float, *, exact: bool) -> str:
    if value >= 120:
        return f"{_three_digits(value / 60, exact)} min"
    return (
        f"{_three_digits(value, exact)} s"
        if value >= 1 or value == 0
        else f"{_three_digits(1000 * value, exact)} ms"
    )


def _three_digits(value: float, exact: bool) -> str:
    """Three significant digits; `exact` keeps trailing zeros, as in a table, unlike on an axis."""
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if exact and value else f"{value:.3g}"
