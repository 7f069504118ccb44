"""ResNet, ResNeXt, SE-ResNet, ResNet-D and their relatives, as timm builds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from foveal.models.families.base import BackboneFamily, NetworkParts

if TYPE_CHECKING:
    from timm.models.resnet import ResNet


def _recognises(network: nn.Module) -> bool:
    from timm.models.resnet import ResNet

    return isinstance(network, ResNet)


def _split(network: ResNet) -> NetworkParts:
    return NetworkParts(
        stem=(network.conv1, network.bn1, network.act1, network.maxpool),
        stages=(network.layer1, network.layer2, network.layer3, network.layer4),
        neck=(),
        pool=network.global_pool,
    )


RESNET = BackboneFamily("ResNet", _recognises, _split)
