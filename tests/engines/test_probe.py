"""The probe chooses the fastest engine whose features are like the reference's, and remembers it."""

import time

import numpy as np
import pytest

from fake_time import FakeTime
from foveal.decisions import ENGINE, Decisions
from foveal.engines import EngineSpec, choose_engine
from foveal.engines.openvino_engine import OpenVinoEngine
from foveal.models.backbones import find_backbone
from foveal.values import Preprocess


class Fake:
    version = "0"

    def __init__(self, name, pause, noise):
        self.name, self.precision = name.split("-")
        self._pause, self._noise = pause, noise

    def __call__(self, pixels):
        time.sleep(self._pause)
        features = pixels.reshape(len(pixels), -1)[:, :64].astype(np.float32)
        return features + np.random.default_rng(0).normal(0, self._noise, features.shape).astype(np.float32)


def spec(name, pause, noise):
    return EngineSpec(name, name.split("-")[1], lambda: True, lambda *_: Fake(name, pause, noise))


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def fake_time(monkeypatch):
    return FakeTime(monkeypatch)


@pytest.mark.parametrize(("noise", "taken"), [(0.01, "fast-bf16"), (200.0, "slow-fp32")])
def test_the_fastest_engine_with_similar_features_is_chosen(registered, fresh_cache, pixels, noise, taken):
    registered(spec("slow-fp32", 0.05, 0), spec("fast-bf16", 0.001, noise))
    backbone, decisions = find_backbone(), Decisions()
    measured = []

    def some():
        measured.append(1)
        return pixels

    engine = choose_engine(backbone, Preprocess(), some, decisions)
    assert f"{engine.name}-{engine.precision}" == taken == decisions.get(ENGINE)
    assert taken in decisions.reason(ENGINE)
    choose_engine(backbone, Preprocess(), some, decisions)
    other = Decisions()
    choose_engine(backbone, Preprocess(), some, other)
    assert len(measured) == 1 and other.get(ENGINE) == taken


@pytest.mark.parametrize(("pause", "taken"), [(0.9, "slow-fp32"), (1.0 / 1.1, "slow-fp32"), (0.8, "fast-bf16")])
def test_a_little_faster_is_no_reason_to_give_up_precision(registered, fresh_cache, pixels, pause, taken):
    registered(spec("slow-fp32", 1.0, 0), spec("fast-bf16", pause, 0.01))
    decisions = Decisions()
    choose_engine(find_backbone(), Preprocess(), lambda: pixels, decisions)
    assert decisions.get(ENGINE) == taken


def test_what_the_run_decided_earlier_is_obeyed_without_measuring():
    earlier = Decisions({"engine": {"value": "openvino-fp32", "reason": "it was"}})
    assert choose_engine(find_backbone(), Preprocess(), pytest.fail, earlier).precision == "fp32"


def test_the_normalisation_inside_the_graph_is_the_formula(pixels):
    """A backbone takes (x - mean) / std: other constants, undone on the image, give the same features."""
    backbone = find_backbone()
    images = np.random.default_rng(2).integers(40, 200, (2, 224, 224, 3), dtype=np.uint8)
    plain = OpenVinoEngine(backbone, Preprocess(mean=(127.0,) * 3, std=(128.0,) * 3))(images)
    shifted = OpenVinoEngine(backbone, Preprocess(mean=(87.0, 97.0, 107.0), std=(128.0,) * 3))(
        images - np.array([40, 30, 20], dtype=np.uint8)
    )
    assert np.abs(plain - shifted).max() < 1e-3


def test_many_batches_in_flight_keep_their_order(pixels):
    backbone = find_backbone()
    engine = OpenVinoEngine(backbone, backbone.preprocess)
    images = np.random.default_rng(3).integers(0, 256, (6, 224, 224, 3), dtype=np.uint8)
    futures = [engine.submit(p[None]) for p in images]
    features = np.concatenate([f.result() for f in futures])
    assert np.abs(features - engine(images)).max() < 1e-3
