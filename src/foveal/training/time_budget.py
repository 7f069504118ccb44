"""How the time of a run is shared out: every share, margin and reserve, in one place, with its reason and unit.

The order of a run is: read and audit · features · train · evaluate the test subset · report. Strategies plan with a
`Deadline`, which already leaves time for what comes after them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from foveal.clock import Clock, Deadline

# ── The run ──

#: Share of the time left when reading begins; images that are not read by then are excluded, with a reason.
READING_SHARE = 0.5
#: Seconds kept for evaluation and the report, whatever the dataset: rendering the report and importing what it needs.
EVALUATION_SECONDS = 4.0
#: Seconds per test image of 360 × 480 that scoring a mask takes (two cores); prediction itself is planned from the
#: measured speed of training.
MASK_SCORING_SECONDS = 0.1
#: Evaluation keeps at most this share of the budget: in a short one training has to happen at all.
EVALUATION_SHARE = 0.25
#: Share of the evaluation reserve that fine-tuning keeps: predictions, most of it, are measured and planned for there.
FINETUNE_EVALUATION_SHARE = 0.5
#: A trained network is converted for predictions without torch when so many seconds are left at the end of a run:
#: that takes 2 to 9 s on two cores. Otherwise the first prediction does it.
GRAPH_SECONDS = 20.0
#: And only after a run of so many seconds, which it makes a tenth longer at most.
GRAPH_AFTER_SECONDS = 60.0

# ── The ladder ──

#: A strategy is started only when the time left is this many times its estimate.
MARGIN = 1.3
#: A longer recipe has to fit with a little more to spare before a shorter one is skipped for it.
SKIP_MARGIN = 1.05 * MARGIN
#: Share of the time left that a training may plan for; the rest is for noise in the measured speed.
PLANNED_SHARE = 0.93
#: The same for segmentation, whose steps all cost the same.
SEGMENTATION_PLANNED_SHARE = 0.95

# ── Measuring speed ──

#: Steps that are timed, and the share of the time left after which fewer have to do.
TIMED_STEPS, TIMED_SHARE = 5, 0.02
#: A batch is cut into this many parts when a whole step may be too long to try.
TRIAL_PARTS = 8
#: Share of a step's time that its forward pass takes, with room for noise: 0.4 for a classifier, more for a U-Net.
FORWARD_SHARE = 0.45
#: Predictions are made in fp32: so many times as slow as bf16 they may be.
FP32_SLOWDOWN = 2
#: Seconds to read and decode an image.
READ_SECONDS = 0.002
#: Bytes of weights handled per second, from the end of a training to a bundle on disk.
BUNDLE_BYTES_PER_SECOND = 100e6

# ── Linear models ──

#: Seconds per image that are planned for a linear model on pixels, twice what 20,000 images of ten classes took on a
#: core without AVX-512; and the share of the time left that it may take.
LINEAR_PIXELS_SECONDS, FLOOR_SHARE = 100e-6, 0.08

#: Share of the time left that features of many small images may take: networks are trained afterwards.
SMALL_FEATURES_SHARE = 0.25

#: Seconds that fitting a head takes per image, and per image and class: 20,000 images, two cores without AVX-512.
HEAD_SECONDS, HEAD_SECONDS_PER_CLASS = 250e-6, 4.5e-6
#: Before the first feature is computed, a head is kept at most this share of the time left.
HEAD_SHARE = 0.3
#: A fit on everything, in all directions and to convergence, takes about this many times as long as one candidate C.
FINAL_FIT = 2.0
#: A head on all stages takes this many times as long as one on the last features.
STAGES_FACTOR = 4.0
#: Under this share of the time left that head is fitted wherever there are errors: log-loss tells it apart, too.
CHEAP_SHARE = 0.1
#: Images whose speed tells how long all will take.
SPEED_IMAGES = 128
#: Where features of all images take less than this share of the time left, those of the test subset are deferred and
#: computed only if a linear probe is the final model.
DEFER_SHARE = 0.25
#: Share of the time left for finding out whether mirrored images keep their target.
FLIP_TEST_SHARE = 0.25

#: `--test auto` tests by cross-validation where that takes at most this share of the budget, or of the time that is
#: left when no strategy can follow: short budgets are not used up by a linear head.
CROSS_TEST_SHARE, CROSS_TEST_LEFT_SHARE = 0.1, 0.5
#: Choosing and fitting a head in a fold of it takes about as long as on all images: fewer of them, in fewer directions.
CROSS_TEST_FOLD = 1.0

#: A learning curve may take this share of the budget, or of the time that is left. In a fold its heads take about this
#: share of choosing and fitting one on all images: five fits on smaller parts, of one strength.
CURVE_SHARE, CURVE_LEFT_SHARE, CURVE_FOLD = 0.05, 0.25, 0.25
#: Seconds that a detector of unknown images takes per image and feature, with its five folds, twice what was seen; and
#: share of the time left for the trial that holds out one class after another.
UNKNOWN_SECONDS, UNKNOWN_TRIAL_SHARE = 7e-7, 0.25

# ── Fine-tuning ──

#: Seconds under which no training is worth considering: imports and measuring speed take a third of them.
FINETUNE_LEAST_SECONDS = 20.0
#: So many images make a fine-tuning worth starting, however many epochs they are: assumed, not measured.
FINETUNE_LEAST_IMAGES = 10_000
#: Share of the time left for trials of image sizes, and for the least training at the size chosen.
TRIALS_SHARE, AFFORDABLE_SHARE = 0.25, 0.5
#: Share of the steps made before it is known whether a training is worth it; held-out images join for the rest.
#: `docs/ladder.md` compares three shares.
FIRST_PART = 0.45
SECOND_PER_FIRST = (1 - FIRST_PART) / FIRST_PART
#: Fewer steps with all images are not worth their overhead: then the first part has all the time.
LEAST_SECOND_PART_STEPS = 20
#: Share of its steps with which the second part is still worth it.
SHORT_SECOND_PART = 0.3

# ── Training from scratch ──

#: Seconds under which no training is worth considering, and the same while torch still has to be imported.
SCRATCH_LEAST_SECONDS, SCRATCH_IMPORT_SECONDS = 1.5, 4.0
#: Seconds left over which torch is imported in the background, while a linear model is fitted.
TORCH_PREFETCH_SECONDS = 6.0
#: With room for fewer steps than this a smaller batch is used, where the recipe allows it, down to the second number.
FEW_STEPS, SMALLEST_BATCH = 30, 8
#: A rough estimate so many times over the time left is not refined by a measurement.
ROUGH_ESTIMATE_FACTOR = 3

# ── Segmentation ──

#: Seconds that importing torch and timm and building the network take.
SEGMENTATION_IMPORT_SECONDS = 15.0
#: A step of the U-Net takes about as long as this many of the FCN (1.0 on digit scenes); so much more must be left.
UNET_STEP_FACTOR, UNET_MARGIN = 1.2, 1.3

# ── While training runs ──

#: A schedule is shortened when the rest of it would take this many times the time left …
LATE = 1.05
#: … to what fits into this share of it, and made longer when the rest would take only this share.
REFIT_SHARE, EARLY = 0.93, 0.85
#: Seconds between checks of the schedule against the clock when steps are slow.
SLOW_SECONDS = 5.0
#: Share of the time left over which speed is averaged: a disturbance of seconds cut half an hour by a fifth.
SPEED_WINDOW = 0.1
#: Bytes of a checkpoint written per second, until one was; and seconds of training per second of writing.
CHECKPOINT_BYTES_PER_SECOND, CHECKPOINT_INTERVAL = 120e6, 10


def reading_share(clock: Clock) -> float:
    """Share of the budget that may be spent when all images are read; on a busy machine imports take seconds before."""
    begun = clock.spent() / clock.budget
    return begun + READING_SHARE * max(0.0, 1 - begun)


@dataclass(frozen=True)
class TimeBudget:
    """The time of one run.

    Attributes:
        clock: what is spent.
        evaluation: seconds reserved for evaluating the test subset and for the report.
    """

    clock: Clock
    evaluation: float = EVALUATION_SECONDS

    @classmethod
    def of_run(cls, clock: Clock, test_images: int, scoring_seconds: float = 0.0) -> TimeBudget:
        """For so many test images, each of which takes `scoring_seconds` in addition to its prediction."""
        wanted = EVALUATION_SECONDS + scoring_seconds * test_images
        return cls(clock, min(wanted, EVALUATION_SHARE * clock.budget))

    @property
    def deadline(self) -> Deadline:
        """By when a strategy has to be done."""
        return Deadline(self.clock, self.evaluation)

    @property
    def finetune_deadline(self) -> Deadline:
        """The same for fine-tuning, which plans for its own predictions."""
        return Deadline(self.clock, FINETUNE_EVALUATION_SHARE * self.evaluation)

    def to_dict(self) -> dict[str, Any]:
        """As config.json shows it: seconds and what they are reserved for."""
        limited = self.clock.budget < math.inf
        return {
            "budget_s": self.clock.budget if limited else None,
            "reserved_s": {
                "read and audit, about": READING_SHARE * self.clock.budget if limited else None,
                "evaluation and report": self.evaluation,
                "evaluation and report, while fine-tuning": FINETUNE_EVALUATION_SHARE * self.evaluation,
            },
            "planned_share": {"training": PLANNED_SHARE, "segmentation": SEGMENTATION_PLANNED_SHARE},
        }


@dataclass(frozen=True)
class Allotment:
    """The time of one training.

    Attributes:
        seconds: for its steps.
        deadline: of the last step; what follows it has its time afterwards.
        share: of the whole training, where it is only the first part of one.
    """

    seconds: float
    deadline: Deadline
    share: float = 1.0

    @classmethod
    def of(cls, deadline: Deadline, *, before: float = 0.0, after: float = 0.0) -> Allotment:
        """All the time to a deadline, but for `before` seconds until the first step and `after` the last one."""
        return cls(deadline.left() - before - after, deadline.keeping(after))

    def first_part(self, step_seconds: float) -> Allotment:
        """The steps before it is known whether the training is worth it; all of them where few would be left."""
        rest = (1 - FIRST_PART) * self.seconds
        if rest < LEAST_SECOND_PART_STEPS * step_seconds:
            return self
        later = rest if self.seconds < math.inf else 0.0  # a replay has no deadline
        return Allotment(FIRST_PART * self.seconds, self.deadline.keeping(later), FIRST_PART)

    @property
    def planned(self) -> float:
        """Seconds that may be planned for."""
        return self.seconds * PLANNED_SHARE


def second_part_steps(first: int) -> int:
    """Steps that follow the `first` ones of a training in two parts."""
    return max(1, round(first * SECOND_PER_FIRST))


def steps_that_fit(full: int, step_seconds: float, seconds: float) -> tuple[int, str]:
    """How many steps fit, at most `full` and at least one; and why, in words."""
    if full * step_seconds <= seconds:
        return full, f"all {full} steps fit the time, {1000 * step_seconds:.0f} ms each"
    fits = max(1, int(seconds / step_seconds))
    return fits, f"all would be {full}; a step takes {1000 * step_seconds:.0f} ms, {seconds:.0f} s are left"
