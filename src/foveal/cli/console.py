"""Output of the commands: data on stdout, messages and progress bars on stderr."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO, TypeVar, cast

from foveal.harmless import harmless
from foveal.progress import Bar, Progress

T = TypeVar("T")


def say(text: str) -> None:
    """Print a message on stderr; dropped where stderr is closed or full."""
    try:
        print(harmless(text), file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def put(text: str) -> None:
    """Print a line for people on stdout."""
    sys.stdout.write(harmless(text) + "\n")
    sys.stdout.flush()


def put_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout."""
    from foveal.files import dumps

    put(dumps(value, indent=1))


def data_stream() -> TextIO:
    """stdout for data, in UTF-8: names keep all their bytes, except on a terminal, where they are made harmless."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    return cast("TextIO", _Harmless(sys.stdout)) if sys.stdout.isatty() else sys.stdout


class _Harmless(io.TextIOBase):
    """Passes text on to a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(harmless(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


class StdoutError(OSError):
    """Data can't be written to stdout: it is closed, or its disk is full."""


class _Stdout(io.FileIO):
    """stdout, whose failures can be told from those of other files."""

    def write(self, content: Any) -> int:  # noqa: ANN401
        try:
            return super().write(content)
        except OSError as error:
            raise StdoutError(error.errno, error.strerror) from None


def prepare_streams() -> None:
    """Make failures of stdout known as such, and give a place to streams that the process was started without.

    After `>&-` the next file that is opened would take the number of the missing stream, and receive what is printed.
    Writing to a stdout that was closed is an error, since data would be lost; messages are dropped.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest free number, which is this one
    if sys.stdout is sys.__stdout__:  # no caller has put another stream in its place
        lines = sys.stdout is not None and sys.stdout.line_buffering
        encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
        raw = _Stdout(1, "w", closefd=False)
        buffer = io.BufferedWriter(raw)
        sys.stdout = io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=lines)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def drop_stdout(error: StdoutError) -> None:
    """Give up stdout, and say why, unless its reader has closed the pipe, as `head` does."""
    _drop(sys.stdout)
    if error.errno != errno.EPIPE:
        say(f"foveal: stdout: {error.strerror}")
        say("hint: free some space, or redirect stdout to another place")


def _drop(stream: TextIO) -> None:
    """Send what a stream still holds nowhere: the interpreter would try, and fail, again at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def counted(items: Iterable[T], bar: Bar) -> Iterator[T]:
    """Yield the items and advance the bar by one for each."""
    for item in items:
        bar(1)
        yield item


class Terminal(Progress):
    """Draws progress bars if stderr is a terminal that can; prints messages in any case.

    Bars disappear when their stage ends.

    Args:
        quiet: show neither bars nor messages. Errors, which commands print with `say`, are shown.
        bars: whether bars are wanted; not where data go to the same terminal.
    """

    def __init__(self, *, quiet: bool = False, bars: bool = True) -> None:
        dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
        self._quiet, self._wanted = quiet, bars and not quiet and not dumb and sys.stderr.isatty()
        self._bars: Any = None  # of rich, while a stage runs

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator[Bar]:
        """A progress bar with rate and remaining time."""
        if not self._wanted:
            with super().stage(name, total) as silent:
                yield silent
            return
        outermost = self._bars is None
        if outermost:
            self._bars = _rich_bars()
            self._bars.start()
        task = self._bars.add_task(harmless(name), total=total or None, count="", rate="", figures="")
        try:
            yield _RichBar(self._bars, task)
        finally:
            self._bars.refresh()  # the last figures
            self._bars.remove_task(task)
            if outermost:
                self._bars.stop()
                self._bars = None

    def say(self, text: str) -> None:
        """Print a message on stderr, unless quiet."""
        if not self._quiet:
            say(text)


def _rich_bars() -> Any:  # noqa: ANN401
    """Bars that share a line with their figures: the bar itself has what is left of the width."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    def text(field: str) -> TextColumn:
        return TextColumn(f"{{task.{field}}}", markup=False, table_column=Column(no_wrap=True))

    columns = (
        text("description"),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
        *(text(f"fields[{name}]") for name in ("count", "rate", "figures")),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Bars(*columns, console=Console(stderr=True), redirect_stdout=False, transient=True, expand=True)


class _RichBar:
    def __init__(self, bars: Any, task: Any) -> None:  # noqa: ANN401
        self._bars, self._task = bars, task

    def total(self, count: int) -> None:
        self._update(total=count or None)

    def __call__(self, done: int) -> None:
        self._update(advance=done)

    def tell(self, **figures: float) -> None:
        text = " ".join(f"{name} {value:.3g}" for name, value in figures.items() if name != "step")
        self._update(figures=text)

    def _update(self, **fields: Any) -> None:  # noqa: ANN401
        self._bars.update(self._task, **fields)
        task = next(task for task in self._bars.tasks if task.id == self._task)
        done = f"{task.completed:.0f}"
        count = done if task.total is None else f"{done}/{task.total:.0f}"
        self._bars.update(self._task, count=count, rate=f"{task.speed:.0f}/s" if task.speed else "")
