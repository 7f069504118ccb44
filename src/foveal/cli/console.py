"""Output of the commands: data on stdout, messages and progress bars on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from foveal.progress import Bar, Progress

T = TypeVar("T")


def say(text: str) -> None:
    """Print a message on stderr."""
    print(text.encode("utf-8", "replace").decode(), file=sys.stderr, flush=True)


def put(text: str) -> None:
    """Print a line of data on stdout."""
    sys.stdout.write(text.encode("utf-8", "replace").decode() + "\n")
    sys.stdout.flush()


def put_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout."""
    from foveal.files import dumps

    put(dumps(value, indent=1))


def counted(items: Iterable[T], bar: Bar) -> Iterator[T]:
    """Yield the items and advance the bar by one for each."""
    for item in items:
        bar(1)
        yield item


class Terminal(Progress):
    """Draws progress bars if stderr is a terminal; prints messages in any case, or nothing if `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._bars = sys.stderr.isatty() and not quiet
        self._quiet = quiet

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator[Bar]:
        """A progress bar with rate and remaining time."""
        if not self._bars:
            with super().stage(name, total) as silent:
                yield silent
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=Console(stderr=True), redirect_stdout=False) as bars:
            yield _RichBar(bars, bars.add_task(name, total=total or None, rate="", figures=""))

    def say(self, text: str) -> None:
        """Print a message on stderr."""
        if not self._quiet:
            say(text)


class _RichBar:
    def __init__(self, bars: Any, task: Any) -> None:  # noqa: ANN401
        self._bars, self._task = bars, task

    def total(self, count: int) -> None:
        self._bars.update(self._task, total=count)

    def __call__(self, done: int) -> None:
        speed = self._bars.tasks[0].speed
        self._bars.update(self._task, advance=done, rate=f"{speed:.0f}/s" if speed else "")

    def tell(self, **figures: float) -> None:
        text = " ".join(f"{name} {value:.3g}" for name, value in figures.items() if name != "step")
        self._bars.update(self._task, figures=text)
