"""How a run's images become inputs, and which strategies are tried on them: decided once, from a few of the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from foveal.clock import Clock
from foveal.config import AUTO_BACKBONE, TrainConfig
from foveal.data.dataset import Dataset
from foveal.data.images.probe import ImageProbe, probe_images
from foveal.data.images.render_cache import RenderCache, noise
from foveal.decisions import FEATURE_SIZE, NETWORK, ROUTE, Decisions
from foveal.engines import choose_engine
from foveal.engines.base import Pixels
from foveal.errors import BundleError, MemoryShort, UsageError, known_name
from foveal.features import Extractor
from foveal.machine import return_large_blocks
from foveal.models.backbones import find_backbone
from foveal.models.resolve import resolve
from foveal.planner.process import least_process_bytes
from foveal.planner.sheet import size_text
from foveal.progress import Progress
from foveal.training.context import RunContext
from foveal.training.fresh_network import choose_input
from foveal.training.images import ImageArrays
from foveal.training.recipes.finetune import SMALL
from foveal.training.recipes.scratch import recipe_for
from foveal.training.strategies import finetune
from foveal.training.strategies.from_scratch import FromScratch
from foveal.training.strategies.registry import STRATEGIES
from foveal.training.strategy import Strategy
from foveal.training.time_budget import (
    MASK_SCORING_SECONDS,
    SMALL_FEATURES_SHARE,
    TORCH_PREFETCH_SECONDS,
    TimeBudget,
)
from foveal.values import Backbone, Entry, Preprocess, Split

#: From so many small images on, a network of their own is better than a frozen backbone.
MANY_SMALL = 5000
#: With fewer of these in colour, pretrained features are computed before a first network is trained: they are better,
#: and take no longer (1,000 images of each class of CIFAR-10, two cores without AVX-512, n 1: 66 % and 62 %).
MANY_FEATURES = 20_000
#: With more images the stages' features, some 18 kB per image, are not kept.
MOST_WITH_STAGES = 20_000
#: Segmenters are trained on images of this long side at most, pixels; larger ones are made smaller.
LARGEST = 1024
#: When this share of the images is of one size, a pixel means as much in all of them.
ONE_SIZE = 0.9
#: Sides of the input of a frozen backbone that are considered for small images, from the best.
SMALL_INPUTS = (128, 96, 64)


@dataclass(frozen=True)
class Route:
    """A way to train.

    Attributes:
        strategies: in order of cost.
        preprocess: how images become the input.
        backbone: the frozen one, if there is one.
        enlarged: the input of the backbone is not `preprocess`, but the small images enlarged as time allows.
        scoring_seconds: per test image, in addition to its prediction.
    """

    strategies: Sequence[Strategy]
    preprocess: Preprocess
    backbone: Backbone | None = None
    enlarged: bool = False
    scoring_seconds: float = 0.0

    def imports(self, clock: Clock) -> tuple[str, ...]:
        """Modules that its strategies need and that take seconds to import, in the order in which they do."""
        small = self.backbone is None or self.enlarged
        torch = ("torch",) if small and clock.budget - clock.spent() > TORCH_PREFETCH_SECONDS else ()
        first = () if self.backbone is None else ("sklearn.linear_model",)
        return (*first, "scipy.optimize", *torch, "jinja2")

    def time_budget(self, split: Split, clock: Clock) -> TimeBudget:
        """What of the time is reserved for evaluating the test subset."""
        return TimeBudget.of_run(clock, len(split.subset("test")), self.scoring_seconds)

    def context(
        self,
        dataset: Dataset,
        render_cache: RenderCache,
        budget: TimeBudget,
        config: TrainConfig,
        progress: Progress,
        decisions: Decisions,
        checkpoints: Path,
    ) -> RunContext:
        """What strategies are given, with a backbone on the engine that a probe chooses where this route has one."""
        split = dataset.split
        if config.from_scratch is not None:
            progress.say(decisions.reason(ROUTE))
        only = config.strategy and known_name("strategy", config.strategy, [s.name for s in self.strategies])
        return RunContext(
            split,
            dataset.target,
            budget,
            progress,
            decisions,
            ImageArrays(budget.clock, progress, render_cache, config.max_pixels, config.memory_budget),
            extractor=self._extractor(split, render_cache, budget, config, decisions),
            preprocess=self.preprocess,
            checkpoints=checkpoints,
            config=replace(config, strategy=only),
        )

    def _extractor(
        self,
        split: Split,
        render_cache: RenderCache,
        budget: TimeBudget,
        config: TrainConfig,
        decisions: Decisions,
    ) -> Extractor | None:
        if self.backbone is None:
            return None
        backbone, count = self.backbone, len(split.placed)
        stages = backbone.stage_dimension > 0 and count <= MOST_WITH_STAGES

        def at(preprocess: Preprocess, examples: Callable[[int], Pixels]) -> Extractor:
            engine = choose_engine(backbone, preprocess, lambda: examples(32), decisions, stages=stages)
            return Extractor(backbone, preprocess, engine, render_cache, config.max_pixels, config.cache, stages)

        if not self.enlarged:
            return at(self.preprocess, render_cache.peek)

        @cache
        def enlarged(size: int) -> Extractor:
            preprocess = replace(backbone.preprocess, size=size)
            return at(preprocess, partial(noise, preprocess))

        def affordable() -> tuple[int, str]:
            left, words = budget.deadline.left(), []
            for size in SMALL_INPUTS:
                seconds = enlarged(size).seconds(count)
                words.append(f"{size} px: {seconds:.0f} s")
                if seconds <= SMALL_FEATURES_SHARE * left:
                    break
            return size, f"features of {count} images take at {', '.join(words)}; {left:.0f} s are left"

        return enlarged(decisions.settle(FEATURE_SIZE, affordable))


def choose_route(entries: Sequence[Entry], config: TrainConfig, decisions: Decisions) -> Route:
    """The route for images with labels.

    Args:
        entries: what will be read; a few of them are opened.
        config: a strategy or backbone that was asked for decides by itself.
        decisions: obeyed, or written to.

    Raises:
        UnknownName: when the strategy asked for is on no route, or MODEL is unknown.
        UsageError: when MODEL can't be trained on these images.
        WeightsUnavailable: when the backbone's weights are not on this machine.
        MemoryShort: when not even the least training could stay within the memory.
    """
    _limit_malloc(config)
    _refuse_too_little_memory(config, *_parts_of(config))

    if config.from_scratch is not None:
        return _fresh_route(entries, config.from_scratch, config, decisions)

    def choose() -> tuple[dict[str, Any], str]:
        probe = probe_images(entries)
        name, reason = _weighed(probe, config)
        return {"name": name, "preprocess": None if name == "pretrained" else _small(probe).to_dict()}, reason

    chosen = decisions.settle(ROUTE, choose)
    if chosen["name"] == "pretrained":
        backbone = find_backbone(config.backbone)
        return Route(tuple(STRATEGIES["pretrained"]), backbone.preprocess, backbone)
    preprocess = Preprocess.from_dict(chosen["preprocess"] or {}, "config.json")
    if chosen["name"] in ("small-colour", "many-small-colour"):
        backbone = find_backbone(config.backbone)
        return Route(tuple(STRATEGIES[chosen["name"]]), preprocess, backbone, enlarged=True)
    if chosen["name"] not in STRATEGIES:
        raise BundleError(
            f"config.json: decisions: route: unknown name {chosen['name']!r}", hint="start a new run"
        )
    return Route(tuple(STRATEGIES[chosen["name"]]), preprocess)


def _fresh_route(entries: Sequence[Entry], model: str, config: TrainConfig, decisions: Decisions) -> Route:
    """The route of `--from-scratch MODEL`: one network with fresh weights."""

    def choose() -> tuple[dict[str, Any], str]:
        classes = len({e.label for e in entries if e.label is not None})
        preprocess, reason = choose_input(
            model, definition, probe_images(entries), classes, config.memory_budget.total
        )
        return {"name": "from-scratch", "preprocess": preprocess.to_dict()}, reason

    definition = decisions.settle(NETWORK, lambda: (dict(resolve(model).define()), f"--from-scratch {model}"))
    chosen = decisions.settle(ROUTE, choose)
    preprocess = Preprocess.from_dict(chosen["preprocess"] or {}, "config.json")
    return Route((FromScratch(recipe_for(definition, preprocess.size)),), preprocess)


def choose_multi_label_route(config: TrainConfig, decisions: Decisions) -> Route:
    """The route for images with several labels: heads on a frozen backbone.

    Raises:
        UsageError: when a network is to be trained or fine-tuned.
        WeightsUnavailable: when the backbone's weights are not on this machine.
    """
    strategies = tuple(STRATEGIES["multi-label"])
    offered = [s.name for s in strategies]
    wanted = config.strategy if config.from_scratch is None else f"--from-scratch {config.from_scratch}"
    if wanted is not None and wanted.strip().lower() not in offered:
        asked = wanted if config.from_scratch is not None else f"--strategy {wanted}"
        raise UsageError(
            f"{asked} is not offered for several labels for each image",
            hint=f"leave it out, or --strategy {', '.join(offered[:-1])} or {offered[-1]}",
        )
    _limit_malloc(config)
    _refuse_too_little_memory(config, torch=False, backbone=True)
    backbone = find_backbone(config.backbone)
    reason = "several labels for each image: heads on a frozen backbone"
    decisions.settle(ROUTE, lambda: ({"name": "multi-label", "preprocess": None}, reason))
    return Route(strategies, backbone.preprocess, backbone)


def choose_segmentation_route(entries: Sequence[Entry], config: TrainConfig, decisions: Decisions) -> Route:
    """The route for images with masks, which are brought to one box.

    Args:
        entries: what will be read; a few of them are opened.
        config: the backbone by name, and maybe a strategy.
        decisions: obeyed, or written to.

    Raises:
        UsageError: when a classifier is to be trained from scratch.
        UnknownName: when the strategy asked for is none of these.
        WeightsUnavailable: when the backbone's weights are not on this machine.
    """
    if config.from_scratch is not None:
        raise UsageError(
            f"--from-scratch {config.from_scratch} predicts labels, not masks",
            hint="leave it out, or --task classify",
        )
    _limit_malloc(config)
    strategies = tuple(STRATEGIES["segmentation"])
    if config.strategy is not None:
        known_name("strategy", config.strategy, [s.name for s in strategies])
    _refuse_too_little_memory(config, torch=True, backbone=False)
    backbone = find_backbone(config.backbone)

    def choose() -> tuple[dict[str, Any], str]:
        probe = probe_images(entries)
        width, height = probe.usual if all(probe.usual) else (backbone.preprocess.size,) * 2
        scale = min(1.0, LARGEST / max(width, height))
        box = replace(
            backbone.preprocess,
            resize="fit",
            interpolation="bilinear",
            size=round(width * scale),
            height=round(height * scale),
        )
        words = f"{width} × {height} pixels"
        if probe.share >= ONE_SIZE:
            preprocess = replace(box, scale=scale)
            reason = f"images of {words}: objects keep their size in pixels, in images of any other size too"
        else:
            preprocess = box
            reason = f"images of many sizes, most often {words}: each is scaled to the box"
        return {"name": "segmentation", "preprocess": preprocess.to_dict()}, reason

    preprocess = Preprocess.from_dict(decisions.settle(ROUTE, choose)["preprocess"] or {}, "config.json")
    area = preprocess.box[0] * preprocess.box[1] / (360 * 480)
    return Route(strategies, preprocess, scoring_seconds=MASK_SCORING_SECONDS * area)


def _limit_malloc(config: TrainConfig) -> None:
    """Where memory is limited malloc gives back what it can, from the first tensors on."""
    if not config.memory_budget.ample:
        return_large_blocks()


def _parts_of(config: TrainConfig) -> tuple[bool, bool]:
    """Whether torch is sure to be needed for this training of labels, and whether features are."""
    if config.from_scratch is not None or config.strategy in {s.name for s in STRATEGIES["scratch"]}:
        return True, False
    return config.strategy in {s.name for s in finetune.STRATEGIES}, True


def _refuse_too_little_memory(config: TrainConfig, torch: bool, backbone: bool) -> None:
    """Before any image is read; what tensors need is known when the network is.

    Raises:
        MemoryShort: with the least that might do.
    """
    budget, needed = config.memory_budget, least_process_bytes(torch=torch, backbone=backbone)
    if not budget.covers(needed):
        raise MemoryShort(
            f"{size_text(budget.total or 0)} of memory is too little: this training needs at least {size_text(needed)}",
            hint="allow more with --memory" if not torch else "allow more, or take --strategy frozen for labels",
        )


def _weighed(probe: ImageProbe, config: TrainConfig) -> tuple[str, str]:
    routes = {
        s.name: route for route in ("pretrained", "scratch") for s in STRATEGIES[route] if s.continues is None
    }
    if config.strategy is not None:
        only = known_name("strategy", config.strategy, routes)
        in_colour = "-colour" if routes[only] == "scratch" and not probe.grey else ""
        return routes[only] + in_colour, f"--strategy {only}"
    if config.backbone != AUTO_BACKBONE:
        return "pretrained", f"--backbone {config.backbone}"
    cramped = not config.memory_budget.covers(least_process_bytes(torch=True, backbone=False))
    if 0 < probe.side <= SMALL and probe.count >= MANY_SMALL and cramped:
        return "pretrained", "memory is too little to train a network from scratch"
    if 0 < probe.side <= SMALL and probe.count >= MANY_SMALL:
        words = f"{probe.count} images of about {probe.side} pixels: enough to train from scratch"
        if probe.grey:
            return "scratch", words
        route = "small-colour" if probe.count < MANY_FEATURES else "many-small-colour"
        return route, f"{words}, and in colour, so that pretrained features may help"
    if 0 < probe.side <= SMALL:
        return (
            "pretrained",
            f"small images, {probe.side} pixels, but {probe.count} are too few to train from scratch",
        )
    return "pretrained", f"images of about {probe.side} pixels: features learned on ImageNet carry over"


def _small(probe: ImageProbe) -> Preprocess:
    """The images at their own size; mean and standard deviation are measured on the training subset later."""
    plain = Preprocess(size=min(SMALL, probe.side or SMALL), resize="pad", interpolation="bilinear")
    return replace(plain, channels=1 if probe.grey else 3, background=probe.background)
