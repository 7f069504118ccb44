"""The engine: normalisation in the graph, no telemetry, a pinned precision that the machine has or not."""

import subprocess
import sys

import numpy as np
import pytest

from foveal.engines import choose_engine, openvino_engine, probe
from foveal.engines.openvino_engine import OpenVinoEngine, converted
from foveal.errors import UsageError
from foveal.models.backbones import find_backbone
from foveal.values import Decisions, Preprocess


def test_the_graph_computes_what_numpy_computes():
    ov = openvino_engine._openvino()
    pictures = ov.op.Parameter(ov.Type.f32, ov.PartialShape([-1, 3, -1, -1]))
    nothing = ov.Model([ov.opset13.relu(pictures), ov.opset13.negative(pictures)], [pictures], "nothing")
    preprocess = Preprocess(size=32, mean=(120.5, 110.0, 99.0), std=(60.0, 57.5, 51.0))
    compiled = openvino_engine._core().compile_model(
        openvino_engine.normalising(nothing, preprocess), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    found = compiled([pixels])
    expected = (pixels.astype(np.float64) - preprocess.mean) / preprocess.std
    assert np.abs(-found[1].transpose(0, 2, 3, 1) - expected).max() < 1e-5


def test_telemetry_is_never_imported():
    find = "import sys; print([m for m in sys.modules if m.startswith('openvino_telemetry') and sys.modules[m]])"
    code = f"from foveal.engines.probe import available; available(); import openvino; {find}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_batch_of_any_size_and_layout():
    backbone = find_backbone()
    engine = OpenVinoEngine(backbone, backbone.preprocess)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)
    whole = engine(pixels)
    assert whole.shape == (5, backbone.dimension) and whole.dtype == np.float32
    single = np.concatenate([engine(p[None]) for p in pixels])
    assert np.abs(single - whole).max() < 1e-3 * np.abs(whole).max()
    mirrored = engine(pixels[:, :, ::-1])  # not contiguous
    assert np.array_equal(mirrored, engine(np.ascontiguousarray(pixels[:, :, ::-1])))


def test_a_picture_of_the_wrong_size_is_an_exception_not_a_hang():
    backbone = find_backbone()
    engine = OpenVinoEngine(backbone, backbone.preprocess)
    with pytest.raises(Exception, match=r"(?i)shape|dimension"):
        engine.submit(np.zeros((1, 64, 64, 3), dtype=np.uint8)).result(timeout=3)


def test_the_conversion_is_made_once(fresh_cache, monkeypatch):
    backbone = find_backbone()
    path = converted(backbone)
    monkeypatch.setattr(openvino_engine, "_read_graph", lambda *_: pytest.fail("converted again"))
    assert converted(backbone) == path
    assert {f.name for f in path.parent.iterdir()} == {"trunk.xml", "trunk.bin", "hashes.json"}


def test_a_precision_can_be_pinned_and_one_that_is_not_here_is_refused(monkeypatch, fresh_cache):
    backbone, decisions = find_backbone(), Decisions()
    monkeypatch.setattr(probe, "has_bf16", lambda: False)
    engine = choose_engine(backbone, backbone.preprocess, pytest.fail, decisions, precision="f32")
    assert engine.precision == "f32" and decisions.made["engine"]["reason"] == "the precision was given"
    with pytest.raises(UsageError, match="bf16"):
        choose_engine(backbone, backbone.preprocess, pytest.fail, Decisions(), precision="bf16")


def test_the_memory_of_the_probe_may_be_damaged(monkeypatch, fresh_cache):
    fresh_cache.mkdir()
    (fresh_cache / "engines.json").write_text("{ not json")
    backbone = find_backbone()

    class Fake:
        def __call__(self, pixels):
            return np.ones((len(pixels), 4), dtype=np.float32)

    monkeypatch.setattr(probe, "_candidates", lambda *_, **__: {"a-f32": Fake, "b-f32": Fake})
    for expected in ("likeness 1.0000", "(measured earlier)"):
        decisions = Decisions()
        choose_engine(backbone, Preprocess(), lambda: np.zeros((2, 4, 4, 3), dtype=np.uint8), decisions)
        assert expected in decisions.made["engine"]["reason"]


def test_other_weights_are_measured_anew(monkeypatch, fresh_cache):
    from dataclasses import replace

    asked = []

    class Fake:
        def __call__(self, pixels):
            return np.ones((len(pixels), 4), dtype=np.float32)

    def some():
        asked.append(1)
        return np.zeros((2, 4, 4, 3), dtype=np.uint8)

    monkeypatch.setattr(probe, "_candidates", lambda *_, **__: {"a-f32": Fake, "b-f32": Fake})
    backbone = find_backbone()
    for weights in ("0" * 64, "1" * 64, "0" * 64):
        choose_engine(replace(backbone, weights_sha256=weights), Preprocess(), some, Decisions())
    assert len(asked) == 2
