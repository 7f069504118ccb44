"""Networks trained from scratch, for small images: the time budget alone chooses the recipe.

What each costs and is worth, on MNIST's 10,000 test images (`bench/mnist.py`; measured before their numbers of
epochs changed, see `docs/mnist.md`):

.. bench mnist

    foveal train DATA --time 40s   scratch-seconds   6 s       99.110 % (n 20, sd 0.093)
    foveal train DATA --time 75s   scratch-minute    48 s      99.572 % (n 5, sd 0.038)
    foveal train DATA --time 15m   scratch-quarter   797 s     99.710 % (n 1, sd -)
    foveal train DATA --time 1h    scratch-hour      2596 s    99.740 % (n 1, sd -)

.. end

The first recipe always runs: it gives a usable model in seconds, and tells whether mirrored images keep their label.
Of the others the longest that fits the time follows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foveal.clock import Deadline
from foveal.decisions import MEMBERS, STEPS
from foveal.training.candidate import Candidate
from foveal.training.context import Array, RunContext
from foveal.training.flip_test import hflip_by_first_model
from foveal.training.recipes.augmentation import augment_for
from foveal.training.recipes.scratch import COLOUR_RECIPES, RECIPES, ScratchRecipe
from foveal.training.strategies.finetune import USUAL_GAIN as FINE_TUNING_GAIN
from foveal.training.strategies.linear_probe import FROZEN
from foveal.training.strategy import LadderState
from foveal.training.time_budget import (
    ROUGH_ESTIMATE_FACTOR,
    SCRATCH_IMPORT_SECONDS,
    SCRATCH_LEAST_SECONDS,
    SKIP_MARGIN,
    Allotment,
    steps_that_fit,
)
from foveal.values import Subset

if TYPE_CHECKING:
    from foveal.training.trainers.base import Training
    from foveal.training.trainers.scratch import ScratchTrainer

#: Mirrored images keep their label when the first network loses less than this share of its accuracy on them.
_FLIP_TOLERANCE = 0.05
#: The first network has learned something when its accuracy is this many times that of chance.
_OVER_CHANCE = 1.5
#: Share of the first network's errors that a longer recipe makes with so many images, and the power of their number by
#: which that share grows where there are fewer: assumed, not measured.
LONGER_SHARE, LONGER_IMAGES, LONGER_POWER = 0.35, 40_000, 0.25


@dataclass(frozen=True)
class FromScratch:
    """One recipe as a strategy.

    Attributes:
        recipe: what is trained.
        longer: the strategies after it.
        first: whether it is tried whatever the time; it makes few epochs where a longer recipe can follow.
    """

    recipe: ScratchRecipe
    longer: tuple[FromScratch, ...] = ()
    first: bool = False
    keep_unless_worse: bool = True
    continues: str | None = None

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        return self.recipe.name

    def refuse(self, context: RunContext, state: LadderState) -> str | None:
        """Not worth it when a longer recipe fits the time as well, or when pretrained features are better."""
        if self.first:
            return None
        frozen, expected = state.of(FROZEN.name), self._expected_error(context, state)
        if frozen is not None and frozen.score is not None and expected is not None:
            tuned = (1 - FINE_TUNING_GAIN) * (1 - frozen.score)
            if tuned <= expected:
                return f"{tuned:.0%} errors are expected after fine-tuning, {expected:.0%} from scratch"
        for strategy in reversed(self.longer):
            if strategy.estimate(context, state) * SKIP_MARGIN <= context.deadline.left():
                return f"there is time for {strategy.name}"
        return None

    def estimate(self, context: RunContext, state: LadderState) -> float:
        """Seconds for the least number of epochs, from the speed of this machine on this network."""
        least = SCRATCH_LEAST_SECONDS if "torch" in sys.modules else SCRATCH_IMPORT_SECONDS
        if context.deadline.left() < least:
            return least
        first = _first_network(state)
        if first is not None and isinstance(first.recipe, ScratchRecipe):
            return self._estimate(context, first.recipe, _seconds_per_epoch(first, first.recipe))
        return self._estimate(context)

    def _expected_error(self, context: RunContext, state: LadderState) -> float | None:
        """Share of errors that a longer recipe will make, from that of the first network; None: nobody can tell."""
        first = _first_network(state)
        if first is None or first.score is None:
            return None
        fewer = LONGER_IMAGES / max(1, len(context.split.subset("train")))
        share: float = LONGER_SHARE * fewer**LONGER_POWER
        return share * (1 - first.score)

    def _estimate(
        self, context: RunContext, known: ScratchRecipe | None = None, known_seconds: float = 0.0
    ) -> float:
        """The same; one that is far too long is not measured, where the seconds of an epoch of another are known."""
        from foveal.training.trainers.scratch import ScratchTrainer

        recipe, passes = self.recipe, self.recipe.epochs * self.recipe.min_epoch_share * self.recipe.members
        if known is not None:
            rough = known_seconds * _multiplications(recipe) / _multiplications(known) * passes
            if rough > ROUGH_ESTIMATE_FACTOR * context.deadline.left():
                return rough  # so far off that measuring is a waste
        return ScratchTrainer(recipe, context).epoch_seconds() * passes

    def fit(self, context: RunContext, state: LadderState) -> Candidate:
        """Train its network, or networks, and predict the held-out subsets."""
        from foveal.training.trainers.scratch import ScratchTrainer, predict_pixels

        began = context.clock.spent()
        trainer = ScratchTrainer(self.recipe, context, hflip=self._hflip(context, state))
        allotment = self._allotment(trainer, context)
        steps = context.decisions.settle(STEPS.of(self.name), lambda: self._steps(trainer, allotment))
        trainings = self._train_members(trainer, steps, allotment.deadline, context)
        trained = trainer.gather([t.module for t in trainings])
        with context.clock.lap("evaluate"):
            classes = context.split.classes
            logits: dict[Subset, Array] = {
                subset: predict_pixels(trained, context.pixels(subset), len(classes), device=trainer.device.name)
                for subset in ("val", "test")
            }
        labels = context.targets(context.split.subset("val"))
        tallies = context.target.tally(context.target.predict(logits["val"]), labels, classes)
        return Candidate(
            strategy=self.name,
            seconds=context.clock.spent() - began,
            score=context.target.score(tallies) if len(labels) else None,
            score_ci95=context.target.interval(tallies),
            score_n=len(labels),
            trained=trained,
            logits=logits,
            seen={subset: context.split.subset(subset) for subset in ("train", "val", "test")},
            settings={
                "recipe": asdict(self.recipe) | {"augment": trainer.augment.to_dict()},
                "batch_size": trainer.batch_size,
                "outcomes": [t.settings for t in trainings],
            },
            recipe=self.recipe,
            steps=sum(t.outcome.steps for t in trainings),
            training_seconds=sum(t.outcome.seconds for t in trainings),
            loss=trainings[-1].outcome.loss,
            complete=all(t.complete for t in trainings),
        )

    def _allotment(self, trainer: ScratchTrainer, context: RunContext) -> Allotment:
        held_out = len(context.split.subset("val")) + len(context.split.subset("test"))
        return Allotment.of(context.deadline, after=trainer.prediction_seconds(held_out))

    def _steps(self, trainer: ScratchTrainer, allotment: Allotment) -> tuple[int, str]:
        """Of each member."""
        full = trainer.all_steps(trainer.context.split.subset("train"))
        if self.first and not self._another_fits(trainer):
            full = round(full * self.recipe.alone)
        seconds = max(0.0, allotment.planned) / self.recipe.members
        return steps_that_fit(full, trainer.step_seconds(), seconds)

    def _another_fits(self, trainer: ScratchTrainer) -> bool:
        """Whether there is time for a longer recipe after this one."""
        context = trainer.context
        left = context.deadline.left() - trainer.epoch_seconds() * self.recipe.epochs
        estimates = (s._estimate(context, self.recipe, trainer.epoch_seconds()) for s in self.longer[:1])
        return any(seconds * SKIP_MARGIN <= left for seconds in estimates)

    def _train_members(
        self, trainer: ScratchTrainer, steps: int, deadline: Deadline, context: RunContext
    ) -> list[Training]:
        """The networks.

        One that was stopped short is worth nothing beside others that were not.
        """
        trainings: list[Training] = []
        decisions, records = context.decisions, context.split.subset("train")
        known = decisions.get(MEMBERS.of(self.name))
        count = self.recipe.members if known is None else known
        for member in range(count):
            if trainings and known is None and context.deadline.passed:
                break
            name, others = f"{self.name}-{member}", self.recipe.members - member
            training = trainer.train(name, records, steps, deadline=deadline.share(1 / others), member=member)
            if trainings and known is None and not training.complete:
                break
            trainings.append(training)
        if len(trainings) < self.recipe.members and known is None:
            decisions.record(MEMBERS.of(self.name), len(trainings), "time was up, or the user asked to stop")
        return trainings

    def _hflip(self, context: RunContext, state: LadderState) -> bool:
        """Where the first network says that mirrored images keep their label; a recipe without changes has none."""
        augment = augment_for(context.config.augment, self.recipe.augment, context.preprocess.size)
        if not (augment.warps or augment.translate):
            return False
        first = _first_network(state)

        def mirrored_accuracy() -> float:
            from foveal.training.trainers.scratch import predict_pixels

            assert first is not None
            labels = context.targets(context.split.subset("val"))
            mirrored, classes = np.ascontiguousarray(context.pixels("val")[:, :, :, ::-1]), context.split.classes
            predictions = context.target.predict(predict_pixels(first.trained, mirrored, len(classes)))
            return context.target.score(context.target.tally(predictions, labels, classes))

        chance = _OVER_CHANCE / len(context.split.classes)
        return hflip_by_first_model(context, first, mirrored_accuracy, tolerance=_FLIP_TOLERANCE, least=chance)


def _first_network(state: LadderState) -> Candidate | None:
    """The first model that was trained from scratch, which saw no mirrored images."""
    return next((c for c in state.candidates if isinstance(c.recipe, ScratchRecipe)), None)


def _seconds_per_epoch(first: Candidate, done: ScratchRecipe) -> float:
    epochs = first.steps * done.batch_size / max(1, len(first.seen["train"]))
    return first.training_seconds / max(epochs, 0.01)


def _multiplications(recipe: ScratchRecipe) -> float:
    """Of a forward pass, per pixel of the image."""
    total, before, area = 0.0, 1, 1.0 / recipe.stride**2
    for number, stage in enumerate(recipe.stages):
        area /= 4 if number else 1
        for place, width in enumerate(stage):
            kernel = recipe.kernel if number == place == 0 else 3
            total += area * kernel**2 * before * width
            before = width
    return total


def _strategies(recipes: Sequence[ScratchRecipe]) -> tuple[FromScratch, ...]:
    strategies: tuple[FromScratch, ...] = ()
    for recipe in reversed(recipes):
        strategies = (FromScratch(recipe, strategies), *strategies)
    first, *rest = strategies
    return (replace(first, first=True), *rest)


STRATEGIES, COLOUR_STRATEGIES = _strategies(RECIPES), _strategies(COLOUR_RECIPES)
