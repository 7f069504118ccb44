"""From a study's picture, as it stands in `study.json` (`frame.Plot`), to what the drawing modules read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_FORMS = {"share": "percent", "s": "seconds", "bytes": "bytes", "count": "count"}
#: So many places on an axis are marked themselves, instead of round numbers.
_FEW = 8


def spec_of(plot: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a picture of any kind; `panels` of lines or dots become panels."""
    panels: Sequence[Mapping[str, Any]] = plot.get("panels") or [plot]
    kind, title = plot["kind"], plot.get("title", "")
    if kind == "lines":
        return {"kind": kind, "title": title, "panels": [_lines(p, several=len(panels) > 1) for p in panels]}
    rows = list(dict.fromkeys(str(p["x"]) for panel in panels for s in panel["series"] for p in s["points"]))
    if kind == "bars":
        return _bars(plot, rows)
    return {
        "kind": kind,
        "title": title,
        "rows": [{"label": row} for row in rows],
        "panels": [_dots(p, rows) for p in panels],
    }


def form_of(plot: Mapping[str, Any]) -> str:
    """How the values of a picture are written: differences with a sign, ratios with a cross."""
    marked = {float(value) for value, _ in plot.get("marks", ())}
    unit = str(plot.get("unit", "share"))
    if plot.get("log_value") and 1.0 in marked:
        return "times"
    if 0.0 in marked and unit == "share":
        return "points"
    return _FORMS.get(unit, "difference" if 0.0 in marked else "number")


def _dots(plot: Mapping[str, Any], rows: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {row: [] for row in rows}
    for k, series in enumerate(plot["series"]):
        for point in series["points"]:
            mark = {"value": point["mean"], "low": point["low"], "high": point["high"], "series": k}
            found[str(point["x"])].append(mark)
    return {
        "label": plot.get("x", ""),
        "format": form_of(plot),
        "log": plot.get("log_value", False),
        "marks": [tuple(m) for m in plot.get("marks", ())],
        "series": [s["name"] for s in plot["series"]],
        "stem": plot.get("unit") in ("bytes", "s", "count")
        and not plot.get("log_value")
        and not plot.get("marks"),
        "values": [found[row] for row in rows],
    }


def _lines(plot: Mapping[str, Any], *, several: bool) -> dict[str, Any]:
    along = sorted({float(p["x"]) for s in plot["series"] for p in s["points"]})
    series = [
        {
            "label": s["name"],
            "points": [
                {"x": float(p["x"]), "y": p["mean"], "low": p["low"], "high": p["high"], "label": p.get("label")}
                for p in s["points"]
            ],
        }
        for s in plot["series"]
    ]
    x: dict[str, Any] = {"label": plot["x"], "log": plot.get("log_x", False), "format": "number"}
    if len(along) <= _FEW:
        x["ticks"] = along
    return {
        "title": plot.get("title", "") if several else "",
        "x": x,
        "y": {"label": plot["y"], "log": plot.get("log_value", False), "format": form_of(plot)},
        "series": series,
        "guides": [{"y": value, "label": words} for value, words in plot.get("marks", ())],
    }


def _bars(plot: Mapping[str, Any], rows: Sequence[str]) -> dict[str, Any]:
    by_series = [{str(p["x"]): p for p in s["points"]} for s in plot["series"]]
    return {
        "kind": "bars",
        "title": plot.get("title", ""),
        "x": {"label": plot.get("x", ""), "format": form_of(plot)},
        "series": [s["name"] for s in plot["series"]],
        "rows": [
            {
                "label": row,
                "values": [s[row]["mean"] if row in s else None for s in by_series],
                "upper": next(
                    (s[row]["high"] for s in by_series if row in s and s[row]["high"] is not None), None
                ),
            }
            for row in rows
        ],
    }
