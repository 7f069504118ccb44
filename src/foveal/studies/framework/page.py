"""The page of a study, and the index of the lab notebook: each a single file, no network request, printable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from foveal.clock import format_duration
from foveal.studies.framework.number_format import FORMATS, format_number
from foveal.studies.framework.plot import render_svg
from foveal.studies.framework.plot_data import plot_from_json

#: Each figure is drawn twice, for wide and for narrow windows; the style sheet shows the one that fits.
WIDE, NARROW = 760, 340
_SIGNS = {"supported": "✓", "not supported": "✗", "undecided": "?"}
#: The content of a `study.json`.
Stored = Mapping[str, Any]


def render(study: Stored) -> str:
    """The page of a study.

    Args:
        study: the content of its `study.json`.
    """
    analysis, statements, claims = study["analysis"], _statements(study), notebook_claims(study)
    reasons = [c for c in statements.values() if c["role"] == "claim"]
    shown = {c["name"] for c in reasons} | {name for claim in claims for name in claim["by"]}
    page: str = _template("study.html.j2").render(
        study=study,
        figures=_figures(study),
        verdict=verdict_basis(study),
        confidence=f"{100 * analysis['confidence']:.5g} %",
        reasons=reasons,
        findings=[c for name, c in statements.items() if name not in shown],
        notebook_claims=claims,
        arms=_arms(study),
        measurements=_measurements(study),
        runs=_runs(study),
        signs=_SIGNS,
    )
    return page


def notebook_claims(study: Stored) -> list[dict[str, Any]]:
    """The notebook's sentences with their verdicts and, under `evidence`, the statements that test them."""
    statements = _statements(study)
    analysis = study["analysis"]
    claims = analysis["said"] if "said" in analysis else analysis["notebook_claims"]  # `said` in older files
    return [
        {**claim, "evidence": [statements[name] for name in claim["by"] if name in statements]} for claim in claims
    ]


def _statements(study: Stored) -> dict[str, dict[str, Any]]:
    """Contrasts and checks by name, formatted for reading."""
    analysis = study["analysis"]
    checks = [{**c, "verdict": "supported" if c["holds"] else "not supported"} for c in analysis["checks"]]
    return {c["name"]: c for c in [*(_contrast(study, row) for row in analysis["contrasts"]), *checks]}


def render_index(studies: Sequence[Stored], command: str) -> str:
    """The lab notebook's index: every claim with its verdict and figure, and the notebook's sentences that fail.

    Args:
        studies: the contents of their `study.json`, in order; each page is expected in `NAME/study.html`.
        command: the command line that made them.
    """
    claims = [{**claim, "study": s["name"]} for s in studies for claim in notebook_claims(s)]
    counts = {verdict: sum(s["verdict"] == verdict for s in studies) for verdict in _SIGNS}
    page: str = _template("index.html.j2").render(
        studies=[{"content": s, "figures": _figures(s), "verdict": verdict_basis(s)} for s in studies],
        refuted=[claim for claim in claims if claim["verdict"] == "not supported"],
        counts={verdict: n for verdict, n in counts.items() if n},
        seconds=sum(s["seconds"] for s in studies),
        command=command,
        machine=studies[0]["machine"],
        versions=studies[0]["versions"],
        signs=_SIGNS,
    )
    return page


def verdict_basis(study: Stored) -> str:
    """How many seeds the verdict is based on, and how many more would decide it."""
    n, more = study["analysis"]["n"], study.get("more_seeds")
    seeds = f"{n} seed{'' if n == 1 else 's'}"
    if study["verdict"] != "undecided":
        return f"with {seeds}" if study["contrasts"] and n else ""
    return f"with {seeds}" + (f"; about {more} more would decide it" if more else "")


def effect(value: float | None, contrast: Mapping[str, Any]) -> str:
    """A contrast's value: signed percentage points, a factor, or its own unit with a sign."""
    if value is None or not math.isfinite(value):
        return "–"
    if contrast["ratio"]:
        return format_number(value, "times", 2)
    if contrast["unit"] == "share":
        return format_number(value, "points", 2 if 0 < abs(value) < 0.00995 else 1)
    if contrast["unit"] in FORMATS:
        return ("−" if value < 0 else "+") + format_number(abs(value), FORMATS[contrast["unit"]])
    return format_number(value, "difference")


