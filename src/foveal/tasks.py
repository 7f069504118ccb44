"""A table of parts per task. Stages never ask which task it is: they are handed these parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foveal.config import TrainConfig
from foveal.errors import UnknownName
from foveal.fit import Candidate, Work, choose_route
from foveal.fit.routes import Route
from foveal.fit.segment_route import choose_segment_route
from foveal.measure import Shown, words
from foveal.ship.bundle import Bundle
from foveal.ship.evaluate import evaluate_labels
from foveal.ship.evaluate_masks import evaluate_masks
from foveal.ship.make import Calibration, calibrate_labels, calibrate_masks
from foveal.ship.tested import tested_labels, tested_masks
from foveal.values import Decisions, Entry


@dataclass(frozen=True)
class Task:
    """What makes a task what it is.

    Attributes:
        name: as in `summary.json`.
        route: which way to learn, with the ladder of its strategies.
        calibrate: what the validation side says about a candidate.
        measure: the chosen model on the test side → figures, and what the report shows.
        evaluate: a finished run, on its own test side or on other data.
        headline: figures → how well, and how sure, for a person.
        lines: figures → a table of them.
    """

    name: str
    route: Callable[[Sequence[Entry], TrainConfig, Decisions], Route]
    calibrate: Callable[[Candidate, Work], Calibration]
    measure: Callable[[Bundle, Candidate, Work], Shown]
    evaluate: Callable[..., dict[str, Any]]
    headline: Callable[[Mapping[str, Any], int], tuple[str, str]]
    lines: Callable[[Mapping[str, Any]], list[str]]


TASKS = {
    "classify": Task(
        "classify",
        choose_route,
        calibrate_labels,
        tested_labels,
        evaluate_labels,
        words.headline_of_labels,
        words.lines_of_labels,
    ),
    "segment": Task(
        "segment",
        choose_segment_route,
        calibrate_masks,
        tested_masks,
        evaluate_masks,
        words.headline_of_masks,
        words.lines_of_masks,
    ),
}


def find_task(name: str) -> Task:
    """A task by name.

    Raises:
        UnknownName: with the nearest known name.
    """
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name]
