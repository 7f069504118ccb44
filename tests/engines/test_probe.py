"""The probe takes the fastest engine whose features are like fp32's, says why, and remembers."""

import time

import numpy as np
import pytest

from foveal.engines import choose_engine, probe
from foveal.engines.openvino_engine import OpenVinoEngine
from foveal.models.backbones import find_backbone
from foveal.values import Decisions, Preprocess


class Fake:
    version = "0"

    def __init__(self, name, pause, noise):
        self.name, self.precision = name.split("-")
        self._pause, self._noise = pause, noise

    def __call__(self, pixels):
        time.sleep(self._pause)
        features = pixels.reshape(len(pixels), -1)[:, :64].astype(np.float32)
        return features + np.random.default_rng(0).normal(0, self._noise, features.shape).astype(np.float32)


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize(("noise", "taken"), [(0.01, "fast-bf16"), (200.0, "slow-f32")])
def test_fast_and_like(monkeypatch, fresh_cache, pixels, noise, taken):
    makers = {"slow-f32": lambda: Fake("slow-f32", 0.05, 0), "fast-bf16": lambda: Fake("fast-bf16", 0.001, noise)}
    monkeypatch.setattr(probe, "_candidates", lambda *_, **__: makers)
    backbone, decisions = find_backbone(), Decisions()
    asked = []

    def some():
        asked.append(1)
        return pixels

    engine = choose_engine(backbone, Preprocess(), some, decisions)
    assert f"{engine.name}-{engine.precision}" == taken == decisions.made["engine"]["value"]
    assert "likeness" in decisions.made["engine"]["reason"]
    choose_engine(backbone, Preprocess(), some, decisions)
    other = Decisions()
    choose_engine(backbone, Preprocess(), some, other)
    assert len(asked) == 1 and "earlier" in other.made["engine"]["reason"]


@pytest.mark.parametrize(("pause", "taken"), [(0.9, "slow-f32"), (1.0 / 1.1, "slow-f32"), (0.8, "fast-bf16")])
def test_a_little_faster_is_no_reason_to_give_up_precision(monkeypatch, fresh_cache, pixels, pause, taken):
    now = [0.0]
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    makers = {"slow-f32": lambda: Fake("slow-f32", 1.0, 0), "fast-bf16": lambda: Fake("fast-bf16", pause, 0.01)}
    monkeypatch.setattr(probe, "_candidates", lambda *_, **__: makers)
    decisions = Decisions()
    choose_engine(find_backbone(), Preprocess(), lambda: pixels, decisions)
    assert decisions.made["engine"]["value"] == taken


def test_what_the_run_decided_earlier_is_obeyed_without_measuring():
    earlier = Decisions({"engine": {"value": "openvino-f32", "reason": "it was"}})
    assert choose_engine(find_backbone(), Preprocess(), pytest.fail, earlier).precision == "f32"


def test_the_normalisation_inside_the_graph_is_the_formula(pixels):
    """A backbone sees (x - mean) / std: other constants, undone on the picture, give the same features."""
    backbone = find_backbone()
    picture = np.random.default_rng(2).integers(40, 200, (2, 224, 224, 3), dtype=np.uint8)
    plain = OpenVinoEngine(backbone, Preprocess(mean=(127.0,) * 3, std=(128.0,) * 3))(picture)
    shifted = OpenVinoEngine(backbone, Preprocess(mean=(87.0, 97.0, 107.0), std=(128.0,) * 3))(
        picture - np.array([40, 30, 20], dtype=np.uint8)
    )
    assert np.abs(plain - shifted).max() < 1e-3


def test_many_batches_under_way_keep_their_order(pixels):
    backbone = find_backbone()
    engine = OpenVinoEngine(backbone, backbone.preprocess)
    pictures = np.random.default_rng(3).integers(0, 256, (6, 224, 224, 3), dtype=np.uint8)
    futures = [engine.submit(p[None]) for p in pictures]
    found = np.concatenate([f.result() for f in futures])
    assert np.abs(found - engine(pictures)).max() < 1e-3
