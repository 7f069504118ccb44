"""Segmentation: a quick FCN that is usable within a minute, then a U-Net for as long as there is time.

On street scenes of CamVid that were not trained on (`bench/camvid.py`):

.. bench camvid

    foveal train DATA --time 30m   unet      1768 s    mIoU 50.5 % (43.8 to 52.4; n 1), another place
    foveal train DATA --time 30m   unet      1781 s    mIoU 61.6 % (59.4 to 62.4; n 1), later in the drives

.. end

The time chooses at which scale the network sees the images, and for how many steps it is trained. Models are compared
on the validation subset, which none of them is trained on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from foveal.decisions import SCALE, SOLE_STRATEGY, STEPS
from foveal.training.candidate import Candidate
from foveal.training.context import RunContext
from foveal.training.flip_test import hflip_by_first_model
from foveal.training.recipes.segmentation import FULL, QUICK, SegmentationRecipe
from foveal.training.strategy import LadderState
from foveal.training.time_budget import SEGMENTATION_IMPORT_SECONDS, UNET_MARGIN, UNET_STEP_FACTOR

if TYPE_CHECKING:
    from foveal.training.trainers.segmentation import SegmentationTrainer

#: Mirrored images keep their classes when the first network loses less than this share of its mIoU on them.
_FLIP_TOLERANCE = 0.1


@dataclass(frozen=True)
class SegmentationStrategy:
    """One recipe as a strategy.

    Attributes:
        recipe: how to train.
        longer: the recipe of the strategy after it; where there is no time for that one, this one has it all.
    """

    recipe: SegmentationRecipe
    longer: SegmentationRecipe | None = None
    keep_unless_worse: bool = True
    continues: str | None = None

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        return self.recipe.name

    def refuse(self, context: RunContext, state: LadderState) -> str | None:
        """Only the time decides."""
        return None

    def estimate(self, context: RunContext, state: LadderState) -> float:
        """Seconds for the fewest steps worth starting."""
        if context.deadline.left() < SEGMENTATION_IMPORT_SECONDS:
            return SEGMENTATION_IMPORT_SECONDS
        trainer = self._trainer(context, self.recipe.scales[-1])
        return trainer.step_seconds() * self.recipe.least_steps + trainer.evaluation_seconds()

    def fit(self, context: RunContext, state: LadderState) -> Candidate:
        """Choose a scale, train, and predict the validation subset."""
        from foveal.training.trainers.segmentation import mask_evidence

        began, strategy = context.clock.spent(), self._with_time(context)
        scale = context.decisions.settle(SCALE.of(self.name), lambda: strategy._scale(context))
        trainer = strategy._trainer(context, scale, hflip=self._hflip(context, state))
        steps = context.decisions.settle(STEPS.of(self.name), lambda: strategy._steps(trainer))
        records, val = context.split.subset("train"), context.split.subset("val")
        # A strategy with a share of the time leaves the rest of it to the next one.
        whole = trainer.all_steps(records) if strategy.recipe.time_share == 1 else 0
        deadline = context.deadline.keeping(trainer.evaluation_seconds())
        training = trainer.train(self.name, records, steps, deadline=deadline, max_steps=whole)
        with context.clock.lap("evaluate"):
            evidence = mask_evidence(context, val, trainer.predict(training.module, val))
        return Candidate(
            strategy=self.name,
            seconds=context.clock.spent() - began,
            score=None if math.isnan(evidence.miou) else evidence.miou,
            score_ci95=context.target.interval(evidence.tallies, evidence.blocks),
            score_n=len(evidence.counts),
            trained=trainer.trained_model(training.module),
            logits={},
            seen={subset: context.split.subset(subset) for subset in ("train", "val", "test")},
            settings=training.settings,
            recipe=self.recipe,
            steps=training.outcome.steps,
            training_seconds=training.outcome.seconds,
            loss=training.outcome.loss,
            complete=training.complete,
            evidence=evidence if evidence.counts else None,
        )

    def _with_time(self, context: RunContext) -> SegmentationStrategy:
        """This strategy, or the same with the time and epochs of the longer one, when that is skipped."""
        longer = self.longer
        if longer is None:
            return self
        only = context.config.strategy == self.name
        if not (
            only or context.decisions.settle(SOLE_STRATEGY.of(self.name), lambda: self._alone(context, longer))
        ):
            return self
        return replace(self, recipe=replace(self.recipe, time_share=1.0, epochs=longer.epochs))

    def _alone(self, context: RunContext, longer: SegmentationRecipe) -> tuple[bool, str]:
        trainer = self._trainer(context, self.recipe.scales[-1])
        left = context.deadline.left() - 2 * trainer.evaluation_seconds()
        needed = trainer.step_seconds() * UNET_STEP_FACTOR * longer.least_steps * UNET_MARGIN
        after = left * (1 - self.recipe.time_share)
        if needed <= after:
            return False, f"{longer.name} follows"
        return (
            True,
            f"{longer.name} would take about {needed:.0f} s after it, {max(0.0, after):.0f} s would be left",
        )

    def _hflip(self, context: RunContext, state: LadderState) -> bool:
        """Tested on the first network; the first strategy does not mirror."""
        first = state.first

        def mirrored_miou() -> float:
            import torch

            from foveal.models.networks import with_weights
            from foveal.training.trainers.segmentation import mask_evidence, predict_masks

            assert first is not None and first.trained.network is not None
            module = with_weights(first.trained.network, first.trained.tensors)
            module = module.to(memory_format=torch.channels_last)
            val = context.split.subset("val")
            with context.clock.lap("evaluate"):
                pixels, _ = context.pairs(val)
                predictions = predict_masks(module, pixels, context.preprocess, mirrored=True)
                return mask_evidence(context, val, predictions).miou

        return hflip_by_first_model(context, first, mirrored_miou, tolerance=_FLIP_TOLERANCE, least=0.0)

    def _trainer(self, context: RunContext, scale: float, *, hflip: bool = False) -> SegmentationTrainer:
        from foveal.training.trainers.segmentation import SegmentationTrainer

        return SegmentationTrainer(self.recipe, context, scale, hflip=hflip)

    def _steps(self, trainer: SegmentationTrainer) -> tuple[int, str]:
        return trainer.steps_that_fit(trainer.context.split.subset("train"), trainer.planned_seconds())

    def _scale(self, context: RunContext) -> tuple[float, str]:
        """The largest at which all pixels can be seen often enough."""
        words = []
        for scale in self.recipe.scales:
            passes = self._trainer(context, scale).passes_that_fit()
            words.append(f"{scale:g} of their size: {passes:.0f} passes")
            if passes >= self.recipe.min_passes:
                break
        return scale, "passes over all pixels that fit the time, at " + ", ".join(words)


STRATEGIES = (SegmentationStrategy(QUICK, FULL), SegmentationStrategy(FULL))
