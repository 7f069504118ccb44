"""Linear probes: a logistic regression on the features of a frozen backbone.

    foveal train DATA --strategy frozen          the backbone's last features
    foveal train DATA --strategy frozen-stages   all stages before them as well, from the same forward pass
    foveal train DATA --strategy frozen-views    the image and its mirror image

Cost and gain, with n and sd: `bench/results/transfer-*.json` and the README.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Clock, Deadline
from foveal.data.images.pixels import refuse_changed
from foveal.decisions import FEATURE_SECONDS, HEAD_STRENGTH, HFLIP, TAU
from foveal.errors import DataError, Interrupted, UsageError
from foveal.models.linear_head import LinearHead
from foveal.models.trained import TrainedModel
from foveal.training.candidate import Candidate, FrozenHead, Refit, Refitted
from foveal.training.compare import LabelEvidence
from foveal.training.context import Array, RunContext
from foveal.training.heads import ONE_VS_REST, SOFTMAX, HeadSolver
from foveal.training.imbalance import adjustment, choose_tau
from foveal.training.linear_head import DEFAULT_STRENGTH, CrossValidation, import_solvers
from foveal.training.strategy import LadderState, below_noise_floor
from foveal.training.time_budget import (
    CHEAP_SHARE,
    DEFER_SHARE,
    HEAD_SECONDS,
    HEAD_SECONDS_PER_CLASS,
    HEAD_SHARE,
    SPEED_IMAGES,
    STAGES_FACTOR,
)
from foveal.values import SUBSETS, SplitRecord, Subset, View

#: Share of the errors that a second view usually saves (clip art: from 36.5 % to 35.8 %, 6 splits × 300 test images).
USUAL_GAIN = 0.03
#: The stages save most of the errors where images are not photographs (`bench/ladder.py`).
STAGES_GAIN = 0.5

#: Arrays of the size of the features that fitting a head takes: they, standardised, and the solver's.
_FIT_COPIES = 3

#: Features by content hash.
Rows = Mapping[str, Array]


@dataclass(frozen=True)
class _Features:
    """Features of a run's images.

    Attributes:
        seen: subset → the images that there was time for.
        by_subset: subset → `(views, N, D)`; without a subset that was deferred.
        pending_test_seconds: that the features of a deferred test subset will take.
        image_seconds: that the features of an image took, of all views.
    """

    seen: dict[Subset, list[SplitRecord]]
    by_subset: dict[Subset, Array]
    pending_test_seconds: float
    image_seconds: float


@dataclass(frozen=True)
class LinearProbeStrategy:
    """A head on the features of one or more views.

    Attributes:
        views: views of each image, see `data.images.render.render_views`.
        stages: whether all stages are features, or the last ones only.
        cost: of the features of an image, times those of the run's first linear probe.
        solver: fits the head.
    """

    name: str = "frozen"
    views: tuple[View, ...] = ("plain",)
    stages: bool = False
    cost: float = 1.0
    keep_unless_worse: bool = False
    continues: str | None = None
    solver: HeadSolver = SOFTMAX

    def refuse(self, context: RunContext, state: LadderState) -> str | None:
        """More views, or stages that take long, are not worth it when their gain could not be told from chance."""
        if self.stages and not context.features.stages:
            return "the stages of this backbone are not known, or there are too many images to keep them"
        if "mirror" in self.views and (unwanted := _no_mirroring(context)):
            return unwanted
        best = state.best
        if best is None or best.score is None or not best.trained.pretrained:
            return None  # nothing with pretrained weights was tried yet
        cheap = self.estimate(context, state) <= CHEAP_SHARE * context.deadline.left()
        if self.stages and best.score < 1 and cheap:
            return None
        return below_noise_floor(STAGES_GAIN if self.stages else USUAL_GAIN * (len(self.views) - 1), best)

    def estimate(self, context: RunContext, state: LadderState) -> float:
        """As long as the first strategy, for each view that is new."""
        if state.first is None:
            return 0.0
        if not state.first.trained.pretrained:
            return context.features.seconds(len(context.split.placed))
        if self.stages:
            return state.first.training_seconds * STAGES_FACTOR
        return state.first.seconds * len(self.views)

    def fit(self, context: RunContext, state: LadderState) -> Candidate:
        """Features of all subsets, C by cross-validation, a head on all of the training subset.

        Raises:
            UsageError: when it mirrors images and `--augment none` asks for none.
        """
        if "mirror" in self.views and context.config.augment == "none":
            raise UsageError(
                f"--strategy {self.name} and --augment none contradict each other",
                hint="the strategy mirrors images: give only one of them",
            )
        began = context.clock.spent()
        features = self._features(context)
        train = features.seen["train"]
        labels = context.targets(train)
        if not self.solver.has_all_classes(labels, len(context.split.classes)):
            self._give_up(context, len(train))
        deadline = context.deadline.keeping(features.pending_test_seconds)
        import_solvers()
        fitting = context.clock.spent()
        with context.clock.lap("fit"), context.progress.stage("fit", 1, unit="") as bar:
            chosen = self.solver.cross_validate(
                features.by_subset["train"],
                labels,
                context.target.folds(train, context.config.seed),
                deadline=deadline,
            )
            strength = context.decisions.settle(HEAD_STRENGTH.of(self.name), lambda: _strength(chosen))
            tau = self._tau(context, chosen, labels)
            moved = adjustment(labels, len(context.split.classes), tau) if tau else None
            head = _adjusted(self.solver.fit(features.by_subset["train"], labels, strength), moved)
            bar(1)
        fitting = context.clock.spent() - fitting
        again = self._head(context, features, strength, tau, fitting)
        refit = self._refit(context, again) if context.config.refit else None
        evidence = self.solver.evidence(train, chosen, labels) if chosen else None
        n = len(evidence.logits) if evidence else 0
        extractor = context.features
        return Candidate(
            strategy=self.name,
            seconds=context.clock.spent() - began,
            score=context.target.score(evidence.tallies) if evidence else None,
            score_ci95=context.target.interval(evidence.tallies) if evidence else None,
            score_n=n,
            trained=TrainedModel.of_head(head, extractor.preprocess, extractor.backbone, self.views),
            logits={s: head.logits(features.by_subset[s]) for s in ("val", "test") if s in features.by_subset},
            predict=lambda records: head.logits(self._all_features(context, records)),
            pending_test_seconds=features.pending_test_seconds,
            features=lambda records: self._all_features(context, records),
            feature_seconds=features.image_seconds,
            refit=refit,
            head=again,
            adjustment=moved,
            seen=features.seen,
            evidence=evidence,
            training_seconds=fitting,
            settings={"strength": strength, "tried": chosen.tried if chosen else [], "views": self.views},
        )

    def at_cost(self, cost: float) -> LinearProbeStrategy:
        """The same with another `cost`."""
        return replace(self, cost=cost)

    def out_of_fold(self, context: RunContext, records: Sequence[SplitRecord]) -> LabelEvidence | None:
        """Predictions for training images, each by a head that was fitted without the image's fold.

        Returns:
            None where the images, or the time, are too few.
        """
        tables = self._compute(context, records, context.deadline)
        done = [p for p in records if all(p.record.sha256 in rows for rows in tables)]
        if not done:
            return None
        labels, folds = context.targets(done), context.target.folds(done, context.config.seed)
        import_solvers()
        features = self._stacked(context, tables, done)
        chosen = self.solver.cross_validate(features, labels, folds, deadline=context.deadline)
        return self.solver.evidence(done, chosen, labels) if chosen else None

    def _tau(self, context: RunContext, chosen: CrossValidation | None, labels: NDArray[np.int64]) -> float:
        """Of the adjustment for unbalanced classes; 0 where classes do not exclude each other."""

        def choose() -> tuple[float, str]:
            if chosen is None:
                return 0.0, "too few images, or too little time, for cross-validation"
            logits = np.log(np.maximum(chosen.probabilities, 1e-7))
            return choose_tau(logits, labels, wanted=context.config.imbalance == "auto")

        return context.decisions.settle(TAU.of(self.name), choose) if self.solver.exclusive else 0.0

    def _head(
        self, context: RunContext, features: _Features, strength: float, tau: float, fit_seconds: float
    ) -> FrozenHead:
        """How to fit heads of this kind again; features come from the cache, if it is used."""
        train, count = features.by_subset["train"], sum(map(len, features.seen.values()))
        more = count / train.shape[1]
        return FrozenHead(
            features=lambda records: self._all_features(context, records),
            strength=strength,
            tau=tau,
            fit_seconds=more * fit_seconds,
            feature_seconds=0.0 if context.config.cache else features.image_seconds * count,
            memory=int(more * train.nbytes * _FIT_COPIES),
        )

    def _refit(self, context: RunContext, frozen: FrozenHead) -> Refit:
        """How to fit a head of the same strength on all images."""

        def fit(records: Sequence[SplitRecord], folds: NDArray[np.int64]) -> Refitted:
            views, labels = frozen.features(records), context.targets(records)
            import_solvers()
            with context.clock.lap("fit"), context.progress.stage("refit", 1, unit="") as bar:
                moved = adjustment(labels, len(context.split.classes), frozen.tau) if frozen.tau else None
                logits = self.solver.out_of_fold_logits(views, labels, folds, frozen.strength)
                logits = logits if moved is None else logits - moved
                head = _adjusted(self.solver.fit(views, labels, frozen.strength), moved)
                bar(1)
            extractor = context.features
            trained = TrainedModel.of_head(head, extractor.preprocess, extractor.backbone, self.views)
            return Refitted(trained, logits)

        return Refit(fit, frozen.feature_seconds + frozen.fit_seconds, frozen.memory)

    def _features(self, context: RunContext) -> _Features:
        """In fair order: what there is no time for is missing from all subsets and classes alike.

        The test subset is deferred where there is ample time: it is needed only if this is the final model.
        """
        records = context.target.fair_order(context.split.placed)
        first, deadline = records[:SPEED_IMAGES], self._deadline(context)
        began = context.clock.spent()
        tables = self._compute(context, first, deadline)

        def measured() -> tuple[float, str]:
            seconds = (context.clock.spent() - began) / max(1, len(first)) / len(self.views) / self.cost
            return seconds, f"of the first {len(first)}"

        per_image = context.decisions.settle(FEATURE_SECONDS, measured) * len(self.views) * self.cost
        left = deadline.left()
        ample = per_image * len(records) <= DEFER_SHARE * left
        deferred: set[Subset] = {p.subset for p in records[SPEED_IMAGES:] if ample and p.subset == "test"}
        rest = [p for p in records[SPEED_IMAGES:] if p.subset not in deferred] if left > 0 else []
        tables = [one | more for one, more in zip(tables, self._compute(context, rest, deadline), strict=True)]
        complete = set.intersection(*map(set, tables))
        seen: dict[Subset, list[SplitRecord]] = {
            subset: [p for p in context.split.subset(subset) if subset in deferred or p.record.sha256 in complete]
            for subset in SUBSETS
        }
        features = {s: self._stacked(context, tables, seen[s]) for s in SUBSETS if s not in deferred}
        return _Features(seen, features, per_image * len(seen["test"]) if deferred else 0.0, per_image)

    def _deadline(self, context: RunContext) -> Deadline:
        """Of the features: a head has to be fitted afterwards."""
        head = len(context.split.subset("train")) * (
            HEAD_SECONDS + HEAD_SECONDS_PER_CLASS * len(context.split.classes)
        )
        return context.deadline.keeping(min(head, HEAD_SHARE * context.deadline.left()))

    def _compute(
        self, context: RunContext, records: Sequence[SplitRecord], deadline: Deadline
    ) -> list[dict[str, Array]]:
        """Features of each view, by content hash, as far as the time goes."""
        name = "features" if self.views == ("plain",) else f"features ({', '.join(self.views)})"
        with context.clock.lap("features"), context.progress.stage(name, len(records)) as bar:
            tables = context.features.run_views(
                [p.record for p in records], self.views, deadline=deadline, on_each=bar
            )
        return [table.rows for table in tables]

    def _all_features(self, context: RunContext, records: Sequence[SplitRecord]) -> Array:
        """Of images that have to be predicted whatever the time, `(views, N, D)`.

        Raises:
            DataError: when one changed since it was first read.
        """
        tables = self._compute(context, records, Deadline(Clock()))
        refuse_changed([p.record.path for p in records if any(p.record.sha256 not in rows for rows in tables)])
        return self._stacked(context, tables, records)

    def _stacked(self, context: RunContext, tables: Sequence[Rows], records: Sequence[SplitRecord]) -> Array:
        """`(views, N, D)`."""
        backbone = context.features.backbone
        dimension = backbone.dimension + (backbone.stage_dimension if self.stages else 0)
        stacked = np.zeros((len(tables), len(records), dimension), dtype=np.float32)
        for view, rows in enumerate(tables):
            for i, p in enumerate(records):
                stacked[view, i] = rows[p.record.sha256][:dimension]
        return stacked

    def _give_up(self, context: RunContext, reached: int) -> None:
        if context.clock.stopped:
            raise Interrupted("stopped before every class had an image to train on: no model was saved")
        raise DataError(
            f"the time budget reached {reached} training images, not one of every class",
            hint="give it more time: --time 10m",
        )


def _no_mirroring(context: RunContext) -> str | None:
    """Why images are not to be mirrored, as far as that is decided."""
    if context.config.augment == "none":
        return "--augment none"
    return context.decisions.reason(HFLIP) if context.decisions.get(HFLIP) is False else None


def _adjusted(head: LinearHead, moved: Array | None) -> LinearHead:
    return head if moved is None else LinearHead(head.weight, head.bias - moved)


def _strength(chosen: CrossValidation | None) -> tuple[float, str]:
    if chosen is None:
        return DEFAULT_STRENGTH, "too few images, or too little time, to try any"
    words = ", ".join(f"{s:g}: {loss:.4f}" for s, _, loss in chosen.tried)
    return chosen.strength, f"log-loss in cross-validation of {words}"


def probe_like(best: Candidate | None, name: str) -> LinearProbeStrategy:
    """A linear probe of another name with the views and stages of the best model, if that is one."""
    if best is None or best.trained.backbone is None:
        return LinearProbeStrategy(name)
    width = best.trained.tensors["head.weight"].shape[1]
    return LinearProbeStrategy(name, best.trained.views, width > best.trained.backbone.dimension)


FROZEN = LinearProbeStrategy()
FROZEN_STAGES = LinearProbeStrategy("frozen-stages", stages=True)
FROZEN_VIEWS = LinearProbeStrategy("frozen-views", ("plain", "mirror"))
#: The same for images with several labels.
ONE_VS_REST_STRATEGIES = tuple(
    replace(probe, solver=ONE_VS_REST) for probe in (FROZEN, FROZEN_STAGES, FROZEN_VIEWS)
)
