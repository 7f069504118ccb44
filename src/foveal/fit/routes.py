"""Which way to learn from these pictures: a frozen trunk for photographs, from nothing for many small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.data.glance import Glance, glance
from foveal.data.spool import Spool
from foveal.engines import choose_engine
from foveal.errors import UnknownName
from foveal.features import Extractor
from foveal.fit.recipes import for_zoo
from foveal.fit.strategies import frozen, scratch, tuned
from foveal.fit.strategies.base import Strategy, Work
from foveal.machine import cgroup_limit, frugal_malloc
from foveal.models import zoo
from foveal.models.backbones import DEFAULT, find_backbone
from foveal.progress import Progress
from foveal.values import Backbone, Decisions, Entry, Preprocess, Split

#: Up to this long side pictures are small: a frozen trunk, made for 224 pixels, sees little in them.
SMALL = 64
#: From so many small pictures on, a network of their own does better than a frozen trunk.
ENOUGH = 5000
#: With more pictures the stages' features, some 18 kB a picture, are not kept.
MOST_WITH_STAGES = 20_000
#: Bytes from which on malloc may keep what it likes between tensors: a process takes over a GiB of its own.
_AMPLE = 6 * 2**30
FROZEN_RUNGS = (*frozen.RUNGS, *tuned.RUNGS)


@dataclass(frozen=True)
class Route:
    """A way to learn.

    Attributes:
        rungs: its strategies, in order of cost.
        preprocess: how pictures become the input.
        backbone: the frozen trunk, if it has one.
        seconds_a_picture: that measuring takes on the test side, roughly.
    """

    rungs: Sequence[Strategy]
    preprocess: Preprocess
    backbone: Backbone | None = None
    seconds_a_picture: float = 0.0

    def reserve(self, split: Split, clock: Clock) -> float:
        """Seconds that are kept for measuring and report."""
        return min(4.0 + self.seconds_a_picture * len(split.on("test")), 0.4 * clock.budget)

    def equip(
        self,
        split: Split,
        spool: Spool,
        clock: Clock,
        config: TrainConfig,
        progress: Progress,
        decisions: Decisions,
        checkpoints: Path,
    ) -> Work:
        """The job with what this way needs for it: a trunk on the engine that a probe chooses, or pixels."""
        extractor = None
        if self.backbone is not None:
            stages = self.backbone.stage_dimension > 0 and len(split.placed) <= MOST_WITH_STAGES
            engine = choose_engine(
                self.backbone, self.preprocess, lambda: spool.peek(32), decisions, stages=stages
            )
            extractor = Extractor(
                self.backbone, self.preprocess, engine, spool, config.max_pixels, config.cache, stages
            )
        return Work(
            split,
            extractor,
            clock,
            config.seed,
            progress,
            reserve=self.reserve(split, clock),
            preprocess=self.preprocess,
            spool=spool,
            decisions=decisions,
            checkpoints=checkpoints,
            augment=config.augment,
            memory=config.memory_bytes,
            backbone=config.backbone,
            max_pixels=config.max_pixels,
            only=config.strategy,
        )


def mind_memory(config: TrainConfig) -> None:
    """Where memory is limited malloc gives back what it can, from the first tensors on."""
    if min(config.memory_bytes or _AMPLE, cgroup_limit() or _AMPLE) < _AMPLE:
        frugal_malloc()


def choose_route(entries: Sequence[Entry], config: TrainConfig, decisions: Decisions) -> Route:
    """The way for these pictures, decided once.

    Args:
        entries: what will be read; a few of them are looked at.
        config: a pinned strategy or backbone decides by itself.
        decisions: obeyed, or written to.

    Raises:
        UnknownName: when the pinned strategy is on no way.
        WeightsUnavailable: when the backbone's weights are not here.
    """
    mind_memory(config)

    def choose() -> tuple[dict[str, Any], str]:
        seen = glance(entries)
        if config.from_scratch is not None:
            reason = f"--from-scratch {config.from_scratch}"
            return {"name": "zoo", "preprocess": _for_zoo(seen, config.from_scratch).to_dict()}, reason
        name, reason = _weighed(seen, config)
        return {"name": name, "preprocess": _small(seen).to_dict() if name == "scratch" else None}, reason

    chosen = decisions.settle("route", choose)
    if chosen["preprocess"] is not None:
        preprocess = Preprocess.from_dict(chosen["preprocess"])
        if chosen["name"] == "scratch":
            return Route(scratch.RUNGS, preprocess)
        return Route((scratch.Scratch(for_zoo(str(config.from_scratch), preprocess.size)),), preprocess)
    backbone = find_backbone(config.backbone)
    return Route(FROZEN_RUNGS, backbone.preprocess, backbone)


def _weighed(seen: Glance, config: TrainConfig) -> tuple[str, str]:
    names = {
        r.name: way
        for way, rungs in (("frozen", FROZEN_RUNGS), ("scratch", scratch.RUNGS))
        for r in rungs
        if not isinstance(r, tuned.TuneAll)  # what these begin from, another rung has to find
    }
    if config.strategy is not None:
        if config.strategy not in names:
            raise UnknownName("strategy", config.strategy, names)
        return names[config.strategy], "the strategy was pinned"
    if config.backbone != DEFAULT:
        return "frozen", "a backbone was named"
    if 0 < seen.side <= SMALL and seen.count >= ENOUGH:
        return "scratch", f"{seen.count} pictures of about {seen.side} pixels: enough to learn from nothing"
    if 0 < seen.side <= SMALL:
        return "frozen", f"small pictures, {seen.side} pixels, but {seen.count} are too few to learn from nothing"
    return "frozen", f"pictures of about {seen.side} pixels: what a trunk knows from ImageNet carries over"


def _for_zoo(seen: Glance, architecture: str) -> Preprocess:
    """The input that a network was written for, grey where the pictures are.

    Raises:
        UnknownName: with the nearest known architecture.
    """
    written_for = zoo.card(architecture)
    plain = Preprocess(size=written_for.input_size, resize="pad", interpolation="bilinear")
    return replace(plain, channels=1 if seen.grey else 3, background=seen.background)


def _small(seen: Glance) -> Preprocess:
    """As the pictures are; mean and deviation are measured on the training side later."""
    plain = Preprocess(size=min(SMALL, seen.side or SMALL), resize="pad", interpolation="bilinear")
    return replace(plain, channels=1 if seen.grey else 3, background=seen.background)
