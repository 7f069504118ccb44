"""Climb the strategies by the clock: each rung only if it fits the time and can be told from chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from foveal.clock import format_duration
from foveal.errors import MemoryShort, UnknownName
from foveal.fit.strategies.base import MARGIN, WORSE, Candidate, Strategy, Work
from foveal.values import Decisions

_ALL = "every rung was climbed"


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
        decisions: what was decided earlier is obeyed; the chosen strategy is recorded here with its reason.
        only: pins one rung by name.
        on_better: called with each candidate that becomes the best: a usable model from the first rung on.

    Raises:
        UnknownName: when `only` is none of the rungs.
    """
    if only is not None:
        rungs = [r for r in rungs if r.name == only] or _unknown(only, rungs)
    tried: list[Candidate] = []
    best: Candidate | None = None
    ahead: Candidate | None = None  # of a best one that is behind, and only promises to go on
    reason = _ALL
    for place, rung in enumerate(rungs):
        weighed = partial(_weighed, rung, work, tried, best.owes if best else 0.0)
        if tried and (stop := decisions.settle(f"climb {rung.name}", weighed)):
            work.progress.say(f"without {rung.name}: {stop}")
            reason = f"without {rung.name}: {stop}" if reason == _ALL else reason
            continue
        known = _finished_before(rung, rungs[place + 1 :], decisions)
        try:
            with work.clock.unhurried() if known else nullcontext():
                candidate, reason = rung.fit(work, tried), _ALL
        except MemoryShort as short:
            if not tried:
                raise
            reason = f"without {rung.name}: {short.message}"
            work.progress.say(reason)
            continue
        tried.append(candidate)
        if best is None or _kept(rung, candidate, best, work, decisions):
            ahead = best if best is not None and _promises(candidate, best) else None
            best = candidate
            if ahead is None:
                on_better(candidate)
        work.clock.check()
    best = ahead or best  # it did not go on
    assert best is not None
    reason = "it was pinned" if only else reason
    decisions.record("strategy", best.strategy, reason)
    decisions.record("settings", best.settings, "chosen inside the training side, or by the time")
    return Climb(tried, best, reason)


def _kept(rung: Strategy, candidate: Candidate, best: Candidate, work: Work, decisions: Decisions) -> bool:
    name = f"keep {rung.name}"
    whole = f"{candidate.strategy} stopped at" not in decisions.made
    better = bool(decisions.settle(name, partial(_beats, candidate, best, surely=rung.surely_better, whole=whole)))
    reason = decisions.made[name]["reason"]
    work.progress.say(
        f"{rung.name} {'takes the place of' if better else 'does not replace'} {best.strategy}: {reason}"
    )
    return better


def _promises(candidate: Candidate, best: Candidate) -> bool:
    """Whether it was kept by its handicap alone: until it has gone on, the better one is what is handed over."""
    return candidate.handicap > 0 and not _beats(replace(candidate, handicap=0.0), best, surely=False)[0]


def _finished_before(rung: Strategy, later: Sequence[Strategy], decisions: Decisions) -> bool:
    """Whether an earlier process came to the end of this rung: then it is only repeated."""
    marks = {f"keep {rung.name}", "strategy", *(f"climb {r.name}" for r in later)}
    return not marks.isdisjoint(decisions.given)


def _beats(candidate: Candidate, best: Candidate, *, surely: bool, whole: bool = True) -> tuple[bool, str]:
    """Whether to keep it: by answers to the same pictures where both have given them, by the scores otherwise.

    A rung that is known to be better needs only not to be clearly worse; one that is not `whole`, since it was
    stopped on its way, not to be worse at all.
    """
    if candidate.evidence is not None and candidate.evidence is best.evidence:
        lost, before = _loss(candidate), _loss(best)
        words = (
            f"{best.strategy} with the pictures that were held out; training loss {lost:.3g}, before {before:.3g}"
        )
        return lost <= before + (WORSE if whole else 0.0), words
    if candidate.evidence is not None and best.evidence is not None:
        found = candidate.evidence.beside(best.evidence)
        if found.n:
            return found.sum_of_z > -(2.0 if surely else candidate.handicap), f"beside {best.strategy} {found}"
    slack = candidate.error_and_doubt[1] if surely else 0.0
    better = (candidate.score or 0.0) + slack > (best.score or 0.0)
    return better, f"its score is {_score(candidate)}, that of {best.strategy} {_score(best)}"


def _loss(candidate: Candidate) -> float:
    return float(candidate.settings["outcome"]["loss"])


def _score(candidate: Candidate) -> str:
    return "unknown" if candidate.score is None else f"{candidate.score:.1%}"


def _weighed(rung: Strategy, work: Work, so_far: Sequence[Candidate], owed: float) -> tuple[str, str]:
    """Why not (empty: it is climbed), as a decision; the best so far still takes the seconds `owed`."""
    reason = _why_not(rung, work, so_far, owed)
    return reason or "", reason or "there is time for it"


def _why_not(rung: Strategy, work: Work, so_far: Sequence[Candidate], owed: float) -> str | None:
    if work.clock.stopped:
        return "asked to stop"
    if reason := rung.refuse(work, so_far):  # costs nothing; an estimate may have to import torch
        return reason
    left = work.clock.left(reserve=work.reserve + owed)
    needed = rung.estimate(work, so_far) * MARGIN
    if needed > left:
        return f"it would take about {format_duration(needed)}, {format_duration(left)} are left"
    return None


def _unknown(name: str, rungs: Sequence[Strategy]) -> Sequence[Strategy]:
    raise UnknownName("strategy", name, [r.name for r in rungs])
