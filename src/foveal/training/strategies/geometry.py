"""How an image becomes a square is chosen by evidence: squashed, padded, or cropped in one of two ways.

    foveal train DATA --strategy frozen-geometry    a linear probe under each geometry, and under pairs of them

None of them is best on all data. Squashing keeps all of an image, cropping keeps its shapes and what is in the middle,
padding suits drawings. The choice is made by cross-validation inside the training subset, on features of images that
were decoded once. Later strategies train with the geometry that was kept.
`bench/geometry.py` compares the choice with each fixed geometry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Deadline
from foveal.data.images.render import GEOMETRIES, without_geometry
from foveal.decisions import FEATURE_SECONDS, GEOMETRY
from foveal.training.candidate import Candidate
from foveal.training.compare import LabelEvidence
from foveal.training.context import Array, RunContext
from foveal.training.heads import out_of_fold
from foveal.training.linear_head import cross_validate, import_solvers
from foveal.training.strategies.linear_probe import LinearProbeStrategy
from foveal.training.strategy import LadderState, below_noise_floor
from foveal.training.time_budget import CHEAP_SHARE
from foveal.values import SplitRecord, View

#: Share of the errors that another geometry is taken to save, where trying it is expensive: assumed, not measured.
USUAL_GAIN = 0.15
#: The most images that geometries are compared on.
MOST_IMAGES = 2000
#: Images are square where their sides differ by no more than this share: padding would change nothing.
_SQUARE = 0.02
#: With a larger share of square images padding is not tried.
_MOSTLY = 0.9
#: What is taken unless another geometry is ahead of it: none was better on all of four sets of photographs.
REFERENCE: View = "squash"
#: Sum of z-values by which one geometry, or two of them, must be ahead; two make predictions twice as slow.
_AHEAD = {1: 1.0, 2: 2.0}
#: Geometries, from the best, that pairs are made of.
_PAIRED = 3


@dataclass(frozen=True)
class GeometryStrategy:
    """A linear probe with the geometry, or the two of them, that suits the images."""

    name: str = "frozen-geometry"
    keep_unless_worse: bool = False
    continues: str | None = None

    def refuse(self, context: RunContext, state: LadderState) -> str | None:
        """Not worth it when it takes long and its gain could not be told from chance."""
        best = state.best
        if best is None or best.score is None:
            return None
        if best.score < 1 and self.estimate(context, state) <= CHEAP_SHARE * context.deadline.left():
            return None
        return below_noise_floor(USUAL_GAIN, best)

    def estimate(self, context: RunContext, state: LadderState) -> float:
        """Features in each geometry that is new, of some images, and in two of them of all; a head for each trial."""
        if state.first is None:
            return 0.0
        train = context.split.subset("train")
        some, tried = min(len(train), MOST_IMAGES), len(candidates(train))
        images = (tried - 1) * some + 2 * (len(context.split.placed) - some)
        features = (context.decisions.get(FEATURE_SECONDS) or 0.0) * images
        share = min(1.0, MOST_IMAGES / max(1, len(train)))
        return features + state.first.training_seconds * (1 + share * (tried + _PAIRED))

    def fit(self, context: RunContext, state: LadderState) -> Candidate:
        """Choose the geometry, then fit a head on its features."""
        first, *others = context.decisions.settle(GEOMETRY, lambda: _chosen(context))
        plain = without_geometry(context.features.preprocess, first)[0]
        context = context.with_preprocess(plain)
        probe = LinearProbeStrategy(self.name, ("plain", *others))
        return replace(probe.fit(context, state), preprocess=plain)


def candidates(records: list[SplitRecord]) -> tuple[View, ...]:
    """Geometries that differ for most of these images."""
    square = sum(abs(p.record.width - p.record.height) <= _SQUARE * p.record.height for p in records)
    return ("squash", "crop") if square > _MOSTLY * len(records) else tuple(GEOMETRIES)


def _chosen(context: RunContext) -> tuple[tuple[View, ...], str]:
    records = context.target.fair_order(context.split.subset("train"))[:MOST_IMAGES]
    views, deadline = candidates(records), context.deadline
    tables = _features(context, records, views, deadline)
    records = [p for p in records if all(p.record.sha256 in rows for rows in tables.values())]
    features = {v: np.stack([rows[p.record.sha256] for p in records]) for v, rows in tables.items() if records}
    labels, folds = context.targets(records), context.target.folds(records, context.config.seed)
    import_solvers()
    return choose_geometry(records, features, labels, folds, deadline=deadline)


def choose_geometry(
    records: Sequence[SplitRecord],
    features: Mapping[View, Array],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64] | None,
    *,
    deadline: Deadline,
) -> tuple[tuple[View, ...], str]:
    """One or two geometries, by cross-validation; and why, in words.

    Args:
        records: N images.
        features: geometry → `(N, D)`.
        labels, folds: `(N,)`; see `linear_head.cross_validate`.
        deadline: where it leaves no time to compare, images are squashed.
    """
    evidence: dict[tuple[View, ...], LabelEvidence] = {}
    losses: dict[tuple[View, ...], float] = {}

    def tried(*views: View) -> bool:
        result = cross_validate(np.stack([features[v] for v in views]), labels, folds, deadline=deadline)
        if result is not None:
            evidence[views], losses[views] = out_of_fold(records, result, labels), result.log_loss
        return result is not None

    for view in features:
        if not tried(view):
            return (REFERENCE,), "too few images, or too little time, to compare geometries"
    ranked = sorted(losses, key=lambda views: losses[views])
    for pair in combinations([views[0] for views in ranked[:_PAIRED]], 2):
        tried(*pair)
    best: tuple[View, ...] = (REFERENCE,)
    most = 0.0
    for views, other in evidence.items():
        ahead = other.compare_to(evidence[REFERENCE,]).sum_of_z - _AHEAD[len(views)]
        if ahead > most:
            best, most = views, ahead
    words = ", ".join(f"{' and '.join(views)} {loss:.4f}" for views, loss in losses.items())
    return best, f"log-loss in cross-validation on {len(records)} images: {words}"


def _features(
    context: RunContext, records: list[SplitRecord], views: tuple[View, ...], deadline: Deadline
) -> dict[View, dict[str, Array]]:
    """View → content hash → the backbone's last features, as far as the time goes."""
    dimension = context.features.backbone.dimension
    with (
        context.clock.lap("features"),
        context.progress.stage(f"features ({', '.join(views)})", len(records)) as bar,
    ):
        tables = context.features.run_views([p.record for p in records], views, deadline=deadline, on_each=bar)
    return {
        view: {name: row[:dimension] for name, row in table.rows.items()}
        for view, table in zip(views, tables, strict=True)
    }


STRATEGY = GeometryStrategy()
