"""What to do when it does not fit: remedies, traced again alone and together, and the cheapest that suffice."""

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

#: Remedies that are tried together at most, how many of the cheapest combinations are traced, and how many of
#: those that save most when none of these fits.
_TOGETHER, _TRACES, _LEANEST = 3, 40, 10


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
    below = best.cost if best else float("inf")
    several = sorted((c for c in _several(useful) if _cost(c) < below), key=_cost)
    for some in several[:_TRACES]:
        if found := _tried(planned, some):
            together.append(found)
            if found.row.fits:
                best = found
                break
    if best is None:
        peaks = {t.names[0]: t.row.train_peak_bytes for t in alone}
        leanest = sorted(several[_TRACES:], key=lambda c: sum(peaks[o.name] for o in c) / len(c))[:_LEANEST]
        together += [found for some in leanest if (found := _tried(planned, some))]
        best = min((t for t in together if t.row.fits), key=lambda t: t.cost, default=None)
    rows = [t.row for t in alone] + [t.row for t in together if t.row.fits]
    return replace(planned.plan, remedies=tuple(rows), cheapest_fit=best.names if best else ())


def _several(useful: list[Offer]) -> Iterator[tuple[Offer, ...]]:
    """Combinations of two and more."""
    return (c for n in range(2, _TOGETHER + 1) for c in combinations(useful, n) if _compatible(c))


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
    if _steps_early(planned, change):
        return None
    try:
        played = planned.replay_of(change).play(int(change.get("batch", planned.scenario.batch)))
    except (FovealError, ValueError):
        return None
    budget = planned.budget.size
    twice = _gradients(planned, change) if "devices" in change else 0
    peak, most = played.peak + twice, played.most + twice
    names = tuple(offer.name for offer in some)
    row = RemedyPlan(
        name=" + ".join(names),
        change={k: list(v) if isinstance(v, tuple) else v for k, v in change.items()},
        train_peak_bytes=peak,
        upper_bound_bytes=most,
        price="; ".join(offer.price for offer in some),
        same_mathematics=all(offer.same_mathematics for offer in some),
        fits=budget is None or most <= budget,
    )
    return _Try(names, row, _cost(some))


def _steps_early(planned: Planned, change: dict[str, Any]) -> bool:
    """Whether parameters would step before the last micro-batch has added its gradients."""
    optimizer = str(change.get("optimizer", planned.scenario.optimizer))
    return optimizer.endswith("-in-backward") and int(change.get("accumulate", planned.scenario.accumulate)) > 1


def _gradients(planned: Planned, change: dict[str, Any]) -> int:
    """Bytes of all gradients, which replicas hold once more while they exchange them."""
    return 0 if change.get("frozen", planned.scenario.frozen) else 4 * planned.plan.parameters
