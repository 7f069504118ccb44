"""What a long job tells while it runs. The default tells nobody; the command line draws bars."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol

from foveal.files import dumps


class Bar(Protocol):
    """One stage's bar."""

    def total(self, count: int) -> None:
        """How many steps there will be."""

    def __call__(self, done: int) -> None:
        """So many steps more are done."""

    def tell(self, **figures: float) -> None:
        """Figures on the way, such as the loss."""


class Progress:
    """Listens to a run: bars for stages, sentences for what was decided. This one is deaf."""

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator[Bar]:
        """A stage with a bar."""
        yield _Deaf()

    def say(self, text: str) -> None:
        """One sentence for a person."""


class _Deaf:
    def total(self, count: int) -> None:
        pass

    def __call__(self, done: int) -> None:
        pass

    def tell(self, **figures: float) -> None:
        pass


class Logged(Progress):
    """Another listener's twin, which also writes what is heard to `log.jsonl`."""

    def __init__(self, inner: Progress, path: Path) -> None:
        self._inner = inner
        self._file = path.open("a", encoding="utf-8")
        self._began = time.monotonic()

    def __enter__(self) -> Logged:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk
            self._file.close()

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator[Bar]:
        """A stage, logged at its beginning and its end."""
        self._write(event="begin", stage=name)
        with self._inner.stage(name, total) as bar:
            counted = _Counted(bar, total, lambda **figures: self._write(event="figures", stage=name, **figures))
            yield counted
        self._write(event="end", stage=name, done=counted.done)

    def say(self, text: str) -> None:
        """Say and log."""
        self._inner.say(text)
        self._write(event="say", text=text)

    def _write(self, **event: object) -> None:
        event["t"] = round(time.monotonic() - self._began, 3)
        with suppress(OSError):  # a full disk loses the log, not the run
            self._file.write(dumps(event) + "\n")
            self._file.flush()


class _Counted:
    def __init__(self, inner: Bar, total: int, heard: Callable[..., None]) -> None:
        self._inner, self._total, self._heard = inner, total, heard
        self.done = 0
        self._told: tuple[float, int] | None = (
            None  # when figures were last told, or it began, and what was done by then
        )

    def total(self, count: int) -> None:
        self._total = count
        self._inner.total(count)

    def __call__(self, done: int) -> None:
        self.done += done
        self._told = self._told or (time.monotonic(), self.done)
        self._inner(done)

    def tell(self, **figures: float) -> None:
        self._inner.tell(**figures)
        now, before = time.monotonic(), self._told
        self._told = now, self.done
        if before is not None and self.done > before[1] and now > before[0]:
            speed = (self.done - before[1]) / (now - before[0])
            figures |= {"per_second": round(speed, 1), "left_s": round(max(0, self._total - self.done) / speed, 1)}
        self._heard(**figures)


def logged_seconds(path: Path) -> float:
    """Seconds that a run has worked, by its log: the times at which its processes were last heard of, together."""
    done, last = 0.0, 0.0
    for event in read_log(path) if path.exists() else ():
        t = event.get("t", last)
        now = float(t) if isinstance(t, int | float) else last
        done, last = done + (last if now < last else 0.0), now
    return done + last


def read_log(path: Path) -> list[dict[str, object]]:
    """The events of a `log.jsonl`; a line that was being written when the process was killed is none."""
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):
            events.append(json.loads(line))
    return events
