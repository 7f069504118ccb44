"""The loss of each training of a run, from its log, as SVG paths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Width and height of a plot, in its own units, and points of a curve at most.
WIDTH, HEIGHT = 600, 160
_POINTS = 300


@dataclass(frozen=True)
class LossCurve:
    """The loss of one training over its steps.

    Attributes:
        stage: the training.
        path: `d` of an SVG path, `WIDTH` by `HEIGHT`.
        steps: the last one.
        first, last: the loss there.
        least, most: the ends of the vertical axis.
    """

    stage: str
    path: str
    steps: int
    first: float
    last: float
    least: float
    most: float


def loss_curves(log: Iterable[Mapping[str, Any]]) -> list[LossCurve]:
    """Of each training that reported two losses or more, in order.

    Args:
        log: events of `log.jsonl`; those that are damaged are passed over.
    """
    points: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for event in log:
        stage, step, loss = event.get("stage"), event.get("step"), event.get("loss")
        if event.get("event") == "figures" and isinstance(step, int) and isinstance(loss, int | float):
            curve = points[str(stage)]
            while curve and curve[-1][0] >= step:  # resumed, or begun again, from an earlier step
                curve.pop()
            curve.append((step, float(loss)))
    return [_curve(stage, curve) for stage, curve in points.items() if len(curve) > 1]


def _curve(stage: str, points: list[tuple[int, float]]) -> LossCurve:
    every = max(1, len(points) // _POINTS)
    shown = [*points[:-1:every], points[-1]]
    losses = [loss for _, loss in shown]
    least, most = min(0.0, *losses), max(losses)
    span = (most - least) or 1.0
    last = shown[-1][0] or 1
    places = [f"{WIDTH * step / last:.1f} {HEIGHT * (most - loss) / span:.1f}" for step, loss in shown]
    return LossCurve(stage, "M" + "L".join(places), points[-1][0], points[0][1], points[-1][1], least, most)
