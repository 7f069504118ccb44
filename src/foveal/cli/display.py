"""What a terminal shows of work that takes a while: a bar for each stage and, below, a line on the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from foveal.cli.status import RunStatus
from foveal.evaluation.wording import short
from foveal.harmless import one_line
from foveal.progress import Bar

#: Drawing takes time from the work that is shown.
_DRAWN_PER_SECOND = 5
#: Columns of the name of a stage: its figures have the rest of 80.
_NAME = 28


class Display:
    """Bars that share a line with their figures: the bar itself has what is left of the width.

    Everything is erased when it is closed.

    Args:
        status: what the line on the run says.
    """

    def __init__(self, status: RunStatus) -> None:
        self._bars = _Bars(status)
        self._bars.start()

    def close(self) -> None:
        """Erase it. A second time does nothing."""
        self._bars.stop()

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Bar]:
        """A bar while the stage runs."""
        shown = short(one_line(name), _NAME)
        task = self._bars.add_task(shown, total=total or None, count="", rate="", figures="", left="")
        try:
            yield _StageBar(self._bars, task, unit)
        finally:
            self._bars.refresh()  # the last figures
            self._bars.remove_task(task)
            self._bars.refresh()


class _Bars(Progress):
    def __init__(self, status: RunStatus) -> None:
        self._status = _StatusLine(status)
        columns = (
            _text("{task.description}"),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
            *(_text(f"{{task.fields[{name}]}}") for name in ("count", "rate", "left")),
        )
        super().__init__(
            *columns,
            console=Console(stderr=True),
            redirect_stdout=False,
            transient=True,
            expand=True,
            refresh_per_second=_DRAWN_PER_SECOND,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars and the line, as `rich.progress.Progress` wants it."""
        if self.tasks:
            yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["figures"]:
                yield _dim(task.fields["figures"])
        yield self._status


class _StatusLine:
    def __init__(self, status: RunStatus) -> None:
        self._status = status

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if line := self._status.line(options.max_width):
            yield _dim(one_line(line))


class _StageBar:
    def __init__(self, bars: Progress, task: TaskID, unit: str) -> None:
        self._bars, self._task, self._unit = bars, task, unit

    def total(self, count: int) -> None:
        self._bars.update(self._task, total=count or None)
        self._count()

    def __call__(self, done: int) -> None:
        self._bars.update(self._task, advance=done)
        self._count()

    def tell(self, **figures: float) -> None:
        text = "  ".join(f"{name} {value:.3g}" for name, value in figures.items() if name != "step")
        self._bars.update(self._task, figures=text)

    def _count(self) -> None:
        if not self._unit:
            return
        task = next(task for task in self._bars.tasks if task.id == self._task)
        done = f"{task.completed:.0f}" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}"
        images = self._unit == "images"
        speed = f"{task.speed:.0f} images/s" if images and task.speed else ""
        left = "" if task.time_remaining is None else f"ETA {_minutes(task.time_remaining)}"
        self._bars.update(self._task, count=done if images else f"{done} {self._unit}", rate=speed, left=left)


def _dim(line: str) -> Text:
    return Text(line, style="dim", no_wrap=True, overflow="ellipsis")


def _text(template: str) -> TextColumn:
    return TextColumn(template, markup=False, table_column=Column(no_wrap=True))


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
