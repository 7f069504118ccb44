"""May pictures be mirrored? Asked of a head on frozen features, in cross-validation over training pictures."""

from __future__ import annotations

import numpy as np

from foveal.fit.evidence import Evidence, compare
from foveal.fit.head import cross_validate
from foveal.fit.strategies.base import Array, Work
from foveal.fit.strategies.frozen import fair_order
from foveal.values import Placed

#: Mirrored pictures keep their label when a network from nothing loses less than this share of its right answers.
MIRROR_LOSS = 0.05
#: Pictures that are asked about, or so many of each class.
_MOST, _EACH = 400, 10
#: Under this sum of two z-values a head does worse for having seen mirrored pictures.
_WORSE = -1.0


def mirror_keeps_label(work: Work) -> tuple[bool, str]:
    """Whether, and why; letters and arrows do not bear it, photographs mostly do.

    The head sees all stages where they are there: the last features were made with mirrored pictures, too, and
    hardly change, so that a `b` may pass for a `d` in them.
    """
    some = fair_order(work.split.on("train"))[: max(_MOST, _EACH * len(work.split.classes))]
    records = [p.record for p in some]
    plain, mirrored = (
        work.features.run(records, view=v, clock=work.clock, reserve=work.reserve) for v in ("plain", "mirror")
    )
    if any(r.sha256 not in table.rows for table in (plain, mirrored) for r in records):
        return False, "no time to ask about it"
    one = _evidence(work, some, plain.of(records)[None])
    both = _evidence(work, some, np.stack([plain.of(records), mirrored.of(records)]))
    if one is None or both is None:
        return False, "too few pictures, or no time, to ask about it"
    found = compare(both, one)
    return found.sum_of_z > _WORSE, f"a head that has seen them mirrored, too, beside one that has not: {found}"


def _evidence(work: Work, some: list[Placed], views: Array) -> Evidence | None:
    labels = work.labels(some)
    found = cross_validate(
        views, labels, [p.group for p in some], seed=work.seed, clock=work.clock, reserve=work.reserve
    )
    return Evidence.of(some, np.log(np.maximum(found.probabilities, 1e-7)), labels) if found else None
