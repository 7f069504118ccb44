"""A run as strategies and trainers see it, without files: its context, and what it said."""

from fake_time import ManualClock
from foveal.data.targets.labels import Labels
from foveal.decisions import Decisions
from foveal.progress import Progress
from foveal.training.context import RunContext
from foveal.training.images import ImageArrays
from foveal.training.time_budget import TimeBudget
from foveal.values import Split, SplitRecord
from pictures import record

#: A device for the decisions of a run: nothing is probed.
CPU = {"name": "cpu", "precision": "fp32", "threads": 2}


class Messages(Progress):
    """Keeps what a run said, in `said`."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def placed(classes=("a", "b"), **counts):
    """A split of images that were never files: so many in each subset, of the classes in turn."""
    records = (
        SplitRecord(record(f"{subset}{i}", classes[i % len(classes)]), subset, f"{subset}{i}")
        for subset, count in counts.items()
        for i in range(count)
    )
    return Split(tuple(records), (), tuple(classes))


def context_of(
    split=None, *, target=None, clock=None, evaluation=None, progress=None, made=(), images=ImageArrays, **given
):
    """The context of a run, on a clock that stands still unless another is given.

    Args:
        split: the images; None: there are none, of two classes.
        target, clock, progress: as in `RunContext`.
        evaluation: seconds reserved for evaluating; None: as many as usual.
        made: decisions by id, or a `Decisions`.
        images: the class that reads them.
        given: further fields of `RunContext`.
    """
    clock, progress = clock or ManualClock(), progress or Messages()
    if not isinstance(made, Decisions):
        made = Decisions({name: {"value": value, "reason": "a test"} for name, value in dict(made).items()})
    return RunContext(
        split or Split((), (), ("a", "b")),
        target or Labels(),
        TimeBudget(clock) if evaluation is None else TimeBudget(clock, evaluation),
        progress,
        made,
        images(clock, progress),
        **given,
    )
