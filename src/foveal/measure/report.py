"""`report.html`: one file, no network request, for the person who has to believe the figure."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from foveal.clock import format_duration
from foveal.data.decode import decode, quiet, read_file
from foveal.errors import UnreadableImage
from foveal.measure.confusion import confusion_svg
from foveal.measure.measurement import Answered, Measurement
from foveal.values import Finding

_THUMB = 160
_SHOWN = 24


def render_report(
    summary: Mapping[str, Any],
    measurement: Measurement,
    findings: Sequence[Finding],
    decisions: Mapping[str, Any],
) -> str:
    """The page.

    Args:
        summary: as in `summary.json`.
        measurement: of the test side.
        findings: of the audit.
        decisions: what was chosen, and why.
    """
    import jinja2

    def shown(text: str) -> str:
        return printable(text, root=summary["data"]["root"])

    template = resources.files("foveal.measure").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "duration": format_duration,
        "shown": shown,
    }
    figures = measurement.figures
    svg = confusion_svg(figures["confusion"], summary["data"]["classes"]) if figures["n"] else ""
    with quiet():
        mistakes = [(m, thumbnail(m)) for m in measurement.mistakes[:_SHOWN]]
    page = environment.from_string(template).render(
        summary=summary,
        figures=figures,
        mistakes=mistakes,
        more=max(0, len(measurement.mistakes) - _SHOWN),
        findings=findings,
        decisions=decisions,
        confusion=svg,
    )
    return page.encode("utf-8", "replace").decode()


def thumbnail(answered: Answered) -> str | None:
    """A small JPEG as a data URI; None when the picture is gone."""
    try:
        picture = decode(read_file(answered.path), answered.path, shrink_to=_THUMB)
    except UnreadableImage:
        return None
    picture.thumbnail((_THUMB, _THUMB))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def percent(value: float | None, digits: int = 1) -> str:
    """`97.5 %`, or a dash for what could not be measured."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def interval(bounds: Sequence[float] | None) -> str:
    """`94.2–98.9 %`."""
    return "–" if bounds is None else f"{100 * bounds[0]:.1f}–{100 * bounds[1]:.1f} %"


def printable(text: str, *, root: str) -> str:
    """Text for reading: paths below `root` without it, odd bytes as question marks."""
    return text.replace(root + os.sep, "").encode("utf-8", "replace").decode()
