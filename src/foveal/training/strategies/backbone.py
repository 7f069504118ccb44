"""A linear probe on another backbone, where one is on this machine and cross-validation favours it.

    foveal train DATA --strategy frozen-backbone

The backbone that ships is the cheapest. Larger ones of the extra `backbones`, and timm's whose weights an earlier
download left here, are usually better, but not on all images, and every prediction costs more. So each is tried on the
same images, with the views of the best linear probe so far, as far as the time goes.
`bench/frozen_variants.py` compares the choice with each fixed backbone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from foveal.config import AUTO_BACKBONE
from foveal.decisions import BACKBONE, FEATURE_SECONDS
from foveal.errors import UnknownName, WeightsUnavailable
from foveal.models.backbones import available_backbones, find_backbone
from foveal.training.candidate import Candidate
from foveal.training.context import RunContext
from foveal.training.strategies.linear_probe import LinearProbeStrategy, probe_like
from foveal.training.strategies.resolution import why_not_costlier
from foveal.training.strategy import LadderState
from foveal.training.time_budget import AFFORDABLE_SHARE
from foveal.values import Backbone, SplitRecord

#: The most images that backbones are compared on.
MOST_IMAGES = 2000
#: Sum of z-values by which another backbone must be ahead: it makes every prediction slower.
AHEAD = 1.0


@dataclass(frozen=True)
class BackboneStrategy:
    """The best linear probe so far, on the backbone that suits the images."""

    name: str = "frozen-backbone"
    keep_unless_worse: bool = False
    continues: str | None = None

    def refuse(self, context: RunContext, state: LadderState) -> str | None:
        """Not where the backbone was asked for, where no other is here, or the time is better spent on fine-tuning."""
        if context.config.backbone != AUTO_BACKBONE:
            return f"--backbone {context.config.backbone}"
        if not _others(context):
            return "no other backbone is on this machine (pip install 'foveal[backbones]' adds two)"
        return why_not_costlier(context, state, self.estimate(context, state))

    def estimate(self, context: RunContext, state: LadderState) -> float:
        """Features of all images on the cheapest other backbone, and a head."""
        if state.first is None or state.best is None:
            return 0.0
        costs = [cost for other in _found(_others(context)) if (cost := _cost(context, other))]
        per_image = (context.decisions.get(FEATURE_SECONDS) or 0.0) * min(costs, default=1.0)
        views = len(state.best.trained.views)
        return per_image * views * len(context.split.placed) + state.best.training_seconds

    def fit(self, context: RunContext, state: LadderState) -> Candidate:
        """Choose the backbone, then fit a head on its features."""
        own = context.features.backbone
        probe = probe_like(state.best, self.name)
        name = context.decisions.settle(BACKBONE, lambda: _chosen(context, probe))
        chosen = own if name == own.name else find_backbone(name)
        cost = _cost(context, chosen) or 1.0
        return probe.at_cost(cost).fit(context.with_backbone(chosen), state)


def _others(context: RunContext) -> list[str]:
    """Names of the backbones on this machine besides the run's own, from the one that is expected to be best."""
    return [name for name in available_backbones() if name != context.features.backbone.name]


def _found(names: list[str]) -> Iterator[Backbone]:
    """Those of them that can be used."""
    for name in names:
        try:
            yield find_backbone(name)
        except (UnknownName, WeightsUnavailable):
            continue


def _cost(context: RunContext, backbone: Backbone) -> float | None:
    """Of an image's features, times those of the run's own backbone; None where the segments are not known."""
    own = context.features.backbone
    if not own.segments or not backbone.segments:
        return None
    return backbone.macs_at(backbone.preprocess.size) / own.macs_at(context.features.preprocess.size)


def _chosen(context: RunContext, probe: LinearProbeStrategy) -> tuple[str, str]:
    """The name of a backbone, by cross-validation; and why, in words."""
    own = context.features.backbone
    records = context.target.fair_order(context.split.subset("train"))[:MOST_IMAGES]
    reference = probe.out_of_fold(context, records)
    if reference is None:
        return own.name, "too few images, or too little time, to compare backbones"
    best, most = own.name, 0.0
    words = [f"{own.name}: {_right(reference.tallies.sum(), records)}"]
    for other in _found(_others(context)):
        trial = context.with_backbone(other)
        if _seconds(trial, probe, _cost(context, other)) > AFFORDABLE_SHARE * context.deadline.left():
            words.append(f"{other.name}: no time")
            continue
        evidence = probe.out_of_fold(trial, records)
        trial.features.engine.release()
        if evidence is None:
            break
        words.append(f"{other.name}: {_right(evidence.tallies.sum(), records)}")
        ahead = evidence.compare_to(reference).sum_of_z - AHEAD
        if ahead > most:
            best, most = other.name, ahead
    return best, "in cross-validation, " + ", ".join(words)


def _right(count: int, records: list[SplitRecord]) -> str:
    return f"{count} of {len(records)}"


def _seconds(trial: RunContext, probe: LinearProbeStrategy, cost: float | None) -> float:
    """Of the features of all images: by what an image took so far where the cost is known, by one batch otherwise."""
    count, per_image = len(probe.views) * len(trial.split.placed), trial.decisions.get(FEATURE_SECONDS)
    return trial.features.seconds(count) if cost is None or per_image is None else per_image * cost * count


STRATEGY = BackboneStrategy()
