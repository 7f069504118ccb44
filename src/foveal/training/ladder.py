"""The search: strategies in order of cost, each only if it fits the time and its gain could be told from chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from foveal.clock import format_duration
from foveal.decisions import KEEP, SETTINGS, SKIP, STRATEGY, Decision, Decisions
from foveal.errors import MemoryShort, UnknownName
from foveal.training.candidate import Candidate
from foveal.training.context import RunContext
from foveal.training.strategy import LadderState, Strategy
from foveal.training.time_budget import MARGIN

_ALL = "every strategy was tried"
#: A training that continued with more images went wrong when its loss ends this much higher.
_WORSE_LOSS = 0.1
#: A strategy that is known to be better is kept unless it is worse by more than this sum of z-values.
_CLEARLY_WORSE = 2.0


@dataclass(frozen=True)
class SearchResult:
    """What was tried, the best of it, and why the search ended."""

    candidates: list[Candidate]
    best: Candidate
    reason: str


def search(
    strategies: Sequence[Strategy],
    context: RunContext,
    *,
    on_better: Callable[[Candidate], None] = lambda _: None,
) -> SearchResult:
    """Try strategies until the time, the strategies or the hope of a better model are used up.

    Args:
        strategies: in order of cost.
        context: of the run. Earlier decisions are obeyed; the final strategy is recorded with its reason. `--strategy`
            restricts the search to one strategy.
        on_better: called with each candidate that becomes the best: there is a usable model from the first on.

    Raises:
        UnknownName: when `context.config.strategy` is none of the strategies.
    """
    only = context.config.strategy
    if only is not None:
        strategies = [s for s in strategies if s.name == only] or _unknown(only, strategies)
    decisions, state = context.decisions, LadderState()
    ahead: Candidate | None = None  # better than a best one that is kept only because its training continues
    reason = _ALL
    for place, strategy in enumerate(strategies):
        if state.candidates and (skipped := _skipped(strategy, context, state)):
            context.progress.say(f"skipped {strategy.name}: {skipped}")
            reason = f"skipped {strategy.name}: {skipped}" if reason == _ALL else reason
            continue
        known = _finished_before(strategy, strategies[place + 1 :], decisions)
        try:
            with context.clock.no_deadline() if known else nullcontext():
                candidate, reason = strategy.fit(context, state), _ALL
        except MemoryShort as short:
            if not state.candidates:
                raise
            reason = f"skipped {strategy.name}: {short.message}"
            context.progress.say(reason)
            continue
        state.candidates.append(candidate)
        if candidate.score is not None:
            context.progress.scored(candidate.strategy, candidate.score)
        best = state.best
        if best is None or _kept(strategy, candidate, best, context):
            ahead = best if best is not None and _kept_by_handicap(candidate, best) else None
            state.best = candidate
            context.progress.best(candidate.strategy, candidate.score, candidate.score_ci95)
            if ahead is None:
                on_better(candidate)
            context = context.with_preprocess(candidate.preprocess)
        else:
            state.rejected.add(strategy.name)
        context.clock.check()
    final = ahead or state.best  # its training did not continue
    assert final is not None
    reason = f"--strategy {only}" if only else reason
    decisions.record(STRATEGY, final.strategy, reason)
    decisions.record(SETTINGS, final.settings, "chosen inside the training subset, or by the time")
    return SearchResult(state.candidates, final, reason)


def _kept(strategy: Strategy, candidate: Candidate, best: Candidate, context: RunContext) -> bool:
    decision, decisions = KEEP.of(strategy.name), context.decisions
    known = strategy.keep_unless_worse and candidate.complete  # what is known is known of complete trainings
    better = decisions.settle(decision, lambda: _is_better(candidate, best, clearly=known))
    context.progress.say(
        f"{strategy.name} {'replaces' if better else 'does not replace'} {best.strategy}: {decisions.reason(decision)}"
    )
    return better


def _kept_by_handicap(candidate: Candidate, best: Candidate) -> bool:
    """Whether it is kept by its handicap alone: until its training continues, the better one is the model."""
    return candidate.handicap > 0 and not _is_better(replace(candidate, handicap=0.0), best, clearly=False)[0]


def _finished_before(strategy: Strategy, later: Sequence[Strategy], decisions: Decisions) -> bool:
    """Whether an earlier process finished this strategy: then it is only repeated, whatever the time."""
    marks: list[Decision[Any]] = [KEEP.of(strategy.name), STRATEGY, *(SKIP.of(s.name) for s in later)]
    return any(decisions.was_given(mark) for mark in marks)


def _is_better(candidate: Candidate, best: Candidate, *, clearly: bool) -> tuple[bool, str]:
    """Whether to keep it: by predictions for the same images where both made them, by the scores otherwise.

    Where `clearly`, it is kept unless it is clearly worse. One whose training was stopped must not be worse at all.
    """
    if candidate.evidence is not None and candidate.evidence is best.evidence:
        words = (
            f"{best.strategy} continued with the held-out images; training loss {candidate.loss:.3g}, "
            f"before {best.loss:.3g}"
        )
        return candidate.loss <= best.loss + (_WORSE_LOSS if candidate.complete else 0.0), words
    if candidate.evidence is not None and best.evidence is not None:
        comparison = candidate.evidence.compare_to(best.evidence)
        if comparison.n:
            least = -_CLEARLY_WORSE if clearly else -candidate.handicap
            return comparison.sum_of_z > least, f"compared with {best.strategy} {comparison}"
    slack = candidate.error_and_std_error[1] if clearly else 0.0
    better = (candidate.score or 0.0) + slack > (best.score or 0.0)
    return better, f"its score is {_score(candidate)}, that of {best.strategy} {_score(best)}"


def _score(candidate: Candidate) -> str:
    return "unknown" if candidate.score is None else f"{candidate.score:.1%}"


def _skipped(strategy: Strategy, context: RunContext, state: LadderState) -> str:
    """Why the strategy is not tried; empty when it is."""

    def weighed() -> tuple[str, str]:
        reason = _why_not(strategy, context, state)
        return reason or "", reason or "there is time for it"

    return context.decisions.settle(SKIP.of(strategy.name), weighed)


def _why_not(strategy: Strategy, context: RunContext, state: LadderState) -> str | None:
    if context.clock.stopped:
        return "the user asked to stop"
    if reason := strategy.refuse(context, state):  # costs nothing; an estimate may have to import torch
        return reason
    left = context.deadline.keeping(state.pending_seconds).left()
    if left <= 0:
        return "no time is left"
    needed = strategy.estimate(context, state) * MARGIN
    if needed > left:
        return f"it would take about {format_duration(needed)}, {format_duration(left)} are left"
    return None


def _unknown(name: str, strategies: Sequence[Strategy]) -> Sequence[Strategy]:
    raise UnknownName("strategy", name, [s.name for s in strategies])
