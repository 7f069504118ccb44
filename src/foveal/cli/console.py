"""Output of the commands: data on stdout, messages and progress bars on stderr."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

from foveal.cli.layout import columns, hanging
from foveal.harmless import harmless
from foveal.progress import Bar, Progress

if TYPE_CHECKING:
    from pathlib import Path

    from foveal.cli.display import Display
    from foveal.cli.status import RunStatus
    from foveal.clock import Clock

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
    """Shows bars, and a line on the run, if stderr is a terminal that can; prints messages in any case.

    A run is shown from `begin` to `end`, or to the end of the block, as a context manager; other stages one by one.

    Args:
        quiet: show neither bars nor messages. Errors, which commands print with `say`, are shown.
        bars: whether bars are wanted; not where data go to the same terminal.
        clock: of the run.
    """

    def __init__(self, *, quiet: bool = False, bars: bool = True, clock: Clock | None = None) -> None:
        dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
        self._quiet, self._wanted = quiet, bars and not quiet and not dumb and sys.stderr.isatty()
        self._clock = clock
        self._status: RunStatus | None = None
        self._display: Display | None = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @contextmanager
    def stage(self, name: str, total: int = 0, *, unit: str = "images") -> Iterator[Bar]:
        """A bar with rate and remaining time."""
        if not self._wanted:
            with super().stage(name, total, unit=unit) as silent:
                yield silent
            return
        alone = self._display is None
        try:
            with self._shown().stage(name, total, unit) as bar:
                yield bar
        finally:
            if alone:
                self._close()

    def say(self, text: str) -> None:
        """Print a message on stderr, broken between words on a terminal, unless quiet."""
        if self._quiet:
            return
        width = columns()
        wraps = sys.stderr.isatty()
        say("\n".join(row for line in text.split("\n") for row in hanging("", line, width)) if wraps else text)

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Show the run from now on."""
        if self._wanted:
            self._shown(self._clock)

    def best(self, strategy: str, score: float | None, ci95: Sequence[float] | None) -> None:
        """Show the best strategy so far."""
        if self._status is not None:
            self._status.best(strategy, score, ci95)

    def end(self, summary: Mapping[str, Any]) -> None:
        """Erase what is shown."""
        self._close()

    def _shown(self, clock: Clock | None = None) -> Display:
        if self._display is None:
            from foveal.cli.display import Display
            from foveal.cli.status import RunStatus

            self._status = RunStatus(clock)
            self._display = Display(self._status)
        return self._display

    def _close(self) -> None:
        if self._display is not None:
            self._display.close()
            self._display = self._status = None
