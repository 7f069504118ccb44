"""Networks that answer at every pixel: true to their papers, at any size, with the weights that they are given."""

import pytest
import torch
from torch.nn import functional

from foveal.errors import BundleError, UnknownName, UsageError
from foveal.models.backbone_stages import split_into_stages
from foveal.models.backbones import find_backbone, load_network, untrained_network
from foveal.models.networks import build, with_weights
from foveal.models.segmentation.encoder import encoder_for
from foveal.models.segmentation.fcn import FCN, bilinear
from foveal.models.segmentation.network import DECODERS, segmenter


def spec(decoder, **more):
    return {"architecture": "segmenter", "decoder": decoder, "backbone": "lite0", "classes": 3, **more}


@pytest.mark.parametrize("decoder", DECODERS)
def test_any_size_gives_logits_of_the_same_size(decoder):
    module = build(spec(decoder)).eval()
    with torch.inference_mode():
        for height, width in ((64, 96), (45, 70), (1, 33)):
            assert module(torch.zeros(1, 3, height, width)).shape == (1, 3, height, width)


def test_padding_is_below_and_to_the_right_and_changes_nothing_else():
    module = build(spec("fcn8s")).eval()
    torch.nn.init.normal_(module.decoder.score[0].weight)
    picture = torch.randn(1, 3, 50, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = module(functional.pad(picture, (0, 24, 0, 14)))
        assert torch.equal(module(picture), whole[:, :, :50, :40])


@pytest.mark.parametrize(("factor", "mixing"), [(2, True), (8, False), (32, False)])
def test_transposed_convolutions_begin_bilinear(factor, mixing):
    maps = torch.randn(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    up = bilinear(3, factor, mixing=mixing)
    expected = functional.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = slice(factor, -factor)  # at the rim a transposed convolution fades
    assert torch.allclose(up(maps)[..., inner, inner], expected[..., inner, inner], atol=1e-5)


def test_scores_begin_at_zero_so_that_a_finer_fcn_begins_as_the_coarser_one():
    maps = [torch.randn(1, 4, 64 // s, 64 // s) for s in (2, 4, 8, 16, 32)]
    coarse, fine = (FCN([4] * 5, (2, 4, 8, 16, 32), 2, finest) for finest in (32, 8))
    assert not coarse(maps).any()
    torch.nn.init.normal_(coarse.score[0].weight)
    fine.score[0].load_state_dict(coarse.score[0].state_dict())
    rim = slice(32, -32) if coarse(maps).shape[-1] > 64 else slice(24, 40)
    assert fine(maps).shape == coarse(maps).shape == (1, 2, 64, 64)
    assert torch.allclose(fine(maps)[..., rim, rim].mean(), coarse(maps)[..., rim, rim].mean(), atol=0.05)
    assert [p.requires_grad for p in fine.last.parameters()] == [False]
    assert [score.in_channels for score in fine.score] == [4, 4, 4] and len(fine.up) == 2


def test_the_encoder_gives_the_pretrained_maps_and_can_keep_its_norms():
    backbone = find_backbone()
    picture = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    with torch.no_grad():
        expected = split_into_stages(load_network(backbone)).maps(picture)[1:]
        for folded in (True, False):
            found = encoder_for(backbone, folded=folded).eval()(picture)
            assert [m.shape[1] for m in found] == [16, 24, 40, 112, 320]
            for ours, theirs in zip(found[1:], (expected[i] for i in (1, 2, 4, 6)), strict=True):
                assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4)
        topped = encoder_for(backbone, top=True).eval()(picture)[-1]
        head = load_network(backbone).forward_features(picture)
        assert topped.shape == (1, 1280, 2, 2) and torch.allclose(topped, head, rtol=1e-3, atol=1e-4)


def test_a_dilated_encoder_sees_as_before_at_twice_the_resolution():
    backbone = find_backbone()
    picture = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    plain, dilated = (encoder_for(backbone, dilated=d).eval() for d in (False, True))
    assert dilated.strides == (2, 4, 8, 16) or dilated.strides[-1] == 16
    with torch.no_grad():
        coarse, fine = plain(picture)[-1], dilated(picture)[-1]
    assert fine.shape[2:] == (8, 8) and coarse.shape[2:] == (4, 4)
    assert float(functional.cosine_similarity(coarse.mean((2, 3)), fine.mean((2, 3)))) > 0.8


@pytest.mark.parametrize("name", ["zoo/resnet18", "zoo/vgg16", "resnet18"])
def test_other_trunks_with_the_usual_strides(name):
    module = segmenter("fcn8s", 2, name).eval()
    with torch.inference_mode():
        assert module(torch.zeros(1, 3, 40, 33)).shape == (1, 2, 40, 33)


def test_weights_go_through_a_bundle():
    module = segmenter("unet", 3, find_backbone(), widths=(16, 8, 8)).eval()
    tensors = {k: v.numpy() for k, v in module.state_dict().items()}
    again = with_weights(spec("unet", widths=[16, 8, 8]), tensors)
    picture = torch.randn(1, 3, 40, 40)
    with torch.inference_mode():
        assert torch.equal(module(picture), again(picture))


def test_what_nobody_can_segment_with_is_refused():
    with pytest.raises(UnknownName, match="unnet"):
        build(spec("unnet"))
    with pytest.raises(UnknownName, match="resnet19"):
        segmenter("unet", 2, "zoo/resnet19")
    with pytest.raises(UsageError, match="lenet5"):
        segmenter("unet", 2, "zoo/lenet5")
    with pytest.raises(UsageError, match="VisionTransformer"):
        segmenter("unet", 2, "vit_tiny_patch16_224")
    with pytest.raises(BundleError):
        build({"architecture": "segmenter", "decoder": "unet", "colour": 1})
    assert untrained_network("lite0")
