"""Networks as torchvision and Keras call them."""

import pytest
import timm

from foveal.errors import UnknownName
from foveal.models.other_names import _TIMM, timm_name
from foveal.models.resolve import resolve
from foveal.models.sources import source_of


def test_every_name_in_the_table_leads_to_one_of_timm():
    assert set(_TIMM.values()) <= set(timm.list_models())


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("vit_b_16", "vit_base_patch16_224"),
        ("swin_t", "swin_tiny_patch4_window7_224"),
        ("mobilenet_v3_small", "mobilenetv3_small_100"),
        ("MobileNetV2", "mobilenetv2_100"),
        ("ResNet50", "resnet50"),
        ("ResNet18", "resnet18"),
        ("EfficientNetB0", "efficientnet_b0"),
        ("ConvNeXtTiny", "convnext_tiny"),
        ("Lite0", "lite0"),
    ],
)
def test_a_backbone_by_another_name(typed, known):
    assert source_of(typed)[1] == known


@pytest.mark.parametrize(
    "typed",
    ["mobilenet_v3_small", "vit_b_16", "swin_t", "efficientnet_b0", "MobileNetV2", "ResNet50", "EfficientNetB0"],
)
def test_a_model_to_plan_by_another_name(typed):
    assert resolve(typed).kind in ("zoo", "timm", "torchvision")


def test_a_name_that_is_none_is_answered_in_a_line():
    with pytest.raises(UnknownName) as caught:
        timm_name("model", "qqqq", timm.list_models())
    assert caught.value.hint.count(",") == 4
