"""All strategies, by the route that they belong to, each in order of cost. A new one is a file and a line here."""

from __future__ import annotations

from foveal.training.strategies import (
    backbone,
    finetune,
    from_scratch,
    geometry,
    linear_pixels,
    linear_probe,
    resolution,
    segmentation,
)
from foveal.training.strategy import Strategy

#: Route → its strategies.
STRATEGIES: dict[str, list[Strategy]] = {
    "pretrained": [
        linear_probe.FROZEN,
        geometry.STRATEGY,
        linear_probe.FROZEN_STAGES,
        linear_probe.FROZEN_VIEWS,
        resolution.STRATEGY,
        backbone.STRATEGY,
        *finetune.STRATEGIES,
    ],
    "small-colour": [
        linear_pixels.STRATEGY,
        linear_probe.FROZEN,
        *from_scratch.COLOUR_STRATEGIES,
        *finetune.FULL_STRATEGIES,
    ],
    "many-small-colour": [
        linear_pixels.STRATEGY,
        from_scratch.COLOUR_STRATEGIES[0],
        linear_probe.FROZEN,
        *from_scratch.COLOUR_STRATEGIES[1:],
        *finetune.FULL_STRATEGIES,
    ],
    "scratch-colour": [linear_pixels.STRATEGY, *from_scratch.COLOUR_STRATEGIES],
    "scratch": [linear_pixels.STRATEGY, *from_scratch.STRATEGIES],
    "segmentation": [*segmentation.STRATEGIES],
    "multi-label": [*linear_probe.ONE_VS_REST_STRATEGIES],
}


def register_strategy(strategy: Strategy, route: str) -> None:
    """Add a strategy of your own, as the last of a route.

    Raises:
        ValueError: when the route is unknown, or has a strategy of this name.
    """
    if route not in STRATEGIES:
        raise ValueError(f"unknown route {route!r}: one of {', '.join(STRATEGIES)}")
    if any(s.name == strategy.name for s in STRATEGIES[route]):
        raise ValueError(f"the route {route!r} has a strategy named {strategy.name!r}")
    STRATEGIES[route].append(strategy)
