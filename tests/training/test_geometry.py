"""The geometry of the input is chosen by what tells the classes apart."""

from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from foveal import audit
from foveal.clock import Clock
from foveal.data.split.assign import make_split
from foveal.data.targets.labels import Labels
from foveal.decisions import GEOMETRY, Decisions
from foveal.features import Extractor
from foveal.progress import Progress
from foveal.training.context import RunContext
from foveal.training.images import ImageArrays
from foveal.training.ladder import search
from foveal.training.strategies.geometry import STRATEGY
from foveal.training.strategies.linear_probe import FROZEN
from foveal.training.strategy import LadderState
from foveal.training.time_budget import TimeBudget
from foveal.values import Backbone, Preprocess

SQUASH = Preprocess(size=16, resize="squash")


class QuarterEngine:
    """Features are the mean colours of an image's quarters."""

    name, precision, version, batch_size = "fake", "fp32", "1", 32

    def submit(self, pixels):
        future = Future()
        quarters = pixels.reshape(len(pixels), 2, 8, 2, 8, 3).mean(axis=(2, 4))
        future.set_result(quarters.reshape(len(pixels), 12).astype(np.float32))
        return future


def context_of(folder, decisions=None):
    audited = audit(folder)
    split = make_split(audited.records, audited.near, target=audited.listing.target)
    clock, progress = Clock(), Progress()
    extractor = Extractor(Backbone("fake", 12, SQUASH, "00", None), SQUASH, QuarterEngine(), cache=False)
    return RunContext(
        split,
        Labels(),
        TimeBudget(clock, 0.0),
        progress,
        decisions or Decisions(),
        ImageArrays(clock, progress),
        extractor=extractor,
    )


def noise(rng, width, height):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(folder, label, number, pixels):
    (folder / label).mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / label / f"{number}.png")


@pytest.fixture(scope="module")
def told_by_shape(tmp_path_factory):
    """Wide and square images of noise: squashed, they are alike."""
    folder, rng = tmp_path_factory.mktemp("shape"), np.random.default_rng(0)
    for i in range(40):
        save(folder, "wide", i, noise(rng, 60, 30))
        save(folder, "square", i, noise(rng, 60, 60))
    return folder


@pytest.fixture(scope="module")
def told_by_the_edge(tmp_path_factory):
    """Wide images of noise whose outermost columns tell the class: cropped to a square, they are alike."""
    folder, rng = tmp_path_factory.mktemp("edge"), np.random.default_rng(1)
    for i in range(40):
        for label, level in (("dark", 0), ("light", 255)):
            pixels = noise(rng, 90, 30)
            pixels[:, :12] = level
            save(folder, label, i, pixels)
    return folder


def test_padding_is_chosen_where_the_shape_tells_the_classes_apart(told_by_shape):
    context = context_of(told_by_shape)
    squashed, chosen = FROZEN.fit(context, LadderState()), STRATEGY.fit(context, LadderState())
    assert chosen.score > 0.95 > squashed.score
    assert context.decisions.get(GEOMETRY)[0] == "pad"
    assert chosen.preprocess.resize == chosen.trained.preprocess.resize == "pad"
    assert chosen.trained.views[0] == "plain"


def test_what_a_crop_would_cut_off_is_kept(told_by_the_edge):
    context = context_of(told_by_the_edge)
    chosen = STRATEGY.fit(context, LadderState())
    assert chosen.score > 0.95
    assert context.decisions.get(GEOMETRY)[0] in ("squash", "pad")


def test_strategies_that_follow_take_the_geometry_that_was_kept(told_by_shape):
    inputs = []

    class Later:
        name, keep_unless_worse, continues = "later", False, None

        def refuse(self, context, state):
            return None

        def estimate(self, context, state):
            return 0.0

        def fit(self, context, state):
            inputs.append(context.features.preprocess.resize)
            return replace(state.best, strategy="later")

    search([FROZEN, STRATEGY, Later()], context_of(told_by_shape))
    assert inputs == ["pad"]


def test_a_replay_obeys_the_geometry_and_gives_the_same_weights(told_by_shape):
    first = context_of(told_by_shape)
    one = STRATEGY.fit(first, LadderState())
    decisions = Decisions(first.decisions.made)
    other = STRATEGY.fit(context_of(told_by_shape, decisions), LadderState())
    assert other.trained.preprocess == one.trained.preprocess
    assert all(np.array_equal(other.trained.tensors[k], v) for k, v in one.trained.tensors.items())
