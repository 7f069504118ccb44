"""What to do when it does not fit: remedies, traced anew alone and together, and the cheapest that suffice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from foveal.errors import FovealError
from foveal.planner.remedies import Offer, merged, offers
from foveal.plans import Plan, RemedyPlan

if TYPE_CHECKING:
    from foveal.planner.candidates import Planned

#: Remedies that are tried together at most, and how many combinations are traced.
_TOGETHER, _TRACES = 3, 40


@dataclass(frozen=True)
class _Try:
    """A combination with its figures."""

    names: tuple[str, ...]
    row: RemedyPlan
    cost: float


def with_remedies(planned: Planned) -> Plan:
    """The plan with every remedy's figures, the combinations tried, and the cheapest that fits."""
    known = offers(planned)
    alone = [found for offer in known if (found := _tried(planned, (offer,)))]
    if planned.plan.fits.ok:
        return replace(planned.plan, remedies=tuple(t.row for t in alone))
    useful = [o for o in known if any(t.names == (o.name,) and _saves(planned, t) for t in alone)]
    fitting = [t for t in alone if t.row.fits]
    best = min(fitting, key=lambda t: t.cost, default=None)
    together = []
    for some in _cheapest_first(useful, best.cost if best else float("inf")):
        found = _tried(planned, some)
        if found:
            together.append(found)
            if found.row.fits:
                best = found
                break
    rows = [t.row for t in alone] + [t.row for t in together if t.row.fits]
    return replace(planned.plan, remedies=tuple(rows), cheapest_fit=best.names if best else ())


def _cheapest_first(useful: list[Offer], below: float) -> Iterator[tuple[Offer, ...]]:
    """Combinations of two and more that cost less than what is known to fit."""
    several = [c for n in range(2, _TOGETHER + 1) for c in combinations(useful, n) if _compatible(c)]
    several.sort(key=_cost)
    yield from (c for c in several[:_TRACES] if _cost(c) < below)


def _compatible(some: tuple[Offer, ...]) -> bool:
    changed = [name for offer in some for name in offer.change]
    groups = [offer.group for offer in some if offer.group]
    return len(changed) == len(set(changed)) and len(groups) == len(set(groups))


def _cost(some: tuple[Offer, ...]) -> float:
    return sum(offer.cost for offer in some)


def _saves(planned: Planned, one: _Try) -> bool:
    return one.row.train_peak_bytes < planned.plan.train.peak_bytes


def _tried(planned: Planned, some: tuple[Offer, ...]) -> _Try | None:
    """The figures of a combination; None where the network does not allow it."""
    change: dict[str, Any] = merged(some)
    try:
        played = planned.replay_of(change).play(int(change.get("batch", planned.scenario.batch)))
    except (FovealError, ValueError):
        return None
    budget = planned.budget.size
    names = tuple(offer.name for offer in some)
    row = RemedyPlan(
        name=" + ".join(names),
        change={k: list(v) if isinstance(v, tuple) else v for k, v in change.items()},
        train_peak_bytes=played.peak,
        upper_bound_bytes=played.most,
        price="; ".join(offer.price for offer in some),
        same_mathematics=all(offer.same_mathematics for offer in some),
        fits=budget is None or played.most <= budget,
    )
    return _Try(names, row, _cost(some))
