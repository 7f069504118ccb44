"""A timm network in segments gives what it gives whole; folding batch normalisation changes no answer."""

import pytest
import timm
import torch

from foveal.models.backbone_stages import features_of, measure_segments, pool_stages, split_into_stages
from foveal.models.backbones import find_backbone, load_feature_network, load_network
from foveal.models.batch_norm_folding import fold_batch_norm
from foveal.models.finetuned import FineTunedNetwork, pretrained
from foveal.models.networks import build, with_weights


@pytest.fixture(scope="module")
def pictures():
    return torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def shaken(name):
    """A network whose batch normalisations have statistics of their own."""
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "norms"),
    [("tf_efficientnet_lite0", 49), ("resnet18", 20), ("resnet50", 53), ("mobilenetv2_100", 52)],
)
def test_segments_and_folding_keep_the_answer(name, norms, pictures):
    network = shaken(name)
    with torch.no_grad():
        expected = features_of(network, pictures)
        segments = split_into_stages(network)
        assert segments is not None
        assert torch.allclose(segments(pictures), expected, rtol=1e-4, atol=1e-5)
        maps = segments.maps(pictures)
        assert torch.allclose(maps[0], expected, rtol=1e-4, atol=1e-5)
        stages = measure_segments(network)[1:-1]
        assert pool_stages(maps).shape == (2, expected.shape[1] + 4 * sum(stage.channels for stage in stages))
        assert fold_batch_norm(network) == norms
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
        scale = expected.abs().max()
        assert (features_of(network, pictures) - expected).abs().max() < 1e-4 * scale


def test_pooled_stages_are_quarters_of_their_maps():
    map_ = torch.arange(32.0).view(1, 2, 4, 4)
    row = pool_stages((torch.zeros(1, 3), map_))
    assert row[0, 3:7].tolist() == [
        map_[0, 0, :2, :2].mean(),
        map_[0, 0, :2, 2:].mean(),
        *map_[0, 0, 2:].unflatten(1, (2, 2)).mean((0, 2)).tolist(),
    ]


def test_a_network_of_an_unknown_kind_has_no_segments_and_is_tuned_as_one(pictures):
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=96)
    assert split_into_stages(network) is None and measure_segments(network) == ()
    tuned = FineTunedNetwork(network, 192, 4).eval()
    assert len(tuned.segments.parts) == 1 and tuned(pictures).shape == (2, 4)


def test_a_pretrained_network_begins_with_the_backbones_features(pictures):
    backbone = find_backbone()
    network = pretrained(backbone, 5)
    with torch.no_grad():
        expected = features_of(load_network(backbone), pictures)
        found = network.forward_features(pictures)
        assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
        assert (network(pictures) == 0).all()
        assert torch.equal(network.upper(network.lower(pictures, 5), 5), network(pictures))


def test_folded_tensors_differ_in_size_so_that_one_learning_rate_fits_none():
    weights = [p for p in pretrained(find_backbone(), 5).segments.parameters() if p.ndim > 1]
    sizes = [float(p.detach().square().mean().sqrt()) for p in weights]
    assert max(sizes) / min(sizes) > 100


def test_a_tuned_network_comes_back_from_its_bundle(pictures):
    network = pretrained(find_backbone(), 5)
    with torch.no_grad():
        network.head.weight.normal_()
        spec = {"architecture": "tuned", "backbone": "lite0", "dimension": 1280, "classes": 5}
        assert torch.equal(
            with_weights(spec, {k: v.numpy() for k, v in network.state_dict().items()})(pictures),
            network(pictures),
        )
    assert list(build(spec).state_dict()) == list(network.state_dict())


def test_stages_in_openvino_are_those_of_torch(pictures):
    import numpy as np

    from foveal.engines.openvino_engine import OpenVinoEngine

    backbone = find_backbone()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    found = OpenVinoEngine(backbone, backbone.preprocess, stages=True)(pixels)
    with torch.no_grad():
        ready = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
        expected = load_feature_network(backbone, pooled=True)(ready).numpy()
    assert found.shape == (2, backbone.dimension + backbone.stage_dimension)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.array_equal(found[:, : backbone.dimension], OpenVinoEngine(backbone, backbone.preprocess)(pixels))
