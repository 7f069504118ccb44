"""Frozen features and a linear head.

    foveal train DATA --strategy frozen          the trunk's last features
    foveal train DATA --strategy frozen-stages   and what every stage before them saw, from the same pass
    foveal train DATA --strategy frozen-views    the picture and its mirror image

Cost and gain, with n and sd: `bench/results/transfer-*.json` and the README.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np

from foveal.clock import Clock
from foveal.data.pixels import refuse_changed
from foveal.errors import DataError, Interrupted
from foveal.fit.evidence import Evidence
from foveal.fit.head import DEFAULT_STRENGTH, CrossValidation, cross_validate, fit_head, import_solvers
from foveal.fit.learned import Learned
from foveal.fit.strategies.base import Array, Candidate, Work, best_of, untellable
from foveal.metrics.intervals import wilson
from foveal.values import SIDES, Placed, Side

#: What a second view is known to save of the errors, as a share (clip art: from 36.5 % to 35.8 %,
#: 6 splits × 300 test pictures).
USUAL_GAIN = 0.03
#: What the stages save of the errors where pictures are no photographs: most of them (`bench/ladder.py`).
STAGES_GAIN = 0.5
#: Seconds that a head takes of a picture, and more for each class: 20,000 pictures, two cores without AVX-512.
_HEAD, _HEAD_OF_CLASS = 250e-6, 4.5e-6
#: Of the time left before the first feature, a head is kept this share at most.
_HEAD_SHARE = 0.3
#: A head on the stages takes this many times as long as one on the last features. Under this share of the time
#: left it is fitted wherever there are errors, however few: log-loss tells it from the other, too.
_STAGES_TIME, _CHEAP = 4.0, 0.1
#: So many pictures of all sides tell how long all will take. Where that is under this share of the time left, the
#: test side is looked at in the end, and only if a frozen head is handed over.
_TOLD, _AMPLE = 128, 0.25


Rows = Mapping[str, Array]


@dataclass(frozen=True)
class Frozen:
    """A head on the features of one or more views.

    Attributes:
        views: looks at each picture.
        stages: whether all stages are seen, or the last features only.
    """

    name: str = "frozen"
    views: tuple[str, ...] = ("plain",)
    stages: bool = False
    surely_better: bool = False

    def refuse(self, work: Work, so_far: Sequence[Candidate]) -> str | None:
        """More views, or dear stages, are not worth it when nobody could tell their gain from chance."""
        if self.stages and not work.features.stages:
            return "the stages of this backbone are not known, or there are too many pictures to keep them"
        best = best_of(so_far, work.decisions)
        if best is None or best.score is None:
            return None
        dear = self.estimate(work, so_far) > _CHEAP * work.clock.left(reserve=work.reserve)
        if self.stages and best.score < 1 and not dear:
            return None
        return untellable(STAGES_GAIN if self.stages else USUAL_GAIN * (len(self.views) - 1), best)

    def estimate(self, work: Work, so_far: Sequence[Candidate]) -> float:
        """As long as the first rung, for each view that is new."""
        if not so_far:
            return 0.0
        if self.stages:
            return work.clock.laps.get("fit", 0.0) * _STAGES_TIME
        return so_far[0].seconds * len(self.views)

    def fit(self, work: Work, so_far: Sequence[Candidate]) -> Candidate:
        """Features of all sides, strength by cross-validation, head on all of the training side."""
        began = work.clock.spent()
        seen, features, owes = self._features(work)
        labels, reserve = work.labels(seen["train"]), work.reserve + owes
        if len(set(labels.tolist())) < len(work.split.classes):
            self._give_up(work, len(seen["train"]))
        import_solvers()
        with work.clock.lap("fit"), work.progress.stage("fit", 1) as bar:
            groups = [p.group for p in seen["train"]]
            chosen = cross_validate(
                features["train"], labels, groups, seed=work.seed, clock=work.clock, reserve=reserve
            )
            strength = float(work.decisions.settle(f"{self.name} strength", lambda: _strength(chosen)))
            head = fit_head(features["train"], labels, strength)
            bar(1)
        evidence = (
            Evidence.of(seen["train"], np.log(np.maximum(chosen.probabilities, 1e-7)), labels) if chosen else None
        )
        n = len(evidence.logits) if evidence else 0  # exact copies of a picture count once
        return Candidate(
            strategy=self.name,
            seconds=work.clock.spent() - began,
            score=evidence.right / n if evidence else None,
            score_ci95=wilson(evidence.right, n) if evidence else None,
            score_n=n,
            learned=Learned.of_head(head, work.features.preprocess, work.features.backbone, self.views),
            logits={side: head.logits(features[side]) for side in ("val", "test") if side in features},
            answer=lambda placed: head.logits(self._views_of(work, placed)),
            owes=owes,
            seen=seen,
            evidence=evidence,
            settings={"strength": strength, "tried": chosen.tried if chosen else [], "views": self.views},
        )

    def _features(self, work: Work) -> tuple[dict[Side, list[Placed]], dict[Side, Array], float]:
        """Pictures and features by side, and the seconds that a test side not yet looked at will take.

        In fair order: what the time does not reach is missing from all sides and classes alike.
        """
        placed = fair_order(work.split.placed)
        head = len(work.split.on("train")) * (_HEAD + _HEAD_OF_CLASS * len(work.split.classes))
        reserve = work.reserve + min(head, _HEAD_SHARE * max(0.0, work.clock.left(reserve=work.reserve)))
        began = work.clock.spent()
        tables = self._looked_at(work, placed[:_TOLD], reserve)

        def told() -> tuple[float, str]:
            seconds = (work.clock.spent() - began) / max(1, len(placed[:_TOLD])) / len(self.views)
            return seconds, f"of the first {len(placed[:_TOLD])}"

        a_picture = float(work.decisions.settle("features, seconds a picture", told)) * len(self.views)
        left = work.clock.left(reserve=reserve)
        ample = a_picture * len(placed) <= _AMPLE * left
        later: set[Side] = {p.side for p in placed[_TOLD:] if ample and p.side == "test"}
        rest = [p for p in placed[_TOLD:] if p.side not in later] if left > 0 else []
        tables = [one | more for one, more in zip(tables, self._looked_at(work, rest, reserve), strict=True)]
        complete = set.intersection(*map(set, tables))
        seen: dict[Side, list[Placed]] = {
            side: [p for p in work.split.on(side) if side in later or p.record.sha256 in complete]
            for side in SIDES
        }
        features = {s: self._stacked(work, tables, seen[s]) for s in SIDES if s not in later}
        return seen, features, a_picture * len(seen["test"]) if later else 0.0

    def _looked_at(
        self, work: Work, placed: Sequence[Placed], reserve: float, clock: Clock | None = None
    ) -> list[dict[str, Array]]:
        """Features of each view, by content, as far as the time goes."""
        tables = []
        for view in self.views:
            name = "features" if view == "plain" else f"features ({view})"
            with work.clock.lap("features"), work.progress.stage(name, len(placed)) as bar:
                found = work.features.run(
                    [p.record for p in placed], view=view, clock=clock or work.clock, reserve=reserve, on_each=bar
                )
                tables.append(found.rows)
        return tables

    def _views_of(self, work: Work, placed: Sequence[Placed]) -> Array:
        """Of pictures that have to be answered about, whatever the time.

        Raises:
            DataError: when one changed since it was first read.
        """
        tables = self._looked_at(work, placed, 0.0, Clock())
        refuse_changed([p.record.path for p in placed if any(p.record.sha256 not in rows for rows in tables)])
        return self._stacked(work, tables, placed)

    def _stacked(self, work: Work, tables: Sequence[Rows], placed: Sequence[Placed]) -> Array:
        """`(views, N, D)`."""
        backbone = work.features.backbone
        dimension = backbone.dimension + (backbone.stage_dimension if self.stages else 0)
        found = np.zeros((len(tables), len(placed), dimension), dtype=np.float32)
        for view, rows in enumerate(tables):
            for i, p in enumerate(placed):
                found[view, i] = rows[p.record.sha256][:dimension]
        return found

    def _give_up(self, work: Work, reached: int) -> None:
        if work.clock.stopped:
            raise Interrupted("stopped before every class had a picture to learn from: nothing was kept")
        raise DataError(
            f"the time budget reached {reached} training pictures, not one of every class",
            hint="give it more time: --time 10m",
        )


def _strength(chosen: CrossValidation | None) -> tuple[float, str]:
    if chosen is None:
        return DEFAULT_STRENGTH, "too few pictures, or too little time, to try any"
    words = ", ".join(f"{s:g}: {loss:.4f}" for s, _, loss in chosen.tried)
    return chosen.strength, f"log-loss in cross-validation of {words}"


def fair_order(placed: Sequence[Placed]) -> list[Placed]:
    """Class after class in turn, shuffled by content: any beginning of it is a fair part."""
    by_class: dict[str | None, list[Placed]] = {}
    for p in sorted(placed, key=lambda p: hashlib.md5(p.record.sha256.encode()).digest()):
        by_class.setdefault(p.record.label, []).append(p)
    rounds = zip_longest(*(by_class[c] for c in sorted(by_class, key=str)))
    return [p for p in chain.from_iterable(rounds) if p is not None]


RUNGS = (Frozen(), Frozen("frozen-stages", stages=True), Frozen("frozen-views", ("plain", "mirror")))
