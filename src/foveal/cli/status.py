"""The line on a whole run that stands below the bar of its stage: time left, and the best strategy so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foveal.clock import Clock, format_duration
from foveal.evaluation.wording import interval, percent

_BETWEEN = " · "


@dataclass
class RunStatus:
    """What is known of a run while it goes on.

    Attributes:
        clock: its budget; None: not known.
    """

    clock: Clock | None = None
    _best: tuple[str, float | None, Sequence[float] | None] | None = None

    def best(self, strategy: str, score: float | None, ci95: Sequence[float] | None) -> None:
        """Another strategy is the best so far."""
        self._best = strategy, score, ci95

    def line(self, width: int) -> str:
        """The most that fits into so many columns."""
        time, best = self._time(), self._words_on_the_best()
        lines = [_BETWEEN.join(part for part in (time, words) if part) for words in (*best, "")]
        return next((line for line in lines if len(line) <= width), lines[-1])

    def _time(self) -> str:
        if self.clock is None:
            return ""
        if self.clock.stopped:
            return "stopping"
        if self.clock.budget == float("inf"):
            return f"{format_duration(self.clock.spent())} so far"
        left = self.clock.left()
        if not left:
            return "the time is up, finishing"
        return f"{format_duration(left)} left of {format_duration(self.clock.budget)}"

    def _words_on_the_best(self) -> list[str]:
        """From the longest to the shortest."""
        if self._best is None:
            return []
        strategy, score, ci95 = self._best
        if score is None:
            return [f"best so far {strategy}"]
        figure = percent(score)
        shorter = [f"best so far {strategy} {figure}", f"best so far {figure}"]
        return [f"{shorter[0]} ({interval(ci95)})", *shorter] if ci95 is not None else shorter
