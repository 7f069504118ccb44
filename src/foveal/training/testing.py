"""What the figures of a run are measured on: its test subset, or every image in its turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foveal.clock import format_duration
from foveal.decisions import TEST
from foveal.machine import rss
from foveal.training.candidate import Candidate, FrozenHead
from foveal.training.context import RunContext
from foveal.training.cross_test import TEST_FOLDS, CrossTested, cross_test
from foveal.training.imbalance import stated_prior
from foveal.training.linear_head import import_solvers
from foveal.training.time_budget import CROSS_TEST_FOLD, CROSS_TEST_LEFT_SHARE, CROSS_TEST_SHARE, MARGIN
from foveal.values import SUBSETS, SplitRecord

#: `--test auto` tests by cross-validation where there are fewer test images than this of a class, on average: the
#: interval of a recall of 90 % is ± 9 points with as many.
FEW_TEST_IMAGES = 50


@dataclass(frozen=True)
class TestedImages:
    """All images of a run, and their predictions.

    Attributes:
        images: N images, those of the test subset among them.
        tested: their predictions.
    """

    images: list[SplitRecord]
    tested: CrossTested


def cross_tested(best: Candidate, context: RunContext) -> TestedImages | None:
    """Every image predicted by a head that had not seen it; None where the test subset has to do.

    The kind of model is the one that was chosen on the training subset; all else is chosen in the folds again. Whether
    to test so is decided once, and then obeyed.

    Raises:
        DataError: when images changed since they were first read.
    """
    images = [p for subset in SUBSETS for p in best.seen[subset]]
    chosen = context.decisions.settle(TEST, lambda: _method(best, images, context))
    if chosen == "subset":
        return None
    assert best.head is not None
    groups, labels, seed = [p.group for p in images], context.targets(images), context.config.seed
    folds = context.target.folds(images, seed, most=TEST_FOLDS, rare=True)
    assert folds is not None
    import_solvers()
    views = best.head.features(images)
    with (
        context.clock.lap("evaluate"),
        context.progress.stage("cross-validation", int(folds.max()) + 1, unit="folds") as bar,
    ):
        tested = cross_test(
            views,
            labels,
            len(context.split.classes),
            folds,
            lambda some: context.target.folds([images[i] for i in some], seed, rare=True),
            groups,
            coverage=context.config.coverage,
            balance=context.config.imbalance == "auto",
            on_each=bar,
        )
    return TestedImages(images, tested)


def prior_of(best: Candidate, context: RunContext) -> dict[str, Any] | None:
    """The shares of classes that a linear head assumes, see `stated_prior`; None for networks."""
    if best.head is None:
        return None
    images = [p for subset in SUBSETS for p in best.seen[subset]]
    return stated_prior(context.targets(images), context.split.classes, best.head.tau)


def _method(best: Candidate, images: Sequence[SplitRecord], context: RunContext) -> tuple[str, str]:
    """`cv` or `subset`, and why."""
    wanted, head = context.config.test, best.head
    if wanted in ("subset", "none"):
        return "subset", f"--test {wanted}"
    if head is None:
        kind = f"models of the strategy {best.strategy}"
        return "subset", f"only linear heads on frozen backbones are cross-validated, not {kind}"
    if wanted == "auto" and (enough := _enough(best, context)):
        return "subset", enough
    if context.target.folds(images, context.config.seed, most=TEST_FOLDS, rare=True) is None:
        return "subset", "a class has fewer than two groups of images"
    if context.clock.stopped:
        return "subset", "the user asked to stop"
    needed, left = _seconds(head), context.deadline.left()
    cheap = max(CROSS_TEST_LEFT_SHARE * left, min(left, CROSS_TEST_SHARE * context.clock.budget))
    allowed = left if wanted == "cv" else cheap
    if needed > allowed:
        there = f"{format_duration(allowed)} {'were left' if allowed == left else 'may be spent on it'}"
        return "subset", f"cross-validation would take about {format_duration(needed)}, {there}"
    if head.memory > max(0, context.memory.alarm - (rss() or 0)):
        return "subset", "cross-validation would take more memory than is left"
    return "cv", "--test cv" if wanted == "cv" else "there are few test images, and it is cheap"


def _enough(best: Candidate, context: RunContext) -> str | None:
    """Why the test subset will do, or has to; None where more test images would help."""
    tested = best.seen["test"]
    if context.config.split_from is not None:
        return "--split-from keeps the test subset of an earlier run"
    if any(p.note == "given" for p in tested):
        return "the data has a test subset of its own"
    if len(tested) >= FEW_TEST_IMAGES * len(context.split.classes):
        return f"there are {len(tested)} test images"
    return None


def _seconds(head: FrozenHead) -> float:
    return MARGIN * (head.feature_seconds + TEST_FOLDS * CROSS_TEST_FOLD * head.fit_seconds)
