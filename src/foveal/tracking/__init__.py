"""Figures of a run for experiment trackers: one file and one line in `TRACKERS` each.

Each is a `Progress` that writes scalars: `STAGE/loss` and `STAGE/lr` by step, `validation/STRATEGY` for every
candidate, and `test/METRIC` at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from foveal.errors import FovealError, UsageError, known_name
from foveal.progress import Bar, Progress

#: By name: the module that has `open_tracker`. Its package is an extra of foveal of the same name.
TRACKERS = {"tensorboard": "foveal.tracking.tensorboard", "mlflow": "foveal.tracking.mlflow"}


class Tracker(Protocol):
    """Where figures are written."""

    def scalar(self, name: str, value: float, step: int) -> None:
        """Write one figure."""
        ...

    def close(self, *, finished: bool) -> None:
        """The run ended; `finished`: with a result."""
        ...


#: The run folder, and its settings → a tracker.
OpenTracker = Callable[[Path, Mapping[str, Any]], Tracker]


def find_trackers(names: Iterable[str]) -> dict[str, OpenTracker]:
    """The trackers of these names, each of which may be several with commas between them.

    Raises:
        UnknownName: for a name that is none.
        UsageError: when its package is not installed.
    """
    typed = [name.strip() for several in names for name in several.split(",")]
    found: dict[str, OpenTracker] = {}
    for name in dict.fromkeys(known_name("logger", name, TRACKERS) for name in typed if name):
        if find_spec(name) is None:
            raise UsageError(f"--log {name}: {name} is not installed", hint=f"pip install 'foveal[{name}]'")
        found[name] = import_module(TRACKERS[name]).open_tracker
    return found


class Tracked(Progress):
    """Forwards everything to another `Progress`, and the figures to trackers.

    A tracker that fails while the run goes on is named and left out from then on.
    """

    def __init__(self, inner: Progress, trackers: Mapping[str, OpenTracker]) -> None:
        self._inner, self._to_open = inner, trackers
        self._open: dict[str, Tracker] = {}
        self._finished = False
        self._candidates = 0

    def __enter__(self) -> Tracked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._each(lambda tracker: tracker.close(finished=self._finished))

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """See `Progress.begin`.

        Raises:
            UsageError: when a tracker cannot be opened.
        """
        self._inner.begin(run, settings)
        for name, open_tracker in self._to_open.items():
            try:
                self._open[name] = open_tracker(run, settings)
            except FovealError:
                raise
            except Exception as error:
                raise UsageError(
                    f"--log {name}: {_first_line(error)}", hint="correct that, or leave it out"
                ) from error

    @contextmanager
    def stage(self, name: str, total: int = 0, *, unit: str = "images") -> Iterator[Bar]:
        """See `Progress.stage`."""
        with self._inner.stage(name, total, unit=unit) as bar:
            yield _TrackedBar(bar, lambda figures: self._figures(name, figures))

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        self._inner.say(text)

    def scored(self, strategy: str, score: float) -> None:
        """See `Progress.scored`."""
        self._inner.scored(strategy, score)
        self._write(f"validation/{strategy}", score, self._candidates)
        self._candidates += 1

    def best(self, strategy: str, score: float | None, ci95: Sequence[float] | None) -> None:
        """See `Progress.best`."""
        self._inner.best(strategy, score, ci95)

    def end(self, summary: Mapping[str, Any]) -> None:
        """See `Progress.end`."""
        self._inner.end(summary)
        for name, value in summary["test"].items():
            if type(value) in (int, float):
                self._write(f"test/{name}", value, 0)
        self._finished = True

    def _figures(self, stage: str, figures: Mapping[str, float]) -> None:
        step = int(figures.get("step", 0))
        for name, value in figures.items():
            if name != "step":
                self._write(f"{stage}/{name}", value, step)

    def _write(self, name: str, value: float, step: int) -> None:
        self._each(lambda tracker: tracker.scalar(name, value, step))

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            try:
                act(tracker)
            except Exception as error:
                del self._open[name]
                self._inner.say(f"nothing more is logged to {name}: {_first_line(error)}")


class _TrackedBar:
    def __init__(self, inner: Bar, figures: Callable[[Mapping[str, float]], None]) -> None:
        self._inner, self._figures = inner, figures

    def total(self, count: int) -> None:
        self._inner.total(count)

    def __call__(self, done: int) -> None:
        self._inner(done)

    def tell(self, **figures: float) -> None:
        self._inner.tell(**figures)
        self._figures(figures)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
