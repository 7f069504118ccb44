"""Training from scratch: the recipe by the time, mirroring by evidence, ensembles of whole networks."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from digits import bars
from fake_time import FakeTime, ManualClock
from foveal.clock import Clock
from foveal.data.targets.labels import Labels
from foveal.decisions import EPOCH_SECONDS, HFLIP, MEMBERS, STOPPED_AT
from foveal.models.networks import build, register_architecture
from foveal.training.batches.arrays import Batches
from foveal.training.ladder import search
from foveal.training.loop.device import Device
from foveal.training.recipes.augmentation import Augment
from foveal.training.recipes.scratch import RECIPES, recipe_for
from foveal.training.strategies.from_scratch import FromScratch
from foveal.training.strategy import LadderState
from foveal.training.trainers.base import measure_step
from foveal.training.trainers.scratch import ScratchTrainer
from foveal.values import Preprocess
from registered import restored_registries
from scratch_context import SWAPPED, SYMMETRIC, AtEachStep, context_with

SECONDS, MINUTE, QUARTER, HOUR = RECIPES
TINY = {"stages": ((8,), (16,)), "batch_size": 16, "stride": 1, "kernel": 3}


class Timed(FromScratch):
    """A strategy whose speed is known, and which takes no time to be run."""

    def estimate(self, context, state):
        seconds = {
            "scratch-seconds": 1.0,
            "scratch-minute": 50.0,
            "scratch-quarter": 500.0,
            "scratch-hour": 3000.0,
        }
        return seconds[self.name]

    def fit(self, context, state):
        tiny = replace(self.recipe, **TINY, epochs=1, least_steps=1, members=1)
        return FromScratch(tiny).fit(context_with(), LadderState())


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (10, []),
        (70, ["scratch-minute"]),
        (600, ["scratch-minute"]),  # for the quarter there is too little, with its margin
        (660, ["scratch-minute", "scratch-quarter"]),
        (700, ["scratch-quarter"]),
        (7000, ["scratch-hour"]),
    ],
)
def test_the_longest_recipe_that_fits_follows_the_first(budget, expected):
    strategies = ()
    for recipe in reversed(RECIPES[1:]):
        strategies = (Timed(recipe, strategies), *strategies)
    result = search((Timed(SECONDS), *strategies), context_with(clock=ManualClock(float(budget))))
    assert [c.strategy for c in result.candidates] == ["scratch-seconds", *expected]


@pytest.mark.parametrize(("classes", "keeps"), [(SWAPPED, False), (SYMMETRIC, True)])
def test_the_first_network_tells_whether_mirrored_images_keep_their_label(classes, keeps):
    context = context_with(classes=classes)
    first = FromScratch(replace(SECONDS, **TINY, epochs=15, least_steps=1)).fit(context, LadderState())
    assert first.score > 0.9 and context.decisions.get(HFLIP) is None
    second = FromScratch(replace(MINUTE, **TINY, epochs=1, least_steps=1))
    candidate = second.fit(context, LadderState([first], first))
    assert context.decisions.get(HFLIP) is keeps
    assert candidate.settings["recipe"]["augment"]["hflip"] is keeps


ENSEMBLE = FromScratch(replace(HOUR, **TINY, epochs=1, least_steps=5, members=3, shifts=0))


@pytest.mark.parametrize(("stopped", "members"), [(None, 3), (0, 1), (1, 1), (2, 2)])
def test_a_network_that_was_stopped_does_not_join_the_ensemble(stopped, members):
    """Ctrl-C in the second one left networks of one step, whose predictions counted as much as the first one's."""
    clock = ManualClock()
    context = context_with(clock=clock, progress=AtEachStep(f"-{stopped}", clock.stop))
    candidate = ENSEMBLE.fit(context, LadderState())
    assert candidate.trained.network.get("count", 1) == members == len(candidate.settings["outcomes"])
    assert context.decisions.get(MEMBERS.of("scratch-hour")) == (members if members < 3 else None)
    again = ENSEMBLE.fit(context_with(made=context.decisions.made), LadderState())
    assert again.trained.network == candidate.trained.network
    for name, tensor in candidate.trained.tensors.items():
        assert np.array_equal(again.trained.tensors[name], tensor), name


