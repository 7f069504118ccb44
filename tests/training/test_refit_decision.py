"""When a measured model is fitted once more on all images, and when it is delivered as it is."""

from dataclasses import replace

import numpy as np
import pytest

from fake_time import ManualClock
from foveal.config import TrainConfig
from foveal.data.targets.labels import Labels
from foveal.decisions import REFIT, Decisions
from foveal.memory_budget import MemoryBudget
from foveal.metrics.calibration import fit_temperature
from foveal.models.trained import TrainedModel
from foveal.progress import Progress
from foveal.training.candidate import Candidate, Refit, Refitted
from foveal.training.context import RunContext
from foveal.training.images import ImageArrays
from foveal.training.refit import refit
from foveal.training.time_budget import MARGIN, TimeBudget
from foveal.values import Preprocess, Split, SplitRecord
from pictures import record

SIZES = {"train": 14, "val": 4, "test": 6}
NEW = TrainedModel({"new": np.ones(1)}, Preprocess())


class Budgeted(TrainConfig):
    """A process that has so much memory, whatever this one has."""

    memory_left = MemoryBudget()

    @property
    def memory_budget(self):
        return self.memory_left


class Toy:
    """A strategy's way to fit once more: remembers what it was given."""

    def __init__(self, seconds=1.0, memory=0):
        self.refit, self.given = Refit(self.fit, seconds, memory), []

    def fit(self, records, folds):
        self.given.append((records, folds))
        sure = np.where(np.arange(len(records)) % 5 == 0, -1.0, 1.0)  # of five, one is wrong
        right = np.array([p.record.label == "b" for p in records])
        logits = np.stack([np.zeros(len(records)), np.where(right, 3.0, -3.0) * sure], axis=1)
        return Refitted(NEW, logits.astype(np.float32))


def measured(toy, sizes=SIZES, groups=None):
    seen, number = {}, 0
    for subset, count in sizes.items():
        seen[subset] = [
            SplitRecord(record(number + i, "ab"[i % 2]), subset, groups or str(number + i)) for i in range(count)
        ]
        number += count
    more = {"score": 0.9, "score_ci95": None, "score_n": 10, "logits": {}, "settings": {}}
    return Candidate(
        "toy", 1.0, trained=TrainedModel({}, Preprocess()), seen=seen, refit=toy and toy.refit, **more
    )


def context_of(budget=float("inf"), *, decisions=None, config=None):
    clock, progress = ManualClock(budget), Progress()
    return RunContext(
        Split((), (), ("a", "b")),
        Labels(),
        TimeBudget(clock, 0.0),
        progress,
        decisions or Decisions(),
        ImageArrays(clock, progress),
        config=config or TrainConfig(),
    )


def test_any_strategy_that_knows_how_is_fitted_on_all_images_and_calibrated_by_folds():
    toy, context = Toy(), context_of()
    delivered = refit(measured(toy), context)
    ((records, folds),) = toy.given
    assert [p.subset for p in records] == [s for s, n in SIZES.items() for _ in range(n)]
    assert len(folds) == len(records) == 24 and len(set(folds.tolist())) > 1
    assert delivered.trained is NEW and delivered.to_dict()["done"] and delivered.to_dict()["images"] == 24
    logits = toy.fit(records, folds).logits
    assert delivered.calibration.temperature == fit_temperature(logits, context.targets(records))
    assert delivered.calibration.validation["n"] == 24
    assert delivered.calibration.validation["accuracy"] == pytest.approx(19 / 24)
    assert context.decisions.get(REFIT) == ""


@pytest.mark.parametrize(
    ("toy", "more", "budget"),
    [
        (None, {}, 1e9),  # a strategy that does not know how
        (Toy(), {"sizes": {"train": 9, "val": 0, "test": 0}}, 1e9),
        (Toy(), {"groups": "one burst"}, 1e9),  # nothing can be held out
        (Toy(seconds=100.0), {}, 100.0 * MARGIN - 1),
    ],
)
def test_what_can_not_be_refitted_is_delivered_as_measured_with_the_reason(toy, more, budget):
    context = context_of(budget)
    delivered = refit(measured(toy, **more), context)
    assert delivered.trained is None and delivered.reason == context.decisions.get(REFIT) != ""
    assert delivered.to_dict()["images"] == more.get("sizes", SIZES)["train"]
    assert toy is None or not toy.given


def test_it_is_not_done_when_it_is_not_wanted_or_the_user_stopped():
    toy = Toy()
    assert refit(measured(toy), context_of(config=TrainConfig(refit=False))).trained is None
    stopped = context_of()
    stopped.clock.stop()
    assert refit(measured(toy), stopped).trained is None and not toy.given


def test_it_stays_within_the_memory():
    config = Budgeted()
    config.memory_left = MemoryBudget(64 << 30)
    for memory, done in ((1 << 20, True), (64 << 30, False)):
        delivered = refit(measured(Toy(memory=memory)), context_of(config=config))
        assert (delivered.trained is not None) is done


@pytest.mark.parametrize("wanted", [True, False])
def test_what_was_decided_is_obeyed_whatever_the_time(wanted):
    first = context_of(1e9 if wanted else 0.5)
    assert (refit(measured(Toy()), first).trained is not None) is wanted
    later = context_of(0.5 if wanted else 1e9, decisions=Decisions(dict(first.decisions.made)))
    assert (refit(measured(Toy()), later).trained is not None) is wanted


def test_time_is_left_for_it():
    best = measured(Toy(seconds=10.0))
    assert replace(best, pending_test_seconds=3.0).pending_seconds == pytest.approx(3 + 10 * MARGIN)
    assert replace(best, refit=None).pending_seconds == 0
