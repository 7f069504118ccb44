"""May images be mirrored? Photographs mostly may; letters and arrows may not.

Asked in one of two ways: of a linear probe in cross-validation, where there is a frozen backbone, or of the first
network of the run, which never saw mirrored images. The result is one decision of the run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foveal.clock import Deadline
from foveal.decisions import HFLIP
from foveal.training.candidate import Candidate
from foveal.training.compare import LabelEvidence
from foveal.training.context import Array, RunContext
from foveal.training.linear_head import cross_validate
from foveal.training.time_budget import FLIP_TEST_SHARE
from foveal.values import SplitRecord

#: Images that a linear probe is tested on, or this many of each class, but no more than the last number.
_IMAGES, _PER_CLASS, _MOST_IMAGES = 400, 10, 2000


def hflip_by_linear_probe(context: RunContext) -> bool:
    """Whether a linear probe that saw mirrored images as well is better than one that did not.

    The probe sees all stages of the backbone where they are known: the last features were trained with mirrored
    images and hardly change, so that a `b` may pass for a `d` in them.
    """
    return context.decisions.settle(HFLIP, lambda: _by_linear_probe(context))


def hflip_by_first_model(
    context: RunContext,
    first: Candidate | None,
    mirrored_score: Callable[[], float],
    *,
    tolerance: float,
    least: float,
) -> bool:
    """Whether the first model of the run scores about as well on mirrored validation images.

    Args:
        context: of the run; the score is asked for only if the decision was not made before.
        first: the model, and its score on the validation subset; None: nothing can be asked, and nothing is decided.
        mirrored_score: its score on the mirrored validation subset.
        tolerance: share of the score that may be lost.
        least: a model with a lower score has learned too little to tell.
    """
    if first is None:
        return False

    def choose() -> tuple[bool, str]:
        if context.config.augment == "none":
            return False, "--augment none"
        if first.score is None or first.score < least:
            return False, "there are no images to ask the first model about, or it has learned too little"
        score = mirrored_score()
        words = f"{first.strategy} scores {first.score:.1%} on the validation subset, {score:.1%} on it mirrored"
        return score >= first.score * (1 - tolerance), words

    return context.decisions.settle(HFLIP, choose)


def _by_linear_probe(context: RunContext) -> tuple[bool, str]:
    count = max(_IMAGES, min(_MOST_IMAGES, _PER_CLASS * len(context.split.classes)))
    some = context.target.fair_order(context.split.subset("train"))[:count]
    deadline = context.deadline.share(FLIP_TEST_SHARE)
    records = [p.record for p in some]
    plain, mirrored = (context.features.run(records, view=v, deadline=deadline) for v in ("plain", "mirror"))
    if any(r.sha256 not in table.rows for table in (plain, mirrored) for r in records):
        return False, "no time to test it"
    one = _evidence(context, some, plain.of(records)[None], deadline)
    both = _evidence(context, some, np.stack([plain.of(records), mirrored.of(records)]), deadline)
    if one is None or both is None:
        return False, "too few images, or no time, to test it"
    comparison = both.compare_to(one)
    return (
        comparison.sum_of_z > 0,
        f"a linear probe that saw mirrored images compared with one that did not: {comparison}",
    )


def _evidence(
    context: RunContext, some: list[SplitRecord], views: Array, deadline: Deadline
) -> LabelEvidence | None:
    labels, folds = context.targets(some), context.target.folds(some, context.config.seed)
    chosen = cross_validate(views, labels, folds, deadline=deadline)
    return LabelEvidence.of(some, np.log(np.maximum(chosen.probabilities, 1e-7)), labels) if chosen else None
