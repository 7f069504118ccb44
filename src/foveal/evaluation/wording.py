"""Figures, paths and names as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from foveal.clock import format_duration
from foveal.harmless import one_line


def percent(value: float | None, digits: int = 1) -> str:
    """`97.5 %`, or a dash for a missing value."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def interval(bounds: Sequence[float] | None) -> str:
    """`94.2–98.9 %`."""
    return "–" if bounds is None else f"{100 * bounds[0]:.1f}–{100 * bounds[1]:.1f} %"


def readable(value: object) -> object:
    """What a template inserts: text with characters that could reorder a line as escapes; all else as it is."""
    return one_line(value) if type(value) is str else value


def share_of_time(seconds: float, total: float) -> str:
    """`12 s (4 %)`."""
    return f"{format_duration(seconds)} ({percent(seconds / total, 0)})" if total else format_duration(seconds)


def size_of(count: int | None) -> str:
    """Bytes as `1.2 GiB`; a dash for a missing value."""
    if count is None:
        return "–"
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} bytes" if units[0] == "bytes" else f"{size:.3g} {units[0]}"


def short(text: str, most: int = 60) -> str:
    """A long name with its middle left out."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2) :]}"
