"""Time: the budget that covers everything, and the user's wish to stop.

A `Clock` starts when the *process* started, not when foveal was imported: what a person
waits for is what counts. Stages ask `left()` or `until(share)`; nobody else reads the time.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from foveal.errors import Interrupted, UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds from `90s`, `10m`, `2h`, `1h30m` or a bare number of seconds.

    Raises:
        UsageError: when the text is no duration, or not a positive one.
    """
    text = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    elif re.fullmatch(r"(\d+(\.\d+)?[smh])+", text):
        seconds = sum(float(n) * _UNITS[u] for n, _, u in re.findall(r"(\d+(\.\d+)?)([smh])", text))
    else:
        raise UsageError(f"{text!r} is no length of time", hint="write 90s, 10m, 2h or 1h30m")
    if seconds <= 0:
        raise UsageError(f"a time budget of {text!r} leaves nothing to work with", hint="write 90s, 10m or 2h")
    return seconds


def format_duration(seconds: float) -> str:
    """`8.4 s`, `3 min 05 s`, `2 h 10 min`: for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def seconds_since_process_start() -> float:
    """How long this process has lived; 0 where the system does not tell (outside Linux)."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


@dataclass
class Clock:
    """The budget of one run.

    Attributes:
        budget: seconds in all; `inf` for none.
        born: monotonic time at which the budget began.
        stopped: set by Ctrl-C: from then on no time is left, and every stage finishes with what it has.
        leaving: set by SIGTERM: stopped, and the run ends at the next `check` without being finished.
        laps: seconds by the name of what they were spent on.
    """

    budget: float = float("inf")
    born: float = field(default_factory=time.monotonic)
    stopped: bool = False
    leaving: bool = False
    laps: dict[str, float] = field(default_factory=dict)

    @classmethod
    def since_process_start(cls, budget: float) -> Clock:
        """A clock that has been running since the process began."""
        return cls(budget, time.monotonic() - seconds_since_process_start())

    def spent(self) -> float:
        """Seconds since the clock began."""
        return time.monotonic() - self.born

    def left(self, *, reserve: float = 0.0) -> float:
        """Seconds left after keeping `reserve` for later stages; 0 once the user said stop."""
        return 0.0 if self.stopped else max(0.0, self.budget - reserve - self.spent())

    def over(self, *, share: float = 1.0) -> bool:
        """Whether `share` of the budget is gone, or the user said stop."""
        return self.stopped or self.spent() >= self.budget * share

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Count the seconds spent inside to `laps[name]`."""
        began = self.spent()
        try:
            yield
        finally:
            self.laps[name] = self.laps.get(name, 0.0) + self.spent() - began

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Inside, only a wish to stop ends the time: for work whose length was settled by an earlier process."""
        budget, self.budget = self.budget, float("inf")
        try:
            yield
        finally:
            self.budget = budget

    def stop(self) -> None:
        """Say that no more time is left."""
        self.stopped = True

    def leave(self) -> None:
        """Say that the run should end here, to be resumed later."""
        self.stopped = self.leaving = True

    def check(self, hint: str = "foveal train --resume RUN goes on") -> None:
        """Between stages: end the run here, if that was asked for.

        Raises:
            Interrupted: with the exit code of SIGTERM.
        """
        if self.leaving:
            raise Interrupted("stopped by SIGTERM", hint=hint, exit_code=143)
