"""Frozen features and a linear head.

    foveal train DATA --strategy frozen         one look at each picture
    foveal train DATA --strategy frozen-views   the picture and its mirror image

Cost and gain, with n and sd: `bench/results/transfer-*.json` and the README.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np

from foveal.errors import DataError, Interrupted
from foveal.fit.head import DEFAULT_STRENGTH, cross_validate, fit_head
from foveal.fit.learned import Learned
from foveal.fit.strategies.base import Array, Candidate, Work
from foveal.metrics.intervals import wilson
from foveal.values import SIDES, Placed, Side

#: What a second view is known to save of the errors, as a share (clip art: from 36.5 % to 35.8 %,
#: 6 splits × 300 test pictures).
USUAL_GAIN = 0.03


@dataclass(frozen=True)
class Frozen:
    """A head on the features of one or more views."""

    name: str = "frozen"
    views: tuple[str, ...] = ("plain",)
    surely_better: bool = False

    def refuse(self, work: Work, so_far: Sequence[Candidate]) -> str | None:
        """More views are not worth it when nobody could tell their gain from chance."""
        if not so_far or so_far[-1].score is None:
            return None
        error, doubt = so_far[-1].error_and_doubt
        gain = USUAL_GAIN * error * (len(self.views) - len(so_far[-1].learned.views))
        if gain >= doubt:
            return None
        usual, noise = f"{100 * gain:.2f} points", f"{100 * doubt:.2f}"
        return f"its usual gain here, {usual}, is under the score's standard error, {noise}"

    def estimate(self, work: Work, so_far: Sequence[Candidate]) -> float:
        """As long as the rung before, for each view that is new."""
        if not so_far:
            return 0.0
        return so_far[-1].seconds * (len(self.views) / len(so_far[-1].learned.views))

    def fit(self, work: Work, so_far: Sequence[Candidate]) -> Candidate:
        """Features of all sides, strength by cross-validation, head on all of the training side."""
        began = work.clock.spent()
        seen, features = self._features(work)
        labels = work.labels(seen["train"])
        if len(set(labels.tolist())) < len(work.split.classes):
            self._give_up(work, len(seen["train"]))
        with work.clock.lap("fit"), work.progress.stage("fit", 1) as bar:
            groups = [p.group for p in seen["train"]]
            chosen = cross_validate(
                features["train"], labels, groups, seed=work.seed, clock=work.clock, reserve=work.reserve
            )
            strength = chosen.strength if chosen else DEFAULT_STRENGTH
            head = fit_head(features["train"], labels, strength)
            bar(1)
        right = round(chosen.accuracy * len(labels)) if chosen else 0
        return Candidate(
            strategy=self.name,
            seconds=work.clock.spent() - began,
            score=chosen.accuracy if chosen else None,
            score_ci95=wilson(right, len(labels)) if chosen else None,
            score_n=len(labels),
            learned=Learned.of_head(head, work.features.preprocess, work.features.backbone, self.views),
            logits={side: head.logits(features[side]) for side in ("val", "test")},
            seen=seen,
            settings={"strength": strength, "tried": chosen.tried if chosen else [], "views": self.views},
        )

    def _features(self, work: Work) -> tuple[dict[Side, list[Placed]], dict[Side, Array]]:
        """In fair order: what the time does not reach is missing from all sides and classes alike."""
        records = [p.record for p in fair_order(work.split.placed)]
        tables = []
        for view in self.views:
            name = "features" if view == "plain" else f"features ({view})"
            with work.clock.lap("features"), work.progress.stage(name, len(records)) as bar:
                tables.append(
                    work.features.run(records, view=view, clock=work.clock, reserve=work.reserve, on_each=bar)
                )
        complete = set.intersection(*(set(t.rows) for t in tables))
        seen: dict[Side, list[Placed]] = {
            side: [p for p in work.split.on(side) if p.record.sha256 in complete] for side in SIDES
        }
        dimension = work.features.backbone.dimension
        features: dict[Side, Array] = {
            side: np.stack([t.of([p.record for p in members]) for t in tables])
            if members
            else np.zeros((len(tables), 0, dimension), dtype=np.float32)
            for side, members in seen.items()
        }
        return seen, features

    def _give_up(self, work: Work, reached: int) -> None:
        if work.clock.stopped:
            raise Interrupted("stopped before every class had a picture to learn from: nothing was kept")
        raise DataError(
            f"the time budget reached {reached} training pictures, not one of every class",
            hint="give it more time: --time 10m",
        )


def fair_order(placed: Sequence[Placed]) -> list[Placed]:
    """Class after class in turn, shuffled by content: any beginning of it is a fair part."""
    by_class: dict[str | None, list[Placed]] = {}
    for p in sorted(placed, key=lambda p: hashlib.md5(p.record.sha256.encode()).digest()):
        by_class.setdefault(p.record.label, []).append(p)
    rounds = zip_longest(*(by_class[c] for c in sorted(by_class, key=str)))
    return [p for p in chain.from_iterable(rounds) if p is not None]


RUNGS = (Frozen(), Frozen("frozen-views", ("plain", "mirror")))
