"""Larger inputs are tried where nothing else is worth the time, and the bundle keeps their size."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fake_time import ManualClock
from foveal import ImageClassifier, load
from foveal.memory_budget import MemoryBudget
from foveal.training.candidate import Candidate
from foveal.training.strategies.resolution import STRATEGY
from foveal.training.strategy import LadderState
from foveal.values import Preprocess
from runs import context_of
from toy_backbone import NAME, toy_backbone


@pytest.fixture
def stripes(tmp_path):
    """Fine vertical and horizontal stripes."""
    rng = np.random.default_rng(0)
    for label in ("columns", "rows"):
        (tmp_path / label).mkdir()
        for i in range(30):
            stripes = np.tile(np.array([0, 0, 255, 255], dtype=np.uint8), 24)
            pixels = np.broadcast_to(stripes, (96, 96)) if label == "columns" else stripes[:, None].repeat(96, 1)
            noisy = np.clip(pixels[:, :, None].astype(int) + rng.integers(-40, 40, (96, 96, 3)), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / label / f"{i}.png")
    return tmp_path


def test_the_model_is_given_larger_images_wherever_it_predicts(stripes, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("runs") / "run")
    with toy_backbone():
        model = ImageClassifier(
            time="60s", backbone=NAME, strategy="frozen-resolution", out=out, refit=False, test="subset"
        )
        model.fit(stripes)
        assert model.summary_["model"]["input"] == [3, 64, 64]  # 32 × 9/7 is 41, and the next multiple of 32 is 64
        assert load(out).evaluate()["test"]["accuracy"] == model.summary_["test"]["accuracy"]


def probe(score=0.9, n=100, **trained):
    """A linear probe that was kept."""
    model = SimpleNamespace(backbone=object(), views=("plain",), network=None, pretrained=True)
    model.__dict__.update(trained)
    return Candidate("frozen", 1.0, score, None, n, model, logits={}, seen={}, settings={})


def refusal(best, *, left=600.0, per_image=0.01, images=1000, **given):
    """What the strategy says of this state, with so many seconds left."""
    backbone = SimpleNamespace(name="lite0", stage_dimension=given.pop("stage_dimension", 100))
    extractor = SimpleNamespace(backbone=backbone, preprocess=Preprocess(size=224))
    split = SimpleNamespace(placed=[None] * images)
    context = context_of(clock=ManualClock(left), evaluation=0.0, made={"feature_seconds": per_image}, **given)
    context = replace(context, split=split, extractor=extractor)
    state = LadderState([best] if best else [], best)
    return STRATEGY.refuse(context, state)


def test_it_is_tried_where_it_is_cheap():
    assert refusal(probe(0.5), left=1e6) is None


def test_errors_that_fine_tuning_could_save_are_left_to_it():
    assert refusal(probe(0.5, n=1000), left=100.0) is not None


def test_with_too_little_time_to_fine_tune_it_is_tried():
    assert refusal(probe(0.5, n=1000), left=15.0) is None


def test_with_few_errors_left_nothing_else_is_worth_the_time():
    assert refusal(probe(0.99, n=200)) is None


def test_without_errors_it_is_not_tried():
    assert refusal(probe(1.0)) is not None


def test_a_network_of_its_own_is_no_linear_probe():
    assert refusal(probe(backbone=None)) is not None


def test_a_backbone_that_takes_one_size_only_is_given_that():
    assert refusal(probe(0.99), stage_dimension=0) is not None


def test_where_memory_is_limited_it_is_not_tried():
    context = context_of()
    config = replace(context.config, memory="1GiB")
    assert not MemoryBudget.of_process(1 << 30).ample
    assert refusal(probe(0.99), config=config) is not None
