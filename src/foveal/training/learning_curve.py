"""Accuracies of a linear head fitted on growing shares of the images, on images that it did not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.clock import format_duration
from foveal.decisions import LEARNING_CURVE
from foveal.machine import rss
from foveal.metrics.intervals import wilson
from foveal.metrics.learning_curve import extrapolate
from foveal.training.candidate import Candidate
from foveal.training.context import RunContext
from foveal.training.cross_test import TEST_FOLDS
from foveal.training.imbalance import adjustment
from foveal.training.linear_head import Array, Directions, Labels, import_solvers, log_probabilities, solve
from foveal.training.time_budget import CURVE_FOLD, CURVE_LEFT_SHARE, CURVE_SHARE, MARGIN
from foveal.values import SUBSETS, SplitRecord

#: Shares of the training images of a fold.
SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)
#: A share has at least so many images of each class, on average, and a curve so many points.
_LEAST_PER_CLASS, _LEAST_POINTS = 2, 3


def learning_curve(best: Candidate, context: RunContext) -> dict[str, Any] | None:
    """As `learning_curve` in `summary.json`; None for networks, and where images or time are too few.

    Raises:
        DataError: when images changed since they were first read.
    """
    images = [p for subset in SUBSETS for p in best.seen[subset]]

    def weighed() -> tuple[str, str]:
        reason = _why_not(best, images, context)
        return reason or "", reason or "it is cheap"

    if context.decisions.settle(LEARNING_CURVE, weighed):
        return None
    seed, labels = context.config.seed, context.targets(images)
    folds = context.target.folds(images, seed, most=TEST_FOLDS, rare=True)
    assert best.head is not None and folds is not None
    import_solvers()
    views, groups = best.head.features(images), [p.group for p in images]
    with (
        context.clock.lap("evaluate"),
        context.progress.stage("learning curve", int(folds.max()) + 1, unit="folds") as bar,
    ):
        sizes, right = curve_points(
            views, labels, folds, groups, best.head.strength, tau=best.head.tau, seed=seed, on_each=bar
        )
    twice = extrapolate(sizes, right, groups, 2 * len(images), seed=seed)
    points = zip(sizes, right.mean(axis=1).tolist(), strict=True)
    return {
        "points": [{"images": round(size), "accuracy": accuracy} for size, accuracy in points],
        "images": len(images),
        "twice": twice.to_dict(),
        "classes": _classes(right[-1], labels, context.split.classes),
    }


def curve_points(
    views: Array,
    labels: Labels,
    folds: NDArray[np.int64],
    groups: Sequence[str],
    strength: float,
    *,
    seed: int,
    tau: float = 0.0,
    on_each: Callable[[int], object] = lambda _: None,
) -> tuple[list[float], NDArray[np.bool_]]:
    """Mean numbers of training images `(J,)`, and whether each image was predicted right `(J, N)`.

    Smaller shares lie inside larger ones; groups are whole, and classes have their share each.

    Args:
        views: `(V, N, D)` features.
        labels: `(N,)`, 0 … K-1.
        folds: fold number of each image, `(N,)`.
        groups: what each image belongs to, N names.
        strength: of the head, C × n.
        seed: of the order in which images are added.
        tau: of the logit adjustment, see `imbalance`.
        on_each: is told of each fold.
    """
    shares = usable_shares(len(labels), int(labels.max()) + 1)
    names = np.asarray(groups)
    right = np.zeros((len(shares), len(labels)), dtype=bool)
    sizes = np.zeros(len(shares))
    count = int(folds.max()) + 1
    for k in range(count):
        inside, outside = np.flatnonzero(folds != k), np.flatnonzero(folds == k)
        directions = Directions(views[:, inside])
        others = directions.turn(views[:, outside])
        order = positions(labels[inside], names[inside].tolist(), seed + k)
        for j, share in enumerate(shares):
            some = order < share
            head = solve(directions.turned[:, some], labels[inside][some], strength)
            moved = adjustment(np.searchsorted(head.classes, labels[inside][some]), len(head.classes), tau)
            predicted = head.classes[(log_probabilities(head, others) - moved).argmax(axis=1)]
            right[j, outside] = predicted == labels[outside]
            sizes[j] += int(some.sum()) / count
        on_each(1)
    return sizes.tolist(), right


def usable_shares(count: int, classes: int) -> list[float]:
    """The `SHARES` of so many images that have enough of them."""
    return [share for share in SHARES if share * count >= _LEAST_PER_CLASS * classes]


def positions(labels: Labels, groups: Sequence[str], seed: int) -> NDArray[np.float64]:
    """Where each image stands in the order of adding them, 0 to 1: whole groups, each class evenly, `(N,)`."""
    names, first, member_of = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    leaders, places = labels[first], np.zeros(len(names))
    random = np.random.default_rng(seed)
    for label in np.unique(leaders):
        members = np.flatnonzero(leaders == label)
        places[random.permutation(members)] = np.arange(len(members)) / len(members)
    result: NDArray[np.float64] = places[member_of]
    return result


def _classes(right: NDArray[np.bool_], labels: Labels, names: Sequence[str]) -> list[dict[str, Any]]:
    """Images, recall and errors of each class, those with the lowest recall first."""
    rows = []
    for k, name in enumerate(names):
        of_class = right[labels == k]
        hits, count = int(of_class.sum()), len(of_class)
        recall = hits / count if count else None
        rows.append({"label": name, "n": count, "recall": recall, "recall_ci95": wilson(hits, count)})
    return sorted(rows, key=lambda row: (row["recall"] is None, row["recall"]))


def _why_not(best: Candidate, images: Sequence[SplitRecord], context: RunContext) -> str | None:
    if best.head is None:
        return f"only linear heads on frozen backbones have one, not models of the strategy {best.strategy}"
    if len(usable_shares(len(images), len(context.split.classes))) < _LEAST_POINTS:
        return "too few images"
    if context.target.folds(images, context.config.seed, most=TEST_FOLDS, rare=True) is None:
        return "a class has fewer than two groups of images"
    if context.clock.stopped:
        return "the user asked to stop"
    needed = MARGIN * (best.head.feature_seconds + TEST_FOLDS * CURVE_FOLD * best.head.fit_seconds)
    left = context.deadline.left()
    allowed = max(CURVE_LEFT_SHARE * left, min(left, CURVE_SHARE * context.clock.budget))
    if needed > allowed:
        return f"it would take about {format_duration(needed)}, {format_duration(allowed)} may be spent on it"
    if best.head.memory > max(0, context.memory.alarm - (rss() or 0)):
        return "it would take more memory than is left"
    return None
