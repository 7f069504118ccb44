"""The floor of small images: a linear model on pixels, which a network has to beat."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_time import ManualClock
from foveal.decisions import FIT_IMAGES
from foveal.models.networks import with_weights
from foveal.training.ladder import search
from foveal.training.recipes.scratch import RECIPES
from foveal.training.strategies.from_scratch import FromScratch
from foveal.training.strategies.linear_pixels import STRATEGY, averaged
from foveal.training.strategies.linear_probe import FROZEN
from foveal.training.strategies.registry import STRATEGIES
from foveal.training.strategy import LadderState
from foveal.values import Preprocess
from scratch_context import context_with

TINY = replace(RECIPES[0], stages=((8,), (16,)), batch_size=16, stride=1, kernel=3)


@given(st.sampled_from([1, 3]), st.integers(5, 33), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_the_network_in_a_bundle_gives_the_logits_of_the_model_that_was_fitted(channels, side, pool):
    rng = np.random.default_rng(side)
    pixels = rng.integers(0, 256, (7, channels, side, side), dtype=np.uint8)
    preprocess = Preprocess(size=side, channels=channels, mean=(120.0, 110.0, 100.0), std=(60.0, 70.0, 80.0))
    features = averaged(pixels, preprocess, pool)
    weight, bias = rng.normal(size=(3, features.shape[1])).astype(np.float32), np.float32([0.1, 0.2, 0.3])
    network = {"architecture": "linear", "channels": channels, "size": side, "pool": pool, "classes": 3}
    module = with_weights(network, {"head.weight": weight, "head.bias": bias})
    mean, std = (np.float32(v[:channels])[:, None, None] for v in (preprocess.mean, preprocess.std))
    with torch.inference_mode():
        logits = module(torch.from_numpy((pixels - mean) / std)).numpy()
    assert logits == pytest.approx(features @ weight.T + bias, rel=1e-3, abs=1e-3)


def test_it_is_fitted_and_predicts_the_held_out_subsets():
    context = context_with()
    model = STRATEGY.fit(context, LadderState())
    assert model.score > 0.9 and model.score_ci95[0] <= model.score <= model.score_ci95[1]
    for subset in ("val", "test"):
        targets = context.targets(context.split.subset(subset))
        assert (model.logits[subset].argmax(axis=1) == targets).mean() > 0.9
    assert context.decisions.get(FIT_IMAGES) == len(context.split.subset("train"))


def test_a_network_of_a_few_steps_does_not_replace_it():
    hopeless = FromScratch(replace(TINY, epochs=1, least_steps=1, lr=1e-9))
    result = search((STRATEGY, hopeless), context_with())
    assert [c.strategy for c in result.candidates] == ["linear-pixels", "scratch-seconds"]
    assert result.best.strategy == "linear-pixels"


def test_without_time_nothing_else_is_estimated():
    class Untouchable(FromScratch):
        def estimate(self, context, state):
            raise AssertionError("there is no time for it")

    clock = ManualClock(10.0)
    context = context_with(clock=clock, evaluation=0.2)
    clock.now += 9.9
    result = search((STRATEGY, Untouchable(TINY)), context)
    assert result.best.strategy == "linear-pixels"


@pytest.mark.parametrize("route", ["scratch", "small-colour", "many-small-colour", "scratch-colour"])
def test_it_comes_first(route):
    assert STRATEGIES[route][0] is STRATEGY


def after(scratch_score, frozen_score):
    """The state of a search that tried a first network and frozen features, with these scores."""
    context = context_with()
    scratch = FromScratch(replace(TINY, epochs=3, least_steps=1)).fit(context, LadderState())
    pretrained = replace(scratch.trained, network={"backbone": "lite0"})
    scratch = replace(scratch, score=scratch_score)
    frozen = replace(scratch, strategy=FROZEN.name, score=frozen_score, recipe=None, trained=pretrained)
    return context, LadderState([scratch, frozen], max((scratch, frozen), key=lambda c: c.score))


def test_a_longer_recipe_is_tried_where_it_is_expected_to_beat_fine_tuning():
    longer = FromScratch(replace(TINY, name="scratch-minute"))
    context, state = after(scratch_score=0.97, frozen_score=0.3)
    assert longer.refuse(context, state) is None
    context, state = after(scratch_score=0.3, frozen_score=0.97)
    assert longer.refuse(context, state)
    assert FROZEN.refuse(context, LadderState(state.candidates[:1], state.candidates[0])) is None


def test_fine_tuning_does_not_follow_a_longer_recipe_that_is_the_best():
    _, state = after(scratch_score=0.97, frozen_score=0.3)
    first, frozen = state.candidates
    longer = replace(first, strategy="scratch-minute", score=0.98)
    fine_tuning = next(s for s in STRATEGIES["small-colour"] if s.name == "fine-tune")
    backbone = SimpleNamespace(features=SimpleNamespace(backbone=SimpleNamespace(stages=(), name="lite0")))
    assert fine_tuning.refuse(backbone, LadderState([first, frozen, longer], longer))
