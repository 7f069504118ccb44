"""Climb the strategies by the clock: each rung only if it fits the time and can be told from chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foveal.clock import format_duration
from foveal.errors import UnknownName
from foveal.fit.strategies.base import Candidate, Strategy, Work
from foveal.values import Decisions

#: A rung is stepped on only when this much more than its estimate is left.
MARGIN = 1.3


@dataclass
class Climb:
    """What was tried, the best of it, and why it ended."""

    candidates: list[Candidate]
    best: Candidate
    reason: str


def climb(
    rungs: Sequence[Strategy],
    work: Work,
    decisions: Decisions,
    *,
    only: str | None = None,
    on_better: Callable[[Candidate], None] = lambda _: None,
) -> Climb:
    """Climb until the time, the rungs or the hope of getting better are used up.

    Args:
        rungs: in order of cost.
        work: the job.
        decisions: the chosen strategy is recorded here with its reason.
        only: pins one rung by name.
        on_better: called with each candidate that becomes the best: a usable model from the first rung on.

    Raises:
        UnknownName: when `only` is none of the rungs.
    """
    if only is not None:
        rungs = [r for r in rungs if r.name == only] or _unknown(only, rungs)
    tried: list[Candidate] = []
    best: Candidate | None = None
    reason = "every rung was climbed"
    for rung in rungs:
        if tried and (stop := _why_not(rung, work, tried)):
            reason = f"stopped before {rung.name}: {stop}"
            work.progress.say(reason)
            break
        candidate = rung.fit(work, tried)
        tried.append(candidate)
        if best is None or (candidate.score or 0.0) > (best.score or 0.0):
            best = candidate
            on_better(candidate)
    assert best is not None
    reason = "it was pinned" if only else reason
    decisions.record("strategy", best.strategy, reason)
    decisions.record("head", best.settings, "strength by grouped cross-validation inside the training side")
    return Climb(tried, best, reason)


def _why_not(rung: Strategy, work: Work, so_far: Sequence[Candidate]) -> str | None:
    if work.clock.stopped:
        return "asked to stop"
    needed, left = rung.estimate(work, so_far) * MARGIN, work.clock.left(reserve=work.reserve)
    if needed > left:
        return f"it would take about {format_duration(needed)}, {format_duration(left)} are left"
    return rung.refuse(work, so_far)


def _unknown(name: str, rungs: Sequence[Strategy]) -> Sequence[Strategy]:
    raise UnknownName("strategy", name, [r.name for r in rungs])
