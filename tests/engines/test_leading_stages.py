"""The leading part of a backbone gives in OpenVINO what it gives in torch, at sizes it was not exported for."""

import pytest
import torch

from foveal.engines.openvino_engine import leading_stages
from foveal.models.backbones import find_backbone
from foveal.models.finetuned import pretrained


@pytest.fixture(scope="module")
def network():
    return pretrained(find_backbone(), 2)


@pytest.mark.parametrize(("size", "cut"), [(64, 5), (128, 5), (96, 6), (96, None)])
def test_maps_and_features_are_those_of_torch(network, size, cut):
    torch.manual_seed(0)
    pictures = torch.randn(2, 3, size, size)
    backbone = find_backbone()
    run = leading_stages(backbone, size, None if cut is None else backbone.stage_below(cut), "fp32")
    with torch.no_grad():
        expected = network.forward_features(pictures) if cut is None else network.lower(pictures, cut)
    found = torch.from_numpy(run(pictures.numpy()))
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()