def measure(value: float | None, unit: str) -> str:
    """A measure's value with its unit."""
    if value is None:
        return "–"
    return (
        format_number(value, FORMATS[unit])
        if unit in FORMATS
        else f"{format_number(value, 'number')} {unit}".strip()
    )


def _contrast(study: Stored, row: Mapping[str, Any]) -> dict[str, Any]:
    design = next(c for c in study["contrasts"] if c["name"] == row["name"])
    unit = " points" if design["unit"] == "share" and not design["ratio"] else ""
    criterion = {
        "more": "smallest effect of interest:",
        "same": "“the same” means within ±",
        "no more": "“no more” means below",
    }[design["kind"]]
    smallest = effect(design["min_effect"], design).lstrip("+")
    evidence = effect(row["mean"], design) + unit
    if row["low"] is not None:
        evidence += f" ({effect(row['low'], design)} to {effect(row['high'], design)})"
    return {
        "name": design["name"],
        "role": design["role"],
        "statement": design["statement"],
        "verdict": row["verdict"],
        "evidence": evidence,
        "criterion": f"{criterion} {smallest}{unit}".replace("± ", "±"),
        "n": row["n"],
    }


def _arms(study: Stored) -> list[dict[str, Any]]:
    sizes = study.get("sizes") or {}
    columns = list(dict.fromkeys(key for size in sizes.values() for key in size))
    rows = [
        {**arm, "sizes": [_count(sizes.get(arm["name"], {}).get(key)) for key in columns]} for arm in study["arms"]
    ]
    return [{"columns": columns, "rows": rows}]


def _measurements(study: Stored) -> dict[str, Any]:
    """Means with intervals: a row per arm and a column per measure, or transposed where that is narrower."""
    units = {m["name"]: m["unit"] for m in study["measures"]}
    summary = {(row["arm"], row["measure"]): row for row in study["analysis"]["summary"]}
    arms = [a["name"] for a in study["arms"] if any(arm == a["name"] for arm, _ in summary)]
    measures = [m for m in study["measures"] if any(name == m["name"] for _, name in summary)]

    def cell(arm: str, name: str) -> dict[str, str]:
        row = summary.get((arm, name))
        if row is None:
            return {"value": "", "interval": ""}
        low, high = row["ci95"]
        spread = "" if low is None else f"{measure(low, units[name])} to {measure(high, units[name])}"
        return {"value": measure(row["mean"], units[name]), "interval": spread}

    if len(measures) <= len(arms):
        rows = [{"head": a, "cells": [cell(a, m["name"]) for m in measures]} for a in arms]
        return {"corner": "arm", "columns": [m["description"] for m in measures], "rows": rows}
    rows = [{"head": m["description"], "cells": [cell(a, m["name"]) for a in arms]} for m in measures]
    return {"corner": "measure", "columns": arms, "rows": rows}


def _runs(study: Stored) -> dict[str, Any]:
    """The raw results, a row for each run."""
    units = {m["name"]: m["unit"] for m in study["measures"]}
    names = [m for m in units if any(m in row["measures"] for row in study["rows"])]
    rows = [
        [row["arm"], row["seed"], *(measure(row["measures"].get(m), units[m]) for m in names)]
        for row in study["rows"]
    ]
    return {"columns": ["arm", "seed", *names], "rows": rows}


def _figures(study: Stored) -> list[tuple[str, str]]:
    """The figure as SVG, by the class of the element that shows it; empty without results."""
    if not (stored := study["analysis"].get("plot")):
        return []
    plot = plot_from_json(stored)
    return [(name, render_svg(plot, width)) for name, width in (("wide", WIDE), ("narrow", NARROW))]


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _sentence(text: str) -> str:
    """The text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def _template(name: str) -> Any:  # noqa: ANN401
    import jinja2

    folder = resources.files("foveal.studies.framework").joinpath("templates")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda part: folder.joinpath(part).read_text(encoding="utf-8")),
    )
    environment.filters |= {"duration": format_duration, "sentence": _sentence}
    return environment.get_template(name)
