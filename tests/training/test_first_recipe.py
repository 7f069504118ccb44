"""The first recipe from scratch makes more epochs where no longer one has time to follow it."""

from dataclasses import replace

import pytest

from fake_time import ManualClock
from foveal.decisions import EPOCH_SECONDS, STEPS
from foveal.training.recipes.scratch import RECIPES
from foveal.training.strategies.from_scratch import FromScratch
from foveal.training.strategy import LadderState
from scratch_context import context_with

TINY = {"stages": ((8,), (16,)), "batch_size": 16, "stride": 1, "kernel": 3, "least_steps": 1}
FIRST, LONGER = (replace(recipe, **TINY) for recipe in RECIPES[:2])


@pytest.mark.parametrize(
    ("longer_epoch_seconds", "budget", "times"),
    [
        (10.0, 600.0, 1),  # there is time for the longer one
        (10.0, 20.0, FIRST.alone),  # there is not
        (1e4, 60.0, FIRST.alone),
        (10.0, 4.0, 1.6),  # nor for all of these: predictions follow
    ],
)
def test_it_takes_the_time_that_nothing_longer_can_use(longer_epoch_seconds, budget, times):
    made = {
        EPOCH_SECONDS.of(name).id: {"value": seconds, "reason": "a test"}
        for name, seconds in ((FIRST.name, 1.0), (LONGER.name, longer_epoch_seconds))
    }
    context = context_with(clock=ManualClock(budget), made=made)
    FromScratch(FIRST, (FromScratch(LONGER),), first=True).fit(context, LadderState())
    per_epoch = len(context.split.subset("train")) // 16
    assert context.decisions.get(STEPS.of(FIRST.name)) / per_epoch / FIRST.epochs == pytest.approx(times, abs=0.3)


def test_by_itself_it_makes_its_own_epochs():
    context = context_with(clock=ManualClock(600.0))
    FromScratch(FIRST).fit(context, LadderState())
    per_epoch = len(context.split.subset("train")) // 16
    assert context.decisions.get(STEPS.of(FIRST.name)) == FIRST.epochs * per_epoch
