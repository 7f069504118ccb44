"""A schedule is held against the clock while training runs."""

from __future__ import annotations

import time

from foveal.progress import Progress
from foveal.training.loop.lr_schedule import Schedule
from foveal.training.time_budget import SLOW_SECONDS, SPEED_WINDOW


class Pacer:
    """Measures the speed of recent steps, and changes the schedule where it will not fit the time.

    Args:
        name: of the training, for messages.
        schedule: is changed in place.
        progress: told in words.
    """

    def __init__(self, name: str, schedule: Schedule, progress: Progress) -> None:
        self._name, self._schedule, self._progress = name, schedule, progress
        self._marks: list[tuple[int, float]] = []  # steps and times

    @property
    def due(self) -> bool:
        """Whether the last measurement was long ago, or never: the first step is slow, and is not in it."""
        return not self._marks or time.monotonic() - self._marks[-1][1] > SLOW_SECONDS

    def restart(self) -> None:
        """Forget the speed: steps count from 0 again."""
        self._marks = []

    def fit(self, step: int, left: float) -> None:
        """Shorten the schedule when the speed says that it will not fit the seconds left; lengthen it when there is
        time for more."""
        now, planned = time.monotonic(), self._schedule.end
        window = max(SLOW_SECONDS, SPEED_WINDOW * left)
        before = [mark for mark in self._marks if mark[0] < step]
        self._marks = [mark for mark in before[:-1] if now - mark[1] <= window] + before[-1:] + [(step, now)]
        first_step, first = self._marks[0]
        if first_step == step:
            return
        if self._schedule.fit_into(left, step, (now - first) / (step - first_step)):
            end = self._schedule.end
            words = "slower than planned" if end < planned else "faster than planned"
            self._progress.say(f"{words}: {self._name} ends at step {end}, not {planned}")
