"""The learning curve in the report: a plot, and what to collect next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from foveal.data.wording import count_of, first_few
from foveal.evaluation.templating import pages

#: Size of the plot and its margins, pixels.
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 560, 260, 58, 14, 90, 40
#: The most classes that are named as those to collect.
_NAMED = 5


def curve_panel(summary: Mapping[str, Any]) -> str:
    """HTML of the panel; empty for a run without a learning curve."""
    curve = summary.get("learning_curve")
    if not curve:
        return ""
    words = (promised(curve), to_collect(curve))
    page = pages().get_template("learning-curve.html.j2")
    return page.render(words=words, forms=curve["twice"]["forms"], **_plot(curve))


def promised(curve: Mapping[str, Any]) -> str:
    """What twice as many images are expected to give, in words."""
    twice, now = curve["twice"], curve["points"][-1]
    low, high = (100 * end for end in twice["ci95"])
    return (
        f"With {count_of(twice['images'], 'image')}, twice as many, expect {100 * twice['accuracy']:.1f} % accuracy "
        f"(95 % interval {low:.1f}–{high:.1f} %); heads of about {now['images']} images reached "
        f"{100 * now['accuracy']:.1f} % on images that they had not seen."
    )


def to_collect(curve: Mapping[str, Any]) -> str:
    """Which classes need images most, in words."""
    rows = [row for row in curve["classes"] if row["recall"] is not None]
    right = sum(row["recall"] * row["n"] for row in rows)
    overall = right / max(1, sum(row["n"] for row in rows))
    behind = [row for row in rows if row["recall_ci95"][1] < overall]
    if not behind:
        return "No class is clearly behind the others: more images of all of them are as good as of any one."
    named = first_few((f"{row['label']} ({100 * row['recall']:.0f} %)" for row in behind), _NAMED)
    return f"Collect images of these classes first, whose recall is clearly lower than the accuracy: {named}."


def _plot(curve: Mapping[str, Any]) -> dict[str, Any]:
    """Positions of points, of the interval at twice the images, and of ticks, in pixels."""
    twice = curve["twice"]
    sizes = [p["images"] for p in curve["points"]]
    low = min(twice["ci95"][0], *(p["accuracy"] for p in curve["points"]))
    high = max(twice["ci95"][1], *(p["accuracy"] for p in curve["points"]))
    room = max(0.02, 0.08 * (high - low))
    low, high = max(0.0, low - room), min(1.0, high + room)
    first, last = math.log(min(sizes)), math.log(twice["images"])

    def x(images: float) -> float:
        return round(_LEFT + (math.log(images) - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(accuracy: float) -> float:
        share = float((high - accuracy) / (high - low))
        return round(_TOP + share * (_HEIGHT - _TOP - _BOTTOM), 1)

    points = [(x(p["images"]), y(p["accuracy"]), p["images"]) for p in curve["points"]]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "bottom": _HEIGHT - _BOTTOM,
        "points": points,
        "line": " ".join(f"{px},{py}" for px, py, _ in points),
        "last": points[-1],
        "twice": (x(twice["images"]), y(twice["accuracy"]), twice["images"]),
        "ends": [y(end) for end in twice["ci95"]],
        "ticks": [(y(value), f"{100 * value:.0f} %") for value in _ticks(low, high)],
    }


def _ticks(low: float, high: float) -> Sequence[float]:
    """Three to six round accuracies between two."""
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 6)
    first = math.ceil(low / step - 1e-9)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]
