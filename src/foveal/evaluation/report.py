"""`report.html`: one file without network requests, for the person who has to trust the figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Protocol

from foveal.clock import format_duration
from foveal.data.images.decode import quiet
from foveal.values import Finding


class Shown(Protocol):
    """A measurement, as the report shows it.

    Its parts of the page are `templates/NAME-figures.html.j2` and `templates/NAME-panels.html.j2`, or what
    `register_template` was given under these names.
    """

    @property
    def figures(self) -> dict[str, Any]:
        """As `test` in `summary.json`."""
        ...

    @property
    def template(self) -> str:
        """NAME of its templates."""
        ...

    def shown(self) -> dict[str, Any]:
        """The variables of its templates."""
        ...


def render_report(
    summary: Mapping[str, Any],
    measurement: Shown,
    findings: Sequence[Finding],
    decisions: Mapping[str, Any],
) -> str:
    """The page.

    Args:
        summary: as in `summary.json`.
        measurement: of the test subset.
        findings: of the audit.
        decisions: what was chosen, and why.
    """
    import jinja2

    def shown(text: str) -> str:
        return printable(text, root=summary["data"]["root"])

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "duration": format_duration,
        "shown": shown,
        "delivery": delivery,
    }
    with quiet():
        panels = measurement.shown()
    page = environment.get_template("report.html.j2").render(
        summary=summary,
        figures=measurement.figures,
        kind=measurement.template,
        findings=findings,
        decisions=decisions,
        **panels,
    )
    return page.encode("utf-8", "replace").decode()


#: Templates from outside the package, by name.
TEMPLATES: dict[str, str] = {}


def register_template(name: str, source: str) -> None:
    """Add a Jinja template for a task of your own; one of the same name is replaced.

    Args:
        name: `NAME-figures.html.j2` or `NAME-panels.html.j2`, with the NAME that `Shown.template` gives.
        source: the template. What it inserts is escaped.
    """
    TEMPLATES[name] = source


def _template(name: str) -> str:
    if name in TEMPLATES:
        return TEMPLATES[name]
    return resources.files("foveal.evaluation").joinpath(f"templates/{name}").read_text(encoding="utf-8")


def delivery(summary: Mapping[str, Any]) -> str:
    """Which model the run delivers: the measured one, or that one refitted on all images."""
    refit = summary["refit"]
    if not refit["done"]:
        return f"The delivered model is the measured one: {refit['reason']}."
    before = "; the figures above were measured before that" if summary["test"]["n"] else ""
    return f"The delivered model was refitted on all {refit['images']} images{before}."


def percent(value: float | None, digits: int = 1) -> str:
    """`97.5 %`, or a dash for a missing value."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def interval(bounds: Sequence[float] | None) -> str:
    """`94.2–98.9 %`."""
    return "–" if bounds is None else f"{100 * bounds[0]:.1f}–{100 * bounds[1]:.1f} %"


def printable(text: str, *, root: str) -> str:
    """Text to read: paths relative to `root`, bytes that are not UTF-8 as question marks."""
    return text.replace(root + os.sep, "").encode("utf-8", "replace").decode()
