"""Settings of a run, checked once, at the door."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from foveal.clock import parse_duration
from foveal.errors import UnknownName, UsageError
from foveal.machine import bytes_of

#: Pictures over this many pixels are refused, not decoded: a bomb, or a map that wants tiling.
MAX_PIXELS = 100_000_000
#: Of time, for everything, where none is given.
BUDGET = "10m"
TASKS = ("auto", "classify", "segment")
AUGMENTS = ("auto", "none", "light", "strong")


@dataclass(frozen=True)
class TrainConfig:
    """What `foveal train` can be told.

    Attributes:
        time: budget for the whole run, e.g. `90s`, `10m`, `2h`.
        task: `classify` or `segment`; `auto`: as the data look.
        seed: of the split and of everything random.
        backbone: `lite0` (ships with foveal) or a timm name.
        group_by: regular expression on the path relative to DATA; what it captures (or matches)
            joins pictures that must stay on one side of the split.
        split_from: run folder whose split is kept for every picture that it knows.
        test: whether pictures are held out to test the model; where they lie elsewhere, all can be learned from.
        strategy: pins one rung of the ladder by name.
        from_scratch: an architecture of the zoo, trained from nothing.
        augment: how much pictures may change while a network is tuned.
        memory: what the whole process may have resident, e.g. `4GiB`; None: what the machine has.
        max_pixels: larger pictures are refused.
        cache: whether features are kept on disk between runs.
        classes: file with the names of the classes in masks; None: the one that lies beside them, if any.
        void: class or number in masks that says "nobody knows".
    """

    time: str = BUDGET
    task: str = "auto"
    seed: int = 0
    backbone: str = "lite0"
    group_by: str | None = None
    split_from: str | None = None
    test: bool = True
    strategy: str | None = None
    from_scratch: str | None = None
    augment: str = "auto"
    memory: str | None = None
    max_pixels: int = MAX_PIXELS
    cache: bool = True
    classes: str | None = None
    void: str | None = None

    def __post_init__(self) -> None:
        parse_duration(self.time)
        if self.memory is not None:
            bytes_of(self.memory)
        if self.group_by is not None:
            compile_group_by(self.group_by)
        if self.from_scratch is not None and self.strategy is not None:
            raise UsageError("--from-scratch and --strategy both say how to learn", hint="give one of them")
        if self.split_from is not None and not self.test:
            raise UsageError("--split-from keeps a test side, --no-test has none", hint="give one of them")
        if self.task not in TASKS:
            raise UnknownName("task", self.task, TASKS)
        if self.augment not in AUGMENTS:
            raise UnknownName("augmentation", self.augment, AUGMENTS)
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"{self.seed} is no seed", hint="give a whole number from 0 to 4294967295")
        if self.max_pixels < 1:
            raise UsageError(f"max_pixels is {self.max_pixels}", hint="give a positive number of pixels")

    @property
    def budget(self) -> float:
        """The time budget in seconds."""
        return parse_duration(self.time)

    @property
    def memory_bytes(self) -> int | None:
        """The budget of memory that was asked for, bytes."""
        return bytes_of(self.memory) if self.memory is not None else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)


def compile_group_by(pattern: str) -> re.Pattern[str]:
    """The compiled pattern.

    Raises:
        UsageError: when it is no regular expression.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"--group-by {pattern!r} is no regular expression: {error}",
            hint="for example --group-by '^[^/]+/(\\d+)_' takes the number before the first underscore",
        ) from None
