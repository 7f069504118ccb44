"""The engine: normalisation in the graph, no telemetry, a given precision that the machine has or lacks."""

import json
import logging
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from foveal.decisions import ENGINE, Decisions
from foveal.engines import EngineSpec, choose_engine, model_cache, openvino_engine, openvino_runtime
from foveal.engines.model_cache import cached_model
from foveal.engines.openvino_engine import OpenVinoEngine, convert_backbone
from foveal.errors import UsageError
from foveal.models.backbones import find_backbone
from foveal.schema import signed
from foveal.values import Preprocess


def test_the_graph_computes_what_numpy_computes():
    ov = openvino_runtime.import_openvino()
    images = ov.op.Parameter(ov.Type.f32, ov.PartialShape([-1, 3, -1, -1]))
    nothing = ov.Model([ov.opset13.relu(images), ov.opset13.negative(images)], [images], "nothing")
    preprocess = Preprocess(size=32, mean=(120.5, 110.0, 99.0), std=(60.0, 57.5, 51.0))
    compiled = openvino_runtime.core().compile_model(
        openvino_engine.normalising(nothing, preprocess), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    outputs = compiled([pixels])
    expected = (pixels.astype(np.float64) - preprocess.mean) / preprocess.std
    assert np.abs(-outputs[1].transpose(0, 2, 3, 1) - expected).max() < 1e-5


def test_telemetry_is_never_imported():
    find = "import sys; print([m for m in sys.modules if m.startswith('openvino_telemetry') and sys.modules[m]])"
    code = f"from foveal.engines.registry import available_engines; available_engines(); import openvino; {find}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_conversion_that_fails_leaves_the_log_of_the_process_alone():
    root = logging.getLogger()
    before = root.level, list(root.filters), list(root.handlers)
    with pytest.raises(Exception, match=r".+"):
        openvino_runtime.convert_program(object())
    assert (root.level, list(root.filters), list(root.handlers)) == before


def test_bounded_activations_are_converted_and_the_module_stays_as_it_is():
    hardtanh = torch.nn.Hardtanh(-0.5, 2.5)
    module = torch.nn.Sequential(torch.nn.ReLU6(), torch.nn.Sequential(hardtanh, torch.nn.Flatten(1)))
    model = openvino_engine.convert_module(module, (2, 3, 1))
    images = np.linspace(-9, 9, 18, dtype=np.float32).reshape(3, 1, 2, 3)
    found = openvino_runtime.compile_model(model, "fp32")(images)[0]
    assert np.array_equal(found, images.reshape(3, 6).clip(0, 6).clip(-0.5, 2.5))
    assert isinstance(module[0], torch.nn.ReLU6) and module[1][0] is hardtanh


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


def test_an_image_of_the_wrong_size_is_an_exception_not_a_hang():
    backbone = find_backbone()
    engine = OpenVinoEngine(backbone, backbone.preprocess)
    with pytest.raises(Exception, match=r"(?i)shape|dimension"):
        engine.submit(np.zeros((1, 64, 64, 3), dtype=np.uint8)).result(timeout=3)


def written(path):
    """What changes when a file is written again."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def test_the_conversion_is_made_once(fresh_cache):
    backbone = find_backbone()
    path = convert_backbone(backbone)
    before = written(path)
    assert convert_backbone(backbone) == path and written(path) == before
    assert {f.name for f in path.parent.iterdir()} == {"trunk.xml", "trunk.bin", "hashes.json"}


def test_a_precision_can_be_given_and_one_that_is_not_available_is_refused(registered, fresh_cache):
    backbone, decisions = find_backbone(), Decisions()
    registered(openvino_engine.FP32)
    engine = choose_engine(backbone, backbone.preprocess, pytest.fail, decisions, precision="fp32")
    assert engine.precision == "fp32" and decisions.get(ENGINE) == "openvino-fp32"
    with pytest.raises(UsageError, match="bf16"):
        choose_engine(backbone, backbone.preprocess, pytest.fail, Decisions(), precision="bf16")


class Ones:
    def __call__(self, pixels):
        return np.ones((len(pixels), 4), dtype=np.float32)


def as_folder(file):
    (file / "inside").mkdir(parents=True)


def with_content(content):
    def write(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    return write


#: What may lie in a cache in the place of JSON.
DAMAGED = [
    as_folder,
    *map(with_content, ("{ not json", "", "[]", "null", "5", "{}", "[" * 90_000, '{"value": {}}')),
    *map(with_content, (json.dumps(signed({"value": v})) for v in (None, 5, {"k": {"engine": 5}}, {"k": {}}))),
]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_converted_model_whose_hashes_are_damaged_is_converted_again(fresh_cache, damage):
    made = []

    def make(_):
        ov = openvino_runtime.import_openvino()
        made.append(ov.op.Parameter(ov.Type.f32, ov.PartialShape([-1, 3])))
        return ov.Model([ov.opset13.relu(made[-1])], [made[-1]], "relu")

    folder = fresh_cache / "models" / "relu"
    cached_model(folder, "relu.xml", make)
    (folder / "hashes.json").unlink()
    damage(folder / "hashes.json")
    assert cached_model(folder, "relu.xml", make) == folder / "relu.xml" and len(made) == 2
    assert model_cache.is_intact(folder)
    shutil.rmtree(folder)
    folder.write_text("a file in its place")
    assert cached_model(folder, "relu.xml", make) == folder / "relu.xml" and model_cache.is_intact(folder)


@pytest.mark.parametrize("cache", ["/proc/nope", "file", "tiny"])
def test_a_model_for_which_the_cache_has_no_room_lies_elsewhere_and_is_converted_once(
    cache, tmp_path, tiny_disk, monkeypatch
):
    (tmp_path / "file").write_text("in the way")
    places = {"file": tmp_path / "file", "tiny": tiny_disk}
    monkeypatch.setenv("FOVEAL_CACHE", str(places.get(cache, cache)))
    if cache == "tiny" and tiny_disk is None:
        pytest.skip("a small disk can't be mounted here")
    path = convert_backbone(find_backbone())
    assert model_cache.is_intact(path.parent)
    before = written(path)
    assert convert_backbone(find_backbone()) == path and written(path) == before


TWO = [EngineSpec(name, "fp32", lambda: True, lambda *_: Ones()) for name in ("a-fp32", "b-fp32")]


@pytest.mark.parametrize("damage", DAMAGED)
def test_the_memory_of_the_probe_may_be_damaged(registered, fresh_cache, damage):
    damage(fresh_cache / "engines.json")
    backbone = find_backbone()
    registered(*TWO)
    choices = []
    for some in (lambda: np.zeros((2, 4, 4, 3), dtype=np.uint8), pytest.fail):  # the second time it is remembered
        decisions = Decisions()
        choose_engine(backbone, Preprocess(), some, decisions)
        choices.append(decisions.get(ENGINE))
    assert choices[0] == choices[1]


def test_other_weights_are_measured_anew(registered, fresh_cache):
    measured = []

    def some():
        measured.append(1)
        return np.zeros((2, 4, 4, 3), dtype=np.uint8)

    registered(*TWO)
    backbone = find_backbone()
    for weights in ("0" * 64, "1" * 64, "0" * 64):
        choose_engine(replace(backbone, weights_sha256=weights), Preprocess(), some, Decisions())
    assert len(measured) == 2
