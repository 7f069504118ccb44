"""EfficientNet, its Lite variants, EfficientNetV2, MobileNetV2, MnasNet and relatives, as timm builds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from foveal.models.families.base import BackboneFamily, NetworkParts

if TYPE_CHECKING:
    from timm.models.efficientnet import EfficientNet


def _recognises(network: nn.Module) -> bool:
    from timm.models.efficientnet import EfficientNet

    return isinstance(network, EfficientNet)


def _split(network: EfficientNet) -> NetworkParts:
    return NetworkParts(
        stem=(network.conv_stem, network.bn1),
        stages=tuple(network.blocks),
        neck=(network.conv_head, network.bn2),
        pool=network.global_pool,
    )


EFFICIENTNET = BackboneFamily("EfficientNet", _recognises, _split)
