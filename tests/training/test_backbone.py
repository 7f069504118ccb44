"""Another backbone takes the place of the run's own where cross-validation favours it."""

from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest

from fake_time import ManualClock
from foveal import ImageClassifier, load
from foveal.config import TrainConfig
from foveal.decisions import BACKBONE, Decisions
from foveal.engines import EngineSpec
from foveal.engines.registry import ENGINES
from foveal.files import read_json
from foveal.flow import replay
from foveal.models.backbones import available_backbones
from foveal.models.sources import SOURCES
from foveal.models.sources.timm_cache import MOST_BYTES, MOST_NAMES, TimmCache
from foveal.training.candidate import Candidate
from foveal.training.strategies.backbone import STRATEGY
from foveal.training.strategy import LadderState
from foveal.values import Backbone, Preprocess, Segment
from pictures import make_folder
from registered import restored_registries
from runs import context_of


class ColourEngine:
    """Features are the mean colours of an image's quarters; those of a blind backbone are the same for all images."""

    name, precision, version, batch_size = "colours", "fp32", "1", 32

    def __init__(self, backbone, preprocess, stages):
        self._blind, self._half = backbone.weights_sha256 == BLIND, preprocess.size // 2

    def submit(self, pixels):
        quarters = pixels.reshape(len(pixels), 2, self._half, 2, self._half, 3).mean(axis=(2, 4))
        features = quarters.reshape(len(pixels), 12).astype(np.float32)
        future = Future()
        future.set_result(np.ones_like(features) if self._blind else features)
        return future

    def __call__(self, pixels):
        return self.submit(pixels).result()

    def release(self):
        pass


BLIND, SEEING = "b1" * 32, "5e" * 32


class Source:
    """Backbones by name, and their weights.

    Args:
        weights: name → SHA-256, from the one expected to be best.
    """

    def __init__(self, weights):
        self._weights = weights

    def names(self):
        return list(self._weights)

    available = names

    def has(self, name):
        return name in self._weights

    def find(self, name):
        size = 16 if name == "lite0" else 32
        return Backbone(name, 12, Preprocess(size=size), self._weights[name], None, None, (Segment(12, 0, 1000),))


@pytest.fixture
def only():
    """`only(weights)`: no other backbones are on this machine, and one engine."""
    sources = list(SOURCES)
    with restored_registries():
        ENGINES[:] = [EngineSpec("colours-fp32", "fp32", lambda: True, ColourEngine)]

        def install(**weights):
            SOURCES[:] = [Source(weights)]

        yield install
        SOURCES[:] = sources


@pytest.mark.parametrize(
    ("first", "other", "kept"), [(BLIND, SEEING, "larger"), (SEEING, BLIND, "lite0"), (SEEING, SEEING, "lite0")]
)
def test_the_one_that_tells_the_classes_apart_is_kept(only, tmp_path, first, other, kept):
    folder, run = make_folder(tmp_path / "images", {"ant": 25, "bee": 25}), tmp_path / "run"
    only(larger=other, lite0=first)
    model = ImageClassifier(strategy="frozen-backbone", test="subset", out=str(run)).fit(folder)
    assert Decisions.from_dict(read_json(run / "config.json")).get(BACKBONE) == kept
    assert model.summary_["model"]["backbone"] == kept
    assert model.summary_["test"]["accuracy"] == 1
    assert load(str(run)).evaluate()["test"]["accuracy"] == 1
    again, _ = replay(str(run), out=str(tmp_path / "again"))
    weights = [(f / "model" / "weights.safetensors").read_bytes() for f in (run, again)]
    assert weights[0] == weights[1]


def test_the_backbone_that_was_asked_for_is_not_compared(only):
    only(larger=SEEING, lite0=BLIND)
    assert refusal(config=TrainConfig(backbone="lite0")) is not None
    assert refusal() is None


def test_where_there_is_no_other_it_is_skipped(only):
    only(lite0=BLIND)
    assert refusal() is not None


def test_a_larger_backbone_takes_longer(only):
    only(larger=SEEING, lite0=BLIND)
    context, state = state_of()
    assert STRATEGY.estimate(context, state) >= 4 * 0.01 * 1000  # twice the side


def refusal(**given):
    context, state = state_of(**given)
    return STRATEGY.refuse(context, state)


def state_of(*, left=1e6, **given):
    """After a linear probe with errors, with 1000 images of which each took 10 ms."""
    source = SOURCES[0].find("lite0")
    extractor = SimpleNamespace(backbone=source, preprocess=source.preprocess)
    split = SimpleNamespace(placed=[None] * 1000)
    trained = SimpleNamespace(backbone=source, views=("plain",), network=None, pretrained=True)
    best = Candidate("frozen", 1.0, 0.9, None, 100, trained, logits={}, seen={}, settings={})
    context = context_of(clock=ManualClock(left), evaluation=0.0, made={"feature_seconds": 0.01}, **given)
    return context.__class__(**{**vars(context), "split": split, "extractor": extractor}), LadderState(
        [best], best
    )


def download(hub, name, size, file="model.safetensors"):
    folder = hub / f"models--timm--{name}" / "snapshots" / "0123"
    folder.mkdir(parents=True)
    with (folder / file).open("wb") as handle:
        handle.truncate(size)


def test_downloads_of_timm_are_suggested_from_the_largest(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert TimmCache().available() == []
    download(tmp_path, "resnet18.a1_in1k", 5000)
    download(tmp_path, "resnet34.a1_in1k", 9000, "pytorch_model.bin")
    download(tmp_path, "resnet10t.c3_in1k", 1000)
    download(tmp_path, "vit_huge.of", MOST_BYTES + 1)
    (tmp_path / "models--timm--broken" / "snapshots" / "0123").mkdir(parents=True)
    assert TimmCache().available() == ["resnet34.a1_in1k", "resnet18.a1_in1k"]
    assert len(TimmCache().available()) == MOST_NAMES
    assert set(TimmCache().available()) < set(available_backbones())
