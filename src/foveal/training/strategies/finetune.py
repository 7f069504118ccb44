"""Fine-tuning a pretrained network, in two ways. Each is first tried on images held out of the training subset.

    foveal train DATA --strategy fine-tune       all layers are trained, at an image size that short trials choose
    foveal train DATA --strategy cached-trunk    the lower layers are frozen and cached for several augmented views

`NAME-all` continues with all training images, once it is known to be worth it. What they cost and gain on images far
from photographs, by `bench/ladder.py`, is in `docs/ladder.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from foveal.data.wording import count_of
from foveal.decisions import FALLBACK, IMAGE_SIZE, LEARNING_RATE, STEPS, TRAINING_IMAGES
from foveal.planner.process import least_process_bytes
from foveal.planner.sheet import size_text
from foveal.training.candidate import Candidate
from foveal.training.compare import LabelEvidence, hold_out
from foveal.training.context import Array, RunContext
from foveal.training.recipes.finetune import CACHED, FULL, FineTuneRecipe
from foveal.training.recipes.scratch import ScratchRecipe
from foveal.training.starting_point import falls_back
from foveal.training.strategies.image_size import SizeTrials, image_sizes, least_seconds, trainer_for
from foveal.training.strategies.linear_probe import FROZEN_STAGES
from foveal.training.strategy import LadderState, below_noise_floor
from foveal.training.time_budget import (
    FINETUNE_LEAST_SECONDS,
    MARGIN,
    SECOND_PER_FIRST,
    SHORT_SECOND_PART,
    Allotment,
    second_part_steps,
)
from foveal.values import SplitRecord, Subset

if TYPE_CHECKING:
    from foveal.training.trainers.base import Training
    from foveal.training.trainers.finetune import FineTuneTrainer

#: Share of the errors that fine-tuning usually saves: with fewer errors left than can show it, it is not tried.
USUAL_GAIN = 0.5
#: A first part without time for all of its steps is not what the training comes to: it is kept unless its sum of
#: z-values is worse than this, less on images like those of the pretraining. On five tasks unlike them the whole
#: training came out ahead of the linear probe on all stages, or level (`bench/ladder.py`).
_HANDICAP, _NEAR_HANDICAP = 3.0, 1.0


@dataclass(frozen=True)
class FineTune:
    """One recipe as a strategy: a first part without the held-out images, to compare it by."""

    recipe: FineTuneRecipe
    keep_unless_worse: bool = False
    continues: str | None = None

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        return self.recipe.name

    def refuse(self, context: RunContext, state: LadderState) -> str | None:
        """Not worth it when its gain could not be told from chance."""
        backbone, best = context.features.backbone, state.best
        if self.recipe.frozen_share and not backbone.stages:
            return f"the stages of {backbone.name} are not known: no part of it can be frozen alone"
        if best is None:
            return None
        if not best.trained.pretrained and sum(isinstance(c.recipe, ScratchRecipe) for c in state.candidates) > 1:
            return f"{best.strategy}, trained from scratch, had the time: it was expected to be better"
        needed = least_process_bytes(torch=True, backbone=True)
        if not context.memory.covers(needed):
            have, least = size_text(context.memory.total or 0), size_text(needed)
            return f"{have} of memory is too little: it needs at least {least}"
        if best.score is None:
            return _why_without_score(context, best)
        return below_noise_floor(USUAL_GAIN, best)

    def estimate(self, context: RunContext, state: LadderState) -> float:
        """Seconds for the least training worth starting, at the smallest size."""
        deadline = context.budget.finetune_deadline
        if deadline.left() < FINETUNE_LEAST_SECONDS:
            return FINETUNE_LEAST_SECONDS
        needed, sizes = 0.0, image_sizes(context, self.recipe)
        for size in sizes if self.recipe.frozen_share else sizes[:1]:
            needed = least_seconds(context, self.recipe, size)
            if needed * MARGIN <= deadline.left() - state.pending_seconds:
                break
        return needed

    def fit(self, context: RunContext, state: LadderState) -> Candidate:
        """Choose an image size, then train the first part, or all of it where nothing is compared."""
        began, decisions, train = context.clock.spent(), context.decisions, context.split.subset("train")
        held = hold_out(train, context.target, context.config.seed)
        inside = [p for p, out in zip(train, held, strict=True) if not out]
        outside = [p for p, out in zip(train, held, strict=True) if out]
        recipe = with_lr(self.recipe, context, state)
        size = decisions.settle(IMAGE_SIZE.of(self.name), SizeTrials(recipe, context, inside, outside).choose)
        images = decisions.settle(TRAINING_IMAGES.of(self.name), lambda: _training_images(outside, state))
        reasons = (decisions.reason(d.of(self.name)) for d in (IMAGE_SIZE, TRAINING_IMAGES))
        context.progress.say(f"{self.name} at {size} px: " + "; ".join(reasons))
        records = train if images == "all" else inside
        trainer = trainer_for(recipe, context, size)
        allotment = self._allotment(trainer, context, state, records)
        if images != "all":
            allotment = allotment.first_part(trainer.step_seconds())
        steps = decisions.settle(STEPS.of(self.name), lambda: trainer.steps_that_fit(records, allotment.planned))
        whole = trainer.all_steps(records)
        training = trainer.train(self.name, records, steps, deadline=allotment.deadline, max_steps=whole)
        if images == "all":
            val = _keep_better_weights(self.name, trainer, training, whole)
            return _candidate(self.name, trainer, training, records, None, began, val)
        logits = trainer.predict(training.module, outside)
        evidence = LabelEvidence.of(outside, logits, context.targets(outside))
        candidate = _candidate(self.name, trainer, training, records, evidence, began)
        continues = allotment.share < 1.0 and steps < whole
        handicap = _HANDICAP if recipe.lr == self.recipe.lr else _NEAR_HANDICAP
        return replace(candidate, handicap=handicap if continues else 0.0)

    def _allotment(
        self, trainer: FineTuneTrainer, context: RunContext, state: LadderState, records: Sequence[SplitRecord]
    ) -> Allotment:
        """Time for the steps; predictions follow for the validation subset, for held-out images, and for the test
        subset by whichever model is the final one. The validation subset is predicted twice: by the second part of
        this training, or, where there is none, by what it began from."""
        val, test = (len(context.split.subset(subset)) for subset in ("val", "test"))
        held_out = len(context.split.subset("train")) - len(records)
        after = max(state.pending_seconds, trainer.prediction_seconds(test))
        after += trainer.prediction_seconds(2 * val + held_out)
        before = trainer.preparation_seconds(records)
        return Allotment.of(context.budget.finetune_deadline, before=before, after=after)


@dataclass(frozen=True)
class ContinueFineTune:
    """A fine-tuning that was kept continues with the images that were held out as well."""

    recipe: FineTuneRecipe
    keep_unless_worse: bool = True

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        return f"{self.recipe.name}-all"

    @property
    def continues(self) -> str:
        """The first part."""
        return self.recipe.name

    def refuse(self, context: RunContext, state: LadderState) -> str | None:
        """Only after the first part was kept, and had images held out."""
        first = state.kept(self.recipe.name)
        if first is None:
            return f"{self.recipe.name} was not kept"
        if len(first.seen["train"]) == len(context.split.subset("train")):
            return "it was trained on all training images already"
        return None

    def estimate(self, context: RunContext, state: LadderState) -> float:
        """The fewest steps worth making, and predictions for the validation subset."""
        first = state.of(self.recipe.name)
        if first is None:
            return 0.0
        trainer = trainer_for(self.recipe, context, first.image_size)
        steps = first.steps * SECOND_PER_FIRST * SHORT_SECOND_PART
        return steps * trainer.step_seconds() + trainer.prediction_seconds(len(context.split.subset("val")))

    def fit(self, context: RunContext, state: LadderState) -> Candidate:
        """Continue with everything, and with the settings of the first part."""
        first = state.of(self.recipe.name)
        assert first is not None
        began, train = context.clock.spent(), context.split.subset("train")
        trainer = trainer_for(with_lr(self.recipe, context, state), context, first.image_size)
        done = first.steps
        predicted = sum(len(context.split.subset(subset)) for subset in ("val", "test"))
        after = trainer.prediction_seconds(predicted)
        allotment = Allotment.of(context.budget.finetune_deadline, after=after)
        # Steps that the first part had no time for may still be made.
        wanted = max(second_part_steps(done), trainer.all_steps(train) - done)

        def fitting() -> tuple[int, str]:
            fits, reason = trainer.steps_that_fit(train, allotment.planned)
            return (wanted, f"after {done} steps before") if wanted <= fits else (fits, reason)

        steps = context.decisions.settle(STEPS.of(self.name), fitting)
        training = trainer.train(
            self.name,
            train,
            steps,
            deadline=allotment.deadline,
            max_steps=wanted,
            start=(first.trained.tensors, done),
        )
        evidence = first.evidence if isinstance(first.evidence, LabelEvidence) else None
        return _candidate(self.name, trainer, training, train, evidence, began)


def with_lr(recipe: FineTuneRecipe, context: RunContext, state: LadderState) -> FineTuneRecipe:
    """The recipe with a lower learning rate for images like those of the pretraining: the network knows more of them
    than a few hundred images can teach. They are those where all stages showed no more than the last one."""

    def choose() -> tuple[float, str]:
        if FROZEN_STAGES.name not in state.rejected:
            return recipe.lr, "the recipe's"
        words = "all stages are no better than the last: images like those of the pretraining"
        return recipe.lr * recipe.near_lr_mult, words

    return replace(recipe, lr=context.decisions.settle(LEARNING_RATE.of(recipe.name), choose))


def _why_without_score(context: RunContext, best: Candidate) -> str:
    """Why it is not known how good the best model is, so that no gain could be seen."""
    train = context.split.subset("train")
    if hold_out(train, context.target, context.config.seed).any():
        return f"there was no time to validate {best.strategy}, so that no gain could be seen"
    return "too few images to hold some out and validate this step"


def _training_images(outside: Sequence[SplitRecord], state: LadderState) -> tuple[str, str]:
    """Whether to train on all images at once, or to hold some out to compare by."""
    best = state.best
    if not outside:
        return "all", "there are too few images to hold some out"
    if best is None or best.evidence is None:
        return "all", "there is nothing to compare with"
    return "inside", f"{count_of(len(outside), 'image is', 'images are')} held out to see whether it is worth it"


def _keep_better_weights(name: str, trainer: FineTuneTrainer, training: Training, whole: int) -> Array | None:
    """Load what a training began from into its module again where it was too short to be better.

    There is nothing else that it is compared with. One that made all steps of the recipe is not asked.

    Returns:
        Logits of the validation subset; None when it was not asked.
    """
    if training.outcome.steps >= whole or training.start is None:
        return None
    from foveal.training.trainers.base import load_weights, weights_of

    context, module, weights = trainer.context, training.module, weights_of(training.module)
    val = context.split.subset("val")
    targets = context.targets(val)
    with context.clock.lap("evaluate"):
        trained = trainer.predict(module, val)
        load_weights(module, training.start)
        start = trainer.predict(module, val)

    def weighed() -> tuple[bool, str]:
        evidences = (LabelEvidence.of(val, logits, targets) for logits in (trained, start))
        enough = training.outcome.steps >= trainer.recipe.min_epoch_share * whole
        return falls_back(*evidences, enough=enough, complete=training.complete)

    if context.decisions.settle(FALLBACK.of(name), weighed):
        reason = context.decisions.reason(FALLBACK.of(name))
        context.progress.say(f"{name}: the head that it began with is the model: {reason}")
        return start
    load_weights(module, weights)
    return trained


def _candidate(
    name: str,
    trainer: FineTuneTrainer,
    training: Training,
    records: Sequence[SplitRecord],
    evidence: LabelEvidence | None,
    began: float,
    val: Array | None = None,
) -> Candidate:
    context, n = trainer.context, len(evidence.logits) if evidence else 0
    seconds = context.clock.spent() - began
    with context.clock.lap("evaluate"):
        seen: dict[Subset, list[SplitRecord]] = {
            "train": list(records),
            "val": context.split.subset("val"),
            "test": context.split.subset("test"),
        }
        logits: dict[Subset, Array] = {
            "val": trainer.predict(training.module, seen["val"]) if val is None else val
        }
    return Candidate(
        strategy=name,
        seconds=seconds,
        score=context.target.score(evidence.tallies) if evidence and n else None,
        score_ci95=context.target.interval(evidence.tallies) if evidence and n else None,
        score_n=n,
        trained=trainer.trained_model(training.module),
        logits=logits,
        predict=lambda records: trainer.predict(training.module, records),
        pending_test_seconds=trainer.prediction_seconds(len(seen["test"])),
        seen=seen,
        settings=training.settings,
        evidence=evidence,
        image_size=trainer.size,
        steps=training.outcome.steps,
        loss=training.outcome.loss,
        complete=training.complete,
    )


#: The cached trunk comes first: it costs a third, and did best on photographs.
FULL_STRATEGIES = (FineTune(FULL), ContinueFineTune(FULL))
STRATEGIES = (FineTune(CACHED), ContinueFineTune(CACHED), *FULL_STRATEGIES)
