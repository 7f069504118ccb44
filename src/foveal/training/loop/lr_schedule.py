"""The learning rate over the steps of a training, and how many steps there are.

There are fewer when the machine turns out slower than planned, and more when it turns out quicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from foveal.training.time_budget import EARLY, LATE, REFIT_SHARE

#: In which attempt, at which step, to what end.
Change = tuple[int, int, int]


@dataclass
class Schedule:
    """Linear warm-up to the peak, then decay to zero; a shortened schedule decays faster, and still to zero.

    When there is time for more steps, the learning rate decays more slowly from where it is.

    Attributes:
        steps: how many were planned.
        warmup: share of them in which the learning rate rises.
        cosine: whether it decays along a cosine instead of a line.
        changes: where the number of steps changed; each counts in its own attempt only.
        on_change: called before a change takes effect, so that a replay can make it, too.
        attempt: how often training has started again from its first step.
        max_steps: to how many steps it may grow; fewer than `steps` are those.
    """

    steps: int
    warmup: float
    cosine: bool = False
    changes: list[Change] = field(default_factory=list)
    on_change: Callable[[Sequence[Change]], None] = lambda _: None
    attempt: int = 0
    max_steps: int = 0

    @property
    def end(self) -> int:
        """The step at which training is over."""
        return self._mine[-1][1] if self._mine else self.steps

    def end_before(self, step: int) -> int:
        """The end as it stood when this step was done, whether or not it has changed since."""
        return next((end for at, end in reversed(self._mine) if at < step), self.steps)

    def factor(self, step: int) -> float:
        """The learning rate at a step as a share of its peak."""
        progress = self._progress(step + 0.5)
        if progress < self.warmup:
            return progress / self.warmup
        rest = max(0.0, (1 - progress) / (1 - self.warmup))
        return (1 - math.cos(math.pi * rest)) / 2 if self.cosine else rest

    def fit_into(self, seconds: float, step: int, step_seconds: float) -> bool:
        """Shorten the rest after `step` if it would take clearly longer than these seconds; lengthen it, up to
        `max_steps`, if it would end clearly sooner."""
        rest, needed = self.end - step, (self.end - step) * step_seconds
        end = min(max(self.steps, self.max_steps), step + max(1, int(seconds * REFIT_SHARE / step_seconds)))
        late, early = needed > seconds * LATE and end < self.end, needed < seconds * EARLY and end > self.end
        if rest <= 1 or not (late or early):
            return False
        self.changes.append((self.attempt, step, end))
        self.on_change(self.changes)
        return True

    @property
    def _mine(self) -> list[tuple[int, int]]:
        return [(at, end) for attempt, at, end in self.changes if attempt == self.attempt]

    def _progress(self, step: float) -> float:
        """Share of the training that is over at a step."""
        since, end, done = 0.0, float(self.steps), 0.0
        for at, sooner in self._mine:
            if step < at:
                break
            done += (1 - done) * (at - since) / (end - since)
            since, end = float(at), float(sooner)
        return done + (1 - done) * (step - since) / (end - since)
