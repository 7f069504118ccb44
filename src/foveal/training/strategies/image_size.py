"""The image size that a network is fine-tuned at: larger ones see more, and cost more.

With a frozen trunk the size of the images themselves decides. Otherwise short trainings are compared, the cheapest size
first, until a larger one is no better on held-out images or their share of the time is used.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from foveal.training.compare import LabelEvidence
from foveal.training.context import RunContext
from foveal.training.flip_test import hflip_by_linear_probe
from foveal.training.recipes.augmentation import augment_for
from foveal.training.recipes.finetune import SMALL, FineTuneRecipe
from foveal.training.sampling import sample
from foveal.training.time_budget import AFFORDABLE_SHARE, FINETUNE_LEAST_IMAGES, TRIALS_SHARE
from foveal.values import SplitRecord

if TYPE_CHECKING:
    from foveal.training.trainers.finetune import FineTuneTrainer

#: Images are large when their long side has mostly this many pixels or more.
_LARGE = 192
#: Epochs of a trial, the most images it is trained and tested on, and its steps at least.
_TRIAL_EPOCHS, _TRIAL_IMAGES, _TRIAL_STEPS = 2.0, 1000, 40


def trainer_for(recipe: FineTuneRecipe, context: RunContext, size: int) -> FineTuneTrainer:
    """The trainer of a recipe at an image size; mirrored where that keeps the label."""
    from foveal.training.trainers.finetune import CachedTrunkTrainer, FullTrainer

    augment = augment_for(context.config.augment, recipe.augment.at_size(size), size)
    if context.config.augment != "none":
        augment = replace(augment, hflip=hflip_by_linear_probe(context))
    cut = context.features.backbone.cut_at(recipe.frozen_share_at(size))
    return (CachedTrunkTrainer if cut else FullTrainer)(recipe, context, size, augment)


def image_sizes(context: RunContext, recipe: FineTuneRecipe) -> tuple[int, ...]:
    """What the backbone takes: any size where its stages are known, its own where it may not be convolutional.

    From the cheapest; with a cached trunk first the one that suits the images, then a smaller one for want of time.
    """
    backbone = context.features.backbone
    if not backbone.stage_dimension:
        return (backbone.preprocess.size,)
    side = statistics.median(max(p.record.width, p.record.height) for p in context.split.subset("train"))
    if not recipe.frozen_share:
        return recipe.sizes if side > SMALL else recipe.small_sizes
    return recipe.sizes[::-1] if side >= _LARGE else recipe.sizes[:1]


def least_seconds(context: RunContext, recipe: FineTuneRecipe, size: int) -> float:
    """Of the least training worth starting."""
    trainer = trainer_for(recipe, context, size)
    train = context.split.subset("train")
    epochs = min(recipe.epochs * recipe.min_epoch_share, FINETUNE_LEAST_IMAGES / len(train))
    return trainer.epoch_seconds(train) * epochs


class SizeTrials:
    """Short trainings that choose the image size.

    Args:
        recipe, context: of the training.
        inside: images that it may be trained on.
        outside: images that sizes are compared on.
    """

    def __init__(
        self,
        recipe: FineTuneRecipe,
        context: RunContext,
        inside: Sequence[SplitRecord],
        outside: Sequence[SplitRecord],
    ) -> None:
        self.recipe, self.context = recipe, context
        self.inside = sample(inside, _TRIAL_IMAGES, context.config.seed)
        self.outside = sample(outside, _TRIAL_IMAGES // 2, context.config.seed)

    def choose(self) -> tuple[int, str]:
        """The size after which a larger one is not better, as far as the time goes."""
        sizes = self.affordable()
        if len(sizes) == 1 or not self.outside:
            suits = self.recipe.frozen_share and sizes[0] == image_sizes(self.context, self.recipe)[0]
            return sizes[0], "it suits the images" if suits else "the only size that fits the time"
        room = self._left() * TRIALS_SHARE
        began, best = self.context.clock.spent(), sizes[0]
        evidence: dict[int, LabelEvidence] = {}
        words: list[str] = []
        for size in sizes:
            if words and self.context.clock.stopped:
                words.append("the user asked to stop")
                break
            if words and self.context.clock.spent() - began + self.seconds(size) > room:
                words.append(f"no time to try {size} px")
                break
            evidence[size] = self.tried(size)
            words.append(f"{size} px: {evidence[size].tallies.sum()} of {len(self.outside)}")
            if size != best:
                if evidence[size].compare_to(evidence[best]).sum_of_z <= 0:
                    break
                best = size
        return best, "after a short trial of each: " + ", ".join(words)

    def seconds(self, size: int) -> float:
        """That a trial takes."""
        trainer = trainer_for(self.recipe, self.context, size)
        training = trainer.image_seconds() * self._steps() * self.recipe.batch_size
        around = trainer.preparation_seconds(self.inside) + trainer.prediction_seconds(len(self.outside))
        return training + around

    def affordable(self) -> list[int]:
        """Sizes whose least training takes less than half of the time left, or the last resort.

        With a cached trunk the first of them: a trial would cost as much as it could save.
        """
        sizes, room = image_sizes(self.context, self.recipe), AFFORDABLE_SHARE * self._left()

        def fits(size: int) -> bool:
            return least_seconds(self.context, self.recipe, size) <= room

        if self.recipe.frozen_share:
            return [next((s for s in sizes[:-1] if fits(s)), sizes[-1])]
        return [sizes[0], *takewhile(fits, sizes[1:])]

    def tried(self, size: int) -> LabelEvidence:
        """Predictions for the held-out images after a short training."""
        trainer, context = trainer_for(self.recipe, self.context, size), self.context
        name = f"{self.recipe.name}-trial-{size}"
        deadline = context.budget.finetune_deadline
        training = trainer.train(name, self.inside, self._steps(), deadline=deadline)
        logits = trainer.predict(training.module, self.outside)
        return LabelEvidence.of(self.outside, logits, context.targets(self.outside))

    def _left(self) -> float:
        return self.context.budget.finetune_deadline.left()

    def _steps(self) -> int:
        return max(_TRIAL_STEPS, round(_TRIAL_EPOCHS * len(self.inside) / self.recipe.batch_size))
