"""The targets by the name of their task. A new one is a file in this folder and a line in `_BUILT_IN`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveal.data.targets.label_sets import LabelSets
from foveal.data.targets.labels import Labels
from foveal.data.targets.masks import Masks
from foveal.data.targets.target import Target
from foveal.errors import UnknownName

#: `--task auto`: the data decides.
AUTO = "auto"
#: In the order in which `AUTO` tries them: any folder of images has labels, so they come last.
_BUILT_IN: tuple[type[Target], ...] = (Masks, LabelSets, Labels)
TARGETS: dict[str, type[Target]] = {kind.task: kind for kind in _BUILT_IN}


def register_target(kind: type[Target]) -> type[Target]:
    """Add a target, before those that are known; also as a class decorator."""
    known = {task: other for task, other in TARGETS.items() if task != kind.task}
    TARGETS.clear()
    TARGETS.update({kind.task: kind} | known)
    return kind


def targets() -> list[type[Target]]:
    """All targets, in the order in which `AUTO` tries them."""
    return list(TARGETS.values())


def find_target(task: str) -> type[Target]:
    """The target of a task.

    Raises:
        UnknownName: with the nearest known task.
    """
    if task not in TARGETS:
        raise UnknownName("task", task, [AUTO, *TARGETS])
    return TARGETS[task]


def target_of(audited: Mapping[str, Any]) -> Target:
    """Restored from an `audit.json`; one that names no task is from before there was a second one.

    Raises:
        UnknownName: for a task that is not registered.
        KeyError, TypeError: when the file is damaged.
    """
    return find_target(audited.get("task", Labels.task)).from_dict(audited)
