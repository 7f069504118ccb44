"""A study's page, and the lab notebook's: each one file, no network request, readable on paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from foveal.clock import format_duration
from foveal.studies.plot import draw
from foveal.studies.plot.canvas import figure

#: The picture is drawn twice, for a wide page and for a narrow one; the style shows the one that fits.
WIDE, NARROW = 760, 340
_FORMS = {"share": "percent", "s": "seconds", "bytes": "bytes", "count": "count"}
_SIGNS = {"supported": "✓", "not supported": "✗", "undecided": "?"}
Study = Mapping[str, Any]


def render(study: Study) -> str:
    """The page of a study.

    Args:
        study: the content of its `study.json`; nothing else is needed.
    """
    analysis, known, said = study["analysis"], _statements(study), said_of(study)
    reasons = [c for c in known.values() if c["role"] == "claim"]
    told = {c["name"] for c in reasons} | {name for s in said for name in s["by"]}
    page: str = _template("study.html.j2").render(
        study=study,
        plot=_pictures(study),
        dots=analysis.get("plot", {}).get("kind") == "dots",
        verdict=verdict_words(study),
        confidence=f"{100 * analysis['confidence']:.5g} %",
        reasons=reasons,
        beside=[c for name, c in known.items() if name not in told],
        said=said,
        arms=_arms(study),
        measured=_measured(study),
        runs=_runs(study),
        sign=_SIGNS,
    )
    return page


def said_of(study: Study) -> list[dict[str, Any]]:
    """The notebook's sentences with their verdicts and, under `why`, the figures that say so."""
    known = _statements(study)
    return [{**s, "why": [known[name] for name in s["by"] if name in known]} for s in study["analysis"]["said"]]


def _statements(study: Study) -> dict[str, dict[str, Any]]:
    """Contrasts and checks by name, for reading."""
    analysis = study["analysis"]
    checks = [{**c, "verdict": "supported" if c["holds"] else "not supported"} for c in analysis["checks"]]
    return {c["name"]: c for c in [*(_contrast(study, row) for row in analysis["contrasts"]), *checks]}


def render_index(studies: Sequence[Study], command: str) -> str:
    """The lab notebook's first page: every claim with its verdict and picture, and what of the notebook fails.

    Args:
        studies: the contents of their `study.json`, in order; each page is expected in `NAME/study.html`.
        command: that made them.
    """
    said = [{**one, "study": s["name"]} for s in studies for one in said_of(s)]
    counts = {word: sum(s["verdict"] == word for s in studies) for word in _SIGNS}
    page: str = _template("index.html.j2").render(
        studies=[{"content": s, "plot": _pictures(s), "verdict": verdict_words(s)} for s in studies],
        wrong=[one for one in said if one["verdict"] == "not supported"],
        counts={word: n for word, n in counts.items() if n},
        seconds=sum(s["seconds"] for s in studies),
        command=command,
        machine=studies[0]["machine"],
        versions=studies[0]["versions"],
        sign=_SIGNS,
    )
    return page


def verdict_words(study: Study) -> str:
    """What stands behind the verdict: by how many seeds, or what is missing."""
    n, more = study["analysis"]["n"], study.get("more_seeds")
    seeds = f"{n} seed{'' if n == 1 else 's'}"
    if study["verdict"] != "undecided":
        return f"by {seeds}" if study["contrasts"] and n else ""
    return f"with {seeds}" + (f"; about {more} more would decide it" if more else "")


def effect(value: float | None, contrast: Mapping[str, Any]) -> str:
    """A contrast's value for reading: points of per cent with a sign, a factor, or its own unit with a sign."""
    if value is None or not math.isfinite(value):
        return "–"
    if contrast["ratio"]:
        return figure(value, "times", 2)
    if contrast["unit"] == "share":
        return figure(value, "points", 2 if 0 < abs(value) < 0.00995 else 1)
    if contrast["unit"] in _FORMS:
        return ("−" if value < 0 else "+") + figure(abs(value), _FORMS[contrast["unit"]])
    return figure(value, "difference")


