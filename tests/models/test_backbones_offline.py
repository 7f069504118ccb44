"""A backbone is on this machine or refused: nobody is asked over the network. Real pixels agree with torch."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from foveal.data.images.decode import decode, read_file
from foveal.data.images.render import render
from foveal.data.sources.samples import unpack
from foveal.engines.openvino_engine import OpenVinoEngine
from foveal.errors import WeightsUnavailable
from foveal.models.backbones import find_backbone, load_feature_network

SHARED = Path(os.environ.get("FOVEAL_SHARED", Path(__file__).parents[3] / "shared")) / "data"


@pytest.fixture
def asked(monkeypatch):
    """Whom somebody tried to reach; every attempt fails."""
    names = []

    def refuse(*arguments, **_):
        names.append(str(arguments[-2:]))
        raise OSError("the network is blocked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return names


def url_only():
    """A timm model whose weights have an address but no place on the hub."""
    for name in timm.list_models():
        config = timm.models.get_pretrained_cfg(name)
        if config is not None and config.url and not config.hf_hub_id:
            return name
    return None


@pytest.mark.parametrize("kind", ["hub", "address"])
def test_weights_that_are_not_here_are_never_fetched(asked, tmp_path, monkeypatch, kind):
    """timm, and with it the hub's client, was imported before: as in any session of a timm user."""
    name = "mobilenetv3_small_050" if kind == "hub" else url_only()
    if name is None:
        pytest.skip("this timm has no such model")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsUnavailable) as caught:
        find_backbone(name)
    assert asked == []
    assert name in caught.value.message and "lite0" in caught.value.hint


def test_the_environment_of_the_caller_is_left_alone(asked, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    before = dict(os.environ)
    with pytest.raises(WeightsUnavailable):
        find_backbone("mobilenetv3_small_050")
    assert dict(os.environ) == before


def test_real_pixels_give_the_same_features_in_openvino_and_in_torch():
    files = sorted(f for f in unpack("clipart").rglob("*.*") if f.is_file())
    photographs = sorted((SHARED / "scenes8").rglob("*.jpg"))[::300]  # none where the photographs are not
    files = [*files[:: len(files) // 4][:4], *photographs]
    backbone = find_backbone()
    pixels = np.stack([render(decode(read_file(str(f)), str(f)), backbone.preprocess) for f in files[:8]])
    found = OpenVinoEngine(backbone, backbone.preprocess)(pixels)
    with torch.inference_mode():
        ready = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
        expected = load_feature_network(backbone)(ready).numpy()
    assert len(pixels) >= 4 and np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
