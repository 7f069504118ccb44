"""What torchvision and Keras call networks, and what timm calls them: one line each. Other spellings need none."""

from __future__ import annotations

from foveal.errors import known_name

#: Compared without capitals, hyphens and underscores.
_TIMM = {
    "efficientnet_v2_s": "tf_efficientnetv2_s",
    "efficientnet_v2_m": "tf_efficientnetv2_m",
    "efficientnet_v2_l": "tf_efficientnetv2_l",
    "mnasnet1_0": "mnasnet_100",
    "mobilenet": "mobilenetv1_100",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "resnet50_v2": "resnetv2_50",
    "resnet101_v2": "resnetv2_101",
    "resnet152_v2": "resnetv2_152",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
    "swin_v2_s": "swinv2_small_window8_256",
    "swin_v2_b": "swinv2_base_window8_256",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
    "vit_l_32": "vit_large_patch32_224",
    "vit_h_14": "vit_huge_patch14_224",
}


def timm_name(kind: str, name: str, known: list[str]) -> str:
    """The name of timm's that was meant, among those known.

    Raises:
        UnknownName: when there is none.
    """
    found = known_name(kind, name, dict.fromkeys([*known, *_TIMM]))
    return found if found in known else _TIMM[found]
