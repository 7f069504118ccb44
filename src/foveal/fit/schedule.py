"""The learning rate over the steps of a training, and how many there are: fewer when the machine stalls, more when
it turns out quicker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: A schedule is shortened when the rest of it would take this much longer than what is left ...
_LATE = 1.05
#: ... to what fits into this share of it, and made longer when the rest would take only this share.
_FITS, _EARLY = 0.93, 0.85

#: In which attempt, at which step, to what end.
Cut = tuple[int, int, int]


@dataclass
class Schedule:
    """Up along a line to the peak, then down to zero; a shortened one goes down faster, and still to zero.

    When there is time for more, the rate goes down more slowly from where it is.

    Attributes:
        steps: how many were planned.
        warmup: share of them in which the rate rises.
        cosine: whether it falls along a cosine instead of a line.
        cuts: where the rest was shortened, or grew; each counts in its own attempt only.
        on_cut: told before a cut takes effect, so that a repeated run can make it, too.
        attempt: how often training has begun again from its first step.
        most: to how many steps it may grow; fewer than `steps` are those.
    """

    steps: int
    warmup: float
    cosine: bool = False
    cuts: list[Cut] = field(default_factory=list)
    on_cut: Callable[[Sequence[Cut]], None] = lambda _: None
    attempt: int = 0
    most: int = 0

    @property
    def end(self) -> int:
        """The step at which training is over."""
        return self._mine[-1][1] if self._mine else self.steps

    def end_before(self, step: int) -> int:
        """The end as it stood when this step was done: the same whether cuts were made since, or are repeated."""
        return next((end for at, end in reversed(self._mine) if at < step), self.steps)

    def share(self, step: int) -> float:
        """The rate at a step as a share of its peak."""
        way = self._way(step + 0.5)
        if way < self.warmup:
            return way / self.warmup
        rest = max(0.0, (1 - way) / (1 - self.warmup))
        return (1 - math.cos(math.pi * rest)) / 2 if self.cosine else rest

    def fit_into(self, seconds: float, step: int, seconds_a_step: float) -> bool:
        """Shorten what is left after `step`, if it would take clearly longer than these seconds; one that would
        end clearly sooner takes up steps, as many as there may be."""
        rest, needed = self.end - step, (self.end - step) * seconds_a_step
        end = min(max(self.steps, self.most), step + max(1, int(seconds * _FITS / seconds_a_step)))
        late, early = needed > seconds * _LATE and end < self.end, needed < seconds * _EARLY and end > self.end
        if rest <= 1 or not (late or early):
            return False
        self.cuts.append((self.attempt, step, end))
        self.on_cut(self.cuts)
        return True

    @property
    def _mine(self) -> list[tuple[int, int]]:
        return [(at, end) for attempt, at, end in self.cuts if attempt == self.attempt]

    def _way(self, step: float) -> float:
        """How much of the training is over at a step, 0 to 1."""
        since, end, done = 0.0, float(self.steps), 0.0
        for at, sooner in self._mine:
            if step < at:
                break
            done += (1 - done) * (at - since) / (end - since)
            since, end = float(at), float(sooner)
        return done + (1 - done) * (step - since) / (end - since)
