"""May pictures be mirrored? Asked of a head on frozen features, in cross-validation over training pictures."""

from __future__ import annotations

import math

import numpy as np

from foveal.fit.evidence import Evidence, compare
from foveal.fit.head import cross_validate
from foveal.fit.strategies.base import Array, Work
from foveal.fit.strategies.frozen import fair_order
from foveal.values import Placed

#: Pictures that are asked about, or so many of each class, but no more than these.
_MOST, _EACH, _ALL = 400, 10, 2000
#: Of the time left, for the question.
_SHARE = 0.25


def mirror_keeps_label(work: Work) -> tuple[bool, str]:
    """Whether, and why; letters and arrows do not bear it, photographs mostly do.

    The head sees all stages where they are there: the last features were made with mirrored pictures, too, and
    hardly change, so that a `b` may pass for a `d` in them. A head that has seen both is asked about both.
    """
    count = max(_MOST, min(_ALL, _EACH * len(work.split.classes)))
    some = fair_order(work.split.on("train"))[:count]
    left = work.clock.left(reserve=work.reserve)
    reserve = work.reserve + ((1 - _SHARE) * left if left < math.inf else 0.0)
    records = [p.record for p in some]
    plain, mirrored = (
        work.features.run(records, view=v, clock=work.clock, reserve=reserve) for v in ("plain", "mirror")
    )
    if any(r.sha256 not in table.rows for table in (plain, mirrored) for r in records):
        return False, "no time to ask about it"
    one = _evidence(work, some, plain.of(records)[None], reserve)
    both = _evidence(work, some, np.stack([plain.of(records), mirrored.of(records)]), reserve)
    if one is None or both is None:
        return False, "too few pictures, or no time, to ask about it"
    found = compare(both, one)
    return found.sum_of_z > 0, f"a head that has seen them mirrored, too, beside one that has not: {found}"


def _evidence(work: Work, some: list[Placed], views: Array, reserve: float) -> Evidence | None:
    labels, groups = work.labels(some), [p.group for p in some]
    found = cross_validate(views, labels, groups, seed=work.seed, clock=work.clock, reserve=reserve)
    return Evidence.of(some, np.log(np.maximum(found.probabilities, 1e-7)), labels) if found else None
