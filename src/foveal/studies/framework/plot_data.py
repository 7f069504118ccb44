"""A study's figure as data: what `study.json` stores and `plot/` draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """A mean with its interval.

    Attributes:
        x: a number, or the name of a row in a plot of dots or bars.
        mean: the value.
        low, high: ends of the interval; None without one.
        n: number of seeds.
        label: text above the point of a line.
    """

    x: float | str
    mean: float
    low: float | None
    high: float | None
    n: int
    label: str = ""


@dataclass(frozen=True)
class Series:
    """One line, or one colour of dots or bars."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Plot:
    """The one figure of a study.

    Attributes:
        kind: `lines`: y over a numeric x; `dots`: a row for each name, the value along x with its interval;
            `bars`: a row for each name, a bar from zero for each series, where a point's `high` is an upper bound.
        title: the finding, in words.
        x, y: axis labels.
        series: what is drawn.
        log_x, log_value: logarithmic axes (the value's axis is y for lines, x for dots).
        unit: of the values, as `Measure.unit`.
        marks: reference values, each with its label: `((0.0, "no difference"),)`.
        panels: several plots of dots that share their rows; `series` is then empty.
    """

    kind: str
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_value: bool = False
    unit: str = "share"
    marks: tuple[tuple[float, str], ...] = ()
    panels: tuple[Plot, ...] = ()


def plot_from_json(stored: Mapping[str, Any]) -> Plot:
    """The inverse of `dataclasses.asdict`, for a plot read from `study.json`."""
    return Plot(
        **{
            **stored,
            "series": tuple(Series(s["name"], tuple(Point(**p) for p in s["points"])) for s in stored["series"]),
            "marks": tuple((float(value), label) for value, label in stored.get("marks", ())),
            "panels": tuple(plot_from_json(panel) for panel in stored.get("panels", ())),
        }
    )
