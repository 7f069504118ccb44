"""A trained model that could be the run's final one, and what is known of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.metrics.calibration import Calibration, HeldOutLogits
from foveal.models.trained import TrainedModel
from foveal.training.compare import Evidence, LabelEvidence
from foveal.training.context import RunContext
from foveal.training.time_budget import MARGIN
from foveal.values import Preprocess, Split, SplitRecord, Subset

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Refitted:
    """A model that was fitted once more.

    Attributes:
        trained: the model.
        logits: `(N, K)` for the N images that it was fitted on, each by a model that was fitted without its fold.
    """

    trained: TrainedModel
    logits: Array


@dataclass(frozen=True)
class Refit:
    """How a candidate's model can be fitted once more, on all images that the candidate has seen.

    Attributes:
        fit: N images and their fold numbers `(N,)` → the model, with predictions to calibrate it by.
        seconds: that it will take.
        memory: bytes that it will take.
    """

    fit: Callable[[Sequence[SplitRecord], NDArray[np.int64]], Refitted]
    seconds: float
    memory: int


@dataclass(frozen=True)
class FrozenHead:
    """What a linear head on frozen features can be fitted with again, on other images.

    Attributes:
        features: N images → their features, `(V, N, D)`.
        strength: of the regularisation, C × n.
        tau: of the logit adjustment, see `imbalance`.
        fit_seconds: that choosing the strength and fitting a head on all images will take.
        feature_seconds: that the features of all images will take.
        memory: bytes that fitting a head on all images will take.
    """

    features: Callable[[Sequence[SplitRecord]], Array]
    strength: float
    tau: float
    fit_seconds: float
    feature_seconds: float
    memory: int


@dataclass(frozen=True)
class Candidate:
    """A model with its evidence.

    Attributes:
        strategy: name of the strategy that trained it.
        seconds: that training took.
        score: accuracy (of masks: mIoU), cross-validated inside the training subset (linear probes) or on the
            validation subset (networks); None when there were too few images to tell.
        score_ci95: interval of the score.
        score_n: images that the score was computed on.
        trained: the model.
        logits: subset → `(N, K)` for the images in `seen[subset]`, not calibrated; without the training subset.
            Empty for masks, which are predicted again when they are needed.
        seen: subset → the images that there was time for.
        settings: its hyper-parameters, for `decisions`.
        evidence: predictions for training images that it was not trained on, to compare models by.
        predict: images → logits, for a subset without logits yet; called for the final model only.
        pending_test_seconds: that `predict` will take for the test subset.
        features: images → `(views, N, D)` of the frozen backbone below its head; None for a network.
        feature_seconds: that the features of an image take where they are not in the cache.
        refit: how its model can be fitted once more; None where that is not known, or not wanted.
        head: its head can be fitted again, on other images; None for networks.
        adjustment: that was subtracted from the logits of its head, `(K,)`, and not from those of its evidence, which
            is compared with that of models without one; None: there is none.
        handicap: sum of z-values by which it may be worse and is kept, since its training continues.
        complete: whether its training came to the end of its schedule.
        preprocess: the input that later strategies take, too, if it is kept; None: the one they have.
        recipe: that it was trained by, of a network.
        image_size: side of its input, pixels; 0: the run's.
        steps, training_seconds, loss: of its training; the loss is that at the end.
    """

    strategy: str
    seconds: float
    score: float | None
    score_ci95: tuple[float, float] | None
    score_n: int
    trained: TrainedModel
    logits: dict[Subset, Array]
    seen: dict[Subset, list[SplitRecord]]
    settings: dict[str, Any]
    evidence: Evidence | None = None
    predict: Callable[[Sequence[SplitRecord]], Array] | None = None
    pending_test_seconds: float = 0.0
    features: Callable[[Sequence[SplitRecord]], Array] | None = None
    feature_seconds: float = 0.0
    refit: Refit | None = None
    head: FrozenHead | None = None
    adjustment: Array | None = None
    handicap: float = 0.0
    complete: bool = True
    preprocess: Preprocess | None = None
    recipe: object = None
    image_size: int = 0
    steps: int = 0
    training_seconds: float = 0.0
    loss: float = math.nan

    def logits_on(self, subset: Subset) -> Array:
        """`(N, K)` for the images in `seen[subset]`, computed now if need be."""
        if subset not in self.logits and self.predict is not None:
            self.logits[subset] = self.predict(self.seen[subset])
        return self.logits[subset]

    @property
    def pending_seconds(self) -> float:
        """That remain to be spent, should this be the final model."""
        return self.pending_test_seconds + (MARGIN * self.refit.seconds if self.refit else 0.0)

    def unreached(self, split: Split) -> set[str]:
        """Hashes of the images in the split that there was no time for."""
        reached = {p.record.sha256 for members in self.seen.values() for p in members}
        return {p.record.sha256 for p in split.placed} - reached

    def calibration(self, context: RunContext) -> Calibration:
        """What the validation subset says of it, and a cross-validation in the training subset of models like it."""
        held_out = []
        if (logits := self.logits.get("val")) is not None:
            val = self.seen["val"]
            held_out.append(HeldOutLogits(logits, context.targets(val), [p.group for p in val]))
        if held_out and self.trained.backbone is not None and isinstance(self.evidence, LabelEvidence):
            other = self.evidence.held_out(self.seen["train"])
            moved = other.logits if self.adjustment is None else other.logits - self.adjustment
            held_out.append(replace(other, logits=moved))
        return context.target.calibrate(
            held_out, coverage=context.config.coverage, score=self.score, n=self.score_n
        )

    @property
    def error_and_std_error(self) -> tuple[float, float]:
        """Error rate by the score, and its standard error."""
        score, n = self.score or 0.0, max(1, self.score_n)
        return 1 - score, float(np.sqrt(max(score * (1 - score), 1 / n) / n))