def test_networks_of_an_ensemble_have_as_much_time_each():
    clock = ManualClock(95.0)

    def second():
        clock.now += 1.0

    made = {EPOCH_SECONDS.of("scratch-hour").id: {"value": 1e-3, "reason": "far too optimistic"}}
    slow = AtEachStep(("-0", "-1", "-2"), second)
    context = context_with(clock=clock, evaluation=5.0, progress=slow, made=made)
    FromScratch(replace(ENSEMBLE.recipe, least_steps=1000)).fit(context, LadderState())
    stopped = dict(context.decisions.of_kind(STOPPED_AT))
    assert stopped["scratch-hour-0"] == stopped["scratch-hour-1"] == pytest.approx(30, abs=1)


class Slow(torch.nn.Module):
    """A linear model whose passes take time by the number of images: less where it predicts."""

    def __init__(self, image_seconds, side):
        super().__init__()
        self.image_seconds, self.head = image_seconds, torch.nn.Linear(side * side, 2)

    def forward(self, x):
        if not isinstance(x, FakeTensor):
            time.sleep(self.image_seconds * len(x) * (1 if self.training else 0.4))
        return self.head(x.flatten(1))


@pytest.fixture
def slow(monkeypatch):
    """`slow(budget, …)`: a run whose clock moves by the passes of `Slow` alone; the last five seconds are kept."""
    FakeTime(monkeypatch)

    def context(budget, **options):
        return context_with(clock=Clock(budget, started_at=0.0), evaluation=5.0, **options)

    with restored_registries():
        register_architecture("slow", Slow)
        yield context


def slow_recipe(image_seconds, side=12, **changes):
    definition = {"architecture": "slow", "image_seconds": image_seconds, "side": side}
    return replace(recipe_for(definition, side), augment=Augment(), **changes)


@pytest.mark.parametrize("count", [4, 20, 40])
@pytest.mark.parametrize(("shifts", "members"), [(0, 1), (1, 1), (0, 3)])
def test_a_slow_network_leaves_time_for_its_predictions(slow, count, shifts, members):
    """It trained to the last second, predicted the held-out images only then, and took 73 s of 60."""
    context = slow(100.0, counts=(100, count, count))
    recipe = slow_recipe(0.1, batch_size=10, epochs=1000, members=members, shifts=shifts)
    candidate = FromScratch(recipe).fit(context, LadderState())
    assert 75 <= context.clock.spent() <= 95
    assert len(candidate.settings["outcomes"]) == members and len(candidate.logits["test"]) == count


@pytest.mark.parametrize(
    ("image_seconds", "budget", "sizes"),
    [(0.01, 105.0, {64}), (0.06, 105.0, {32, 16}), (0.6, 105.0, {8}), (0.6, math.inf, {64})],
)
def test_a_large_network_takes_smaller_batches_rather_than_a_single_step(slow, image_seconds, budget, sizes):
    """VGG-16 made one step of 64 images in a minute."""
    context = slow(budget, counts=(64, 4, 4))
    candidate = FromScratch(slow_recipe(image_seconds, epochs=30)).fit(context, LadderState())
    assert candidate.settings["batch_size"] in sizes
    assert candidate.steps >= 10 and context.clock.spent() <= budget - 5


def test_a_small_network_keeps_the_batch_size_of_its_recipe():
    """There is no time for a single step of any size."""
    context = context_with(clock=ManualClock(1e-9))
    assert ScratchTrainer(MINUTE, context).batch_size == MINUTE.batch_size


@pytest.mark.parametrize(("left", "whole"), [(math.inf, True), (1e-6, False)])
def test_where_a_step_is_too_long_to_try_a_part_of_a_batch_is_timed(left, whole):
    pixels, labels = bars(50)
    options = {"size": 16, "augment": Augment(), "seed": 3, "device": "cpu"}
    batches = Batches(pixels[:, None], labels.astype(np.int64), Preprocess(size=12, channels=1), **options)
    module, sizes = build(SECONDS.network(1, 4)), set()
    module.register_forward_hook(lambda _, inputs, __: sizes.add(len(inputs[0])))
    before = {k: v.clone() for k, v in module.named_parameters()}
    context = context_with(clock=ManualClock(left))
    seconds = measure_step(
        module, batches, Device("cpu", "fp32", 1), context, optimizer="adamw", loss=Labels().loss()
    )
    assert seconds > 0 and 2 in sizes and (16 in sizes) == whole
    assert all(torch.equal(v, before[k]) for k, v in module.named_parameters())
