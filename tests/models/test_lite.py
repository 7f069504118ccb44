"""Lite0, 1 and 2 as foveal runs them (graphs that point into packaged weights, OpenVINO) against timm in torch."""

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from foveal.engines.openvino_engine import OpenVinoEngine, convert_backbone
from foveal.engines.torch_engine import TorchEngine
from foveal.errors import UnknownName, WeightsUnavailable
from foveal.models.backbone_stages import measure_segments
from foveal.models.backbones import find_backbone, load_feature_network
from foveal.models.sources.packaged import PACKAGED, PackagedSource

SHARED = Path(os.environ.get("FOVEAL_SHARED", Path(__file__).parents[3] / "shared")) / "data"


def pixels_of(backbone):
    size = backbone.preprocess.size
    return np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pixels():
    return pixels_of(find_backbone())


@pytest.fixture(scope="module")
def reference():
    return reference_of("lite0")


def reference_of(name):
    """timm's own network with the package's tensors mapped one to one, in order."""
    stored = torch.load(find_backbone(name).blob, weights_only=True)
    network = timm.create_model(f"tf_efficientnet_{name}", pretrained=False)
    assert [tuple(v.shape) for v in network.state_dict().values()] == [tuple(v.shape) for v in stored.values()]
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    return network.eval()


def normalised(pixels):
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128


@pytest.mark.parametrize("name", PACKAGED)
def test_openvino_gives_timms_features(name):
    if find_spec(PACKAGED[name].package) is None:
        pytest.skip("the extra `backbones` is not installed")
    backbone, reference = find_backbone(name), reference_of(name)
    pixels = pixels_of(backbone)
    found = OpenVinoEngine(backbone, backbone.preprocess)(pixels)
    with torch.inference_mode():
        expected = reference.forward_head(reference.forward_features(normalised(pixels)), pre_logits=True).numpy()
    assert found.shape == (4, 1280) and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", PACKAGED)
def test_what_is_written_down_of_a_network_is_so(name):
    expected = PACKAGED[name]
    network = PackagedSource().architecture(name)
    assert measure_segments(network) == expected.segments
    published = timm.get_pretrained_cfg(expected.architecture)
    assert (network.num_features, published.input_size[-1]) == (expected.dimension, expected.preprocess.size)


def test_torch_gives_the_same(pixels):
    backbone = find_backbone()
    found = TorchEngine(backbone, backbone.preprocess, device="cpu")(pixels)
    expected = OpenVinoEngine(backbone, backbone.preprocess)(pixels)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_trunk_without_its_classifier(pixels, reference):
    with torch.inference_mode():
        found = load_feature_network(find_backbone())(normalised(pixels))
        expected = reference.forward_head(reference.forward_features(normalised(pixels)), pre_logits=True)
    assert torch.equal(found, expected)


@pytest.mark.skipif(not (SHARED / "scenes8").is_dir(), reason="the shared photographs are not here")
def test_known_pictures_get_their_imagenet_classes(reference):
    """Laundromats are full of washing machines (class 897)."""
    answers = []
    for file in sorted((SHARED / "scenes8" / "laundromat").iterdir())[:16]:
        picture = Image.open(file).convert("RGB").resize((224, 224))
        with torch.inference_mode():
            answers.append(int(reference(normalised(np.array(picture)[None])).argmax()))
    assert answers.count(897) >= 10, answers


def test_damaged_weights_are_refused():
    source = PackagedSource({"lite0": replace(PACKAGED["lite0"], sha256="0" * 64)})
    with pytest.raises(WeightsUnavailable, match="SHA-256"):
        source.find("lite0")


def test_names(monkeypatch, tmp_path):
    with pytest.raises(UnknownName) as caught:
        find_backbone("resnet5o")
    assert "did you mean" in caught.value.hint
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(WeightsUnavailable) as refused:
        find_backbone("mobilenetv3_small_050")
    assert "never downloads" in refused.value.hint


def test_a_damaged_conversion_is_made_again(fresh_cache):
    backbone = find_backbone()
    path = convert_backbone(backbone).with_suffix(".bin")
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"?")
    assert convert_backbone(backbone).with_suffix(".bin").read_bytes() == good
