"""Progress of long operations. The default reports nothing; the command line draws bars."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TextIO

#: Seconds.
_YEAR = 366 * 86_400.0


class Bar(Protocol):
    """Reports the progress of one stage."""

    def total(self, count: int) -> None:
        """Set the number of steps."""

    def __call__(self, done: int) -> None:
        """Advance by this many steps."""

    def tell(self, **figures: float) -> None:
        """Report current values, such as the loss."""


class Progress:
    """Receives the progress of a run: a bar for each stage, and messages. This base class ignores both."""

    @contextmanager
    def stage(self, name: str, total: int = 0, *, unit: str = "images") -> Iterator[Bar]:
        """Begin a stage.

        Args:
            name: of the stage.
            total: steps; 0: not known.
            unit: what the steps are; empty where their number says nothing.
        """
        yield _Silent()

    def say(self, text: str) -> None:
        """Report a message for the user."""

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """A run begins, or goes on, in this folder with these settings."""

    def scored(self, strategy: str, score: float) -> None:
        """A candidate was trained; its score on the validation subset."""

    def best(self, strategy: str, score: float | None, ci95: Sequence[float] | None) -> None:
        """This candidate is the best so far; its score, see `scored`, and the interval, where they are known."""

    def end(self, summary: Mapping[str, Any]) -> None:
        """A run is finished; the content of `summary.json`."""


class _Silent:
    def total(self, count: int) -> None:
        pass

    def __call__(self, done: int) -> None:
        pass

    def tell(self, **figures: float) -> None:
        pass


class Logged(Progress):
    """Forwards everything to another `Progress`, and appends it to `log.jsonl`."""

    def __init__(self, inner: Progress, path: Path) -> None:
        self._inner = inner
        self._file: TextIO | None = None
        with suppress(OSError):  # a full disk costs the log, not the run
            self._file = path.open("a", encoding="utf-8")
        self._began = time.monotonic()
        self._write(event="process", pid=os.getpid())

    def __enter__(self) -> Logged:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk
            if self._file is not None:
                self._file.close()

    @contextmanager
    def stage(self, name: str, total: int = 0, *, unit: str = "images") -> Iterator[Bar]:
        """Begin a stage; its beginning and end are logged."""
        self._write(event="begin", stage=name)
        with self._inner.stage(name, total, unit=unit) as bar:
            counted = _Counted(bar, total, lambda **figures: self._write(event="figures", stage=name, **figures))
            yield counted
        self._write(event="end", stage=name, done=counted.done)

    def say(self, text: str) -> None:
        """Report and log a message."""
        self._inner.say(text)
        self._write(event="say", text=text)

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Forwarded: config.json has the settings."""
        self._inner.begin(run, settings)

    def scored(self, strategy: str, score: float) -> None:
        """Report and log the score of a candidate."""
        self._inner.scored(strategy, score)
        self._write(event="score", strategy=strategy, score=score)

    def best(self, strategy: str, score: float | None, ci95: Sequence[float] | None) -> None:
        """Report and log the best candidate so far."""
        self._inner.best(strategy, score, ci95)
        self._write(event="best", strategy=strategy, score=score)

    def end(self, summary: Mapping[str, Any]) -> None:
        """Forwarded: summary.json has the figures."""
        self._inner.end(summary)

    def _write(self, **event: object) -> None:
        from foveal.files import dumps  # takes a while to import, and `--help` needs no log

        event["t"] = round(time.monotonic() - self._began, 3)
        with suppress(OSError):  # a full disk
            if self._file is not None:
                self._file.write(dumps(event) + "\n")
                self._file.flush()


class _Counted:
    def __init__(self, inner: Bar, total: int, log: Callable[..., None]) -> None:
        self._inner, self._total, self._log = inner, total, log
        self.done = 0
        #: When values were last reported, at first when the stage began, and the steps done by then.
        self._reported: tuple[float, int] | None = None

    def total(self, count: int) -> None:
        self._total = count
        self._inner.total(count)

    def __call__(self, done: int) -> None:
        self.done += done
        self._reported = self._reported or (time.monotonic(), self.done)
        self._inner(done)

    def tell(self, **figures: float) -> None:
        self._inner.tell(**figures)
        now, before = time.monotonic(), self._reported
        self._reported = now, self.done
        if before is not None and self.done > before[1] and now > before[0]:
            speed = (self.done - before[1]) / (now - before[0])
            figures |= {"per_second": round(speed, 1), "left_s": round(max(0, self._total - self.done) / speed, 1)}
        self._log(**figures)


def logged_seconds(path: Path) -> float:
    """Seconds that a run has worked: the last times in its log of each of its processes, added up."""
    done, last = 0.0, 0.0
    for event in read_log(path):
        t = event.get("t")
        # A number in a log that was damaged may be any; a year is more than a process has.
        now = float(t) if isinstance(t, int | float) and 0 <= t < _YEAR else last
        done, last = done + (last if now < last else 0.0), now
    return done + last


def read_log(path: Path) -> list[dict[str, object]]:
    """The events of a `log.jsonl`, without lines that are damaged, or were cut short when the process was killed."""
    from foveal.files import loads

    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    events = []
    for line in lines:
        with suppress(ValueError):
            event = loads(line)
            if isinstance(event, dict):
                events.append(event)
    return events
