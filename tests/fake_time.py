"""Time that passes only when a test says so."""

import time
from dataclasses import dataclass

from foveal.clock import Clock


@dataclass
class ManualClock(Clock):
    """A run's clock that stands still at `now`, seconds since the budget began."""

    now: float = 0.0

    def spent(self):
        return self.now


class FakeTime:
    """In place of the system's clocks: begins at 0, and passes by `sleep`, or by `per_call` at each reading.

    A `Clock` made while it holds needs `started_at=0.0`: its default was bound to the system's clock.
    """

    def __init__(self, monkeypatch, per_call=0.0):
        self.now, self._per_call = 0.0, per_call
        for name in ("monotonic", "perf_counter"):
            monkeypatch.setattr(time, name, self._read)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.now += seconds

    def _read(self):
        self.now += self._per_call
        return self.now
