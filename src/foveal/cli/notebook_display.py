"""Progress of a run in a notebook, where there is no terminal: a bar and a line in the output of the cell."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from foveal.cli.console import Terminal, say
from foveal.cli.status import RunStatus
from foveal.clock import Clock
from foveal.harmless import one_line
from foveal.progress import Bar, Progress

#: Seconds between drawings, each of which is sent to the browser.
_BETWEEN = 0.25
_WIDTH = 120


class NotebookDisplay(Progress):
    """Shows the stage, its speed, the time left and the best strategy so far; messages go to stderr.

    Args:
        clock: of the run.
        draw: shows a piece of HTML in place of the one before.
    """

    def __init__(self, clock: Clock, draw: Callable[[str], None]) -> None:
        self._draw, self._drawn = draw, -_BETWEEN
        self._status = RunStatus(clock)
        self._stages: list[_StageBar] = []

    @contextmanager
    def stage(self, name: str, total: int = 0, *, unit: str = "images") -> Iterator[Bar]:
        """Show a bar while the stage runs."""
        bar = _StageBar(name, total, unit, self._show)
        self._stages.append(bar)
        self._show()
        try:
            yield bar
        finally:
            self._stages.remove(bar)

    def say(self, text: str) -> None:
        """Print a message on stderr."""
        say(text)

    def best(self, strategy: str, score: float | None, ci95: Sequence[float] | None) -> None:
        """Show the best strategy so far."""
        self._status.best(strategy, score, ci95)

    def end(self, summary: Mapping[str, Any]) -> None:
        """Erase what is shown: the estimator shows its figures itself."""
        self._draw("")

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Show that the run has begun."""
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._drawn >= _BETWEEN:
            self._drawn = now
            rows = [stage.html() for stage in self._stages] + [html.escape(self._status.line(_WIDTH))]
            self._draw("<br>".join(rows))


class _StageBar:
    def __init__(self, name: str, total: int, unit: str, show: Callable[[], None]) -> None:
        self._name, self._total, self._unit, self._show = html.escape(one_line(name)), total, unit, show
        self._done, self._began = 0, time.monotonic()
        self._figures = ""

    def total(self, count: int) -> None:
        self._total = count

    def __call__(self, done: int) -> None:
        self._done += done
        self._show()

    def tell(self, **figures: float) -> None:
        self._figures = ", ".join(f"{name} {value:.3g}" for name, value in figures.items() if name != "step")
        self._show()

    def html(self) -> str:
        if not (self._total and self._unit):
            return f"<label>{self._name} <progress></progress></label>"
        seconds = time.monotonic() - self._began
        speed = f", {self._done / seconds:.0f} images/s" if self._unit == "images" and seconds > 0 else ""
        figures = f", {html.escape(self._figures)}" if self._figures else ""
        bar = f'<progress max="{self._total}" value="{min(self._done, self._total)}"></progress>'
        return f"<label>{self._name} {bar}</label> {self._done}/{self._total}{speed}{figures}"


def drawing_in_notebook() -> Callable[[str], None] | None:
    """A function that redraws the output of the running cell; None outside a notebook."""
    if "ipykernel" not in sys.modules:
        return None
    shown = import_module("IPython.display")
    handle = shown.display(shown.HTML(""), display_id=True)
    return None if handle is None else lambda text: handle.update(shown.HTML(text))


@contextmanager
def verbose_progress(clock: Clock) -> Iterator[Progress]:
    """Bars of a run where a person looks: in the notebook, or on the terminal."""
    if (draw := drawing_in_notebook()) is not None:
        yield NotebookDisplay(clock, draw)
        return
    with Terminal(clock=clock) as terminal:
        yield terminal