def measure(value: float | None, unit: str) -> str:
    """A measure's value for reading."""
    if value is None:
        return "–"
    return figure(value, _FORMS[unit]) if unit in _FORMS else f"{figure(value, 'number')} {unit}".strip()


def _contrast(study: Study, row: Mapping[str, Any]) -> dict[str, Any]:
    about = next(c for c in study["contrasts"] if c["name"] == row["name"])
    unit = " points" if about["unit"] == "share" and not about["ratio"] else ""
    within = {"more": "more counts from", "same": "the same means within ±", "no more": "no more means under"}[
        about["kind"]
    ]
    least = effect(about["least"], about).lstrip("+")
    found = effect(row["mean"], about) + unit
    if row["low"] is not None:
        found += f" ({effect(row['low'], about)} to {effect(row['high'], about)})"
    return {
        "name": about["name"],
        "role": about["role"],
        "words": about["words"],
        "verdict": row["verdict"],
        "found": found,
        "least": f"{within} {least}{unit}".replace("± ", "±"),
        "n": row["n"],
    }


def _arms(study: Study) -> list[dict[str, Any]]:
    sizes = study.get("sizes") or {}
    columns = list(dict.fromkeys(key for size in sizes.values() for key in size))
    rows = [
        {**arm, "sizes": [_count(sizes.get(arm["name"], {}).get(key)) for key in columns]} for arm in study["arms"]
    ]
    return [{"columns": columns, "rows": rows}]


def _measured(study: Study) -> dict[str, Any]:
    """Means with intervals: arms down, measures across, or turned where that is narrower."""
    units = {m["name"]: m["unit"] for m in study["measures"]}
    known = {(row["arm"], row["measure"]): row for row in study["analysis"]["summary"]}
    arms = [a["name"] for a in study["arms"] if any(arm == a["name"] for arm, _ in known)]
    measures = [m for m in study["measures"] if any(name == m["name"] for _, name in known)]

    def cell(arm: str, name: str) -> dict[str, str]:
        row = known.get((arm, name))
        if row is None:
            return {"value": "", "interval": ""}
        low, high = row["ci95"]
        spread = "" if low is None else f"{measure(low, units[name])} to {measure(high, units[name])}"
        return {"value": measure(row["mean"], units[name]), "interval": spread}

    if len(measures) <= len(arms):
        rows = [{"head": a, "cells": [cell(a, m["name"]) for m in measures]} for a in arms]
        return {"corner": "arm", "columns": [m["words"] for m in measures], "rows": rows}
    rows = [{"head": m["words"], "cells": [cell(a, m["name"]) for a in arms]} for m in measures]
    return {"corner": "measure", "columns": arms, "rows": rows}


def _runs(study: Study) -> dict[str, Any]:
    """The raw results, a row a run."""
    units = {m["name"]: m["unit"] for m in study["measures"]}
    names = [m for m in units if any(m in row["measures"] for row in study["rows"])]
    rows = [
        [row["arm"], row["seed"], *(measure(row["measures"].get(m), units[m]) for m in names)]
        for row in study["rows"]
    ]
    return {"columns": ["arm", "seed", *names], "rows": rows}


def _pictures(study: Study) -> list[tuple[str, str]]:
    plot = study["analysis"].get("plot")
    return [(kind, draw(plot, width)) for kind, width in (("wide", WIDE), ("narrow", NARROW))] if plot else []


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _sentence(words: str) -> str:
    """With a capital at its beginning."""
    return words[:1].upper() + words[1:]


def _template(name: str) -> Any:  # noqa: ANN401
    import jinja2

    folder = resources.files("foveal.studies").joinpath("templates")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda part: folder.joinpath(part).read_text(encoding="utf-8")),
    )
    environment.filters |= {"duration": format_duration, "sentence": _sentence}
    return environment.get_template(name)
