"""How to learn from masks: a pretrained encoder with a decoder, on pictures in one box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from foveal.config import TrainConfig
from foveal.data.glance import glance
from foveal.errors import UnknownName, UsageError
from foveal.fit.routes import Route, mind_memory
from foveal.fit.strategies.segment import RUNGS
from foveal.models.backbones import find_backbone
from foveal.values import Decisions, Entry, Preprocess

#: Pictures are learned from at this long side at most, pixels; larger ones are made smaller.
LARGEST = 1024
#: When this share of the pictures is of one size, a pixel means as much in all of them.
ONE_SIZE = 0.9
#: Seconds to measure one test picture of 360 × 480, two cores; the answer is foreseen by the speed of training.
_MEASURING = 0.1


def choose_segment_route(entries: Sequence[Entry], config: TrainConfig, decisions: Decisions) -> Route:
    """The box that pictures with masks are brought to, decided once.

    Args:
        entries: what will be read; a few of them are looked at.
        config: the backbone by name, and maybe a pinned strategy.
        decisions: obeyed, or written to.

    Raises:
        UsageError: when an architecture of the zoo is to be trained from nothing.
        UnknownName: when the pinned strategy is none of these.
        WeightsUnavailable: when the backbone's weights are not here.
    """
    if config.from_scratch is not None:
        raise UsageError(
            f"--from-scratch {config.from_scratch} names labels, not pixels",
            hint="leave it out, or --task classify",
        )
    mind_memory(config)
    if config.strategy is not None and config.strategy not in {r.name for r in RUNGS}:
        raise UnknownName("strategy", config.strategy, [r.name for r in RUNGS])
    backbone = find_backbone(config.backbone)

    def choose() -> tuple[dict[str, Any], str]:
        seen = glance(entries)
        width, height = seen.usual if all(seen.usual) else (backbone.preprocess.size,) * 2
        scale = min(1.0, LARGEST / max(width, height))
        plain = replace(
            backbone.preprocess,
            resize="fit",
            interpolation="bilinear",
            size=round(width * scale),
            height=round(height * scale),
        )
        words = f"{width} × {height} pixels"
        if seen.share >= ONE_SIZE:
            preprocess = replace(plain, scale=scale)
            reason = f"pictures of {words}: things keep their size in pixels, in pictures of any other size too"
        else:
            preprocess = plain
            reason = f"pictures of many sizes, most often {words}: each is scaled to the box"
        return {"name": "segment", "preprocess": preprocess.to_dict()}, reason

    preprocess = Preprocess.from_dict(decisions.settle("route", choose)["preprocess"])
    area = preprocess.box[0] * preprocess.box[1] / (360 * 480)
    return Route(RUNGS, preprocess, seconds_a_picture=_MEASURING * area)
