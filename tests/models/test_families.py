"""What a family and a spec say of a network is true, and a family from outside trains like those that ship."""

import numpy as np
import pytest
import timm
import torch

from foveal import ImageClassifier, load
from foveal.models.backbone_stages import measure_segments, split_into_stages
from foveal.models.backbones import find_backbone, load_network
from foveal.models.families import family_of
from foveal.training.recipes.finetune import CACHED, FULL, LARGE
from foveal.values import Backbone, Preprocess
from toy_backbone import FAMILY, NAME, ToyNet, toy_backbone


def backbone_of(network):
    return Backbone("some", network.num_features, Preprocess(), "00", None, None, measure_segments(network))


def test_what_is_written_down_of_lite0_is_what_the_network_is():
    backbone = find_backbone()
    assert backbone.segments == measure_segments(load_network(backbone))
    assert backbone.stages == 7 and backbone.stage_dimension == 4 * (16 + 24 + 40 + 80 + 112 + 192 + 320)
    assert backbone.strides == (2, 4, 8, 16, 16, 32, 32)
    assert backbone.cost_shares[-1] == 1 and list(backbone.cost_shares) == sorted(backbone.cost_shares)


def test_lite0_is_cut_where_its_benchmarks_were_made():
    backbone = find_backbone()
    assert backbone.cut_at(FULL.frozen_share_at(LARGE)) == 0
    assert backbone.cut_at(CACHED.frozen_share_at(LARGE - 1)) == 5
    assert backbone.cut_at(CACHED.frozen_share_at(LARGE)) == 6


@pytest.mark.parametrize(
    ("name", "family", "channels", "strides"),
    [
        ("resnet18", "ResNet", (64, 128, 256, 512), (4, 8, 16, 32)),
        ("test_resnet", "ResNet", (32, 48, 192, 96), (4, 8, 16, 32)),
        ("test_efficientnet", "EfficientNet", (16, 24, 32, 48, 64), (2, 4, 8, 16, 32)),
        ("mobilenetv2_100", "EfficientNet", (16, 24, 32, 64, 96, 160, 320), (2, 4, 8, 16, 16, 32, 32)),
    ],
)
def test_stages_of_timms_networks(name, family, channels, strides):
    network = timm.create_model(name, pretrained=False).eval()
    assert family_of(network).name == family
    backbone = backbone_of(network)
    assert tuple(s.channels for s in backbone.segments[1:-1]) == channels and backbone.strides == strides
    maps = split_into_stages(network).maps(torch.zeros(1, 3, 96, 96))[1:]
    assert [96 // m.shape[2] for m in maps] == list(strides)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "test_efficientnet"])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.9])
def test_a_cut_is_the_one_nearest_to_the_share_that_leaves_something_to_train(name, share):
    backbone = backbone_of(timm.create_model(name, pretrained=False).eval())
    cut = backbone.cut_at(share)
    assert 2 <= cut <= backbone.stages
    distances = [abs(backbone.cost_shares[c - 1] - share) for c in range(2, backbone.stages + 1)]
    assert distances[cut - 2] == min(distances)
    assert backbone.stage_below(cut) == cut - 2


def test_a_network_of_no_known_family_has_no_stages_and_is_never_cut():
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64).eval()
    backbone = backbone_of(network)
    assert family_of(network) is None and backbone.segments == () and backbone.cut_at(0.5) == 0
    assert (backbone.stages, backbone.stage_dimension) == (0, 0)
    with pytest.raises(ValueError, match="0 segments"):
        backbone.stage_below(2)


def test_a_family_whose_parts_give_something_else_is_not_believed(monkeypatch):
    with toy_backbone():
        network = ToyNet().eval()
        assert family_of(network) is FAMILY and len(split_into_stages(network).parts) == 5
        assert [s.channels for s in measure_segments(network)] == [8, 12, 16, 24, 24]
        network.levels.append(torch.nn.Identity())
        network.forward_features = lambda x: torch.zeros(len(x), 24, 4, 4)
        assert split_into_stages(network) is None
    assert family_of(network) is None


@pytest.fixture(scope="module")
def folder(make_folder, tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("dozen"), {"ant": 12, "bee": 12})


@pytest.mark.parametrize("strategy", ["frozen", "frozen-stages", "cached-trunk", "fine-tune"])
def test_a_backbone_from_outside_trains_predicts_and_evaluates(strategy, folder, tmp_path):
    """Two classes that differ in colour."""
    paths = sorted(str(p) for p in folder.rglob("*.*"))
    with toy_backbone():
        run = str(tmp_path / "run")
        model = ImageClassifier(time="40s", backbone=NAME, strategy=strategy, test="subset", out=run).fit(folder)
        assert model.summary_["strategy"]["name"] == strategy
        assert model.summary_["model"]["backbone" if strategy.startswith("frozen") else "name"] == NAME
        probabilities = load(run).predict_proba(paths)
        assert probabilities.shape == (24, 2) and np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        assert load(run).evaluate()["test"]["n"] == model.summary_["test"]["n"]
