"""A table of parts per task. Stages never ask which task it is: they are handed these parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foveal.errors import UnknownName
from foveal.fit.strategies.base import Strategy
from foveal.fit.strategies.frozen import RUNGS
from foveal.measure import Measurement, measure


@dataclass(frozen=True)
class Task:
    """What makes a task what it is.

    Attributes:
        name: as in `summary.json`.
        rungs: the strategies of its ladder, in order of cost.
        measure: answers and labels → figures.
    """

    name: str
    rungs: Sequence[Strategy]
    measure: Callable[..., Measurement]


TASKS = {"classify": Task("classify", RUNGS, measure)}


def find_task(name: str) -> Task:
    """A task by name.

    Raises:
        UnknownName: with the nearest known name.
    """
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name]
