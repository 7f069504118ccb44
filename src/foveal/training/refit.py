"""The model that was measured, fitted once more on all images of its run: what a run delivers.

The figures of a run are those of the measured model. More images do not make a model worse on average, but how good
the new one is can no longer be measured: no image is left that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foveal.clock import format_duration
from foveal.decisions import REFIT
from foveal.machine import rss
from foveal.metrics.calibration import Calibration, HeldOutLogits
from foveal.models.trained import TrainedModel
from foveal.planner.sheet import size_text
from foveal.training.candidate import Candidate
from foveal.training.compare import LabelEvidence
from foveal.training.context import RunContext
from foveal.training.time_budget import MARGIN
from foveal.values import SUBSETS, SplitRecord


@dataclass(frozen=True)
class Delivered:
    """What became of the measured model.

    Attributes:
        images: that the delivered model was fitted on.
        seconds: that this took.
        reason: why it was fitted once more, or why not.
        trained: the new model; None: the measured one is delivered.
        calibration: of the new model, by predictions for images that each was made without.
        out_of_fold: these predictions.
    """

    images: int
    seconds: float
    reason: str
    trained: TrainedModel | None = None
    calibration: Calibration | None = None
    out_of_fold: LabelEvidence | None = None

    def to_dict(self) -> dict[str, Any]:
        """As `refit` in `summary.json`."""
        return {
            "done": self.trained is not None,
            "images": self.images,
            "seconds": self.seconds,
            "reason": self.reason,
        }


def refit(measured: Candidate, context: RunContext) -> Delivered:
    """Fit the measured model once more, on the images of the validation and test subsets as well.

    Whether to do so is decided once, and then obeyed.

    Raises:
        DataError: when images changed since they were first read.
    """
    began, decisions = context.clock.spent(), context.decisions
    images = [p for subset in SUBSETS for p in measured.seen[subset]]

    def weighed() -> tuple[str, str]:
        reason = _why_not(measured, images, context)
        return reason or "", reason or "there was time for it after the measurement"

    if why_not := decisions.settle(REFIT, weighed):
        return Delivered(len(measured.seen["train"]), 0.0, why_not)
    folds = context.target.folds(images, context.config.seed)
    assert measured.refit is not None and folds is not None
    model = measured.refit.fit(images, folds)
    labels = context.targets(images)
    held_out = HeldOutLogits(model.logits, labels, [p.group for p in images])
    calibration = context.target.calibrate([held_out], coverage=context.config.coverage)
    evidence = LabelEvidence.of(images, model.logits, labels)
    seconds = context.clock.spent() - began
    return Delivered(len(images), seconds, decisions.reason(REFIT), model.trained, calibration, evidence)


def _why_not(measured: Candidate, images: Sequence[SplitRecord], context: RunContext) -> str | None:
    """Why the measured model is delivered as it is; None when it is fitted once more."""
    if not context.config.refit:
        return "--no-refit"
    if measured.refit is None:
        return (
            f"only linear heads on frozen backbones are refitted, not models of the strategy {measured.strategy}"
        )
    if len(images) == len(measured.seen["train"]):
        return "there are no images that it was not fitted on already"
    if context.target.folds(images, context.config.seed) is None:
        return "too few images to calibrate it by cross-validation"
    if context.clock.stopped:
        return "the user asked to stop"
    needed, left = measured.refit.seconds * MARGIN, context.deadline.left()
    if needed > left:
        return f"it would take about {format_duration(needed)}, {format_duration(left)} were left"
    memory, free = measured.refit.memory, max(0, context.memory.alarm - (rss() or 0))
    if memory > free:
        return f"it would take {size_text(memory)} of memory, {size_text(free)} were left"
    return None
