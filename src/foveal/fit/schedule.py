"""The learning rate over the steps of a training, and how many there are: fewer when the machine stalls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: A schedule is shortened when the rest of it would take this much longer than what is left ...
_LATE = 1.05
#: ... to what fits into this share of it.
_FITS = 0.93

Cut = tuple[int, int]


@dataclass
class Schedule:
    """Up along a line to the peak, then down to zero; a shortened one goes down faster, and still to zero.

    Attributes:
        steps: how many were planned.
        warmup: share of them in which the rate rises.
        cosine: whether it falls along a cosine instead of a line.
        cuts: at which step the rest was shortened, and to what end.
        on_cut: told before a cut takes effect, so that a repeated run can make it, too.
    """

    steps: int
    warmup: float
    cosine: bool = False
    cuts: list[Cut] = field(default_factory=list)
    on_cut: Callable[[Sequence[Cut]], None] = lambda _: None

    @property
    def end(self) -> int:
        """The step at which training is over."""
        return self.cuts[-1][1] if self.cuts else self.steps

    def share(self, step: int) -> float:
        """The rate at a step as a share of its peak."""
        way = self._way(step + 0.5)
        if way < self.warmup:
            return way / self.warmup
        rest = max(0.0, (1 - way) / (1 - self.warmup))
        return (1 - math.cos(math.pi * rest)) / 2 if self.cosine else rest

    def fit_into(self, seconds: float, step: int, seconds_a_step: float) -> bool:
        """Shorten what is left after `step`, if it would take clearly longer than these seconds."""
        rest = self.end - step
        if rest <= 1 or rest * seconds_a_step <= seconds * _LATE:
            return False
        self.cuts.append((step, step + max(1, int(seconds * _FITS / seconds_a_step))))
        self.on_cut(self.cuts)
        return True

    def _way(self, step: float) -> float:
        """How much of the training is over at a step, 0 to 1."""
        since, end, done = 0.0, float(self.steps), 0.0
        for at, sooner in self.cuts:
            if step < at:
                break
            done += (1 - done) * (at - since) / (end - since)
            since, end = float(at), float(sooner)
        return done + (1 - done) * (step - since) / (end - since)
