"""The time budget of a run, and requests to stop it.

On the command line the budget begins when the *process* started, not when foveal was imported, because that is how
long the user waits. Stages use `left()` and `over()`; they do not read the time themselves.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from foveal.errors import Interrupted, UsageError

_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*")


def parse_duration(duration: str | float) -> float:
    """Seconds in `90s`, `10m`, `5 min`, `2 hours`, `1h30m`, or a number of seconds.

    Raises:
        UsageError: for an invalid duration, or one that is not positive.
    """
    text = str(duration).strip().lower()
    if isinstance(duration, bool):
        seconds = None
    elif isinstance(duration, int | float):
        seconds = float(duration)
    elif re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    else:
        seconds = _sum_of_parts(text)
    if seconds is None or not math.isfinite(seconds):
        raise UsageError(f"invalid duration {text!r}", hint="for example 90s, 10m, 5min, 2h or 1h30m")
    if seconds <= 0:
        raise UsageError(f"invalid duration {text!r}: must be positive", hint="for example 90s, 10m or 2h")
    return seconds


def _sum_of_parts(text: str) -> float | None:
    """Seconds in numbers with units, one after the other; None where that is not what it is."""
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text) or any(unit not in _UNITS for _, unit in parts):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """A duration for people: `8.4 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def seconds_since_process_start() -> float:
    """Seconds since this process started; 0 where that is unknown (outside Linux)."""
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
        budget: total seconds; `inf` for no limit.
        started_at: monotonic time at which the budget began.
        stopped: set by Ctrl-C: no time is left from then on, and every stage finishes with what it has.
        exit_requested: set by SIGTERM: like `stopped`, and the run ends unfinished at the next `check`.
        laps: seconds spent, by what they were spent on.
    """

    budget: float = float("inf")
    started_at: float = field(default_factory=time.monotonic)
    stopped: bool = False
    exit_requested: bool = False
    laps: dict[str, float] = field(default_factory=dict)

    @classmethod
    def since_process_start(cls, budget: float) -> Clock:
        """A clock that has been running since the process started."""
        return cls(budget, time.monotonic() - seconds_since_process_start())

    def spent(self) -> float:
        """Seconds since the budget began."""
        return time.monotonic() - self.started_at

    def left(self, *, reserve: float = 0.0) -> float:
        """Seconds left after `reserve` is kept for later stages; 0 after a request to stop."""
        return 0.0 if self.stopped else max(0.0, self.budget - reserve - self.spent())

    def over(self, *, share: float = 1.0) -> bool:
        """Whether this share of the budget is spent, or a stop was requested."""
        return self.stopped or self.spent() >= self.budget * share

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Add the seconds spent in the block to `laps[name]`."""
        began = self.spent()
        try:
            yield
        finally:
            self.laps[name] = self.laps.get(name, 0.0) + self.spent() - began

    @contextmanager
    def no_deadline(self) -> Iterator[None]:
        """Suspend the budget, but not `stop`, in the block: an earlier process decided how long the work is."""
        budget, self.budget = self.budget, float("inf")
        try:
            yield
        finally:
            self.budget = budget

    def stop(self) -> None:
        """Request that the run finishes now with what it has."""
        self.stopped = True

    def request_exit(self) -> None:
        """Request that the run ends unfinished, to be resumed later."""
        self.stopped = self.exit_requested = True

    def check(self, hint: str = "continue with foveal train --resume RUN") -> None:
        """Called between stages: end the run if `leave` was called.

        Raises:
            Interrupted: with the exit code of SIGTERM.
        """
        if self.exit_requested:
            raise Interrupted("stopped by SIGTERM", hint=hint, exit_code=143)


@dataclass(frozen=True)
class Deadline:
    """The moment at which some work has to be done: the end of the budget, less what is kept for later work.

    Attributes:
        clock: of the run.
        kept: seconds at the end of the budget that belong to later work.
    """

    clock: Clock
    kept: float = 0.0

    def left(self) -> float:
        """Seconds left; 0 once the user asked to stop."""
        return self.clock.left(reserve=self.kept)

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left() <= 0

    def keeping(self, seconds: float) -> Deadline:
        """An earlier deadline, which leaves so many more seconds for later work."""
        return Deadline(self.clock, self.kept + seconds)

    def share(self, share: float) -> Deadline:
        """A deadline after this share of the time left; the same where time is not limited."""
        left = self.left()
        return self.keeping((1 - share) * left) if left < float("inf") else self
