"""A run in memory for training from scratch, on images of bars; and a progress that acts after each step."""

from contextlib import contextmanager

import numpy as np
import torch

from digits import bars
from fake_time import ManualClock
from foveal.data.targets.labels import Labels
from foveal.decisions import DEVICE, Decisions
from foveal.progress import Progress
from foveal.training.context import RunContext
from foveal.training.images import ImageArrays
from foveal.training.time_budget import TimeBudget
from foveal.values import Preprocess, Split, SplitRecord
from pictures import record

#: Bars at the left and the right, which a mirror swaps; bars at the top and the bottom, which it does not.
SWAPPED, SYMMETRIC = (0, 1), (2, 3)


class Bars(ImageArrays):
    """Images of bars whose position is the class, one data set for each subset."""

    classes = SYMMETRIC

    def of(self, name, count, side):
        pixels, labels = bars(4 * count + 40, seed=("train", "val", "test").index(name), side=side)
        chosen = np.isin(labels, self.classes)
        return pixels[chosen][:count, None], labels[chosen][:count]

    def subset(self, name, records, preprocess):
        return self.of(name, len(records), preprocess.size)[0]


def context_with(
    *, clock=None, classes=SYMMETRIC, counts=(64, 32, 32), side=12, evaluation=0.0, progress=None, made=None
):
    clock, progress = clock or ManualClock(), progress or Progress()
    images = Bars(clock, progress)
    images.classes = classes
    placed = []
    for name, count in zip(("train", "val", "test"), counts, strict=True):
        for i, label in enumerate(images.of(name, count, side)[1]):
            placed.append(SplitRecord(record(f"{name}{i}", str(label)), name, f"{name}{i}"))
    device = {"name": "cpu", "precision": "fp32", "threads": torch.get_num_threads()}
    return RunContext(
        Split(tuple(placed), (), tuple(map(str, classes))),
        Labels(),
        TimeBudget(clock, evaluation),
        progress,
        Decisions({DEVICE.id: {"value": device, "reason": ""}} | (made or {})),
        images,
        preprocess=Preprocess(size=side, channels=1),
    )


class AtEachStep(Progress):
    """Calls back after each step of the trainings whose names end like this."""

    def __init__(self, ending, act):
        self._ending, self._act = ending, act

    @contextmanager
    def stage(self, name, total=0, **about):
        with super().stage(name, total, **about) as bar:
            yield _Bar(bar, self._act) if name.endswith(self._ending) else bar


class _Bar:
    def __init__(self, inner, act):
        self.total, self.tell, self._inner, self._act = inner.total, inner.tell, inner, act

    def __call__(self, done):
        self._inner(done)
        if done:
            self._act()
